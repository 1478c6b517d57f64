"""Whether a plugin, and the package it comes in, can have a name."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys

from harness.api.plugin import KINDS, Kind
from harness.errors import PluginError, did_you_mean
from harness.registry.class_checks import NAME, RESERVED, snake_case
from harness.registry.registry import Registry

LONGEST = 40
TEMPLATES: dict[str, Kind] = {kind: kind for kind in KINDS} | {"transform": "defense", "vote": "defense"}
"""What there are templates of, and which kind of plugin each is; that of a defense is a guard."""


def checked_template(name: str) -> str:
    """The template of that name. Raises PluginError where there is none."""
    if name not in TEMPLATES:
        raise PluginError(f"--kind {name}: no such kind{did_you_mean(name, TEMPLATES)}; kinds: {', '.join(TEMPLATES)}")
    return name


def check_name(name: str, kind: Kind, registry: Registry) -> None:
    """Check that a plugin of a kind, and a module, can be called so.

    Raises:
        PluginError: they cannot; the message says why, and what would do.
    """
    if not NAME.fullmatch(name):
        better = re.sub(r"[^a-z0-9]+", "_", snake_case(name)).strip("_").lstrip("0123456789_")
        hint = f"; '{better}' would do" if NAME.fullmatch(better) else ""
        raise PluginError(
            f"'{name}' is not a valid plugin name: lower-case letters, digits and underscores, a letter first{hint}"
        )
    if len(name) > LONGEST:
        raise PluginError(f"'{name}' has {len(name)} characters; at most {LONGEST}, because it appears in tables")
    if keyword.iskeyword(name) or name in RESERVED:
        raise PluginError(f"'{name}' is reserved; choose another name, such as '{name}_{kind}'")
    taken = next((entry for entry in registry.entries(kind) if entry.name == name), None)
    if taken is not None:
        raise PluginError(
            f"the {kind}s already have one called '{name}', of {taken.distribution} {taken.version}; choose another"
        )
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise PluginError(
            f"'{name}' is the name of a Python module that is installed here, and the package's would hide it; choose "
            f"another name, such as '{name}_{kind}'"
        )


def class_name(name: str) -> str:
    """What a plugin's class is called: ``HillClimb`` for ``hill_climb``."""
    return "".join(part.capitalize() for part in name.split("_"))


def distribution_name(name: str) -> str:
    """What a plugin's package is installed as: ``harness-hill-climb`` for ``hill_climb``."""
    return f"harness-{name.strip('_').replace('_', '-')}"
