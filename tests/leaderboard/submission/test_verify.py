"""Verifying: a valid submission passes, and what a cheat would forge is told, by the command's exit status as well."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.registry.loader import load_plugins
from harness.replay.by_spec.shipped_specs import SHIPPED
from harness.spec.load import load_spec
from leaderboard.submission.file_format.container import MANIFEST, SPEC
from leaderboard.submission.run_of_submission import as_run
from leaderboard.submission.submission import open_submission
from leaderboard.submission.verification.inspection import inspect_submission
from leaderboard.submission.verification.sample import draw_sample
from leaderboard.submission.verification.verify import _spec_check
from tests.leaderboard.submission.dishonest import DISHONEST
from tests.leaderboard.submission.forge import (
    Parts,
    diagnosed,
    forged,
    pack_fast,
    table_of,
    with_cells,
    with_rows,
    with_spec,
)
from tests.run.runs import FAST, FROM_FILES, harness_here

Row = dict[str, Any]


def verify(path: Path, *options: object) -> tuple[int, dict[str, Any]]:
    """Exit status and JSON report."""
    done = harness_here(*FROM_FILES, "leaderboard", "verify", path, "--json", *options, cwd=path.parent)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def problems(report: dict[str, Any]) -> dict[str, str]:
    """The problems of each check that did not pass."""
    return {each["name"]: "; ".join(each["problems"]) for each in report["checks"] if not each["passed"]}


def test_a_valid_one_is_verified(packed: Path) -> None:
    code, report = verify(packed)
    assert (code, report["verified"], problems(report)) == (0, True, {})
    names = [check["name"] for check in report["checks"]]
    assert names == ["file", "records", "standings", "spec", "completeness", "verdicts", "attack costs"]
    (spec,) = [check for check in report["checks"] if check["name"] == "spec"]
    assert "is its own" in spec["notes"][0]  # it is nobody's standard
    assert "no string and no clean prompt was replayed on a victim" in report["not_looked_at"]


@pytest.mark.slow
def test_the_spec_of_the_reader(packed: Path, tmp_path: Path) -> None:
    assert verify(packed, "--spec", packed.parent / "fast.yaml")[0] == 0
    other = tmp_path / "other.yaml"
    other.write_text(FAST.replace("steps: 3, draws: 4", "steps: 3, draws: 5"), encoding="utf-8")
    code, report = verify(packed, "--spec", other)
    assert code == 1
    assert "differ in attacks" in problems(report)["spec"]


@pytest.mark.slow
def test_a_table_is_printed(packed: Path) -> None:
    done = harness_here(*FROM_FILES, "leaderboard", "verify", packed, cwd=packed.parent)
    assert done.returncode == 0
    assert "completeness" in done.stdout
    assert "Not checked: no string" in done.stdout
    assert done.stdout.rstrip().endswith("Verified.")
    missing = harness_here("leaderboard", "verify", packed.parent / "nothing.zip", cwd=packed.parent)
    assert missing.returncode == 1
    assert "no such file" in missing.stdout
    assert missing.stdout.rstrip().endswith("Not verified.")


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspection in this process: quick. What the process of its own is for is tested in test_bounds."""
    monkeypatch.setattr("leaderboard.submission.verification.sandbox.inspect_in_sandbox", inspect_submission)


def drop_cell(parts: Parts, out: Path) -> None:
    gone = json.loads(parts["cells.json"])[0]["key"]
    fewer = with_rows(
        with_cells(parts, lambda cells: cells.pop(0)), lambda rows: [r for r in rows if r["cell"] != gone]
    )
    run = json.loads(parts[MANIFEST])["run"] | {"cells": 1}
    forged(fewer, out, run=run)


def drop_example(parts: Parts, out: Path) -> None:
    """The example that is broken in any cell, struck from all of them, with counts that fit."""
    rows = table_of(parts).to_pylist()
    gone = next(row["example"] for row in rows if row["success"])
    fewer = with_rows(parts, lambda found: [row for row in found if row["example"] != gone])
    forged(with_cells(fewer, lambda cells: [c.update(n_attacked=c["n_attacked"] - 1) for c in cells]), out)


