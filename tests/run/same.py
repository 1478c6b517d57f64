"""Whether two runs answered by two engines (or by one that was started again) say the same."""

from __future__ import annotations

import math
from typing import Any

OF_THE_ENGINE = ("agreement", "executed")
"""Ends of the names of what each engine has of its own: what it is, and what it executed."""
ROUNDED = ("loss", "ece", "moved", "gram")
"""Ends of the names of losses, and of what is made of confidences and activations: the same to rounding."""
ROUNDING = 1e-4


def difference(ours: Any, theirs: Any, name: str = "records") -> str:
    """The first thing in which two runs' `records` differ, "" where there is none.

    Losses may differ by rounding; executed FLOPs and facts of the engine are left out; everything that is counted or
    decided has to be equal.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return f"{name}: {sorted(ours.keys() ^ theirs.keys())} in one of them alone"
        own = (key for key in ours if not key.endswith(OF_THE_ENGINE))
        pairs = [(f"{name} {key}", ours[key], theirs[key]) for key in own]
    elif isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        if len(ours) != len(theirs):
            return f"{name}: {len(ours)} of them, and {len(theirs)}"
        pairs = [(f"{name} {place}", *pair) for place, pair in enumerate(zip(ours, theirs, strict=True))]
    elif isinstance(ours, float) and isinstance(theirs, float) and _rounded(name):
        return "" if _near(ours, theirs, name) else f"{name}: {ours}, and {theirs}"
    else:
        return "" if ours == theirs else f"{name}: {ours!r}, and {theirs!r}"
    return next(filter(None, (difference(left, right, where) for where, left, right in pairs)), "")


def _near(ours: float, theirs: float, name: str) -> bool:
    """Scalar products of activations are as large as these are."""
    return math.isclose(ours, theirs, rel_tol=ROUNDING if " gram " in name else 0, abs_tol=ROUNDING)


def _rounded(name: str) -> bool:
    return any(word.endswith(ROUNDED) for word in name.split())
