"""A measure of two versions as people read it, and as JSON has it: a clean accuracy, not a share of errors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from leaderboard.standings.json_numbers import rounded
from leaderboard.versions.comparison import Compared, Comparison, Measure
from leaderboard.versions.release_guard import Guarded, Judged

_ENDS = {"labelled": "wrong", "harmful": "answered", "harmless": "refused"}
_CLEAN = {
    "labelled": "clean accuracy",
    "harmful": "harmful prompts answered, no attack",
    "harmless": "harmless prompts refused, no attack",
}


@dataclass(frozen=True)
class ShownMeasure:
    """Shares of the same examples; ``difference``: new less old, 95% interval; ``worse``: which direction is."""

    name: str
    worse: Literal["higher", "lower"]
    old: float | None
    new: float | None
    difference: float | None
    low: float | None
    high: float | None


def shown_measure(measure: Measure) -> ShownMeasure:
    """With its name; no numbers where no pair has an outcome."""
    found, name = measure.difference, measure_name(measure)
    worse: Literal["higher", "lower"] = "lower" if name == _CLEAN["labelled"] else "higher"
    if found is None:
        return ShownMeasure(name, worse, None, None, None, None, None)
    if worse == "lower":
        return ShownMeasure(name, worse, 1 - found.old, 1 - found.new, -found.value, -found.high, -found.low)
    return ShownMeasure(name, worse, found.old, found.new, found.value, found.low, found.high)


def measure_name(measure: Measure) -> str:
    """``clean accuracy``, ``ASR of gcg``, ``wrong with gcg or without``."""
    if measure.measured == "clean":
        return _CLEAN[measure.prompts]
    if measure.measured == "ASR":
        return f"ASR of {measure.attack}" + (", harmless prompts" if measure.prompts == "harmless" else "")
    return f"{_ENDS[measure.prompts]} with {measure.attack} or without"


def comparison_json(comparison: Comparison, guarded: Guarded | None, undecided: Literal["fail", "pass"]) -> Any:
    """JSON data: all numbers of a comparison, and what became of the margin where one was given."""
    judged = {} if guarded is None else {id(one.measure): one for one in guarded.judged}
    return {
        "old": str(comparison.old.path),
        "new": str(comparison.new.path),
        "notes": list(comparison.notes),
        "only_old": list(comparison.only_old),
        "only_new": list(comparison.only_new),
        "compared": [_compared_json(one, judged) for one in comparison.compared],
        "fail_if_worse": None
        if guarded is None
        else {
            "margin": guarded.margin,
            "undecided": undecided,
            "failed": guarded.fails(undecided),
            "not_worse": guarded.count("not worse"),
            "worse": guarded.count("worse"),
            "cannot_be_told": guarded.count("cannot be told"),
            "cells_lacking": guarded.lacking,
        },
    }


def _compared_json(one: Compared, judged: dict[int, Judged]) -> dict[str, Any]:
    versions = one.versions
    return {
        "task": versions.task,
        "threat": versions.threat,
        "space": versions.space,
        "victim": _pair(*versions.victim),
        "defense": _pair(*versions.defense),
        "round": versions.round or None,
        "same": one.same,
        "one_model": one.one_model,
        "changed": list(one.changed),
        "seeds": list(one.seeds),
        "prompts_cut_differently": one.cut,
        "measures": [_measure_json(measure, judged.get(id(measure))) for measure in one.measures],
        "cost_to_break": [_rounded(asdict(cost) | asdict(cost.ratio), "ratio") for cost in one.costs],
        "calibration_error": [_rounded(asdict(each) | {"difference": each.new - each.old}) for each in one.calibration],
        "representation_drift": [_rounded(asdict(each)) for each in one.drift],
    }


def _measure_json(measure: Measure, judged: Judged | None) -> dict[str, Any]:
    found = measure.difference
    counts = {} if found is None else asdict(found)
    for name in ("old", "new", "value", "low", "high"):
        counts.pop(name, None)
    verdict = {} if judged is None else {"verdict": judged.verdict, "pairs_needed": judged.pairs_needed}
    return _rounded(
        {
            "measure": measure.measured,
            "prompts": measure.prompts,
            "attack": measure.attack or None,
            **asdict(shown_measure(measure)),
            **counts,
            "pairs_without_a_verdict": measure.untold,
            "of_all_that_each_was_tried_on": {
                name: {"failures": failures, "trials": trials}
                for name, (failures, trials) in (("old", measure.old_own), ("new", measure.new_own))
            },
            **verdict,
        }
    )


def _pair(old: str, new: str) -> dict[str, str]:
    return {"old": old, "new": new}


def _rounded(data: dict[str, Any], *less: str) -> dict[str, Any]:
    return {name: rounded(value) for name, value in data.items() if name not in less}
