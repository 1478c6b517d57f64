"""Drawn answers of submitted rows as numbers, a row each: how many there are, and what the judge made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.records.answer_state import ANSWER_STATES, NO_ANSWER
from harness.records.step_row import SAMPLED
from leaderboard.arrays import Booleans, Integers

NONE_BROKEN = 2**31 - 1


def drawn_answer_columns(rows: pa.Table) -> dict[str, pa.Array]:
    """Columns of one number per row.

    Returns:
        ``drawn``: how many answers, -1 where the columns are empty; ``drawn_judged``: of them, those with a verdict;
        ``drawn_broken``: those that are a success; ``drawn_first``: the place of the first success, `NONE_BROKEN`
        where there is none; ``drawn_nominal``: FLOPs of all answers, NaN where unknown; ``drawn_odd``: whether the
        lists of a row do not go together, or hold what no answer has.
    """
    columns = {name: rows[name].combine_chunks() for name in SAMPLED}
    lengths = {name: pc.fill_null(pc.list_value_length(column), -1).to_numpy() for name, column in columns.items()}
    count: Integers = lengths["sampled_answer"].astype(np.int64)
    odd: Booleans = np.zeros(len(count), dtype=bool)
    for other in lengths.values():
        odd |= other != count
    whole = np.flatnonzero(~odd & (count > 0))
    found = {name: np.zeros(len(count)) for name in ("judged", "broken", "nominal")}
    first = np.full(len(count), NONE_BROKEN)
    if len(whole):
        entries = {name: column.take(pa.array(whole)).flatten() for name, column in columns.items()}
        starts = np.concatenate([[0], count[whole].cumsum()[:-1]])
        success = entries["sampled_success"]
        broken = pc.fill_null(success, False).to_numpy(zero_copy_only=False)
        nominal = pc.cast(entries["sampled_nominal"], pa.float64()).to_numpy(zero_copy_only=False)
        found["judged"][whole] = np.add.reduceat(
            success.is_valid().to_numpy(zero_copy_only=False).astype(float), starts
        )
        found["broken"][whole] = np.add.reduceat(broken.astype(float), starts)
        found["nominal"][whole] = np.add.reduceat(nominal, starts)
        place = np.arange(len(broken)) - np.repeat(starts, count[whole])
        first[whole] = np.minimum.reduceat(np.where(broken, place, NONE_BROKEN), starts)
        odd[whole] |= np.logical_or.reduceat(_odd_entries(entries, broken, nominal), starts)
    return {f"drawn_{name}": pa.array(values) for name, values in found.items()} | {
        "drawn": pa.array(count),
        "drawn_first": pa.array(first),
        "drawn_odd": pa.array(odd),
    }


def _odd_entries(entries: dict[str, pa.Array], broken: Booleans, nominal: NDArray[np.float64]) -> Booleans:
    """Of each answer, whether it holds what none has."""

    def has(name: str) -> Booleans:
        return np.asarray(entries[name].is_valid().to_numpy(zero_copy_only=False))

    def is_in(values: Sequence[str | None]) -> Booleans:
        found = pc.is_in(entries["sampled_state"].cast(pa.string()), pa.array(values, pa.string()))
        return np.asarray(found.to_numpy(zero_copy_only=False))

    answer, judged = has("sampled_answer"), has("sampled_success")
    unparseable = pc.fill_null(entries["sampled_unparseable"], False).to_numpy(zero_copy_only=False)
    score = entries["sampled_score"].to_numpy(zero_copy_only=False)
    odd = ~is_in([*ANSWER_STATES, None]) | (has("sampled_state") & ~answer)
    odd |= (answer & ~has("sampled_state")) | (is_in(sorted(NO_ANSWER)) == judged)
    odd |= (judged != has("sampled_unparseable")) | (has("sampled_score") & ~judged)
    odd |= broken & (unparseable | ~answer)
    odd |= has("sampled_score") & ~((score >= 0) & (score <= 1))
    odd |= has("sampled_nominal") & ~((nominal >= 0) & np.isfinite(nominal))
    return np.asarray(odd)
