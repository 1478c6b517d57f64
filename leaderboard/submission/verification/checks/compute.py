"""Compute and queries of one cell: finite, within the threat model's limits, and no less than the queries imply."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.records.cell import CellRecord
from harness.records.model_role import ModelRole
from leaderboard.submission.verification.checks.rows import SubmittedRows

Floats = NDArray[np.float64]
_ROUNDING = 1 + 1e-9
_MUCH = 4  # times what a forward and a backward pass of the longest prompt take: more is pointed out


def compute_problems(record: CellRecord, rows: SubmittedRows) -> Iterator[str]:
    """What of the costs of a cell's steps cannot be."""
    facts = record.victim_facts
    if not len(rows) or facts is None:
        return
    amounts = [f"{who}_{how}" for who in ("attack", "judge", "defense") for how in ("nominal", "executed")]
    for name in (*amounts, "seconds"):
        value = rows[name].astype(np.float64)
        wrong = rows[f"has_{name}"] & ~((value >= 0) & np.isfinite(value))
        if wrong.any():
            yield f"{rows.first(wrong)}: {name} is negative or not finite"
            return
    for name, wrong in (("queries", rows["queries"] < 0), ("seconds", ~rows["has_seconds"])):
        if wrong.any():
            yield f"{rows.first(wrong)}: {name} is empty or negative"
            return
    yield from _unknown_problems(record, rows)
    yield from _limit_problems(record, rows)
    if facts.n_params is not None:
        yield from _least_problems(rows, 2.0 * facts.n_params, guarded=record.defense.name != "none")


def _unknown_problems(record: CellRecord, rows: SubmittedRows) -> Iterator[str]:
    """Compute is unknown only where the size of a model is."""
    assert record.victim_facts is not None
    sizes = {role: each.n_params for role, each in record.auxiliary.items()}
    judges = [role for role in sizes if ModelRole.parse(role).asker == "judge"]
    victim = record.victim_facts.n_params
    known = {
        "attack_nominal": None not in [victim, *(size for role, size in sizes.items() if role not in judges)],
        "judge_nominal": victim is not None and not judges,
    }
    for name, must in known.items():
        empty = ~rows[f"has_{name}"]
        if must and empty.any():
            yield f"{rows.first(empty)}: {name} is unknown, although the size of every model is known"


def _limit_problems(record: CellRecord, rows: SubmittedRows) -> Iterator[str]:
    begins = np.flatnonzero(np.diff(rows.example, prepend=-1))
    queries, flops = record.threat.get("queries"), record.threat.get("flops")
    if isinstance(queries, int):
        asked = np.add.reduceat(rows["queries"].astype(np.int64), begins)
        if (asked > queries).any():
            yield f"an example took {int(asked.max())} queries, and the threat model allows {queries}"
    if isinstance(flops, int | float):
        attack, defense = (np.nan_to_num(rows[f"{who}_nominal"].astype(np.float64)) for who in ("attack", "defense"))
        spent = attack + defense
        if defense.any():  # what a defense adds to a request is known afterwards: the last step may go beyond
            spent = spent.copy()
            ends = np.append(begins[1:], len(rows)) - 1
            spent[ends] = spent[np.maximum(ends - 1, begins)] = 0.0
        total = np.add.reduceat(spent, begins)
        if (total > flops * _ROUNDING).any():
            yield f"an example took {total.max():g} FLOPs, and the threat model allows {flops:g}"


def _least_problems(rows: SubmittedRows, per_token: float, *, guarded: bool) -> Iterator[str]:
    """A sequence has at least one token; what a guard refuses costs the victim nothing."""
    attack, judge = (
        np.nan_to_num(rows[f"{who}_nominal"].astype(np.float64), nan=np.inf) for who in ("attack", "judge")
    )
    queries = rows["queries"].astype(np.float64)
    if not guarded and attack.sum() * _ROUNDING < per_token * queries.sum():
        yield (
            f"its attack took {attack.sum():g} FLOPs (nominal) for {queries.sum():,.0f} queries; "
            f"they take at least {per_token * queries.sum():g}"
        )
    tokens = np.maximum(rows["tokens"].astype(np.float64), 1.0)
    said = (rows["has_predicted"] | rows["has_answer"]) & ~rows["has_failure"]
    least = per_token * (np.ones_like(tokens) if guarded else tokens)
    short = said & (judge * _ROUNDING < least)
    if short.any():
        at = int(np.flatnonzero(short)[0])
        yield (
            f"{rows.first(short)}: judging took {judge[at]:g} FLOPs (nominal); an answer to its string takes at least "
            f"{least[at]:g}"
        )


def compute_notes(record: CellRecord, rows: SubmittedRows) -> Iterator[str]:
    """Costs that are possible, and that a reader should look at."""
    facts = record.victim_facts
    if facts is None or facts.n_params is None or record.task_kind != "labels" or record.auxiliary or not len(rows):
        return
    judge = rows["judge_nominal"].astype(np.float64)
    longest = float(np.nan_to_num(judge).max())
    asked, spent = (
        float(rows["queries"].astype(np.float64).sum()),
        float(np.nansum(rows["attack_nominal"].astype(np.float64))),
    )
    most = 3.0 * longest * asked
    if most and spent > _MUCH * most:
        yield (
            f"its attack took {spent / asked:g} FLOPs (nominal) per query, {spent / most:.1f} times a forward and a "
            "backward pass of its longest prompt"
        )
