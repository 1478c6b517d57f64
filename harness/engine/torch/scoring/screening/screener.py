"""Scores requests of which only the best candidates are wanted: all in lower precision, then some exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
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


@dataclass(frozen=True)
class _Distinct:
    """An item without its repeated candidates: equal ones would tell the same error again.

    Attributes:
        rows: whole rows of the item [n, P + S + T].
        place: of each candidate among these, [K].
    """

    item: ScoreItem
    rows: NDArray[np.int64]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, item: ScoreItem, rows: NDArray[np.int64]) -> _Distinct:
        """The item with each candidate once."""
        distinct, first, place = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        return cls(replace(item, candidates=item.candidates[first]), distinct, place.reshape(-1))

    def of_all(self, answer: ItemOutputs) -> ItemOutputs:
        """Its answer, told of all candidates."""
        bounds = None if answer.bounds is None else answer.bounds[self.place]
        return ItemOutputs(answer.values[self.place], answer.executed, bounds)


@dataclass
class _Work:
    """One item on its way.

    Attributes:
        rows: whole rows, [K, P + S + T].
        reduced: losses in lower precision, [K].
        values: outputs of the head, exact in the rows that are ``known``, [K].
        executed: FLOPs so far.
        bounds: what the others' losses are not below, [K].
    """

    item: ScoreItem
    rows: NDArray[np.int64]
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
        best = self.item.best or 1
        if not self.known.any():
            return first_to_score(self.reduced, best)
        exact = np.where(self.known, loss_of(self.values, self.item.target, self.item.over), np.nan)
        possible, self.bounds = screen(self.reduced, exact, self.known, best)
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

    def __init__(self, model: Any, packed: PackedScorer, ordinary_ids: Tokens, context: int) -> None:
        """Look at the model; nothing is run.

        Args:
            packed: scores the candidates; it was found right.
            ordinary_ids: to draw requests from.
            context: longest row in tokens.
        """
        self._model, self._packed, self._ordinary_ids = model, packed, ordinary_ids
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
        if self.reason:
            return self._packed.score_fitting(items, rows)
        wanted = {i: _Distinct.of(item, rows[i]) for i, item in enumerate(items) if item.best is not None}
        distinct = {i: one for i, one in wanted.items() if self._worthwhile(one, items[i].best or 1)}
        if distinct and self.share is None:
            self._try()
            return self.score_fitting(items, rows)
        answers: dict[int, ItemOutputs] = {}
        # In their order, so that the same prefixes are remembered in the end as without screening.
        for screened, group in groupby(range(len(items)), lambda i: i in distinct):
            at = list(group)
            if screened:
                found = _score(self._packed, [distinct[i] for i in at])
                answers |= {i: distinct[i].of_all(answer) for i, answer in zip(at, found, strict=True)}
            else:
                exact = self._packed.score_fitting([items[i] for i in at], [rows[i] for i in at])
                answers |= {at[i]: answer for i, answer in exact.items()}
        return answers

    def _try(self) -> None:
        """Find out whether it saves anything: where candidates are apart by little more than the error, it does not."""
        requests = _random_requests(self._ordinary_ids, self._packed.reader.labels)
        self._packed.cache.clear_if_changed(self._model)
        with self._packed.cache.set_aside():
            found = _score(self._packed, [_Distinct.of(item, whole_rows(item)) for item in requests])
        self.share = float(np.mean([np.isnan(answer.bounds).mean() for answer in found if answer.bounds is not None]))
        if self.share > _MOST_SHARE:
            self.reason = "its candidates' losses differ by little more than the error of bfloat16"

    def _worthwhile(self, one: _Distinct, best: int) -> bool:
        """Whether enough candidates could be spared."""
        count, length = one.rows.shape
        return count >= _LEAST_FACTOR * (PAIRS + best - 1) and self._packed.fits(one.item.target, length)

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return {"screened": not self.reason and self.share is not None, "reason": self.reason, "share": self.share}


def _score(packed: PackedScorer, wanted: Sequence[_Distinct]) -> list[ItemOutputs]:
    """Answers to items, the best candidates exact. What is remembered is what the pass over all of them left."""
    reduced = packed.score([one.item for one in wanted], [one.rows for one in wanted], reduced=True)
    work = [
        _Work(one.item, one.rows, loss_of(told.values, one.item.target, one.item.over), told.values, told.executed)
        for one, told in zip(wanted, reduced, strict=True)
    ]
    with packed.cache.unchanged():
        while parts := [(one, at) for one in work if len(at := one.wanted())]:
            exact = packed.score([one.part(at) for one, at in parts], [one.rows[at] for one, at in parts])
            for (one, at), answer in zip(parts, exact, strict=True):
                one.put(at, answer)
    return [ItemOutputs(one.values, one.executed, np.where(one.known, np.nan, one.bounds)) for one in work]


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
