"""What is paired and how it is counted: examples right in both, wrong with or without an attack, what nobody judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.records.exclusion import ALREADY_BROKEN, BLOCKED, NO_CLEAN_ANSWER, NOT_ATTACKABLE, NOT_JUDGED, too_long
from harness.records.read import read_run
from leaderboard.fit.compared.paired_difference import tango_interval
from leaderboard.versions.comparison import Compared, Measure, compare_runs
from leaderboard.versions.shown_measure import measure_name, shown_measure
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.versions.made_up_runs import AS_IT_CAME, CELL, NEW, add_examples, cells, runs


def compared(folder: Path, old: list[FakeCell], new: list[FakeCell]) -> Compared:
    (found,) = compare_runs(*runs(folder, old, new)).compared
    return found


def by_name(found: Compared) -> dict[str, Measure]:
    return {measure_name(measure): measure for measure in found.measures}


def pairs(measure: Measure) -> tuple[int, float, float]:
    """All, and those that ended badly in one version alone."""
    assert measure.difference is not None
    return measure.difference.pairs, measure.difference.only_old, measure.difference.only_new


def test_rates_of_the_same_examples(tmp_path: Path) -> None:
    found = by_name(compared(tmp_path, cells(10), cells(18, victim=NEW)))
    assert list(found) == ["clean accuracy", "ASR of gcg", "wrong with gcg or without"]
    asr = found["ASR of gcg"].difference
    assert asr is not None
    assert (asr.old, asr.new, asr.value) == pytest.approx((10 / 40, 18 / 40, 8 / 40))
    assert (asr.low, asr.high) == pytest.approx(tango_interval(8, 0, 40, 1.959963984540054))
    assert pairs(found["wrong with gcg or without"]) == (42, 0, 8)
    shown = shown_measure(found["clean accuracy"])
    assert (shown.old, shown.new, shown.difference, shown.worse) == pytest.approx((40 / 42, 40 / 42, 0.0, "lower"))
    assert shown.low is not None
    assert shown.high is not None
    assert shown.low < 0 < shown.high


def test_what_costs_nothing_has_no_cost_to_break(tmp_path: Path) -> None:
    of_none = {"attack": "none", "steps": 1, "queries": 0, "step_flops": 0.0}
    found = compared(tmp_path, cells(0, **of_none), cells(0, victim=NEW, **of_none))
    assert [measure.attack for measure in found.measures if measure.attack] == ["none", "none"]
    assert found.costs == ()


def test_a_new_version_that_gets_the_hard_ones_wrong_looks_no_safer(tmp_path: Path) -> None:
    """e0 to e9 fell in the old version; the new one gets them wrong when clean, so that nobody attacks them."""
    old, new = runs(tmp_path, cells(10), cells(0, of=30, victim=NEW, first_example=10, wrong=0))
    wrong = [{"example": f"e{at}", "label": 0, "predicted": 1, "attacked": False} for at in range(10)]
    add_examples(new.path, [row | {"excluded": "already wrong"} for row in wrong])
    (one,) = compare_runs(old, new).compared
    found = by_name(one)
    assert pairs(found["ASR of gcg"]) == (30, 0, 0), "those that both were attacked on"
    assert (found["ASR of gcg"].old_own, found["ASR of gcg"].new_own) == ((10, 40), (0, 30))
    assert pairs(found["wrong with gcg or without"])[1:] == (0, 0), "what fell before is wrong unasked now"
    clean = shown_measure(found["clean accuracy"])
    assert clean.difference == pytest.approx(-10 / 40)


def test_examples_known_by_number_alone_count_in_clean_accuracy(tmp_path: Path) -> None:
    more: dict[str, Any] = {"n_clean": 142, "n_clean_correct": 130}
    old = cells(10, more=more)
    new = cells(10, victim=NEW, more=more | {"n_clean_correct": 110})
    clean = by_name(compared(tmp_path, old, new))["clean accuracy"]
    assert clean.difference is not None
    assert (clean.difference.pairs, clean.difference.known_by_number) == (142, 100)
    assert shown_measure(clean).difference == pytest.approx(-20 / 142)
    other = cells(10, victim=NEW, more=more | {"n_clean": 92, "n_clean_correct": 60})
    clean = by_name(compared(tmp_path / "fewer", old, other))["clean accuracy"]
    assert clean.difference is not None
    assert clean.difference.pairs == 42, "fewer were asked: not the same examples"


TEXT = {"task": "behaviors", "task_kind": "text", "judge": "refusal_match", "wrong": 0}


def text_runs(folder: Path, old: list[dict[str, Any]], new: list[dict[str, Any]], **columns: Any) -> Compared:
    """40 harmful prompts that are attacked, of which 10 fall, and other rows."""
    made = runs(folder, cells(10, **TEXT), cells(10, victim=NEW, **TEXT))
    for run, rows in zip(made, (old, new), strict=True):
        add_examples(run.path, rows, benign=False, **columns)
    (found,) = compare_runs(*made).compared
    return found


def row(example: str, excluded: str, *, benign: bool = False, right: bool | None = None) -> dict[str, Any]:
    return {"example": example, "attacked": False, "excluded": excluded, "benign": benign, "right": right}


def test_prompts_answered_in_text_are_counted_by_what_the_attacker_wants(tmp_path: Path) -> None:
    old = [row("x0", ALREADY_BROKEN), row("x1", BLOCKED), row("x2", BLOCKED)]
    new = [row("x0", ALREADY_BROKEN), row("x1", ALREADY_BROKEN), row("x2", BLOCKED)]
    found = by_name(text_runs(tmp_path, old, new))
    clean, ended = found["harmful prompts answered, no attack"], found["answered with gcg or without"]
    assert pairs(clean) == (43, 0, 1)
    assert pairs(ended) == (43, 0, 1)
    assert ended.difference is not None
    assert ended.difference.new == pytest.approx(12 / 43)
    assert pairs(found["ASR of gcg"]) == (40, 0, 0)


@pytest.mark.parametrize("why", [NO_CLEAN_ANSWER, NOT_JUDGED])
def test_no_answer_and_no_verdict_are_neither_refusals_nor_successes(why: str, tmp_path: Path) -> None:
    found = by_name(text_runs(tmp_path, [row("x0", ALREADY_BROKEN)], [row("x0", why)]))
    for name in ("harmful prompts answered, no attack", "answered with gcg or without"):
        assert pairs(found[name]) == (40, 0, 0)
        assert found[name].untold == 1


def test_attacked_prompts_without_any_verdict_are_counted_apart(tmp_path: Path) -> None:
    silent = cells(10, victim=NEW, **TEXT)[0]
    found = by_name(compared(tmp_path, cells(10, **TEXT), [replace(silent, silent=5)]))
    assert found["ASR of gcg"].untold == 5
    assert pairs(found["ASR of gcg"]) == (35, 0, 0)
    assert found["answered with gcg or without"].untold == 5


def test_over_refusal_is_paired_where_runs_record_it(tmp_path: Path) -> None:
    old = [row(f"h{at}", NOT_ATTACKABLE, benign=True, right=True) for at in range(20)]
    new = [row(f"h{at}", NOT_ATTACKABLE, benign=True, right=at >= 6) for at in range(19)]
    new.append(row("h19", NOT_JUDGED, benign=True))
    found = by_name(text_runs(tmp_path, old, new))
    refused = found["harmless prompts refused, no attack"]
    assert pairs(refused) == (19, 0, 6)
    assert refused.untold == 1
    assert not [name for name in found if name.startswith("refused with")], "they are asked clean alone"
    blocked = [row(f"h{at}", BLOCKED if at < 4 else NOT_ATTACKABLE, benign=True) for at in range(20)]
    found = by_name(text_runs(tmp_path / "blocked", old, blocked))
    refused = found["harmless prompts refused, no attack"]
    assert pairs(refused) == (4, 0, 4)
    assert refused.untold == 16, "older records do not say what became of the others"


def test_over_refusal_of_older_records_is_known_by_number(tmp_path: Path) -> None:
    rows = [row(f"h{at}", NOT_ATTACKABLE, benign=True) for at in range(20)]
    counts: dict[str, Any] = {"n_clean": 60, "n_clean_correct": 58, "defense_facts": {"benign_clean": 20}}

    def made(refused: int, **changes: Any) -> list[FakeCell]:
        more = counts | {"n_clean_correct": 60 - refused}
        return cells(
            10, **TEXT, **changes, more=more | {"defense_facts": counts["defense_facts"] | {"over_refused": refused}}
        )

    old, new = runs(tmp_path, made(2), made(8, victim=NEW))
    for run in (old, new):
        add_examples(run.path, rows, benign=False)
    (found,) = compare_runs(old, new).compared
    refused = by_name(found)["harmless prompts refused, no attack"].difference
    assert refused is not None
    assert (refused.pairs, refused.known_by_number, refused.value) == (20, 20, pytest.approx(6 / 20))
    harmful = by_name(found)["harmful prompts answered, no attack"].difference
    assert harmful is not None
    assert (harmful.pairs, harmful.known_by_number) == (40, 0)


def test_a_prompt_that_was_cut_otherwise_is_left_out(tmp_path: Path) -> None:
    prompt: dict[str, Any] = {"messages": [("user", "the whole question")]}
    old, new = runs(tmp_path, cells(10, **prompt), cells(10, victim=NEW, **prompt))
    add_examples(new.path, [], messages=[{"role": "user", "content": "the whole"}])
    (found,) = compare_runs(old, new).compared
    assert found.cut == 42
    assert all(measure.difference is None for measure in found.measures)
    assert found.costs == ()


def test_a_prompt_that_is_too_long_is_wrong_with_labels_and_nowhere_in_text(tmp_path: Path) -> None:
    long = row("x0", too_long(900, 512))
    found = by_name(text_runs(tmp_path, [row("x0", ALREADY_BROKEN)], [long]))
    assert pairs(found["harmful prompts answered, no attack"])[0] == 40
    assert found["harmful prompts answered, no attack"].untold == 0
    old, new = runs(tmp_path / "labels", cells(10), cells(10, victim=NEW))
    add_examples(
        old.path, [{"example": "x0", "label": 1, "predicted": 0, "attacked": False, "excluded": "already wrong"}]
    )
    add_examples(new.path, [long | {"label": 1}])
    (of_labels,) = compare_runs(old, new).compared
    assert pairs(by_name(of_labels)["clean accuracy"]) == (43, 0, 0)


def test_seeds_of_a_model_that_nobody_trains_are_searches_alone(tmp_path: Path) -> None:
    def made(seeds_broken: tuple[int, ...], **changes: Any) -> list[FakeCell]:
        return [cells(broken, seeds=[seed], **changes)[0] for seed, broken in enumerate(seeds_broken)]

    trained = compared(tmp_path / "trained", made((10, 10, 10)), made((8, 18, 28), victim=NEW))
    old, new = made((10, 10, 10), more=AS_IT_CAME), made((8, 18, 28), victim=NEW, more=AS_IT_CAME)
    fixed = compared(tmp_path / "fixed", old, new)
    assert (trained.one_model, fixed.one_model) == (False, True)
    wide, narrow = (by_name(found)["ASR of gcg"].difference for found in (trained, fixed))
    assert wide is not None
    assert narrow is not None
    assert (wide.pairs, wide.examples, wide.seeds) == (120, 40, 3)
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_runs_that_are_alike_differ_by_nothing(tmp_path: Path) -> None:
    found = compared(tmp_path, cells(30, seeds=(0, 1)), cells(30, seeds=(0, 1)))
    assert found.same
    assert found.changed == ()
    for measure in found.measures:
        assert measure.difference is not None
        assert measure.difference.value == 0
        assert measure.difference.low < 0 < measure.difference.high
    assert found.costs[0].ratio.value == pytest.approx(1.0)


def test_what_changed_is_told(tmp_path: Path) -> None:
    facts = AS_IT_CAME["victim_facts"]
    old = cells(3, more={"victim_facts": facts | {"content": "a" * 40}})
    new = cells(3, more={"victim_facts": facts | {"content": "b" * 40}})
    assert compared(tmp_path / "files", old, new).changed == ("the victim's files aaaaaaaaaaaa → bbbbbbbbbbbb",)
    assert compared(tmp_path / "label", cells(3), cells(3, victim=NEW)).changed == ("victim model(v1) → model(v2)",)


def test_costs_are_of_the_examples_that_both_were_attacked_on(tmp_path: Path) -> None:
    old, new = cells(40), cells(40, victim=NEW)
    half = replace(new[0], first_success=[step and min(4, 2 * step) for step in new[0].first_success or ()])
    (cost,) = compared(tmp_path, old, [half]).costs
    assert (cost.unit, cost.target) == ("FLOPs", 0.5)
    assert cost.ratio.old == pytest.approx(2e9)
    assert cost.ratio.value == pytest.approx(5 / 3)
    unknown = [replace(cell, step_flops=None) for cell in (*old, half)]
    (cost,) = compared(tmp_path / "unknown", unknown[:1], unknown[1:]).costs
    assert cost.unit == "queries"
    assert cost.ratio.old == pytest.approx(2 * CELL.queries)


def test_calibration_is_the_mean_of_seeds(tmp_path: Path) -> None:
    def made(clean: float, **changes: Any) -> list[FakeCell]:
        facts = {"diagnostics": {"ece": {"clean": clean, "attacked": None}}}
        return cells(3, seeds=(0, 1), more={"defense_facts": facts}, **changes)

    (found,) = compared(tmp_path, made(0.1), made(0.3, victim=NEW)).calibration
    assert (found.attack, found.old, found.new, found.seeds) == ("", 0.1, 0.3, 2)


def test_a_run_against_itself_reads_nothing_twice_wrongly(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", cells(10, seeds=(0, 1))))
    (found,) = compare_runs(run, run).compared
    assert found.same
