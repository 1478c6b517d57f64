"""The data of the site, `data.json`: all that the pages show, as plain numbers. No NaN, no attack strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from harness.records.read import Run
from leaderboard.fit.intervals import Rate
from leaderboard.site.fit_json import band_json, fit_json
from leaderboard.site.page_ids import entry_id, row_id, section_id, series
from leaderboard.standings.attack_curves import AttackCurve
from leaderboard.standings.cost_to_break import Breaking
from leaderboard.standings.json_numbers import rate_json, rounded
from leaderboard.standings.standings import Standing, Standings
from leaderboard.standings.transfer import Matrix
from leaderboard.standings.worst_case import WorstCase

__all__ = ["payload", "series"]

FORMAT = 2
MAX_POINTS = 18  # per curve; more cannot be told apart on the plot
WORST_POINTS = 14
FIT_POINTS = 9


def payload(runs: Sequence[Run], tables: Sequence[Standings], matrices: Sequence[Matrix] = ()) -> dict[str, Any]:
    """JSON data of the whole site. Attack compute is in FLOPs per attacked example, nominal; null where unknown."""
    return {
        "format": FORMAT,
        "runs": [
            {key: run.info.get(key) for key in ("spec_name", "spec_version", "spec_hash", "harness_version", "created")}
            | {"cells": len(run.cells), "failed": len(run.failed), "skipped": len(run.skipped)}
            | {"unfinished": run.unfinished}
            for run in runs
        ],
        "transfer": [{"id": f"t{at}"} | matrix.to_json() for at, matrix in enumerate(matrices)],
        "sections": [_section(found) for found in tables],
    }


def _section(found: Standings) -> dict[str, Any]:
    name = section_id(found.section.scope)
    rows = [_row(name, row) for row in found.rows]
    _add_balance_bands(rows, found.rows)
    return (
        {"id": name}
        | asdict(found.section.scope)
        | {
            "target_asr": found.target,
            "apart": found.section.apart,
            "notice": found.section.notice,
            "clean": found.section.clean,
            "rows": rows,
            "failed": [
                {
                    "victim": r.victim.label,
                    "defense": r.defense.label,
                    "attack": r.attack.label,
                    "seed": r.seed,
                    "error": r.error or "",
                }
                for r in found.section.failed
            ],
        }
    )


def _row(section: str, row: Standing) -> dict[str, Any]:
    entry = entry_id(section, row)
    return {
        "id": row_id(entry, row),
        "entry": entry,
        "series": series(row),
        "rank": row.rank,
        "victim": row.victim,
        "family": row.family,
        "n_params": row.n_params,
        "defense": row.defense,
        "round": row.round,
        "marks": list(row.marks),
        "seeds": row.seeds,
        "examples": row.asr.trials if row.asr else 0,
        "clean": None if row.clean is None else rate_json(row.clean),
        "asr": None if row.asr is None else rate_json(row.asr),
        "strongest": None
        if row.strongest is None
        else rate_json(row.strongest.points[-1].asr) | {"attack": row.strongest.attack},
        "breaking": _breaking(row.breaking),
        "defense_compute": rounded(row.defense_compute),
        "reference_compute": rounded(row.reference_compute),
        "overhead": None if row.overhead is None else {key: rounded(v) for key, v in asdict(row.overhead).items()},
        "balance": fit_json(row.balance),
        "worst": None if row.worst is None else _worst(row.worst),
        "replayed": list(row.replayed),
        "unparseable": row.unparseable,
        "failures": row.failures,
        "curves": [
            _curve(curve, row.reference_compute) | {"breaking": _breaking(row.each.get(curve.attack))}
            for curve in row.curves
        ],
    }


def _add_balance_bands(data: Sequence[dict[str, Any]], rows: Sequence[Standing]) -> None:
    """Of each defense with an offense-defense fit: the fitted line over its rounds, in fractions of the reference
    compute, with the row of its last round.
    """
    of_entry: dict[str, list[int]] = {}
    for at, row in enumerate(data):
        of_entry.setdefault(row["entry"], []).append(at)
    for places in of_entry.values():
        last = max(places, key=lambda at: rows[at].round or 0)
        fit, reference = rows[last].balance, rows[last].reference_compute
        spent = [rows[at].defense_compute or 0.0 for at in places]
        spent = [each for each in spent if each > 0]
        if fit is None or reference is None or len(spent) < 2 or fit.to_json()["slope"] is None:
            continue
        defense = np.geomspace(min(spent), max(spent), FIT_POINTS) / reference
        data[last]["balance"]["band"] = {"defense": rounded(defense.tolist(), 5)} | band_json(fit, defense, 5)


def _breaking(found: Breaking | None) -> dict[str, Any] | None:
    return None if found is None else {key: rounded(value) for key, value in asdict(found).items()}


def _curve(curve: AttackCurve, reference: float | None) -> dict[str, Any]:
    shown = [curve.points[at] for at in _thinned(len(curve.points))]
    columns: dict[str, list[Any]] = {"step": [p.step for p in shown], "compute": [p.compute for p in shown]}
    return {
        "attack": curve.attack,
        "seeds": curve.seeds,
        "steps": len(curve.points),
        "points": _columns(columns | {"queries": [p.queries for p in shown]}, [p.asr for p in shown]),
        "fit": fit_json(curve.fit),
        "band": _band(curve, reference),
    }


def _worst(worst: WorstCase) -> dict[str, Any]:
    shown = [worst.curve[at] for at in _thinned(len(worst.curve), WORST_POINTS)]
    columns: dict[str, list[Any]] = {"budget": [p.budget for p in shown], "compute": [p.compute for p in shown]}
    return {
        "attacks": list(worst.attacks),
        "compared": worst.compared,
        "attacked": worst.attacked,
        "budget_in": worst.budget_in,
        "points": _columns(columns | {"queries": [p.queries for p in shown]}, [p.asr for p in shown]),
    }


def _columns(columns: dict[str, list[Any]], rates: Sequence[Rate]) -> dict[str, Any]:
    """Points as lists, one per quantity: half the size of objects, and as easy to read."""
    return {
        **{name: rounded(values, 5) for name, values in columns.items()},
        "value": rounded([rate.value for rate in rates], 5),
        "low": rounded([rate.low for rate in rates], 3),
        "high": rounded([rate.high for rate in rates], 3),
        "successes": [rate.successes for rate in rates],
        "trials": rates[0].trials if rates else 0,
    }


def _band(curve: AttackCurve, reference: float | None) -> dict[str, Any] | None:
    """The fitted curve between the first and the last point with compute, as lists."""
    spent = [point.compute for point in curve.points if point.compute]
    if curve.fit is None or reference is None or not spent or spent[0] == spent[-1]:
        return None
    if curve.fit.to_json()["slope"] is None:
        return None
    compute = np.geomspace(spent[0], spent[-1], FIT_POINTS)
    return {"compute": rounded(compute.tolist(), 4)} | band_json(curve.fit, compute / reference, 4)


def _thinned(length: int, most: int = MAX_POINTS) -> list[int]:
    """Which of ``length`` points to show: all of a short curve, else some that are evenly spread on a log axis."""
    if length <= most:
        return list(range(length))
    spread = np.geomspace(1, length, most).round().astype(int) - 1
    return sorted({0, length - 1, *spread.tolist()})