def flip(parts: Parts, out: Path) -> None:
    """Every success a failure, the answers left as they are."""
    changed = with_rows(parts, lambda rows: [row.update(success=False) for row in rows if row["success"]] and None)
    forged(changed, out)


def own_target(parts: Parts, out: Path) -> None:
    """Examples in the direction that falls less often."""
    forged(with_rows(parts, lambda rows: [r.update(target=r["label"]) for r in rows if r["step"] == 0] and None), out)


def cell(**fields: Any) -> Callable[[Parts, Path], None]:
    def change(cells: list[dict[str, Any]]) -> None:
        for name, value in fields.items():
            *path, last = name.split("__")
            place: Any = cells[0]
            for part in path:
                place = place[part]
            place[last] = value

    return lambda parts, out: forged(with_cells(parts, change), out) and None


def spec(text: str) -> Callable[[Parts, Path], None]:
    return lambda parts, out: forged(with_spec(parts, text), out) and None


def dearer(factor: int, *names: str) -> Callable[[Parts, Path], None]:
    """What the attacks took, many times as much."""

    def change(rows: list[Row]) -> None:
        for row in rows:
            if row["step"]:
                row |= {name: row[name] * factor for name in names}

    return lambda parts, out: forged(with_rows(parts, change), out) and None


BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1},' * 9}]\n" for i in range(1, 12))
FORGED: dict[str, tuple[Callable[[Parts, Path], None], str, str]] = {
    "a cell left out": (drop_cell, "completeness", "1 of 2 cells of the spec is missing"),
    "an example left out": (drop_example, "completeness", "lists 5 examples, the spec asks for 6"),
    "verdicts turned round": (flip, "verdicts", "counts as a failure; the judge says otherwise"),
    "another seed": (cell(seed=5), "completeness", "is not one of the spec's"),
    "another label": (cell(attack__label="gcg"), "completeness", "is not one of the spec's"),
    "other parameters": (cell(attack__params={"steps": 3}), "completeness", "the spec says"),
    "another version of a plugin": (cell(victim__version="9.9"), "completeness", "victim.version is '9.9'"),
    "a lower bar": (cell(threat__tokens=3), "completeness", "threat.tokens is 3, the spec says 4"),
    "a lower floor": (cell(clean_floor=0.1), "completeness", "clean_floor is 0.1, the spec says 0.9"),
    "a search for parameters that the spec has not": (
        cell(tuning={"flops": 1e9, "per_example": 1e6, "examples": 4, "trials": 3, "key": "0" * 20}),
        "completeness",
        "the spec says None",
    ),
    "a bound on utility of its own": (
        cell(utility={"tasks": [], "max_loss": 0.9}),
        "completeness",
        "utility is {'tasks': [], 'max_loss': 0.9}, the spec says None",
    ),
    "a bound on utility that is none": (
        cell(utility={"tasks": [], "max_loss": -0.5}),
        "records",
        "limit on the loss of utility -0.5 is not between 0 and 1",
    ),
    "fewer answers than were asked for": (cell(n_asked=3), "records", "of asked, missing and unjudged answers"),
    "a label that is its own target": (own_target, "records", "the attacker wants the example's own label"),
    "a budget of its own": (cell(threat__queries=1), "records", "the threat model allows 1"),
    "attacks that took a thousand times as much": (
        dearer(1000, "queries", "attack_nominal", "attack_executed"),
        "attack costs",
        "queries per step, 4,000 at most; by its parameters it makes",
    ),
    "attacks at a price of their own": (dearer(1000, "attack_nominal"), "attack costs", "FLOPs (nominal) per step"),
    "a static attack that is said to be adaptive": (
        cell(defense_facts__adaptive=False),
        "completeness",
        "defense_facts.adaptive is False, the spec says True",
    ),
    "fewer draws": (cell(defense_facts__judge_draws=7), "completeness", "judge_draws is 7, the spec says 1"),
    "another text of the spec": (spec(FAST.replace("tokens: 4", "tokens: 5")), "spec", "its text was changed"),
    "a tag in the spec": (spec(FAST + "judge: !!python/object/apply:os.system [id]\n"), "spec", "tags"),
    "an alias bomb in the spec": (spec(BOMB), "spec", "more than 20000 values"),
    "no spec": (lambda parts, out: forged(parts | {SPEC: b""}, out) and None, "spec", "the file is empty"),
    "a spec that is no UTF-8": (lambda parts, out: forged(parts | {SPEC: b"\xff"}, out) and None, "file", "not UTF-8"),
    "a plugin nobody has": (spec(FAST.replace("[counts]", "[oracle]")), "spec", "no victim is called 'oracle'"),
}


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("name", FORGED)
def test_what_a_cheat_would_forge(name: str, parts: Parts, tmp_path: Path) -> None:
    make, check, reason = FORGED[name]
    make(parts, tmp_path / "forged.zip")
    code, report = verify(tmp_path / "forged.zip")
    assert code == 1
    assert not report["verified"]
    assert reason in problems(report)[check]


