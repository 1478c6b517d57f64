"""Which way candidates are scored: packed where that was checked and is right, else a full forward of every row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.engine.backend import ScoreItem
from harness.engine.chunks import Chunker
from harness.engine.heads import Head
from harness.engine.scoring.check import deviation, tolerance_of, worded
from harness.engine.scoring.packing import Logits, Packing
from harness.engine.scoring.passes import UnfitError
from harness.engine.scoring.reading import refusal, shortest_window
from harness.tokens.text import Floats, Tokens

PathName = Literal["auto", "A", "C", "D"]


@dataclass
class Paths:
    """The choice for one model.

    Attributes:
        path: ``D`` (packed; C for items without a current string), ``C`` (packed, current strings ignored) or ``A``.
        packing: how packed rows are scored; None on path A.
        window: longest row in tokens that may be packed; longer ones take path A. None: no limit.
        difference: found by the self-check; None where it was not run.
        reason: why it is not D, or "".
    """

    path: Literal["A", "C", "D"]
    packing: Packing | None = None
    window: int | None = None
    difference: float | None = None
    reason: str = ""

    def packed(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> dict[int, Logits]:
        """Answers of the items that can be packed, by index; ``rows`` as in `Packing.score`."""
        if self.packing is None:
            return {}
        fit = [i for i, own in enumerate(rows) if len(own) and (self.window is None or own.shape[1] <= self.window)]
        if not fit:
            return {}
        chosen = [items[i] if self.path == "D" else replace(items[i], near=None) for i in fit]
        try:
            return dict(zip(fit, self.packing.score(chosen, [rows[i] for i in fit]), strict=True))
        except UnfitError as error:
            self.path, self.packing, self.reason = "A", None, str(error)
            return {}

    def begin(self, befores: Sequence[Tokens]) -> None:
        """Remember these beginnings of prompts and no others. Raises VictimError: no memory."""
        if self.packing is None:
            return
        try:
            self.packing.remember([ids for ids in befores if self.window is None or len(ids) < self.window])
        except UnfitError as error:
            self.path, self.packing, self.reason = "A", None, str(error)

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return {
            "path": self.path,
            "reason": self.reason,
            "difference": self.difference,
            "longest_packed_row": self.window,
        }


def choose(
    model: Any,
    head: Head,
    plain: Callable[[NDArray[np.int64]], Floats],
    chunker: Chunker,
    usable: Tokens,
    context: int,
    asked: PathName = "auto",
) -> Paths:
    """Check packed scoring on a few candidates and take it if it is right.

    Args:
        plain: label logits of rows of equal length by a full forward.
        chunker: tokens per forward.
        usable: ordinary ids.
        context: longest row.
        asked: ``auto`` is D where it works.

    Raises:
        VictimError: no memory for one row.
    """
    if asked == "A":
        return Paths("A", reason="asked for")
    why = refusal(model)
    if why:
        return Paths("A", reason=why)
    window = shortest_window(model)
    if window is not None:
        window -= head.extra
    difference = None
    try:
        packing = Packing(model, head, chunker, usable)
        difference = deviation(model, packing, plain, usable, context if window is None else min(context, window))
        why = worded(difference, tolerance_of(model))
    except UnfitError as error:
        why = str(error)
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        # A model that cannot take a packed row fails in its own words; the full forward remains.
        why = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    if why:
        return Paths("A", difference=difference, reason=why)
    packing.cache.clear()
    path: Literal["C", "D"] = "C" if asked == "C" else "D"
    return Paths(path, packing, window, difference, "asked for" if path == "C" else "")
