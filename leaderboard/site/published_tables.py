"""Published tables as sections of a page: curves per model size, fits, and the slopes somebody else reported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError

from harness.errors import DataError
from leaderboard.arrays import Floats
from leaderboard.data.count_table import CountTable
from leaderboard.data.count_table_files import read_count_table
from leaderboard.fit.attack_scaling import fit_attack_scaling
from leaderboard.fit.crossing import first_crossing
from leaderboard.fit.offense_defense import OffenseDefense, fit_offense_defense
from leaderboard.fit.pooled_rates import pooled_rates
from leaderboard.site.data_format import BandJson, FitJson, SectionJson, StandingJson
from leaderboard.site.fit_json import BAND_POINTS, Fit, band_json, fit_json
from leaderboard.site.page_ids import slug
from leaderboard.site.site_data import points_json
from leaderboard.standings.json_numbers import rate_json, rounded
from leaderboard.table_numbers import parameter_count

ReportedFits = Mapping[str, Sequence[Mapping[str, Any]]]
"""Name of a table's file to the fits that were reported: n_params, slope and intercept."""
TableKind = Literal["attack-scaling", "offense-defense"]


@dataclass(frozen=True)
class FitComparison:
    """A model size: our fit, least squares, and the slope and intercept reported."""

    n_params: int | None
    fit: FitJson | None
    ols: FitJson | None
    reported: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class PublishedTable:
    """One table.

    Attributes:
        name: of its file.
        kind: attack-scaling, or offense-defense where the table has rounds and defense compute.
        section: what the plots draw; compute is a share of pretraining compute.
        comparisons: one per model size.
    """

    name: str
    kind: TableKind
    section: SectionJson
    comparisons: tuple[FitComparison, ...]

    @property
    def largest_difference(self) -> float | None:
        """Between a slope by least squares and the one reported; None without a pair."""
        differences = [
            abs(slope - comparison.reported["slope"])
            for comparison in self.comparisons
            if comparison.ols and comparison.reported and (slope := comparison.ols["slope"]) is not None
        ]
        return max(differences, default=None)