@pytest.mark.slow
def test_a_standard_name_is_not_for_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.leaderboard.submission.forge.FAST", FAST.replace("name: fast", "name: quickstart"))
    code, report = verify(pack_fast(tmp_path))
    assert code == 1
    assert "is not the one of that name that comes with the project" in problems(report)["spec"]


def fewer_clean(count: int) -> Callable[[Parts, Path], None]:
    """So many clean examples were asked, all of them right, and as many listed."""

    def make(parts: Parts, out: Path) -> None:
        ids = [row["example"] for row in table_of(parts).to_pylist() if row["step"] == 0]
        kept = set(dict.fromkeys(ids[:count]))
        listed = min(count, 6)
        changed = with_rows(parts, lambda rows: [row for row in rows if row["example"] in kept])

        def change(cells: list[dict[str, Any]]) -> None:
            for told in cells:
                told |= {"n_clean": count, "n_clean_correct": count, "n_attacked": listed}

        forged(diagnosed(with_cells(changed, change)), out)

    return make


@pytest.mark.usefixtures("unguarded")
def test_as_many_clean_examples_as_the_spec_asks_for(packed: Path, parts: Parts, tmp_path: Path) -> None:
    fewer_clean(5)(parts, tmp_path / "five.zip")
    code, report = verify(tmp_path / "five.zip", "--spec", packed.parent / "fast.yaml")
    assert code == 1
    assert "5 clean examples, the spec asks for 20" in problems(report)["completeness"]
    code, report = verify(tmp_path / "five.zip")  # of a spec that nobody has read no data are loaded
    (completeness,) = [check for check in report["checks"] if check["name"] == "completeness"]
    assert code == 0
    assert "5 clean examples of 20 in the spec; whether there are more is unknown here" in completeness["notes"][0]


@pytest.mark.usefixtures("unguarded")
def test_a_task_of_fewer_examples_than_the_spec_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = FAST.replace("clean_examples: 20", "clean_examples: 500")
    monkeypatch.setattr("tests.leaderboard.submission.forge.FAST", more)
    packed = pack_fast(tmp_path)
    assert verify(packed)[0] == 0
    code, report = verify(packed, "--spec", tmp_path / "fast.yaml")
    assert (code, problems(report)) == (0, {})
    assert report["checks"][-3]["notes"] == []


def test_the_readers_own_settings_count(packed: Path) -> None:
    """A spec of the same hash may name another address: nothing of it touches this machine."""
    registry = load_plugins().registry
    shipped = load_spec(SHIPPED / "quickstart.yaml", registry)
    text = shipped.text.replace("- tiny: {size: 26k}", "- tiny: {size: 26k, backend: vllm}")
    found = open_submission(packed)
    told = {"spec_name": shipped.spec.name, "spec_version": shipped.spec.version, "spec_hash": shipped.hash}
    theirs = replace(found, spec=text, run=found.run.model_copy(update=told))
    for given in (None, SHIPPED / "quickstart.yaml"):
        check, spec, is_own = _spec_check(theirs, registry, given)
        assert (check.problems, is_own) == ([], False)
        assert spec is not None
        assert {cell.victim.plugin.params.backend for cell in spec.cells} == {"torch"}


