"""No defense: the row that every other is compared with."""

from __future__ import annotations

from harness import Defense, hookimpl


class NoDefense(Defense):
    """The victim as it is."""

    name = "none"


@hookimpl
def harness_register_defenses(register):
    register(NoDefense)
