"""Which cells of two runs are versions of each other, and which runs cannot be compared, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from leaderboard.versions.comparison import compare_runs
from leaderboard.versions.matched_cells import match_cells
from tests.leaderboard.fake_run import FakeCell
from tests.leaderboard.versions.made_up_runs import NEW, cells, runs


def pairs_of(folder: Path, old: list[FakeCell], new: list[FakeCell], *asked: str) -> list[tuple[Any, ...]]:
    matched = match_cells(*runs(folder, old, new), asked)
    return [(one.victim, one.defense, one.round, sorted(one.by_seed)) for one in matched.versions]


def test_the_one_that_is_left_on_each_side_is_the_new_version(tmp_path: Path) -> None:
    old = [*cells(3, victim="model(v1)", seeds=(0, 1)), *cells(3, victim="other")]
    new = [*cells(3, victim="model(v2)", seeds=(0, 1)), *cells(3, victim="other")]
    assert pairs_of(tmp_path, old, new) == [
        (("model(v1)", "model(v2)"), ("none", "none"), 0, [0, 1]),
        (("other", "other"), ("none", "none"), 0, [0]),
    ]


def test_defenses_are_paired_likewise_and_rounds_by_number(tmp_path: Path) -> None:
    none, guard, trained = {"defense": "none"}, {"defense": "filter(window=8)"}, {"defense": "training", "round": 2}
    old = [cell for part in (none, guard, trained) for cell in cells(3, **part)]
    new = [cell for part in (none, {"defense": "filter(window=4)"}, trained) for cell in cells(3, **part)]
    assert [(defense, round_) for _, defense, round_, _ in pairs_of(tmp_path, old, new)] == [
        (("filter(window=8)", "filter(window=4)"), 0),
        (("none", "none"), 0),
        (("training", "training"), 2),
    ]


def test_several_left_must_be_named_and_labels_may_hold_an_equals_sign(tmp_path: Path) -> None:
    old = [*cells(3, victim="a(x=1)"), *cells(3, victim="b(x=1)")]
    new = [*cells(3, victim="a(x=2)"), *cells(3, victim="b(x=2)")]
    with pytest.raises(DataError, match=r"which victim of NEW .* a\(x=1\), b\(x=1\) in OLD and a\(x=2\), b\(x=2\) in"):
        pairs_of(tmp_path / "unnamed", old, new)
    named = pairs_of(tmp_path / "named", old, new, "a(x=1)=b(x=2)")
    assert [victim for victim, *_ in named] == [("a(x=1)", "b(x=2)"), ("b(x=1)", "a(x=2)")]
    for number, asked in enumerate((["a(x=1)=c"], ["a"], ["a(x=1)=a(x=2)", "b(x=1)=a(x=2)"])):
        with pytest.raises(DataError, match="--pair"):
            pairs_of(tmp_path / str(number), old, new, *asked)


def test_cells_without_a_partner_are_named(tmp_path: Path) -> None:
    old, new = runs(tmp_path, [*cells(3, seeds=(0, 1)), *cells(3, attack="beast")], cells(3, victim=NEW, seeds=(1, 2)))
    found = compare_runs(old, new)
    assert [one.seeds for one in found.compared] == [(1,)]
    assert found.only_old == (
        "word_length × model(v1) × none × beast × suffix, 10 tokens, gradient, seed 0",
        "word_length × model(v1) × none × gcg × suffix, 10 tokens, gradient, seed 0",
    )
    assert found.only_new == ("word_length × model(v2) × none × gcg × suffix, 10 tokens, gradient, seed 2",)


def test_runs_without_a_cell_in_common_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no cell of the one has a partner in the other.*seed 0; NEW has .*seed 1"):
        compare_runs(*runs(tmp_path, cells(3), cells(3, seeds=[1])))


def attack_of(**params: Any) -> dict[str, Any]:
    record = {"name": "gcg", "label": "gcg", "params": params, "distribution": "robustness-harness", "version": "0.1.0"}
    return {"more": {"attack": record}}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({}, {"data_hash": "e" * 64}, r"the data \(their hash\) of word_length"),
        ({}, {"stop_on_success": True}, "whether searches stop at success of word_length"),
        ({}, {"steps": 8}, "the budget in steps of word_length × .* × gcg: 4 and 8"),
        ({}, {"accounting": "otherwise"}, "how FLOPs are counted"),
        ({}, {"judge": "refusal_match"}, "judge proxy_label and judge refusal_match: .*Judge the older one again"),
        ({}, {"threat": "suffix, 20 tokens, gradient"}, "threat model suffix, 10 tokens.* and threat model suffix, 20"),
        ({}, {"attack": "gcg(steps=8)"}, r"attack gcg and attack gcg\(steps=8\): the labels differ"),
        (attack_of(steps=4, topk=8), attack_of(steps=4, topk=9), "attack gcg: topk is 8 and 9"),
        ({}, {"task": "word_length(size=3)"}, r"task word_length and task word_length\(size=3\)"),
        ({}, {"more": {"spec_version": "2"}}, "two specs, fake version 1.0 and fake version 2"),
        ({}, {"more": {"threat": {"position": "suffix", "tokens": 10, "queries": 5}}}, "queries is None and 5"),
        (
            {},
            {"more": {"answers": {"samples": 4, "temperature": 1.0, "top_p": 1.0, "max_tokens": None}}},
            "how answers are drawn",
        ),
    ],
)
def test_runs_of_two_tests_are_refused(old: dict, new: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"(?s)old and .*new cannot be compared: .*{words}"):
        compare_runs(*runs(tmp_path, cells(3, **old), cells(3, victim=NEW, **new)))


def test_an_attack_of_one_run_alone_is_no_reason_to_refuse(tmp_path: Path) -> None:
    found = compare_runs(*runs(tmp_path, cells(3), [*cells(3), *cells(3, attack="beast")]))
    assert len(found.only_new) == 1


def test_other_versions_of_plugins_are_told(tmp_path: Path) -> None:
    newer = attack_of()["more"]["attack"] | {"version": "0.2.0"}
    (note,) = compare_runs(*runs(tmp_path, cells(3), cells(3, victim=NEW, more={"attack": newer}))).notes
    assert note.startswith("attack gcg is of robustness-harness 0.1.0 in OLD and 0.2.0 in NEW")


def test_runs_that_have_nothing_or_are_not_finished(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="old: no finished cell"):
        compare_runs(*runs(tmp_path / "none", cells(3, status="failed"), cells(3)))
    unfinished = [*cells(3, victim=NEW), *cells(3, victim=NEW, seeds=[1], status="failed")]
    found = compare_runs(*runs(tmp_path / "part", cells(3, seeds=(0, 1)), unfinished))
    assert found.notes == ("NEW is not finished: 1 of its cells have no numbers",)
    assert len(found.only_old) == 1


def test_two_cells_in_one_place_are_refused(tmp_path: Path) -> None:
    twice = [*cells(3, victim=NEW), *cells(5, victim=NEW)]
    with pytest.raises(DataError, match="are the same cell with different content"):
        compare_runs(*runs(tmp_path, cells(3), twice))
