"""The data of the site, `data.json`: all that the page shows, as plain numbers. No NaN, no attack strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from harness.records.read import Run
from leaderboard.as_json import rate_json, rounded
from leaderboard.attack_curves import AttackCurve
from leaderboard.standings import Standing, Standings
from leaderboard.transfer import Matrix
from leaderboard.worst_case import WorstCase

FORMAT = 1
MAX_POINTS = 120  # per curve; more cannot be told apart on the plot
FIT_POINTS = 33
FIT_KEYS = ("compute", "value", "low", "high")


def payload(runs: Sequence[Run], tables: Sequence[Standings], matrices: Sequence[Matrix] = ()) -> dict[str, Any]:
    """JSON data of the whole site. Attack compute is in FLOPs per attacked example, nominal; null where unknown."""
    return {
        "format": FORMAT,
        "runs": [
            {key: run.info.get(key) for key in ("spec_name", "spec_version", "spec_hash", "harness_version", "created")}
            | {"cells": len(run.cells), "failed": len(run.failed), "unfinished": run.unfinished}
            for run in runs
        ],
        "transfer": [{"id": f"t{at}"} | matrix.to_json() for at, matrix in enumerate(matrices)],
        "sections": [_section(f"s{at}", found) for at, found in enumerate(tables)],
    }


def _section(name: str, found: Standings) -> dict[str, Any]:
    return (
        {"id": name}
        | asdict(found.section.scope)
        | {
            "target_asr": found.target,
            "apart": found.section.apart,
            "notice": found.section.notice,
            "clean": found.section.clean,
            "rows": [_row(f"{name}r{at}", row) for at, row in enumerate(found.rows)],
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


def _row(name: str, row: Standing) -> dict[str, Any]:
    return {
        "id": name,
        "series": series(row),
        "victim": row.victim,
        "family": row.family,
        "n_params": row.n_params,
        "defense": row.defense,
        "round": row.round,
        "seeds": row.seeds,
        "clean": None if row.clean is None else rate_json(row.clean),
        "asr": None
        if row.strongest is None
        else rate_json(row.strongest.points[-1].asr) | {"attack": row.strongest.attack},
        "breaking": None if row.breaking is None else {key: rounded(v) for key, v in asdict(row.breaking).items()},
        "defense_compute": rounded(row.defense_compute),
        "reference_compute": rounded(row.reference_compute),
        "worst": None if row.worst is None else _worst(row.worst),
        "replayed": list(row.replayed),
        "unparseable": row.unparseable,
        "curves": [_curve(curve, row.reference_compute) for curve in row.curves],
    }


def series(row: Standing) -> str:
    """The name of a row in the plot's legend."""
    return f"{row.victim} · {row.defense}" + ("" if row.round is None else f" · round {row.round}")


def _curve(curve: AttackCurve, reference: float | None) -> dict[str, Any]:
    shown = [curve.points[at] for at in _thinned(len(curve.points))]
    return {
        "attack": curve.attack,
        "seeds": curve.seeds,
        "steps": len(curve.points),
        "points": [
            {"step": p.step, "compute": rounded(p.compute), "queries": rounded(p.queries)} | rate_json(p.asr)
            for p in shown
        ],
        "fit": None if curve.fit is None else {key: rounded(v) for key, v in curve.fit.to_json().items()},
        "fit_line": _fit_line(curve, reference),
    }


def _worst(worst: WorstCase) -> dict[str, Any]:
    points = [
        {"budget": rounded(p.budget), "compute": rounded(p.compute), "queries": rounded(p.queries)} | rate_json(p.asr)
        for p in worst.curve
    ]
    return {
        "attacks": list(worst.attacks),
        "compared": worst.compared,
        "attacked": worst.attacked,
        "budget_in": worst.budget_in,
        "points": points,
    }


def _fit_line(curve: AttackCurve, reference: float | None) -> list[dict[str, float]]:
    """The fitted curve between the first and the last point with compute."""
    fit = curve.fit
    spent = [point.compute for point in curve.points if point.compute]
    if fit is None or fit.line.slope is None or not spent or spent[0] == spent[-1] or reference is None:
        return []
    compute = np.geomspace(spent[0], spent[-1], FIT_POINTS)
    middle, low, high = fit.band(compute / reference)
    places = zip(compute, middle, low, high, strict=True)
    return [{key: rounded(float(v)) for key, v in zip(FIT_KEYS, place, strict=True)} for place in places]


def _thinned(length: int) -> list[int]:
    """Which of ``length`` points to show: all of a short curve, else some that are evenly spread on a log axis."""
    if length <= MAX_POINTS:
        return list(range(length))
    spread = np.geomspace(1, length, MAX_POINTS).round().astype(int) - 1
    return sorted({0, length - 1, *spread.tolist()})
