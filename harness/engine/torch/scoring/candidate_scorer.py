"""Scores candidates by the first strategy that a self-check finds right for the model; falls back where one fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import ScoreItem
from harness.engine.torch.heads import Head
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.copy_scorer import CopyScorer
from harness.engine.torch.scoring.full_scorer import FullScorer
from harness.engine.torch.scoring.head_reader import ItemOutputs
from harness.engine.torch.scoring.model_limits import why_not_packable
from harness.engine.torch.scoring.packed.scorer import PackedScorer
from harness.engine.torch.scoring.scorer_check import ScorerCheck, check_scorer
from harness.engine.torch.scoring.screening.screener import Screener
from harness.engine.torch.scoring.strategy_names import LETTERS, StrategyChoice, StrategyName
from harness.engine.torch.scoring.unsupported import MODEL_ERRORS, UnsupportedModelError, reason_of
from harness.engine.torch.self_check.tolerance import deviation_message
from harness.tokens.tokenizer import Tokens


class CandidateScorer:
    """Scoring of one model's candidates.

    Attributes:
        strategy: ``packed_reuse`` (as ``packed`` for items without a current string), ``packed`` (current strings are
            ignored), ``copied_prefix`` or ``full``.
        packed: scores on packed rows; None where the strategy is not a packed one.
        copied: scores behind copied prefixes: all rows under ``copied_prefix``, those that are too long to be packed
            under a packed strategy; None where that is not needed or not right.
        full: scores what the others do not.
        screener: leaves out candidates that cannot be among the best; None before it is asked for.
        difference, tolerance: of the strategy's self-check (see `ScorerCheck`); None where it was not run.
        reason: why it is not ``packed_reuse``, or "".
    """

    def __init__(
        self,
        model: Any,
        head: Head,
        full: FullScorer,
        chunker: Chunker,
        ordinary_ids: Tokens,
        context: int,
        strategy: StrategyChoice = "auto",
    ) -> None:
        """Check strategies on a few candidates and take the first that is right.

        Args:
            chunker: tokens per forward.
            ordinary_ids: to draw the candidates of the self-check from.
            context: longest row in tokens.
            strategy: begin with this one; ``auto`` with ``packed_reuse``.

        Raises:
            VictimError: no memory for one row.
        """
        self._model, self._head, self._chunker = model, head, chunker
        self._ordinary_ids, self._context = ordinary_ids, context
        self.full = full
        self.strategy: StrategyName = "full"
        self.packed: PackedScorer | None = None
        self.copied: CopyScorer | None = None
        self.difference: float | None = None
        self.tolerance: float | None = None
        self.reason = ""
        self.screener: Screener | None = None
        if strategy == "full":
            self.reason = "asked for"
        elif strategy == "copied_prefix":
            self._stop_packing("asked for")
        else:
            self._start_packing(reuse=strategy != "packed")

    # -- scoring -------------------------------------------------------------------------------------------------------

    def score(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> list[ItemOutputs]:
        """Outputs of the head for each item's rows.

        Args:
            rows: whole rows of each item [K, P + S + T], checked.

        Raises:
            VictimError: NaN in a full forward, no memory for one row.
        """
        answers = self.score_shared(items, rows)
        rest = [i for i in range(len(items)) if i not in answers]
        full = self.full.score([items[i] for i in rest], [rows[i] for i in rest])
        answers |= dict(zip(rest, full, strict=True))
        return [answers[i] for i in range(len(items))]

    def score_shared(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> dict[int, ItemOutputs]:
        """As `score`, by index, of the items whose rows can share prefixes."""
        answers = self.score_packed(items, rows)
        copied = self.copied
        if copied is None:
            return answers
        rest = [i for i, item_rows in enumerate(rows) if i not in answers and len(item_rows)]
        rest = [i for i in rest if copied.fits(items[i].target, rows[i].shape[1])]
        try:
            answers.update(zip(rest, copied.score([items[i] for i in rest], [rows[i] for i in rest]), strict=True))
        except UnsupportedModelError as error:
            self._stop_copying(str(error))
        return answers

    def score_packed(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> dict[int, ItemOutputs]:
        """As `score`, by index, of the items whose rows can be packed."""
        if self.packed is None:
            return {}
        if self.strategy == "packed":
            items = [replace(item, near=None) for item in items]
        try:
            if all(item.best is None for item in items):
                return self.packed.score_fitting(items, rows)
            return self._screening(self.packed).score_fitting(items, rows)
        except UnsupportedModelError as error:
            self._stop_packing(str(error))
            return {}

    def warm(self, befores: Sequence[Tokens]) -> None:
        """Remember these beginnings of prompts and no others. Raises VictimError: no memory."""
        if self.packed is not None:
            try:
                self.packed.warm(befores)
            except UnsupportedModelError as error:
                self._stop_packing(str(error))
        if self.copied is not None:
            try:
                self.copied.warm(befores)
            except UnsupportedModelError as error:
                self._stop_copying(str(error))

    def forget_strings(self) -> None:
        """Forget the attack strings that a gradient was computed of; beginnings of prompts stay."""
        if self.packed is not None:
            self.packed.prefixes.forget_strings()

    # -- the choice ----------------------------------------------------------------------------------------------------

    def _screening(self, packed: PackedScorer) -> Screener:
        if self.screener is None:
            self.screener = Screener(self._model, packed, self._ordinary_ids, self._context)
        return self.screener

    def _start_packing(self, reuse: bool) -> None:
        """Take a packed strategy where it is right, else the next one."""
        why = why_not_packable(self._model) or self._check_packed()
        if why:
            self._stop_packing(why)
            return
        self.strategy, self.reason = ("packed_reuse", "") if reuse else ("packed", "asked for")
        if self._longest_packed_row is not None and self._longest_packed_row < self._context:
            checked = self._checked_copies()
            if isinstance(checked, str):
                self._stop_copying(checked)
            else:
                self.copied, _ = checked

    def _check_packed(self) -> str:
        """Set `packed` and what its self-check found, or say why it is not right."""
        try:
            packed = PackedScorer(self._model, self._head, self._chunker, self._ordinary_ids)
            check = self._checked(packed)
            why = deviation_message("packed rows", check.difference, check.tolerance)
        except (UnsupportedModelError, *MODEL_ERRORS) as error:
            why = reason_of(error)
        if not why:
            packed.cache.clear()
            self.packed, self.difference, self.tolerance = packed, check.difference, check.tolerance
        return why

    def _checked_copies(self) -> tuple[CopyScorer, ScorerCheck] | str:
        """A scorer behind copied prefixes and what its self-check found, or why it is not right."""
        try:
            copied = CopyScorer(self._model, self._head, self._chunker, self._ordinary_ids)
            check = self._checked(copied)
            why = deviation_message("rows behind copied prefixes", check.difference, check.tolerance)
        except (UnsupportedModelError, *MODEL_ERRORS) as error:
            why = reason_of(error)
        if why:
            return why
        copied.cache.clear()
        return copied, check

    def _checked(self, scorer: PackedScorer | CopyScorer) -> ScorerCheck:
        """A scorer's self-check on rows as long as it takes."""
        longest = self._context
        if scorer.longest is not None:
            longest = min(longest, scorer.longest - self._head.extra)
        return check_scorer(self._model, scorer, self.full, self._ordinary_ids, longest)

    def _stop_packing(self, why: str) -> None:
        """Go on with copied prefixes where they are right, else with full forwards."""
        self.strategy, self.packed, self.reason = "full", None, why
        self.difference = self.tolerance = None
        checked = self._checked_copies()
        if isinstance(checked, str):
            self._stop_copying(checked)
            return
        self.copied, check = checked
        self.strategy, self.difference, self.tolerance = "copied_prefix", check.difference, check.tolerance

    def _stop_copying(self, why: str) -> None:
        """Go on with full forwards where a packed strategy does not serve."""
        self.copied, self.reason = None, "; ".join(filter(None, [self.reason, f"copied prefixes: {why}"]))
        if self.strategy == "copied_prefix":
            self.strategy = "full"

    # -- the record ----------------------------------------------------------------------------------------------------

    @property
    def _longest_packed_row(self) -> int | None:
        """Tokens of the longest row that may be packed, appended ids left out; None: no limit, or nothing is packed."""
        if self.packed is None or self.packed.longest is None:
            return None
        return self.packed.longest - self._head.extra

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest; strategies by their letters."""
        longer_rows: StrategyName = "copied_prefix" if self.copied else "full"
        return {
            "path": LETTERS[self.strategy],
            "reason": self.reason,
            "difference": self.difference,
            "tolerance": self.tolerance,
            "longest_packed_row": self._longest_packed_row,
            "longer_rows": None if self._longest_packed_row is None else LETTERS[longer_rows],
            # also where this process has scored nothing, as of a cell that is resumed at its end
            "screening": None if self.packed is None else self._screening(self.packed).to_json(),
        }
