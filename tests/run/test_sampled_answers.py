"""Several drawn answers to each attack string: recorded, judged, paid for, judged again, merged, shown and packed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.records.read import Cell, read_run
from harness.records.schema import STEPS
from harness.records.step_row import SAMPLED, StepRow
from harness.records.write import write_table
from leaderboard.standings.standings import standings

HERE = Path(__file__).parent
TOYS = HERE.parents[1] / "harness" / "testing" / "toys" / "registered.py"
K = 6
SPEC = """
name: sampled
version: "1"
tasks: [kit_text]
victims: [kit_victim]
attacks: [none, {random_search: {steps: 3, candidates: 4}}]
threats: [{tokens: 4, access: scores}, {tokens: 4, access: scores, asks: 2}]
judge: early_letter
examples: 8
clean_examples: 8
"""
ONE_THREAT = SPEC.replace(", {tokens: 4, access: scores, asks: 2}", "")
DRAWN = f"{SPEC}answers: {{samples: {K}, temperature: 1.5, top_p: 0.9}}\n"


def harness(*words: Any) -> int:
    return int(main([f"--plugin={TOYS}", f"--plugin={HERE / 'letter_judges.py'}", *map(str, words)]))


def run(folder: Path, text: str, name: str, *options: Any) -> Path:
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    out = folder / name
    assert harness("run", folder / f"{name}.yaml", "--out", out, "--quiet", "--jobs", "0", *options) == 0
    return out


def steps(cell: Cell) -> list[dict[str, Any]]:
    return cell.steps().drop_columns(["seconds"]).to_pylist()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("drawn"), DRAWN, "run")


def test_every_answer_is_recorded_and_the_first_count(drawn: Path) -> None:
    differing = 0
    for cell in read_run(drawn):
        asks = cell.record.threat.get("asks")
        assert cell.record.samples == K
        for row in steps(cell):
            answers, success = row["sampled_answer"], row["sampled_success"]
            assert len(answers) == len(success) == len(row["sampled_nominal"]) == K
            differing += len(set(answers)) > 1
            assert (row["draws"], row["broken_draws"]) == (K, sum(success))
            assert row["success"] == any(success[: asks or 1])
            assert row["answer"] in answers[: asks or 1]
            assert row["judge_output"] is None, "no model was asked"
            own = sum(row["sampled_nominal"][: asks or 0])
            assert row["attack_nominal"] >= own
            assert row["attack_nominal"] + row["judge_nominal"] >= sum(row["sampled_nominal"])
            if cell.record.attack.name == "none":  # then what is asked is all that the attack takes
                assert (row["attack_nominal"], row["queries"]) == (own, asks or 0)
    assert differing > 20


def test_without_the_field_all_is_as_before(tmp_path: Path) -> None:
    plain, said = run(tmp_path, ONE_THREAT, "plain"), tmp_path / "said"
    text = ONE_THREAT + "answers: {samples: 1}\n"
    assert run(tmp_path, text, "said") == said
    for one, other in zip(read_run(plain), read_run(said), strict=True):
        assert (one.record.key, one.record.spec_hash) == (other.record.key, other.record.spec_hash)
        assert one.record.answers is None
        assert "asks" not in one.record.threat
        assert steps(one) == steps(other)
        assert all(row[name] is None for row in steps(one) for name in SAMPLED)


@pytest.mark.slow
def test_shards_and_a_run_that_was_stopped_end_alike(drawn: Path, tmp_path: Path) -> None:
    shards = [run(tmp_path, DRAWN, f"shard{at}", "--shard", f"{at}/2") for at in (1, 2)]
    assert harness("merge", *shards, "--out", tmp_path / "merged") == 0
    whole = {cell.record.key: steps(cell) for cell in read_run(drawn)}
    assert {cell.record.key: steps(cell) for cell in read_run(tmp_path / "merged")} == whole
    # Of one cell the first round alone, as a kill in the second leaves it.
    cell = next(cell for cell in read_run(tmp_path / "merged") if cell.record.attack.name == "random_search")
    stopped = Path(shutil.copytree(drawn, tmp_path / "stopped"))
    place = stopped / "cells" / cell.record.key
    rows = [StepRow.from_record(row) for row in cell.steps().to_pylist() if row["step"] == 1]
    full = json.loads(_first_line(tmp_path, cell.record.key))
    assert [row["sampled_answer"] for row in full["rows"]] == [row.sampled_answer for row in rows]
    for file in place.iterdir():
        file.unlink()
    (place / "journal.jsonl").write_text(json.dumps(full) + "\n", encoding="utf-8")
    assert run(tmp_path, DRAWN, "stopped") == stopped
    assert {one.record.key: steps(one) for one in read_run(stopped)} == whole


def _first_line(folder: Path, key: str) -> str:
    """Of the journal of a cell, which is gone when the cell is done: kept while it is written."""
    from harness.records.journal import Journal

    lines: list[str] = []
    append = Journal.append

    def kept(self: Journal, entry: dict[str, Any]) -> None:
        append(self, entry)
        if self.path.parent.name == key:
            lines.append(json.dumps(entry))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", kept)
        run(folder, DRAWN, "journalled")
    return lines[0]


def test_another_judge_judges_all_answers(drawn: Path, tmp_path: Path) -> None:
    text = DRAWN.replace("early_letter", "has_a")
    anew, alone = run(tmp_path, text, "anew", "--from", drawn), run(tmp_path, text, "alone")
    assert not (anew / "artifacts").exists()
    assert {c.record.key: steps(c) for c in read_run(anew)} == {c.record.key: steps(c) for c in read_run(alone)}
    assert any(row["broken_draws"] for cell in read_run(anew) for row in steps(cell))


def test_asr_at_stands_in_the_standings(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = standings([read_run(drawn)])
    for table in tables:
        for curve in table.rows[0].curves:
            found = {one.asks: one for one in curve.asr_at}
            assert sorted(found) == [1, 2, 4, K]
            cell = next(c for c in table.rows[0].cells if c.record.attack.label == curve.attack)
            rows = steps(cell)
            examples = {row["example"] for row in rows}
            broken = {row["example"] for row in rows if row["broken_draws"]}
            assert found[K].value == pytest.approx(len(broken) / len(examples))
            assert found[1].value <= found[2].value <= found[4].value <= found[K].value
            assert all(one.low <= one.value <= one.high for one in curve.asr_at)
            answers = sum(sum(row["sampled_nominal"]) / K for row in rows) / len(examples)
            assert found[4].compute - found[1].compute == pytest.approx(3 * answers)
            if curve.attack == "none":
                assert found[1].value == pytest.approx(sum(row["broken_draws"] for row in rows) / len(rows) / K)
                assert (found[1].compute, found[1].queries) == (pytest.approx(answers), 1)
    assert harness("leaderboard", "show", drawn) == 0
    shown = capsys.readouterr().out
    assert "ASR@1 " in shown
    assert f"ASR@{K} " in shown
    assert f"{K} answers to each attack string, drawn at temperature 1.5 and top_p 0.9" in " ".join(shown.split())


@pytest.mark.slow
def test_a_submission_holds_all_answers_and_is_replayed_by_counts(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.zip"
    assert harness("leaderboard", "pack", drawn, "--out", file) == 0
    spec, store = drawn.parent / "run.yaml", drawn / "artifacts"
    assert harness("leaderboard", "verify", file, "--spec", spec, "--replay", 20, "--store", store) == 0
    assert "strings have drawn answers" in " ".join(capsys.readouterr().out.split())
    fits = []
    for source in (drawn, file):
        assert harness("fit", "repeated-sampling", source, "--asks", 50, "--json") == 0
        fits.append(json.loads(capsys.readouterr().out))
    assert fits[0] == fits[1] != []


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("sampled_success", [True] * K, "counts of draws that are not those of its drawn answers"),
        ("success", None, "a verdict that is not that of"),
        ("sampled_answer", ["a"], "drawn answers that do not match each other"),
        ("sampled_nominal", [1e30] * K, "drawn answers that took more than attack and judging together"),
    ],
)
def test_forged_answers_are_found(
    drawn: Path, tmp_path: Path, column: str, value: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = Path(shutil.copytree(drawn, tmp_path / "forged"))
    cell = next(iter(read_run(forged)))
    rows = cell.steps().to_pylist()
    at = next(i for i, row in enumerate(rows) if row["broken_draws"] not in (0, K))
    rows[at][column] = not rows[at][column] if value is None else value
    write_table(cell.folder / "steps.parquet", rows, STEPS)
    assert harness("leaderboard", "pack", forged, "--out", tmp_path / "file.zip") != 0
    assert words in capsys.readouterr().err


def test_too_few_prompts_are_not_extrapolated(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("fit", "repeated-sampling", drawn, "--asks", 50, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {cell["asr_at"][0]["value"] for cell in found} == {None}
    assert all("prompts with 4 answers or more, 20 are needed" in cell["asr_at"][0]["note"] for cell in found)
    assert harness("fit", "repeated-sampling", drawn, "--asks", K) != 0
    assert f"Give more than {K}" in capsys.readouterr().err


def test_a_plan_counts_each_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def planned(answers: str) -> float:
        (tmp_path / "p.yaml").write_text(f"{ONE_THREAT}answers: {answers}\n", encoding="utf-8")
        assert harness("plan", tmp_path / "p.yaml", "--json", "--out", tmp_path / "none") == 0
        stages = json.loads(capsys.readouterr().out)["stages"]
        return float(sum(stage["flops"] for stage in stages if stage["what"] == "attack"))

    one, three, nine = (planned(f"{{samples: {count}, temperature: 1}}") for count in (1, 3, 9))
    assert nine - three == pytest.approx(3 * (three - one))
    assert 0 < planned("{samples: 9, max_tokens: 2}") < nine
    assert planned("{samples: 1}") == one, "drawing costs nothing"
