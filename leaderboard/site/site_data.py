"""The data of the site, `data.json`: all that the pages show, as plain numbers. No NaN, no attack strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import cast

import numpy as np

from harness.flops import known
from harness.records.read import Run
from leaderboard.data.comparable_cells import missing_count
from leaderboard.data.evidence import NOT_CHECKED
from leaderboard.data.visible_text import visible_data
from leaderboard.fit.compared.paired_difference import PairedDifference
from leaderboard.fit.corrected.of_run import CorrectedRow
from leaderboard.fit.pooled_rates import Rate
from leaderboard.site.contents.others import others_json
from leaderboard.site.data_format import (
    AnsweredJson,
    AsrAtJson,
    BandJson,
    CorrectedJson,
    CostToBreakJson,
    CurveJson,
    DifferenceJson,
    DirectionJson,
    FitJson,
    HeldJson,
    PointsJson,
    SectionJson,
    SiteJson,
    StandingJson,
    StrongestJson,
    UnderAttackJson,
    UtilityJson,
    WorstCaseJson,
)
from leaderboard.site.fit_json import BAND_POINTS, band_json, fit_json
from leaderboard.site.page_ids import defended_victim_id, row_id, section_id
from leaderboard.site.texts.judge_text import comparison_json
from leaderboard.site.texts.others_text import marks_of_others
from leaderboard.standings.attack_curves import AttackCurve
from leaderboard.standings.clean_rate import WithOrWithout
from leaderboard.standings.cost_to_break import CostToBreak
from leaderboard.standings.directions import DirectionRate, one_direction_makes_the_rate
from leaderboard.standings.json_numbers import rate_json, rounded
from leaderboard.standings.ranks.between_judges import JudgeComparison
from leaderboard.standings.ranks.comparable import missing_rows
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.standings.transfer import TransferMatrix
from leaderboard.standings.utility.bound import name_of
from leaderboard.standings.utility.measures import Utility
from leaderboard.standings.utility.of_table import held, why_no_point
from leaderboard.standings.utility.under_attack import UtilityUnderAttack
from leaderboard.standings.worst_case import WorstCase

FORMAT = 2
MAX_POINTS = 18  # per curve; more cannot be told apart on the plot
MAX_WORST_CASE_POINTS = 14


def payload(
    runs: Sequence[Run],
    tables: Sequence[Standings],
    matrices: Sequence[TransferMatrix] = (),
    judges: Sequence[JudgeComparison] = (),
) -> SiteJson:
    """JSON data of the whole site; texts of others are made visible."""
    any_checked = any(cell.checked for run in runs for cell in run)
    data = {
        "format": FORMAT,
        "runs": [
            {key: run.info.get(key) for key in ("spec_name", "spec_version", "spec_hash", "harness_version", "created")}
            | {key: run.info.get(key, "") for key in ("by", "paper", "link")}
            | {"cells": len(run.cells), "failed": len(run.failed), "skipped": len(run.skipped)}
            | {"checked": bool(run.cells) and all(cell.checked for cell in run.cells)}
            | {"unfinished": run.unfinished, "missing": missing_count(run, runs)}
            for run in runs
        ],
        "transfer": [{"id": f"t{index}"} | matrix.to_json() for index, matrix in enumerate(matrices)],
        "judges": [comparison_json(comparison) for comparison in judges],
        "sections": [_section_json(table, mark_origin=any_checked) for table in tables],
    }
    return cast(SiteJson, visible_data(data))


def _section_json(table: Standings, *, mark_origin: bool) -> SectionJson:
    section, scope = table.section, table.section.scope
    name = section_id(scope)
    bands = _offense_defense_bands(name, table.rows)
    ids = [row_id(defended_victim_id(name, row), row) for row in table.rows]
    numbers = {
        "target_asr": table.target,
        "rank_unit": table.rank_unit,
        "clean_floor": table.clean_floor,
        "max_loss": table.max_loss,
        "utility_tasks": list(section.utility_tasks),
        "missing": len(section.missing),
        "missing_rows": missing_rows(table.rows, section.missing),
        "apart": section.separation,
        "notice": scope.notice,
        "clean": section.clean_measure,
        "rows": [
            _standing_json(name, row, bands.get(index), [_origin(row)] if mark_origin else [], no_point)
            | {"harder_than": [ids[at] for at in row.rank.harder_than]}
            for index, (row, no_point) in enumerate(zip(table.rows, why_no_point(table.rows), strict=True))
        ],
        "failed": [
            {
                "victim": record.victim.label,
                "defense": record.defense.label,
                "attack": record.attack.label,
                "seed": record.seed,
                "error": record.error or "",
            }
            for record in section.failed
        ],
    }
    return cast(SectionJson, {"id": name} | asdict(scope) | numbers)


def _origin(row: Standing) -> str:
    """The mark of a row on a page with submissions: what is known of its records."""
    return NOT_CHECKED if row.evidence is None else row.evidence.mark


def _standing_json(section: str, row: Standing, band: BandJson | None, marks: list[str], no_point: str) -> StandingJson:
    victim_id, robust = defended_victim_id(section, row), held(row)
    return {
        "id": row_id(victim_id, row),
        "entry": victim_id,
        "series": row.label,
        "rank": row.rank.best,
        "worst_rank": row.rank.worst,
        "harder_than": [],
        "ranked": row.rank.among,
        "rank_note": row.rank.note,
        "comparable": row.rank.comparable,
        "missing": [{"attack": cell.attack, "seed": cell.seed, "round": cell.round} for cell in row.missing],
        "victim": row.victim,
        "family": row.family,
        "n_params": row.n_params,
        "defense": row.defense,
        "round": row.round,
        "marks": [*row.adaptivity, *marks, *marks_of_others(row)],
        "others": others_json(row),
        "near_chance": row.near_chance,
        "seeds": row.seeds,
        "examples": row.asr.trials if row.asr else 0,
        "clean": None if row.clean is None else rate_json(row.clean),
        "answered": None if row.answered is None else _answered_json(row.answered),
        "utilities": [_utility_json(utility) for utility in row.utilities],
        "utility_notes": list(row.utility_notes),
        "under_attack": None if row.under_attack is None else _under_attack_json(row.under_attack),
        "held": None if robust is None else cast(HeldJson, {k: rounded(v) for k, v in asdict(robust).items()}),
        "no_point": no_point,
        "asr": None if row.asr is None else rate_json(row.asr),
        "corrected": None if row.corrected is None else _corrected_json(row.corrected),
        "directions": [_direction_json(rate) for rate in row.directions],
        "one_direction": one_direction_makes_the_rate(row.directions) is not None,
        "strongest": None if row.strongest is None else _strongest_json(row.strongest),
        "breaking": _cost_json(row.cost_to_break),
        "defense_compute": rounded(row.defense_compute),
        "trained_against": row.trained_against,
        "preparation_compute": rounded(row.preparation_compute),
        "reference_compute": rounded(row.reference_compute),
        "breaking_of_reference": rounded(row.cost_of_reference),
        "overhead": None if row.overhead is None else {k: rounded(v) for k, v in asdict(row.overhead).items()},
        "balance": _offense_defense_json(row, band),
        "worst": None if row.worst_case is None else _worst_case_json(row.worst_case),
        "replayed": list(row.replaying),
        "missing_answers": row.missing_answers,
        "missing_clean": row.missing_clean,
        "unparseable": row.unparseable,
        "unparseable_clean": row.unparseable_clean,
        "failures": row.failures,
        "excluded": row.excluded,
        "curves": [
            _curve_json(curve, row.reference_compute, row.cost_by_attack.get(curve.attack)) for curve in row.curves
        ],
    }


def _answered_json(answered: WithOrWithout) -> AnsweredJson:
    return {**rate_json(answered.rate), "clean": answered.clean, "benign": answered.benign}


def _corrected_json(row: CorrectedRow) -> CorrectedJson:
    found = row.corrected
    return {
        "attack": str(row.group["attack"]),
        "seen": None if row.seen is None else rate_json(row.seen),
        "value": None if found is None else rounded(found.value),
        "low": None if found is None else rounded(found.low),
        "high": None if found is None else rounded(found.high),
        "clipped": found is not None and found.clipped,
        "note": row.note,
    }


def _utility_json(utility: Utility) -> UtilityJson:
    loss, front = utility.loss, utility.front
    return {
        "task": utility.task,
        "name": name_of(utility),
        "measure": utility.measure,
        "own": utility.own,
        "bounded": utility.bounded,
        "remade": utility.remade,
        "note": utility.note,
        "rate": None if utility.rate is None else rate_json(utility.rate),
        "loss": None if loss is None else _difference_json(loss),
        "front_of_victim": None if front is None else front.victim,
        "front_of_table": None if front is None else front.table,
    }


def _under_attack_json(found: UtilityUnderAttack) -> UnderAttackJson:
    attacked: list[StrongestJson] = [{**rate_json(rate), "attack": name} for name, rate in found.attacked.items()]
    return {"clean": rate_json(found.clean), "attacked": attacked}


def _difference_json(difference: PairedDifference) -> DifferenceJson:
    return {
        "value": rounded(difference.value),
        "low": rounded(difference.low),
        "high": rounded(difference.high),
        "pairs": difference.pairs,
        "known_by_number": difference.known_by_number,
        "seeds": difference.seeds,
    }


def _direction_json(rate: DirectionRate) -> DirectionJson:
    return {**rate_json(rate.asr), "name": rate.name, "label": rate.label, "target": rate.target}


def _strongest_json(curve: AttackCurve) -> StrongestJson:
    """ASR of an attack at its full budget."""
    return {**rate_json(curve.points[-1].asr), "attack": curve.attack}


def _offense_defense_json(row: Standing, band: BandJson | None) -> FitJson | None:
    fit = fit_json(row.offense_defense)
    if fit is not None and band is not None:
        fit["band"] = band
    return fit


def _offense_defense_bands(section: str, rows: Sequence[Standing]) -> Mapping[int, BandJson]:
    """Of each defense with an offense-defense fit: the fitted line over its rounds, in fractions of the reference
    compute, by the index of the row of its last round.
    """
    indices: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        indices.setdefault(defended_victim_id(section, row), []).append(index)
    bands: dict[int, BandJson] = {}
    for of_victim in indices.values():
        last = max(of_victim, key=lambda index: rows[index].round or 0)
        fit, reference = rows[last].offense_defense, rows[last].reference_compute
        spent = [compute for index in of_victim if (compute := rows[index].defense_compute or 0.0) > 0]
        if fit is None or reference is None or len(spent) < 2 or not fit.line_fits:
            continue
        defense = np.geomspace(min(spent), max(spent), BAND_POINTS) / reference
        bands[last] = {"defense": rounded(defense.tolist(), 5), **band_json(fit, defense, 5)}
    return bands


def _cost_json(cost: CostToBreak | None) -> CostToBreakJson | None:
    """What it costs to break, rounded."""
    if cost is None:
        return None
    numbers = {"within" if name == "budget" else name: rounded(value) for name, value in asdict(cost).items()}
    return cast(CostToBreakJson, numbers)


def _curve_json(curve: AttackCurve, reference: float | None, cost: CostToBreak | None) -> CurveJson:
    points = [curve.points[index] for index in _thinned(len(curve.points), MAX_POINTS)]
    found: CurveJson = {
        "attack": curve.attack,
        "seeds": curve.seeds,
        "steps": len(curve.points),
        "points": {
            "step": [point.step for point in points],
            **points_json(
                compute=[point.compute for point in points],
                queries=[point.queries for point in points],
                rates=[point.asr for point in points],
            ),
        },
        "fit": fit_json(curve.fit),
        "band": _curve_band(curve, reference),
        "breaking": _cost_json(cost),
    }
    if curve.asr_at:  # where answers are drawn
        found["asr_at"] = _asr_at_json(curve)
    return found


def _asr_at_json(curve: AttackCurve) -> AsrAtJson:
    """ASR@j by j."""
    return {
        "asks": [one.asks for one in curve.asr_at],
        "value": [rounded(one.value, 5) for one in curve.asr_at],
        "low": [rounded(one.low, 3) for one in curve.asr_at],
        "high": [rounded(one.high, 3) for one in curve.asr_at],
        "compute": [rounded(known(one.compute), 5) for one in curve.asr_at],
        "queries": [rounded(one.queries, 5) for one in curve.asr_at],
    }


def _worst_case_json(worst_case: WorstCase) -> WorstCaseJson:
    points = [worst_case.points[index] for index in _thinned(len(worst_case.points), MAX_WORST_CASE_POINTS)]
    return {
        "attacks": list(worst_case.attacks),
        "compared": worst_case.compared,
        "attacked": worst_case.attacked,
        "budget_in": worst_case.unit,
        "points": {
            "budget": rounded([point.budget for point in points], 5),
            **points_json(
                compute=[point.compute for point in points],
                queries=[point.queries for point in points],
                rates=[point.asr for point in points],
            ),
        },
    }


def points_json(
    compute: Sequence[float | None],
    queries: Sequence[float | None],
    rates: Sequence[Rate],
    compute_digits: int = 5,
    interval_digits: int = 3,
) -> PointsJson:
    """Points as lists, one per quantity: half the size of objects, and as easy to read."""
    return {
        "compute": rounded(list(compute), compute_digits),
        "queries": rounded(list(queries), 5),
        "value": rounded([rate.value for rate in rates], 5),
        "low": rounded([rate.low for rate in rates], interval_digits),
        "high": rounded([rate.high for rate in rates], interval_digits),
        "successes": [rate.successes for rate in rates],
        "trials": rates[0].trials if rates else 0,
    }


def _curve_band(curve: AttackCurve, reference: float | None) -> BandJson | None:
    """The fitted curve between the first and the last point with compute, as lists."""
    spent = [point.compute for point in curve.points if point.compute]
    if curve.fit is None or curve.fit.line.slope is None or reference is None or not spent or spent[0] == spent[-1]:
        return None
    compute = np.geomspace(spent[0], spent[-1], BAND_POINTS)
    return {"compute": rounded(compute.tolist(), 4), **band_json(curve.fit, compute / reference, 4)}


def _thinned(length: int, most: int) -> list[int]:
    """Which of ``length`` points to show: all of a short curve, else some that are evenly spread on a log axis."""
    if length <= most:
        return list(range(length))
    spread = np.geomspace(1, length, most).round().astype(int) - 1
    return sorted({0, length - 1, *spread.tolist()})
