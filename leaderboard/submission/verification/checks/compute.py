"""Compute and queries of one cell: finite, within the threat model's limits, and no less than the queries imply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.records.cell_manifest import CellRecord
from harness.records.model_role import ModelRole
from leaderboard.submission.verification.submitted_rows import SubmittedRows

_ROUNDING = 1 + 1e-9


def compute_problems(record: CellRecord, rows: SubmittedRows) -> Iterator[str]:
    """What of the costs of a cell's steps cannot be."""
    facts = record.victim_facts
    if not len(rows) or facts is None:
        return
    amounts = [f"{part}_{kind}" for part in ("attack", "judge", "defense") for kind in ("nominal", "executed")]
    for name in (*amounts, "seconds"):
        value = rows.floats(name)
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
    if record.defense.name == "none" and (rows.floats("defense_nominal") > 0).any():
        yield "a defense took FLOPs, and there is none"
    if facts.n_params is not None:
        asks = record.threat.get("asks") is not None
        yield from _minimum_problems(rows, 2.0 * facts.n_params, defended=record.defense.name != "none", asks=asks)


def _unknown_problems(record: CellRecord, rows: SubmittedRows) -> Iterator[str]:
    """Compute is unknown where the size of a model is, and nowhere else."""
    assert record.victim_facts is not None
    sizes = {role: model.n_params for role, model in record.auxiliary.items()}
    judges = [role for role in sizes if ModelRole.parse(role).asker == "judge"]
    victim = record.victim_facts.n_params
    is_known = {
        "attack_nominal": None not in [victim, *(size for role, size in sizes.items() if role not in judges)],
        "judge_nominal": victim is not None and not judges,
    }
    answered = (rows["has_predicted"] | rows["has_answer"]) & ~rows["has_failure"]
    for name, known in is_known.items():
        empty = ~rows[f"has_{name}"]
        # Judged again by a judge that asks no model: what the models of the judge before took cannot be told apart.
        judged_anew = name == "judge_nominal" and answered.any() and empty[answered].all()
        if known and empty.any() and not judged_anew:
            yield f"{rows.first(empty)}: {name} is unknown, although the size of every model is known"
    if victim is not None:
        return
    asked = rows["queries"] > 0
    if record.defense.name != "none":  # guards may have kept all from the victim, and models of the attack be known
        asked &= (rows.floats("attack_nominal") > 0) & (len(judges) == len(sizes))
    for name, unknown in (("attack_nominal", asked), ("judge_nominal", answered & ~rows.booleans("missing"))):
        known_rows = unknown & rows[f"has_{name}"]
        if known_rows.any():
            yield f"{rows.first(known_rows)}: {name} is known, although the size of the victim, which was asked, is not"


def _limit_problems(record: CellRecord, rows: SubmittedRows) -> Iterator[str]:
    starts = np.flatnonzero(np.diff(rows.example, prepend=-1))
    max_queries, max_flops = record.threat.get("queries"), record.threat.get("flops")
    if isinstance(max_queries, int):
        queries = np.add.reduceat(rows["queries"].astype(np.int64), starts)
        if (queries > max_queries).any():
            yield f"an example took {int(queries.max())} queries, and the threat model allows {max_queries}"
    if isinstance(max_flops, int | float):
        attack, defense = (np.nan_to_num(rows.floats(f"{part}_nominal")) for part in ("attack", "defense"))
        spent = attack + defense
        if defense.any():  # what a defense adds to a request is known afterwards: the last step may go beyond
            spent = spent.copy()
            ends = np.append(starts[1:], len(rows)) - 1
            spent[ends] = spent[np.maximum(ends - 1, starts)] = 0.0
        total = np.add.reduceat(spent, starts)
        if (total > max_flops * _ROUNDING).any():
            yield f"an example took {total.max():g} FLOPs, and the threat model allows {max_flops:g}"


def _minimum_problems(rows: SubmittedRows, per_token: float, *, defended: bool, asks: bool) -> Iterator[str]:
    """A sequence has at least one token; what a guard refuses costs the victim nothing; what the attacker asks itself
    is no judging.
    """
    attack, judge = (np.nan_to_num(rows.floats(f"{part}_nominal"), nan=np.inf) for part in ("attack", "judge"))
    queries = rows.floats("queries").sum()
    if not defended and attack.sum() * _ROUNDING < per_token * queries:
        yield (
            f"its attack took {attack.sum():g} FLOPs (nominal) for {queries:,.0f} queries; "
            f"they take at least {per_token * queries:g}"
        )
    tokens = np.maximum(rows.floats("tokens"), 1.0)
    answered = (rows["has_predicted"] | rows["has_answer"]) & ~rows["has_failure"]
    minimum = per_token * (np.ones_like(tokens) if defended else tokens)
    judge = judge + attack if asks else judge
    too_little = answered & (judge * _ROUNDING < minimum)
    if too_little.any():
        index = int(np.flatnonzero(too_little)[0])
        yield (
            f"{rows.first(too_little)}: judging took {judge[index]:g} FLOPs (nominal); an answer to its string takes "
            f"at least {minimum[index]:g}"
        )


def attack_costs(record: CellRecord, rows: SubmittedRows) -> dict[str, Any]:
    """What a cell's attack took in all, as fields of `harness.replay.by_spec.attack_costs.RecordedCosts`."""
    if not len(rows):
        return {"steps": 0, "queries": 0, "most_queries": 0, "flops": 0.0, "longest_forward": 0.0}
    spent = float(rows.floats("attack_nominal").sum())
    facts = record.defense_facts  # older records do not count draws
    draws = np.where(rows["has_draws"], rows["draws"], 1 if facts is None else facts.judge_draws)
    forward = np.nan_to_num(rows.floats("judge_nominal")) / np.maximum(draws, 1.0)
    return {
        "steps": len(rows),
        "queries": int(rows["queries"].sum()),
        "most_queries": int(rows["queries"].max()),
        "flops": None if np.isnan(spent) else spent,
        "longest_forward": float(forward.max()),
        "longest_judging": float(np.nan_to_num(rows.floats("judge_nominal")).max()),
        "at_early_end": _spent_at_early_end(record, rows),
    }


def _spent_at_early_end(record: CellRecord, rows: SubmittedRows) -> tuple[float, float] | None:
    """Queries and FLOPs of the example whose search ended before its last step with most of the threat model's limits
    left; None where no search ended so without a success.
    """
    starts = np.flatnonzero(np.diff(rows.example, prepend=-1))
    ends = np.append(starts[1:], len(rows)) - 1
    early = rows["step"][ends] < record.attack_steps
    if record.stop_on_success:
        early &= ~np.logical_or.reduceat(rows.booleans("success"), starts)
    if not early.any():
        return None
    spent = np.nan_to_num(rows.floats("attack_nominal")) + np.nan_to_num(rows.floats("defense_nominal"))
    totals = [np.add.reduceat(amount, starts) for amount in (rows.floats("queries"), spent)]
    limits = [record.threat.get("queries"), record.threat.get("flops")]
    shares = [total / limit for total, limit in zip(totals, limits, strict=True) if isinstance(limit, int | float)]
    if not shares:
        return None
    at = int(np.argmin(np.where(early, np.max(shares, axis=0), np.inf)))
    return float(totals[0][at]), float(totals[1][at])
