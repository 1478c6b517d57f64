"""`harness tune` on a victim that is no torch model: training examples alone, equal compute, entry, journal, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.api.task import TaskData
from harness.engine.defended.victim import DefendedVictim
from harness.errors import DataError, RunError
from harness.records.journal import Journal
from harness.records.read import read_run
from harness.records.step_row import StepRow
from harness.registry.loader import load_plugins
from harness.registry.registry import Registry
from harness.run.prepare.resolved_cell import CellResolver
from harness.run.tuning.bench import outcome, training_examples
from harness.run.tuning.costs import halves
from harness.run.tuning.dimension import Range
from harness.run.tuning.plan import Wanted, make_plan
from harness.run.tuning.trial import Trial
from harness.run.tuning.tune import _read
from harness.spec.load import LoadedSpec, load_spec
from tests.run.runs import FAST, FROM_FILES, harness_here

SPEC = FAST.replace("hill_climb: {steps: 3}", "hill_climb: {steps: 8}").replace("examples: 6", "examples: 8")
FLOPS = "60MFLOP"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins([Path(option.partition("=")[2]) for option in FROM_FILES]).registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


def tune(folder: Path, *more: object, flops: str = FLOPS) -> Any:
    return harness_here("tune", "hill_climb", "spec.yaml", "--flops", flops, *more, *FROM_FILES, cwd=folder)


def tuned(folder: Path, *more: object, flops: str = FLOPS) -> dict[str, Any]:
    done = tune(folder, "--json", *more, flops=flops)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def texts_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clean texts of all examples about which a victim is asked from now on, and every text that it is given."""
    asked: list[str] = []
    score, reply_to = DefendedVictim.score, DefendedVictim.reply_to

    def spied_score(self: Any, requests: Any) -> Any:
        asked.extend(problem.example.text for problem, _, _ in requests)
        return score(self, requests)

    def spied_replies(self: Any, items: Any) -> Any:
        asked.extend(item.text for item in items)
        return reply_to(self, items)

    monkeypatch.setattr(DefendedVictim, "score", spied_score)
    monkeypatch.setattr(DefendedVictim, "reply_to", spied_replies)
    return asked


def heads(data: TaskData, split: str) -> set[str]:
    """What the prompts of a split begin with, attacked or not."""
    return {example.text.partition("\n")[0] for example in getattr(data, split)}


def test_the_search_sees_training_examples_alone(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = CellResolver(registry).data(load_spec(folder / "spec.yaml", registry).cells[0])
    asked = texts_asked(monkeypatch)
    assert len(tuned(folder)["trials"]) > 3
    clean = {example.text for example in data.train} & set(asked)
    assert len(clean) == 8
    assert len(set(asked)) > 50, "the attacked prompts are among them"
    seen = {head for head in heads(data, "train") if any(text.startswith(head) for text in asked)}
    assert all(any(text.startswith(head) for head in seen) for text in asked)
    assert not any(text.startswith(head) for text in asked for head in heads(data, "validation"))


def test_validation_examples_change_nothing(folder: Path, registry: Registry) -> None:
    data = CellResolver(registry).data(load_spec(folder / "spec.yaml", registry).cells[0])
    examples = training_examples(data, 8, 0)
    assert {example.id.partition("-")[0] for example in examples} == {"train"}
    assert training_examples(data, 8, 0) == examples != training_examples(data, 8, 1)
    with pytest.raises(DataError, match="no training examples to attack"):
        training_examples(replace(data, train=()), 8, 0)


def test_candidates_are_compared_at_equal_compute_within_the_budget(folder: Path) -> None:
    found = tuned(folder, "--per-example", "8e5")
    spent = [trial["per_example"] for trial in found["trials"] if trial["state"] == "complete"]
    steps = {trial["values"]["tries"]: trial["steps"] for trial in found["trials"] if trial["steps"]}
    assert all(0.3 * 8e5 < each <= 8e5 for each in spent), "some stop early, at their success"
    assert len(set(steps.values())) > 2
    assert all(abs(tries * count - 48) <= max(tries, count) for tries, count in steps.items())
    record = found["entry"]["tuned"]
    assert record["flops"] <= 60e6
    assert record["trials"] == sum(trial["flops"] > 0 for trial in found["trials"])
    assert record["per_example"] == 8e5


def test_what_costs_more_than_the_budget_per_example_is_not_tried(folder: Path) -> None:
    found = tuned(folder, "--per-example", "3e5", "--space", "tries=4..64", "--seed", 3)
    refused = [trial for trial in found["trials"] if trial["state"] == "refused"]
    assert refused
    assert all("more than --per-example" in trial["why"] and trial["flops"] == 0 for trial in refused)
    assert min(trial["values"]["tries"] for trial in refused) > found["best"]["values"]["tries"]


def test_resumed_is_the_same_as_uninterrupted(folder: Path, tmp_path: Path) -> None:
    whole = tuned(folder)
    (journal,) = (folder / "runs/fast/tuning").glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    for kept in (0, 3):
        journal.write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])  # as a kill leaves it
        assert tuned(folder) == whole
        assert journal.read_bytes() == b"".join(lines)