class ReportedFit(BaseModel):
    """What somebody else says of one model size of a table."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    n_params: int | None
    slope: FiniteFloat
    intercept: FiniteFloat = 0.0  # shown only where it is given


_FITS_OF_TABLES = TypeAdapter(dict[str, list[ReportedFit]])


def read_reported_fits(path: Path | None) -> ReportedFits:
    """Those in a JSON file; none without one.

    Raises:
        DataError: it cannot be read, or a number is none or not finite, or a size is there twice; with the place.
    """
    if path is None:
        return {}
    try:
        found = _FITS_OF_TABLES.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f", fit {part + 1}" if isinstance(part, int) else f", {part!r}" for part in first["loc"])
        raise DataError(
            f"{path}{place}: {first['msg']}. Give an object: table name to a list of objects with n_params, slope, "
            "intercept."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}). Give a file like expected.json.") from None
    for name, fits in found.items():
        sizes = [fit.n_params for fit in fits]
        if twice := [size for size in sizes if sizes.count(size) > 1]:
            raise DataError(f"{path}, {name!r}: n_params {twice[0]} appears twice. Remove one.")
    return {name: [fit.model_dump(exclude_unset=True) for fit in fits] for name, fits in found.items()}


def published_table(path: Path, reported_fits: ReportedFits, target: float) -> PublishedTable:
    """The table in file ``path``, fitted. Raises `DataError`."""
    table = read_count_table(path)
    section_id = slug(path.name, path.name)
    groups = [rows for _, rows in table.groups(table.available("task", "family", "attack", "n_params"))]
    kind: TableKind = "offense-defense" if "round" in table and "defense_compute" in table else "attack-scaling"
    fits, ols_fits = _fits(table, kind, target), _fits(table, kind, target, ols=True)
    if len(groups) != len(fits):
        raise DataError(f"{path}: rows of one task, family, attack and size differ otherwise. Give a table for each.")
    standings: list[StandingJson] = []
    for rows, fit in zip(groups, fits, strict=True):
        if kind == "offense-defense":
            standings += _round_standings(rows, fit, target, section_id)
        else:
            standings.append(_size_standing(rows, fit, section_id))
    reported = {fit["n_params"]: fit for fit in reported_fits.get(path.name, ())}
    if foreign := reported.keys() - {fit.group["n_params"] for fit in fits}:
        raise DataError(f"{path}: a fit was reported for n_params {foreign.pop()}, and the table has no such row.")
    comparisons = tuple(
        FitComparison(fit.group["n_params"], fit_json(fit), fit_json(ols_fit), reported.get(fit.group["n_params"]))
        for fit, ols_fit in zip(fits, ols_fits, strict=True)
    )
    first = groups[0]
    section: SectionJson = {
        "id": section_id,
        "task": first["task"][0],
        "threat": f"{first['family'][0]}, {first['attack'][0]}",
        "target_asr": target,
        "clean": "clean accuracy",
        "rows": standings,
    }
    return PublishedTable(path.name, kind, section, comparisons)


def _fits(table: CountTable, kind: TableKind, target: float, *, ols: bool = False) -> Sequence[Fit]:
    if kind == "offense-defense":
        return fit_offense_defense(table, target, "ols" if ols else "censored")
    return fit_attack_scaling(table, "ols" if ols else "counts")


def _empty_standing(rows: CountTable, section_id: str) -> StandingJson:
    """A row with what a table says of a model size, and nothing measured."""
    size = int(rows["n_params"][0])
    name = f"{rows['family'][0]} {parameter_count(size)}"
    row_id = f"{section_id}-{size}"
    labels = {"id": row_id, "entry": row_id, "series": name, "victim": name, "family": rows["family"][0]}
    labels |= {"n_params": size, "defense": "none", "round": None, "marks": []}
    unmeasured = dict.fromkeys(("worst", "balance", "breaking", "strongest", "asr", "clean"))
    standing = labels | {"reference_compute": 1.0, "defense_compute": 0.0} | unmeasured
    return cast(
        StandingJson,
        standing
        | {"curves": [], "overhead": None, "rank": None, "worst_rank": None, "rank_note": "", "comparable": False},
    )


def _size_standing(rows: CountTable, fit: Fit, section_id: str) -> StandingJson:
    """ASR over seeds pooled against the mean compute at each iteration that all seeds have."""
    seeds = [curve for _, curve in rows.groups(["seed"])]
    iterations = sorted(set.intersection(*(set(curve["iteration"].tolist()) for curve in seeds)))
    shared = [
        curve.take(np.array([np.flatnonzero(curve["iteration"] == i)[0] for i in iterations], dtype=np.int64))
        for curve in seeds
    ]
    compute = np.mean([curve["attack_compute"] for curve in shared], axis=0)
    successes = np.array([curve["successes"] for curve in shared])
    rates = pooled_rates(successes, [int(curve["trials"][0]) for curve in seeds])
    attack = rows["attack"][0]
    spent = compute[compute > 0]
    standing = _empty_standing(rows, section_id)
    standing["curves"] = [
        {
            "attack": attack,
            "seeds": len(seeds),
            "steps": len(iterations),
            "points": {
                "step": [int(i) for i in iterations],
                **points_json(compute.tolist(), [None] * len(iterations), rates, 6, 4),
            },
            "fit": fit_json(fit),
            "band": None if fit.line.slope is None else _band(fit, spent, "compute"),
            "breaking": None,
        }
    ]
    standing["strongest"] = {**rate_json(rates[-1]), "attack": attack}
    return standing


def _round_standings(rows: CountTable, fit: Fit, target: float, section_id: str) -> list[StandingJson]:
    """One row per seed and round."""
    standings = []
    for group, curve in rows.groups(["seed", "round"]):
        order = np.argsort(curve["iteration"], kind="stable")
        compute, asr = curve["attack_compute"][order], (curve["successes"] / curve["trials"])[order]
        crossing = float(first_crossing(compute, asr, target))
        reached = bool(np.isfinite(crossing))
        standing = _empty_standing(rows, section_id)
        standing["id"] = f"{standing['id']}-{group['seed']}-{group['round']}"
        standing["defense"] = f"seed {group['seed']}"
        standing["round"] = group["round"]
        standing["defense_compute"] = rounded(float(curve["defense_compute"][0]), 6)
        standing["path"] = f"{standing['victim']} {group['seed']}"
        standing["group"] = standing["victim"]
        standing["breaking"] = {
            "reached": reached,
            "compute": rounded(crossing, 6) if reached else None,
            "low": None,
            "high": None,
            "attack": rows["attack"][0],
            "within": rounded(float(compute[-1]), 6),
            "queries": 0,
            "seeds": 1,
        }
        standings.append(standing)
    spent = np.array([amount for standing in standings if (amount := standing["defense_compute"] or 0.0) > 0])
    fit_numbers = fit_json(fit)
    if fit_numbers is not None and fit.line.slope is not None and len(spent):
        if not isinstance(fit, OffenseDefense) or fit.line_fits:
            fit_numbers["band"] = _band(fit, spent, "defense")
        standings[-1]["balance"] = fit_numbers
    return standings


def _band(fit: Fit, spent: Floats, axis: Literal["compute", "defense"]) -> BandJson:
    """The fitted curve over the amounts ``spent``."""
    grid = np.geomspace(spent.min(), spent.max(), BAND_POINTS)
    grid_json: list[float] = rounded(grid.tolist(), 5)
    band = band_json(fit, grid, 5)
    return {"compute": grid_json, **band} if axis == "compute" else {"defense": grid_json, **band}
