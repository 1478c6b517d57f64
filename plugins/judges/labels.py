"""Judges that look at the victim's label."""

from __future__ import annotations

from collections.abc import Callable

from harness import NO_LABEL, Answer, Example, Judge, hookimpl


class WrongLabel(Judge):
    """The victim's label differs from the true one."""

    name = "wrong_label"

    def success(self, example: Example, answer: Answer) -> bool:
        return answer.label != example.label


class ProxyLabel(Judge):
    """The victim's label is the one the attacker wants; with two labels, or where any wrong one will do, the same as
    `wrong_label`.
    """

    name = "proxy_label"

    def success(self, example: Example, answer: Answer) -> bool:
        untargeted = example.proxy_label == NO_LABEL
        return answer.label != example.label if untargeted else answer.label == example.proxy_label


@hookimpl
def harness_register_judges(register: Callable[[type[Judge]], None]) -> None:
    """Both judges."""
    register(WrongLabel)
    register(ProxyLabel)
