"""Published tables as sections of a page: curves per model size, fits, and the slopes somebody else reported."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError
from leaderboard.data.table import Table
from leaderboard.data.table_files import read_table
from leaderboard.fit.attack_scaling import fit_attack_scaling
from leaderboard.fit.crossing import first_reach
from leaderboard.fit.intervals import pooled_rates
from leaderboard.fit.offense_defense import fit_offense_defense
from leaderboard.number_format import parameters
from leaderboard.site.fit_json import Fit, band_json, fit_json
from leaderboard.site.page_ids import slug
from leaderboard.site.payload import FIT_POINTS
from leaderboard.standings.json_numbers import rate_json, rounded

Expected = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Study:
    """One table.

    Attributes:
        name: of its file.
        kind: attack-scaling, or offense-defense where the table has rounds and defense compute.
        section: what the plots draw, in the form of the payload's sections; compute is a share of pretraining compute.
        lines: one per model size: the size, our fit, least squares, and the slope and intercept reported.
    """

    name: str
    kind: str
    section: dict[str, Any]
    lines: tuple[dict[str, Any], ...]

    @property
    def furthest(self) -> float | None:
        """The largest difference between a slope by least squares and the one reported; None without a pair."""
        pairs = [(line["ols"], line["reported"]) for line in self.lines]
        found = [abs(o["slope"] - r["slope"]) for o, r in pairs if o and r and o["slope"] is not None]
        return max(found, default=None)


def read_expected(path: Path | None) -> Expected:
    """File name to a list of fits with n_params, slope and intercept, from JSON. Raises `DataError`."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        good = isinstance(found, dict) and all(
            isinstance(fits, list) and all(isinstance(f.get("slope"), float) and "n_params" in f for f in fits)
            for fits in found.values()
        )
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}). Give a file like expected.json.") from None
    if not good:
        raise DataError(f"{path}: give an object: table name to a list of objects with n_params, slope, intercept.")
    return found  # type: ignore[no-any-return]


def study(path: Path, expected: Expected, target: float) -> Study:
    """The table in file ``path``, fitted. Raises `DataError`."""
    table = read_table(path)
    offense = "round" in table and "defense_compute" in table
    kind = "offense-defense" if offense else "attack-scaling"
    fit: Callable[..., list[Any]] = fit_offense_defense if offense else fit_attack_scaling
    given = (table, target) if offense else (table,)
    ours, least = fit(*given), _least_squares(fit, *given)
    reported = {line["n_params"]: line for line in expected.get(path.name, ())}
    lines = [
        {"n_params": one.to_json()["n_params"], "fit": fit_json(one), "ols": fit_json(two)}
        | {"reported": reported.get(one.to_json()["n_params"])}
        for one, two in zip(ours, least, strict=True)
    ]
    name = slug(path.name, path.name)
    groups = [rows for _, rows in table.groups(table.keys("task", "family", "attack", "n_params"))]
    if len(groups) != len(ours):
        raise DataError(f"{path}: rows of one task, family, attack and size differ otherwise. Give a table for each.")
    make = _offense_rows if offense else _attack_rows
    rows = [row for rows, one in zip(groups, ours, strict=True) for row in make(rows, one, target, name)]
    first = groups[0]
    section = {"id": name, "task": first["task"][0], "threat": f"{first['family'][0]}, {first['attack'][0]}"}
    return Study(
        path.name, kind, section | {"target_asr": target, "clean": "clean accuracy", "rows": rows}, tuple(lines)
    )


def _least_squares(fit: Callable[..., list[Any]], *given: Any) -> list[Any]:
    return fit(*given, method="ols") if "method" in inspect.signature(fit).parameters else fit(*given)


def _row(rows: Table, section: str) -> dict[str, Any]:
    size = int(rows["n_params"][0])
    name = f"{rows['family'][0]} {parameters(size)}"
    row: dict[str, Any] = {"id": f"{section}-{size}", "entry": f"{section}-{size}", "series": name, "victim": name}
    row |= {"family": rows["family"][0], "n_params": size, "defense": "none", "round": None, "marks": []}
    row |= {"reference_compute": 1.0, "defense_compute": 0.0, "worst": None, "balance": None, "breaking": None}
    return row | {"strongest": None, "asr": None, "clean": None, "curves": [], "overhead": None, "rank": None}


def _attack_rows(rows: Table, fit: Fit, target: float, section: str) -> list[dict[str, Any]]:
    """One row: ASR over seeds pooled against the mean compute at each iteration that all seeds have."""
    del target
    seeds = [curve for _, curve in rows.groups(["seed"])]
    shared = sorted(set.intersection(*(set(curve["iteration"].tolist()) for curve in seeds)))
    at = [np.array([np.flatnonzero(curve["iteration"] == i)[0] for i in shared], dtype=np.int64) for curve in seeds]
    won = np.array([curve["successes"][where] for curve, where in zip(seeds, at, strict=True)])
    compute = np.mean([curve["attack_compute"][where] for curve, where in zip(seeds, at, strict=True)], axis=0)
    rates = pooled_rates(won, [int(curve["trials"][0]) for curve in seeds])
    points = {
        "step": [int(i) for i in shared],
        "compute": rounded(compute.tolist(), 6),
        "queries": [None] * len(shared),
        "value": rounded([rate.value for rate in rates], 5),
        "low": rounded([rate.low for rate in rates], 4),
        "high": rounded([rate.high for rate in rates], 4),
        "successes": [rate.successes for rate in rates],
        "trials": rates[0].trials,
    }
    attack = rows["attack"][0]
    curve = {"attack": attack, "seeds": len(seeds), "steps": len(shared), "points": points, "fit": fit_json(fit)}
    spent = compute[compute > 0]
    lines = None if fit.to_json()["slope"] is None else _lines(fit, spent.min(), spent.max(), "compute")
    row = _row(rows, section)
    return [
        row
        | {
            "curves": [curve | {"band": lines, "breaking": None}],
            "strongest": rate_json(rates[-1]) | {"attack": attack},
        }
    ]


def _offense_rows(rows: Table, fit: Fit, target: float, section: str) -> list[dict[str, Any]]:
    """One row per seed and round."""
    out = []
    for group, curve in rows.groups(["seed", "round"]):
        order = np.argsort(curve["iteration"], kind="stable")
        compute, asr = curve["attack_compute"][order], (curve["successes"] / curve["trials"])[order]
        at = float(first_reach(compute, asr, target))
        row = _row(rows, section)
        row |= {"id": f"{row['id']}-{group['seed']}-{group['round']}", "defense": f"seed {group['seed']}"}
        row |= {"round": group["round"], "defense_compute": rounded(float(curve["defense_compute"][0]), 6)}
        row |= {"path": f"{row['victim']} {group['seed']}", "group": row["victim"]}
        reached = bool(np.isfinite(at))
        found = {"reached": reached, "compute": rounded(at, 6) if reached else None, "low": None, "high": None}
        row["breaking"] = found | {"attack": rows["attack"][0], "within": rounded(float(compute[-1]), 6), "queries": 0}
        out.append(row)
    spent = np.array([row["defense_compute"] for row in out if row["defense_compute"] > 0])
    if fit.to_json()["slope"] is not None and len(spent):
        out[-1]["balance"] = (fit_json(fit) or {}) | {"band": _lines(fit, spent.min(), spent.max(), "defense")}
    return out


def _lines(fit: Fit, low: float, high: float, name: str) -> dict[str, Any]:
    at = np.geomspace(low, high, FIT_POINTS)
    return {name: rounded(at.tolist(), 5)} | band_json(fit, at, 5)
