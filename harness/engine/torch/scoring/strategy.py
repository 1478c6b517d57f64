"""Which way candidates are scored: packed where that was checked and is right, else behind copied prefixes where that
is, else by a full forward of every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import ScoreItem
from harness.engine.torch.heads import Head
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.copy_scorer import CopyScorer
from harness.engine.torch.scoring.head_reader import refusal, shortest_window
from harness.engine.torch.scoring.packed.packed_pass import FAILURES, UnfitError, words_of
from harness.engine.torch.scoring.packed.scorer import Logits, PackedScorer
from harness.engine.torch.scoring.scorer_check import Deviation, Plain, deviation
from harness.tokens.tokenizer import Tokens

PathName = Literal["auto", "A", "B", "C", "D"]


@dataclass
class Strategies:
    """The choice for one model.

    Attributes:
        path: ``D`` (packed; C for items without a current string), ``C`` (packed, current strings ignored), ``B``
            (copied prefixes) or ``A`` (full forwards).
        packing: how packed rows are scored; None on paths A and B.
        window: longest row in tokens that may be packed. None: no limit.
        difference, tolerance: of the path's self-check (see `Deviation`); None where it was not run.
        reason: why it is not D, or "".
        copied: how rows behind copied prefixes are scored: all on path B, those longer than ``window`` on C and D;
            None where that is not needed or not right. What it cannot score takes a full forward.
        spare: makes and checks ``copied``, or says why it is not right.
    """

    path: Literal["A", "B", "C", "D"]
    packing: PackedScorer | None = None
    window: int | None = None
    difference: float | None = None
    tolerance: float | None = None
    reason: str = ""
    copied: CopyScorer | None = None
    spare: Callable[[], tuple[CopyScorer, Deviation] | str] = field(default=lambda: "", repr=False)

    def shared(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> dict[int, Logits]:
        """Answers of the items whose candidates can share prefixes, by index; ``rows`` as in `PackedScorer.score`."""
        answers = self.packed(items, rows)
        copied = self.copied
        if copied is None:
            return answers
        rest = [i for i, own in enumerate(rows) if i not in answers and len(own)]
        rest = [i for i in rest if copied.fits(items[i], rows[i].shape[1])]
        try:
            answers.update(zip(rest, copied.score([items[i] for i in rest], [rows[i] for i in rest]), strict=True))
        except UnfitError as error:
            self._without_copies(str(error))
        return answers

    def packed(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> dict[int, Logits]:
        """Answers of the items that can be packed, by index; ``rows`` as in `PackedScorer.score`."""
        if self.packing is None:
            return {}
        fit = [i for i, own in enumerate(rows) if len(own) and self._fits(items[i], own)]
        if not fit:
            return {}
        chosen = [items[i] if self.path == "D" else replace(items[i], near=None) for i in fit]
        try:
            return dict(zip(fit, self.packing.score(chosen, [rows[i] for i in fit]), strict=True))
        except UnfitError as error:
            self._without_packing(str(error))
            return {}

    def _fits(self, item: ScoreItem, rows: NDArray[np.int64]) -> bool:
        more = 0 if isinstance(item.target, int) else len(item.target) - 1
        return self.window is None or rows.shape[1] + more <= self.window

    def begin(self, befores: Sequence[Tokens]) -> None:
        """Remember these beginnings of prompts and no others. Raises VictimError: no memory."""
        if self.packing is not None:
            try:
                self.packing.remember([ids for ids in befores if self.window is None or len(ids) <= self.window])
            except UnfitError as error:
                self._without_packing(str(error))
        if self.copied is not None:
            try:
                self.copied.remember(befores)
            except UnfitError as error:
                self._without_copies(str(error))

    def begin_step(self) -> None:
        """Forget the strings of which a gradient was asked for."""
        if self.packing is not None:
            self.packing.prefixes.forget_strings()

    def _without_packing(self, why: str) -> None:
        self.path, self.packing, self.window, self.reason = "A", None, None, why
        self.difference = self.tolerance = None
        found = self.spare()
        if isinstance(found, str):
            self.reason = f"{why}; {found}"
            return
        self.path, (self.copied, check) = "B", found
        self.difference, self.tolerance = check.difference, check.tolerance

    def _without_copies(self, why: str) -> None:
        self.copied, self.reason = None, "; ".join(filter(None, [self.reason, f"copied prefixes: {why}"]))
        if self.path == "B":
            self.path = "A"

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return {
            "path": self.path,
            "reason": self.reason,
            "difference": self.difference,
            "tolerance": self.tolerance,
            "longest_packed_row": self.window,
            "longer_rows": None if self.window is None else "B" if self.copied else "A",
        }


def choose(
    model: Any,
    head: Head,
    plain: Plain,
    chunker: Chunker,
    usable: Tokens,
    context: int,
    asked: PathName = "auto",
) -> Strategies:
    """Check ways of scoring on a few candidates and take the first that is right: packed, copied prefixes, plain.

    Args:
        plain: readings of rows of equal length by a full forward.
        chunker: tokens per forward.
        usable: ordinary ids.
        context: longest row.
        asked: begin with this one; ``auto`` is D.

    Raises:
        VictimError: no memory for one row.
    """
    if asked == "A":
        return Strategies("A", reason="asked for")

    def spare() -> tuple[CopyScorer, Deviation] | str:
        return _checked_copies(model, head, plain, chunker, usable, context)

    paths = Strategies("A", spare=spare)
    if asked == "B":
        paths._without_packing("asked for")
        return paths
    why = refusal(model)
    window = shortest_window(model)
    if window is not None:
        window -= head.extra
    if not why:
        try:
            packing = PackedScorer(model, head, chunker, usable)
            longest = context if window is None else min(context, window)
            found = deviation(model, packing, plain, usable, longest)
            why, paths.difference, paths.tolerance = found.in_words("packed rows"), found.difference, found.tolerance
        except (UnfitError, *FAILURES) as error:
            why = words_of(error)
    if why:
        paths._without_packing(why)
        return paths
    packing.cache.clear()
    paths.packing, paths.window = packing, window
    paths.path, paths.reason = ("C", "asked for") if asked == "C" else ("D", "")
    if window is not None and window < context:
        other = spare()
        if isinstance(other, str):
            paths._without_copies(other.removeprefix("copied prefixes: "))
        else:
            paths.copied = other[0]
    return paths


def _checked_copies(
    model: Any, head: Head, plain: Plain, chunker: Chunker, usable: Tokens, context: int
) -> tuple[CopyScorer, Deviation] | str:
    """Path B and what its self-check found, or why it is not right."""
    try:
        copied = CopyScorer(model, head, chunker, usable)
        longest = context if copied.longest is None else min(context, copied.longest - head.extra)
        found = deviation(model, copied, plain, usable, longest)
        why = found.in_words("rows behind copied prefixes")
    except (UnfitError, *FAILURES) as error:
        why = words_of(error)
    if why:
        return f"copied prefixes: {why}"
    copied.cache.clear()
    return copied, found
