"""Scores requests of which only the best candidates are wanted: all in lower precision, then some exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import ScoreItem
from harness.engine.losses import loss_of
from harness.engine.torch.scoring.head_reader import ItemOutputs
from harness.engine.torch.scoring.packed.scorer import PackedScorer
from harness.engine.torch.scoring.random_candidates import one_position_redrawn
from harness.engine.torch.scoring.screening.bfloat16_products import why_not_bfloat16
from harness.engine.torch.scoring.screening.error_bound import PAIRS, first_to_score, lowest_of, screen
from harness.engine.torch.token_rows import whole_rows
from harness.tokens.tokenizer import Floats, Tokens

_LEAST_FACTOR = 4  # candidates for each that is scored exactly in any case; with fewer, screening saves nothing
_MOST_SHARE = 0.3  # of the candidates scored exactly, above which it saves too little
_PREFIX, _STRING, _TARGET, _CANDIDATES, _REQUESTS = 24, 16, 4, 64, 2  # of the requests that are tried
_TOKENS = _PREFIX + _STRING + _TARGET


@dataclass
class _Work:
    """One item on its way.

    Attributes:
        reduced: losses in lower precision, [K].
        answer: what is known so far; exact in the rows that are ``known``, [K].
    """

    item: ScoreItem
    rows: NDArray[np.int64]
    best: int
    reduced: Floats
    values: Floats
    executed: float
    known: NDArray[np.bool_] = field(init=False)
    bounds: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.known = np.zeros(len(self.rows), dtype=bool)
        self.bounds = np.full(len(self.rows), -np.inf)

    def wanted(self) -> NDArray[np.int64]:
        """The candidates to score exactly next, none if the best are certain."""
        if not self.known.any():
            return first_to_score(self.reduced, self.best)
        exact = np.where(self.known, loss_of(self.values, self.item.target, self.item.over), np.nan)
        possible, self.bounds = screen(self.reduced, exact, self.known, self.best)
        return lowest_of(possible, self.reduced)

    def part(self, at: NDArray[np.int64]) -> ScoreItem:
        """The item with these candidates alone."""
        return replace(self.item, candidates=self.item.candidates[at], best=None)

    def put(self, at: NDArray[np.int64], answer: ItemOutputs) -> None:
        """Take exact outputs of these candidates."""
        self.values[at] = answer.values
        self.known[at] = True
        self.executed += answer.executed


class Screener:
    """Screening of one model's candidates.

    Attributes:
        reason: why it does not screen, or "".
        share: of the candidates of some random requests, how many had to be scored exactly; None before a request
            that would be screened.
    """

    def __init__(
        self, model: Any, packed: PackedScorer, spare: PackedScorer, ordinary_ids: Tokens, context: int
    ) -> None:
        """Look at the model; nothing is run.

        Args:
            packed: scores the candidates; it was found right.
            spare: another one for the trial, so that what ``packed`` remembers stays.
            ordinary_ids: to draw requests from.
            context: longest row in tokens.
        """
        self._packed, self._spare, self._ordinary_ids = packed, spare, ordinary_ids
        self.share: float | None = None
        self.reason = why_not_bfloat16(model)
        if not self.reason and (context < _TOKENS or not packed.fits(0, _TOKENS)):
            self.reason = "its rows are short"

    def score_fitting(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> dict[int, ItemOutputs]:
        """As `PackedScorer.score_fitting`; of items that want their best alone, the others' values may be inexact,
        with bounds.

        Raises:
            UnsupportedModelError, VictimError: as `PackedScorer.score`.
        """
        screened = [] if self.reason else [i for i, item in enumerate(items) if self._worthwhile(item)]
        if screened and self.share is None:
            self._try()
            screened = [] if self.reason else screened
        others = [i for i in range(len(items)) if i not in set(screened)]
        answers = self._subset(others, items, rows)
        wanted = [(items[i], rows[i]) for i in screened]
        answers |= dict(zip(screened, _score(self._packed, wanted), strict=True))
        return answers

    def _try(self) -> None:
        """Find out whether it saves anything: where candidates are apart by little more than the error, it does not."""
        self.share = _share_of(self._spare, _random_requests(self._ordinary_ids, self._packed.reader.labels))
        if self.share > _MOST_SHARE:
            self.reason = "its candidates' losses differ by little more than the error of bfloat16"

    def _subset(
        self, at: Sequence[int], items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]
    ) -> dict[int, ItemOutputs]:
        """Exact answers to some of the items, by index."""
        exact = self._packed.score_fitting([items[i] for i in at], [rows[i] for i in at])
        return {at[i]: answer for i, answer in exact.items()}

    def _worthwhile(self, item: ScoreItem) -> bool:
        """Whether enough candidates could be spared."""
        count, row = len(item.candidates), len(item.before) + item.candidates.shape[1] + len(item.after)
        exactly = PAIRS + (item.best or count) - 1
        return count >= _LEAST_FACTOR * exactly and self._packed.fits(item.target, row)

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return {"screened": not self.reason and self.share is not None, "reason": self.reason, "share": self.share}


def _score(packed: PackedScorer, wanted: Sequence[tuple[ScoreItem, NDArray[np.int64]]]) -> list[ItemOutputs]:
    """Answers to items with their rows, the best candidates exact."""
    if not wanted:
        return []
    reduced = packed.score([item for item, _ in wanted], [rows for _, rows in wanted], reduced=True)
    work = [
        _Work(item, rows, item.best or 1, loss_of(told.values, item.target, item.over), told.values, told.executed)
        for (item, rows), told in zip(wanted, reduced, strict=True)
    ]
    while True:
        parts = [(one, at) for one in work if len(at := one.wanted())]
        if not parts:
            return [ItemOutputs(one.values, one.executed, np.where(one.known, np.nan, one.bounds)) for one in work]
        exact = packed.score([one.part(at) for one, at in parts], [one.rows[at] for one, at in parts])
        for (one, at), answer in zip(parts, exact, strict=True):
            one.put(at, answer)


def _share_of(packed: PackedScorer, items: Sequence[ScoreItem]) -> float:
    """How many of the candidates have to be scored exactly."""
    answers = _score(packed, [(item, whole_rows(item)) for item in items])
    return float(np.mean([np.isnan(answer.bounds).mean() for answer in answers if answer.bounds is not None]))


def _random_requests(ordinary_ids: Tokens, labels: bool) -> list[ScoreItem]:
    """Requests as those of GCG: candidates that differ from a string in one position."""
    rng = np.random.default_rng(0)
    items = []
    for _ in range(_REQUESTS):
        before, string, tail = (rng.choice(ordinary_ids, size=n) for n in (_PREFIX, _STRING, _TARGET))
        candidates = one_position_redrawn(string, _CANDIDATES, ordinary_ids, rng)
        after, target = (tail, 0) if labels else (tail[:0], tuple(tail.tolist()))
        items.append(ScoreItem(before, candidates, after, target, string, best=1))
    return items
