"""The search space as a user narrows it: ``name=low..high`` and ``name=a,b,c``, or a file with the same in YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.api.attack import Attack
from harness.errors import PluginError, RunError, did_you_mean
from harness.hashing import canonical_json
from harness.run.tuning.derived_space import FACTOR, STEPS, Make, NumberField, derived_space
from harness.run.tuning.dimension import Choices, Dimension, Range

_RANGE = re.compile(r"\s*([-+0-9.e]+)\s*\.\.\s*([-+0-9.e]+)\s*", re.IGNORECASE)
_LONG = {"low", "high", "log"}


def read_space(options: Sequence[str]) -> dict[str, Any]:
    """What ``--space`` was given, by parameter; of one that is named twice the last counts.

    Raises:
        RunError: a file that is none or no mapping.
    """
    found: dict[str, Any] = {}
    for option in options:
        name, sign, value = option.partition("=")
        if sign and name.strip().isidentifier():
            found[name.strip()] = value if _RANGE.fullmatch(value) else [_plain(part) for part in value.split(",")]
        else:
            found |= _read_file(Path(option))
    return found


def search_space(attack: Attack, make: Make, written: Mapping[str, Any]) -> list[Dimension]:
    """The space that follows from the attack's parameters, with those that were written in place of their own.

    Args:
        make: the attack with some parameters changed.

    Raises:
        RunError: a parameter that is not there, a range that is empty or has no numbers, a value that the attack does
            not accept, or nothing to tune.
    """
    known = type(attack.params).model_fields
    for name in written:
        if name == STEPS:
            raise RunError("--space steps: the budget per example sets the steps; give --per-example")
        if name not in known:
            names = [other for other in known if other != STEPS]
            raise RunError(
                f"--space {name}: {attack.name} has no such parameter{did_you_mean(name, names)}; known: "
                f"{', '.join(sorted(names)) or 'none'}"
            )
    space = {dimension.name: dimension for dimension in derived_space(attack, make)}
    named = {name: _dimension(name, value, attack) for name, value in written.items()}
    for dimension in named.values():
        _check(dimension, make)
    space |= named
    if all(isinstance(dimension, Choices) and len(dimension.values) < 2 for dimension in space.values()):
        others = ", ".join(sorted(set(known) - {STEPS}))
        raise RunError(
            f"{attack.name}: nothing to tune"
            + (f"; name what to try: --space NAME=a,b,c, of {others}" if others else ", it has no parameters but steps")
        )
    return [space[name] for name in known if name in space]


def _dimension(name: str, written: Any, attack: Attack) -> Dimension:
    log = None
    if isinstance(written, str) and (found := _RANGE.fullmatch(written)):
        ends = [_plain(found[1]), _plain(found[2])]
    elif isinstance(written, dict) and {"low", "high"} <= set(written) <= _LONG:
        ends, log = [written["low"], written["high"]], written.get("log")
    elif isinstance(written, dict) and set(written) & _LONG:
        raise RunError(f"--space {name}: a range is {{low: 1, high: 8}}, with log: true or false if you like")
    else:
        values = tuple(written) if isinstance(written, list) else (written,)
        if not values:
            raise RunError(f"--space {name}: no value to try; name one or more")
        try:
            return Choices(name, tuple({canonical_json(value): value for value in values}.values()))
        except ValueError as error:  # a date, as YAML reads 2024-01-01
            raise RunError(f"--space {name}: {error}; write texts in quotes") from None
    number = NumberField.of(type(attack.params).model_fields[name])
    if number is None:
        raise RunError(f"--space {name}: not a number, so it has no range; name its values: {name}=a,b,c")
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(numbers) != len(ends) or (number.integer and not all(isinstance(end, int) for end in ends)):
        sort = "whole numbers" if number.integer else "numbers"
        raise RunError(f"--space {name}: a range of {sort} is LOW..HIGH, not {ends[0]}..{ends[1]}")
    low, high = numbers
    if low > high:
        raise RunError(f"--space {name}: the range {low}..{high} is empty; write the smaller end first")
    if low == high:
        return Choices(name, (low,))
    if log and not low > 0:
        raise RunError(f"--space {name}: a log scale starts above 0, not at {low}; leave out log")
    return Range(name, low, high, number.integer, (low > 0 and high >= FACTOR * low) if log is None else bool(log))


def _check(dimension: Dimension, make: Make) -> None:
    """Raise RunError where the attack does not accept a value, or an end of a range."""
    ends = dimension.values if isinstance(dimension, Choices) else (dimension.low, dimension.high)
    for value in ends:
        try:
            make({dimension.name: value})
        except PluginError as error:
            raise RunError(f"--space {dimension.name}: {error}") from None


def _plain(text: str) -> Any:
    """A value as YAML reads it, numbers such as 1e-3 included."""
    try:
        return (
            float(text)
            if re.fullmatch(r"\s*[-+]?[0-9.]+e[-+]?[0-9]+\s*", text, re.IGNORECASE)
            else yaml.safe_load(text)
        )
    except (yaml.YAMLError, ValueError):
        return text.strip()


def _read_file(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(
            f"--space {path}: cannot be read ({error.strerror}); give a file, or NAME=LOW..HIGH, NAME=a,b,c"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise RunError(f"--space {path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise RunError(f"--space {path}: a space is a mapping of parameters, such as candidates: 16..256")
    return data