def test_a_journal_that_was_changed_is_named(tmp_path: Path) -> None:
    space = (Range("draws", 1, 16, True, True),)
    path = tmp_path / "a.jsonl"
    head, trial = {"clean_flops": 1.0}, Trial(0, {"draws": 4}, "complete", flops=1.0)
    for damaged, what in (
        ([{"other": 1}], "clean_flops"),
        ([{"clean_flops": -1}], "-1 FLOPs"),
        ([head, replace(trial, number=1).to_json()], "candidate 0 is missing"),
        ([head, replace(trial, values={}).to_json()], "candidate 0 has no draws"),
        ([head, replace(trial, values={"draws": 17}).to_json()], "17 is not in draws: 1 to 16"),
        ([head, {**trial.to_json(), "flops": "much"}], "much"),
    ):
        path.write_text("".join(json.dumps(line) + "\n" for line in damaged))
        with Journal(path) as journal, pytest.raises(RunError, match=f"a.jsonl: damaged .*{what}.* start again"):
            _read(journal, path, space)
    path.write_text(json.dumps(head) + "\n" + json.dumps(trial.to_json()) + "\n")
    with Journal(path) as journal:
        assert _read(journal, path, space) == (1.0, [trial])


@pytest.mark.slow
def test_the_entry_can_be_put_into_a_spec_and_its_record_carries_the_search(folder: Path) -> None:
    done = tune(folder, "--out", "entry.yaml", "--compare", "both.yaml")
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((folder / "entry.yaml").read_text())
    assert yaml.safe_load(done.stdout) == written
    (entry,) = written["attacks"]
    spec = yaml.safe_load(SPEC)
    (folder / "tuned.yaml").write_text(yaml.safe_dump(spec | {"attacks": [*spec["attacks"], entry]}))
    assert harness_here("validate", "tuned.yaml", *FROM_FILES, cwd=folder).returncode == 0

    ran = harness_here("run", "both.yaml", "--quiet", "--out", "ran", *FROM_FILES, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    by_label = {cell.record.attack.label: cell.record for cell in read_run(folder / "ran").cells}
    (label,) = (label for label in by_label if label.endswith(", tuned"))
    assert by_label[label].tuning is not None
    assert by_label[label].tuning.model_dump() == entry["tuned"]
    assert all(record.tuning is None for other, record in by_label.items() if other != label)
    told = harness_here("leaderboard", "tuned", "ran", "--json", cwd=folder)
    (found,) = json.loads(told.stdout)
    assert found["search"]["flops"] == entry["tuned"]["flops"]
    assert found["at"][0]["budget"] > found["at"][1]["budget"]
    table = harness_here("leaderboard", "attacks", "ran", cwd=folder).stdout
    assert "search: what finding the attack's parameters took" in table


def test_a_search_that_begins_where_another_ended_counts_both(folder: Path) -> None:
    entry = tuned(folder)["entry"]
    spec = yaml.safe_load(SPEC) | {"attacks": [entry]}
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    assert tuned(folder, "--seed", 1)["entry"]["tuned"]["flops"] > entry["tuned"]["flops"] + 1e7


def test_a_dry_run_says_what_it_takes_and_leaves_nothing(folder: Path) -> None:
    done = tune(folder, "--dry-run")
    assert done.returncode == 0
    assert "hill_climb on 1 cell, 8 training examples each" in done.stdout
    assert "  tries: 2 to 32, on a log scale" in done.stdout
    assert "are enough for at least" in done.stdout
    plan = json.loads(tune(folder, "--dry-run", "--json").stdout)
    assert plan["candidates"] == int((60e6 - plan["clean_flops"]) / plan["candidate_flops"])
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("hill_clim spec.yaml --flops 1e9", "no cell has an attack 'hill_clim' (did you mean 'hill_climb'?)"),
        ("hill_climb spec.yaml --flops 5", "do not allow two candidates"),
        ("hill_climb spec.yaml --flops 1.2.3", "--flops 1.2.3: no amount of compute above 0"),
        ("hill_climb spec.yaml --flops 1e9 --per-example none", "--per-example none: no amount of compute"),
        ("hill_climb spec.yaml --flops 1e9 --space trials=1..4", "did you mean 'tries'?"),
        ("hill_climb spec.yaml --flops 1e9 --per-example 10", "no candidate could be tried: one step takes"),
        ("hill_climb spec.yaml --flops 1e9 --out spec.yaml/x", "--out spec.yaml/x: cannot be written"),
        ("hill_climb spec.yaml --flops 1e9 --out ./spec.yaml", "--out spec.yaml: this is the spec itself"),
        (
            "hill_climb spec.yaml --flops 1e9 --out a.yaml --compare a.yaml",
            "--compare a.yaml: this is the spec itself, or",
        ),
    ],
)
def test_a_mistake_is_one_error(arguments: str, message: str, folder: Path) -> None:
    done = harness_here("tune", *arguments.split(), "--quiet", *FROM_FILES, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("error: ") == 1


def test_a_threat_model_s_own_limit_is_not_exceeded(folder: Path, registry: Registry) -> None:
    (folder / "spec.yaml").write_text(SPEC.replace("{tokens: 4}", "{tokens: 4, flops: 1.0e+5}"))
    source = load_spec(folder / "spec.yaml", registry)
    with pytest.raises(RunError, match="its threat model allows 100 kFLOP per example, less than 1 MFLOP"):
        make_plan(source, Wanted("hill_climb", 1e9, 1e6), CellResolver(registry))


def two_entries(folder: Path, registry: Registry) -> LoadedSpec:
    (folder / "spec.yaml").write_text(SPEC.replace("{hill_climb: {steps: 8}}", "hill_climb, {hill_climb: {tries: 3}}"))
    return load_spec(folder / "spec.yaml", registry)


def test_of_several_entries_one_is_named_by_its_label(folder: Path, registry: Registry) -> None:
    source, resolver = two_entries(folder, registry), CellResolver(registry)
    with pytest.raises(RunError, match=r"several attacks are called 'hill_climb'.*'hill_climb\(tries=3\)'"):
        make_plan(source, Wanted("hill_climb", 1e9), resolver)
    plan = make_plan(source, Wanted("hill_climb(tries=3)", 1e9), resolver)
    assert (plan.place, plan.entry.params, plan.first) == (2, {"tries": 3}, {"tries": 3})


def test_cells_of_several_victims_share_the_budget_per_example(folder: Path, registry: Registry) -> None:
    (folder / "spec.yaml").write_text(SPEC.replace("threats: [{tokens: 4}]", "threats: [{tokens: 4}, {tokens: 2}]"))
    plan = make_plan(load_spec(folder / "spec.yaml", registry), Wanted("hill_climb", 1e9, 1e6), CellResolver(registry))
    assert len(plan.cells) == 2
    assert plan.candidate == pytest.approx(2 * 8 * 1e6, rel=0.3)


def row(example: str, step: int, loss: float | None, success: bool, state: Any = None) -> StepRow:
    whose = ("attack", "judge", "defense")
    costs: dict[str, Any] = {f"{who}_{how}": 10.0 for who in whose for how in ("nominal", "executed")}
    found = {"example": example, "step": step, "success": success, "loss": loss, "answer_state": state}
    return StepRow(**found, attack_tokens=[], queries=1, **costs)  # type: ignore[arg-type]


def test_what_came_of_a_search_is_counted() -> None:
    rows = [
        row("a", 1, 2.0, False),
        row("a", 2, 1.0, True),
        row("b", 1, None, False, "failed"),
        row("c", 1, 3.0, False),
    ]
    found = outcome(rows, 3)
    assert (found.broken, found.told, found.losses) == (1, 2, (1.0, 3.0))
    assert (found.flops, found.attack_flops) == (120.0, 80.0)


def test_examples_that_share_a_string_stay_in_one_half() -> None:
    assert [halves(count, group) for count, group in ((8, 1), (9, 1), (9, 4), (3, 4), (1, 1))] == [
        (4, 4),
        (5, 4),
        (8, 1),
        (3, 0),
        (1, 0),
    ]
