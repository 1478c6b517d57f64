"""`harness compare` as it is called: what it prints at 80 columns, its JSON, its exit statuses; also on real runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.records.read import read_run
from leaderboard.submission.pack import finished_run, write_submission
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.versions.made_up_runs import AS_IT_CAME, NEW, cells
from tests.run.runs import FAST, FROM_FILES


def written(folder: Path, old: list[FakeCell], new: list[FakeCell]) -> tuple[str, str]:
    return str(write_run(folder / "old", old)), str(write_run(folder / "new", new))


@pytest.fixture
def worse(tmp_path: Path) -> tuple[str, str]:
    """100 of 400 fall in the old version, 300 in the new one."""
    new = cells(300, of=400, victim=NEW, more=AS_IT_CAME)
    return written(tmp_path, cells(100, of=400, more=AS_IT_CAME), new)


def test_what_a_reader_sees(worse: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *worse]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(line.strip(" │┃").split()) for line in lines)
    assert "ASR of gcg │ 25.0% │ 75.0% │ +50.0" in text
    assert "(+45.1 to +54.9)" in text
    assert "model(v1) → model(v2)" in text
    assert "1 seed; one model in each version: intervals are over examples." in text
    assert (
        "Cost of gcg to ASR 50%: beyond the budget of 4.0 × 10⁹ → 2.7 × 10⁹ FLOPs per example; ratio at most 0.7"
        in text
    )
    assert "Drift of representations: not recorded" in text
    assert "verdict" not in text


def test_a_worse_version_is_status_1_and_says_why(worse: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *worse, "--fail-if-worse", "0.05"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "ASR of gcg: worse by more than 5 points, certainly" in text
    assert "--fail-if-worse 0.05: FAILED: of 3 measures 1 not worse, 2 worse, 0 cannot be told" in text
    assert main(["compare", *worse, "--fail-if-worse", "0.05", "--undecided", "pass"]) == 1
    assert main(["compare", *worse, "--fail-if-worse", "0.6"]) == 0
    assert main(["compare", *reversed(worse), "--fail-if-worse", "0.05"]) == 0


def test_what_cannot_be_told_is_said_and_fails_unless_it_may_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = written(tmp_path, cells(5, of=20), cells(5, of=20, victim=NEW))
    assert main(["compare", *few, "--fail-if-worse", "0.05"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "ASR of gcg: cannot be told with 20 pairs whether worse by more than 5 points; some 73 pairs like" in text
    assert main(["compare", *few, "--fail-if-worse", "0.05", "--undecided", "pass"]) == 0


def test_a_run_against_itself_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = written(tmp_path, cells(5, of=20), cells(5, of=20))
    assert main(["compare", *same, "--fail-if-worse", "0"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "The same cells with the same records: nothing changed" in text


def test_cells_in_one_run_alone_are_listed_up_to_a_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = written(tmp_path, cells(5, of=20, seeds=range(11)), cells(5, of=20, seeds=[0]))
    assert main(["compare", *two, "--fail-if-worse", "0.05"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("only in OLD: word_length × model(v1) × none × gcg") == 8
    assert "only in OLD: 2 more; --json names all" in text
    assert "cannot be told: 10 cells of OLD without a partner in NEW" in text


def found_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_all_numbers_as_json(worse: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *worse, "--fail-if-worse", "0.05", "--json"]) == 1
    found = found_json(capsys)
    assert found["fail_if_worse"] == {
        "margin": 0.05,
        "undecided": "fail",
        "failed": True,
        "not_worse": 1,
        "worse": 2,
        "cannot_be_told": 0,
        "cells_lacking": 0,
    }
    (one,) = found["compared"]
    assert (one["victim"], one["defense"]["old"], one["seeds"]) == ({"old": "model(v1)", "new": NEW}, "none", [0])
    clean, asr, ended = one["measures"]
    assert (clean["name"], clean["worse"], clean["difference"]) == ("clean accuracy", "lower", 0)
    assert (asr["old"], asr["new"], asr["difference"], asr["verdict"]) == (0.25, 0.75, 0.5, "worse")
    assert (asr["pairs"], asr["only_new"], asr["only_old"]) == (400, 200, 0)
    assert asr["of_all_that_each_was_tried_on"]["old"] == {"failures": 100, "trials": 400}
    assert ended["pairs"] == 402
    (cost,) = one["cost_to_break"]
    assert (cost["attack"], cost["unit"], cost["old"], cost["value"]) == ("gcg", "FLOPs", None, None)
    assert cost["high"] is not None
    assert main(["compare", *worse, "--json"]) == 0
    plain = found_json(capsys)
    assert plain["fail_if_worse"] is None
    assert "verdict" not in plain["compared"][0]["measures"][0]


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"data_hash": "e" * 64}, [], "the data (their hash)"),
        ({"attack": "gcg(steps=9)"}, [], "attack gcg and attack gcg(steps=9)"),
        ({}, ["--pair", "a=b"], "--pair a=b"),
        ({}, ["--target-asr", "0"], "target ASR 0.0"),
        ({}, ["--fail-if-worse", "5"], "--fail-if-worse"),
    ],
)
def test_mistakes_are_status_2_in_words(
    changes: dict[str, Any], options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = written(tmp_path, cells(5), cells(5, victim=NEW, **changes))
    assert main(["compare", *two, *options]) == 2
    assert words in capsys.readouterr().err


def test_what_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "none"), str(tmp_path)]) == 2
    assert "none: no such run directory" in capsys.readouterr().err


def real_run(folder: Path, name: str, spec: str) -> str:
    (folder / f"{name}.yaml").write_text(spec, encoding="utf-8")
    out = str(folder / name)
    assert main([*FROM_FILES, "run", str(folder / f"{name}.yaml"), "--out", out, "--quiet", "--jobs", "0"]) == 0
    return out


@pytest.mark.slow
def test_two_real_runs_of_one_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, again = real_run(tmp_path, "old", FAST), real_run(tmp_path, "again", FAST)
    assert main(["compare", old, again, "--fail-if-worse", "0.05"]) == 0
    assert "nothing changed" in capsys.readouterr().out
    longer = FAST.replace("{hill_climb: {steps: 3}}", "{hill_climb: {steps: 4}}")
    assert main(["compare", old, real_run(tmp_path, "longer", longer)]) == 2
    assert "attack hill_climb" in capsys.readouterr().err


TINY = """
name: tiny-versions
version: "1"
tasks: [{word_length: {instructions: "Which word is longer?", syllables: open, train_size: 300, validation_size: 64}}]
victims: [{tiny: {size: 7k, steps: STEPS, batch_size: 16}}]
attacks: [{gcg: {steps: 3, candidates: 8, topk: 8}}]
threats: [{tokens: 5}]
examples: 16
clean_examples: 48
"""


@pytest.mark.slow
def test_models_drift_by_their_weights_and_submissions_are_read_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (real_run(tmp_path, f"s{n}", TINY.replace("STEPS", str(n))) for n in (40, 80))

    def compared(other: str) -> dict[str, Any]:
        assert main(["compare", old, other, "--json"]) == 0
        (one,) = found_json(capsys)["compared"]
        return dict(one)

    unchanged, found = compared(old), compared(new)
    assert {layer["drift"] for layer in unchanged["representation_drift"]} == {0}
    assert min(layer["drift"] for layer in found["representation_drift"][1:]) > 0.001
    clean, cell = found["measures"][0], read_run(old).cells[0].record
    assert clean["old"] == pytest.approx(cell.n_clean_correct / cell.n_clean)
    assert clean["pairs"] == cell.n_clean == 48
    assert clean["known_by_number"] == 32
    file = tmp_path / "new.submission.zip"
    write_submission(finished_run(Path(new)), file)
    assert compared(str(file)) == found
