"""The data of the site, `data.json`: all that the page shows, as plain numbers. No NaN, no attack strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from harness.records.read import Run
from leaderboard.intervals import Rate
from leaderboard.standings import AttackCurve, Standing, Standings

FORMAT = 1
MAX_POINTS = 120  # per curve; more cannot be told apart on the plot
FIT_POINTS = 33


def payload(runs: Sequence[Run], tables: Sequence[Standings]) -> dict[str, Any]:
    """JSON data of the whole site. Attack compute is in FLOPs per attacked example, nominal; null where unknown."""
    return {
        "format": FORMAT,
        "runs": [
            {key: run.info.get(key) for key in ("spec_name", "spec_version", "spec_hash", "harness_version", "created")}
            | {"cells": len(run.cells), "failed": len(run.failed), "unfinished": run.unfinished}
            for run in runs
        ],
        "sections": [_section(f"s{at}", found) for at, found in enumerate(tables)],
    }


def _section(name: str, found: Standings) -> dict[str, Any]:
    return (
        {"id": name}
        | asdict(found.section.scope)
        | {
            "target_asr": found.target,
            "apart": found.section.apart,
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
        "clean": None if row.clean is None else _rate(row.clean),
        "asr": None
        if row.strongest is None
        else _rate(row.strongest.points[-1].asr) | {"attack": row.strongest.attack},
        "breaking": None if row.breaking is None else {key: _round(v) for key, v in asdict(row.breaking).items()},
        "defense_compute": _round(row.defense_compute),
        "reference_compute": _round(row.reference_compute),
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
            {"step": p.step, "compute": _round(p.compute), "queries": _round(p.queries)} | _rate(p.asr) for p in shown
        ],
        "fit": None if curve.fit is None else {key: _round(v) for key, v in curve.fit.line.to_json().items()},
        "fit_line": _fit_line(curve, reference),
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "value": _round(rate.value),
        "low": _round(rate.low),
        "high": _round(rate.high),
        "successes": rate.successes,
        "trials": rate.trials,
    }


def _fit_line(curve: AttackCurve, reference: float | None) -> list[dict[str, float]]:
    """The fitted curve between the first and the last point with compute."""
    line = None if curve.fit is None else curve.fit.line
    spent = [point.compute for point in curve.points if point.compute]
    if line is None or line.slope is None or line.intercept is None or not spent or spent[0] == spent[-1]:
        return []
    if reference is None:
        return []
    compute = np.geomspace(spent[0], spent[-1], FIT_POINTS)
    odds = line.intercept + line.slope * np.log10(compute / reference)
    # 1 / (1 + 10^-z), with z bounded so that the power stays finite.
    asr = 1 / (1 + 10.0 ** -np.clip(odds, -300, 300))
    return [{"compute": _round(float(c)), "value": _round(float(p))} for c, p in zip(compute, asr, strict=True)]


def _thinned(length: int) -> list[int]:
    """Which of ``length`` points to show: all of a short curve, else some that are evenly spread on a log axis."""
    if length <= MAX_POINTS:
        return list(range(length))
    spread = np.geomspace(1, length, MAX_POINTS).round().astype(int) - 1
    return sorted({0, length - 1, *spread.tolist()})


def _round(value: Any) -> Any:
    """Seven significant digits: what is shown on hover is then exactly what is in the JSON."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, (list, tuple)):
        return [_round(v) for v in value]
    return value