@pytest.mark.usefixtures("unguarded")
class TestReplay:
    """FAST has about thirty strings that were judged: all of them are put back."""

    def replay(self, path: Path, packed: Path, *options: object) -> tuple[int, dict[str, Any]]:
        spec = packed.parent / "fast.yaml"
        return verify(path, "--replay", 1000, "--spec", spec, "--store", packed.parent / "run" / "artifacts", *options)

    def test_the_same_verdicts(self, packed: Path) -> None:
        code, report = self.replay(packed, packed)
        assert (code, problems(report)) == (0, {})
        assert " 2 cells: the same verdict; losses differ by 0 at most" in report["checks"][-1]["detail"]
        assert "20 clean prompts asked again" in report["checks"][-1]["detail"]
        assert "not checked: 0 of 3" in report["checks"][-1]["notes"][-1]
        assert "that were not drawn" in report["not_looked_at"]

    def test_models_made_anew(self, packed: Path, tmp_path: Path) -> None:
        code, _ = self.replay(packed, packed, "--store", tmp_path / "store")
        assert code == 0
        assert any((tmp_path / "store").iterdir())

    def test_another_seed_draws_other_strings(self, packed: Path) -> None:
        found = open_submission(packed)
        cells = dict.fromkeys((record.key for record in found.cells), None)
        draws = [draw_sample(as_run(found), cells, 8, found.read_sha256, seed) for seed in (0, 0, 1)]  # type: ignore[arg-type]
        assert draws[0] == draws[1] != draws[2]
        assert all((len(each.rows), each.strings) == (1, 8) for each in draws)

    def test_only_a_spec_that_the_reader_holds(self, packed: Path) -> None:
        code, report = verify(packed, "--replay", 3)
        assert code == 1
        assert "its spec is the submitter's own" in problems(report)["replay"]

    def test_a_lie_that_fits_in_itself(self, packed: Path, parts: Parts, tmp_path: Path) -> None:
        """Every trace of a success is removed: nothing but the victim can tell."""

        def lie(rows: list[Row]) -> None:
            labels = {(r["cell"], r["example"]): r["label"] for r in rows if r["step"] == 0}
            for row in rows:
                if row["success"]:
                    row |= {"success": False, "loss": 1.5, "broken_draws": 0}
                    row["predicted"] = labels[row["cell"], row["example"]]

        path = forged(diagnosed(with_rows(parts, lie)), tmp_path / "lie.zip")
        assert verify(path)[0] == 0
        code, report = self.replay(path, packed)
        assert code == 1
        assert "a failure in the records, a success here" in problems(report)["replay"]

    def test_compute_by_another_scale(self, packed: Path, parts: Parts, tmp_path: Path) -> None:
        def dearer(rows: list[Row]) -> None:
            for row in rows:
                if row["step"]:
                    row["judge_nominal"] *= 3

        code, report = self.replay(forged(with_rows(parts, dearer), tmp_path / "dear.zip"), packed)
        assert code == 1
        assert "judging it took" in problems(report)["replay"]

    def test_records_of_other_data(self, packed: Path, parts: Parts, tmp_path: Path) -> None:
        other = with_cells(parts, lambda cells: [c.update(data_hash="0" * 64) for c in cells])
        code, report = self.replay(forged(other, tmp_path / "data.zip"), packed)
        assert code == 1
        assert "its data_hash is 0000" in problems(report)["replay"]

    @pytest.mark.parametrize("name", DISHONEST)
    def test_a_dishonest_file_that_is_consistent(self, name: str, packed: Path, parts: Parts, tmp_path: Path) -> None:
        make, reason = DISHONEST[name]
        make(parts, tmp_path / "dishonest.zip")
        assert inspect_submission(tmp_path / "dishonest.zip").problems == []
        code, report = self.replay(tmp_path / "dishonest.zip", packed)
        assert code == 1
        assert re.search(reason, problems(report)["replay"])
