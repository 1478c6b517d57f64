"""A defense that stops at a compute budget: which rounds are trained, what its cells are, and their keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.flops import Flops
from harness.records.cell_manifest import CellRecord
from harness.records.read import read_run
from harness.registry.loader import load_plugins
from harness.run.plan.estimate import make_plan
from harness.run.prepare.keys import Keys
from harness.run.prepare.resolved_cell import CellResolver
from harness.run.reporter import Silent
from harness.run.run_folder import RunFolder
from harness.run.runner import run
from harness.run.status import read_status
from harness.spec.load import LoadedSpec, load_spec
from harness.store.artifacts import FolderStore

SPEC = """
name: budget
version: "1"
tasks: [{word_length: {instructions: "Which word is longer?", syllables: open, train_size: 300, validation_size: 64}}]
victims: [{tiny: {size: 7k, steps: 12, batch_size: 16}}]
defenses:
  - adversarial_training:
      {rounds: 4, evaluate: %s, budget: %s, attacked_per_round: 6, examples_per_round: 12,
       strength: {start: 2, end: 3, rounds: 2}, attack: {gcg: {candidates: 6, topk: 8}}}
attacks: [{random_token: {steps: 1, draws: 2}}]
examples: 4
clean_examples: 8
"""


def loaded(folder: Path, evaluate: str, budget: float | None) -> LoadedSpec:
    path = folder / f"{evaluate}-{budget}.yaml".replace(" ", "")
    path.write_text(SPEC % (evaluate, "null" if budget is None else f"{budget:.6e}"))
    return load_spec(path, load_plugins().registry)


def done(folder: Path, evaluate: str, budget: float | None) -> Any:
    spec = loaded(folder, evaluate, budget)
    out = folder / f"{evaluate}-{budget}"
    outcome = run(spec, load_plugins().registry, out, Silent(), store=folder / "store")
    assert not outcome.failed
    assert outcome.done == len(spec.cells)
    return read_run(out)


def spent(record: CellRecord) -> float:
    facts = record.defense_facts
    assert facts is not None
    return (facts.search.nominal or 0.0) + (facts.training.nominal or 0.0)


def by_round(run: Any) -> dict[int, CellRecord]:
    return {cell.record.defense_facts.round: cell.record for cell in run}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("budget")


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[int, CellRecord]:
    """All four rounds."""
    return by_round(done(folder, "all", None))


@pytest.fixture(scope="module")
def budget(whole: dict[int, CellRecord]) -> float:
    """A little more than the first round takes, so that the second is the last."""
    return 1.01 * spent(whole[1])


@pytest.mark.slow
def test_no_round_begins_once_the_budget_is_spent(folder: Path, whole: dict[int, CellRecord], budget: float) -> None:
    run = done(folder, "all", budget)
    trained = by_round(run)
    assert sorted(trained) == [1, 2]
    assert spent(trained[1]) < budget <= spent(trained[2])
    for round, record in trained.items():  # the weights are those of a training without a budget
        assert record.defense_facts.artifact == whole[round].defense_facts.artifact
        assert record.key != whole[round].key  # but not every such cell has what an unlimited one has
    assert len(run.skipped) == 2
    for record in run.skipped:
        assert record.status == "skipped"
        assert "is not trained: the budget of" in (record.error or "")
        assert "spent after round 2" in (record.error or "")
        assert record.n_attacked == 0
    assert not run.failed


@pytest.mark.slow
def test_a_run_with_skipped_cells_is_whole(folder: Path, budget: float) -> None:
    first = done(folder, "all", budget)
    before = {path: path.stat().st_mtime_ns for path in first.path.glob("cells/*/cell.json")}
    again = done(folder, "all", budget)
    assert before == {path: path.stat().st_mtime_ns for path in again.path.glob("cells/*/cell.json")}
    status = read_status(first.path)
    assert status.counts() == {"done": 2, "failed": 0, "begun": 0, "missing": 0, "skipped": 2}
    assert all(cell.error for cell in status.cells if cell.status == "skipped")


@pytest.mark.slow
def test_the_last_round_is_the_last_that_was_trained(folder: Path, whole: dict[int, CellRecord], budget: float) -> None:
    (record,) = [cell.record for cell in done(folder, "last", budget)]
    assert record.defense_facts.round == 2
    assert record.defense_facts.artifact == whole[2].defense_facts.artifact
    assert spent(record) == spent(whole[2])


@pytest.mark.slow
def test_a_budget_that_is_never_reached_changes_no_number(folder: Path, whole: dict[int, CellRecord]) -> None:
    found = by_round(done(folder, "all", 1e3 * spent(whole[4])))
    assert sorted(found) == [1, 2, 3, 4]
    for round, record in found.items():
        ours, theirs = record.defense_facts, whole[round].defense_facts
        assert (ours.artifact, ours.search, ours.training, ours.notes) == (
            theirs.artifact,
            theirs.search,
            theirs.training,
            theirs.notes,
        )


def test_cells_of_other_budgets_have_other_keys(folder: Path) -> None:
    def keys(evaluate: str, budget: float | None) -> list[Keys]:
        return [Keys(cell, "d" * 64, {}) for cell in loaded(folder, evaluate, budget).cells]

    free, tight, tighter = keys("all", None), keys("all", 2e9), keys("all", 1e9)
    assert len({one.cell for one in (*free, *tight, *tighter)}) == 12
    assert [one.weights for one in free] == [one.weights for one in tight]  # the rounds are shared
    (settles,) = keys("last", 2e9)
    assert settles.cell != tight[3].cell  # one takes an earlier round's numbers, the other has none
    assert keys("last", None)[0].cell == free[3].cell


@pytest.mark.slow
def test_the_plan_ends_with_the_budget(folder: Path, whole: dict[int, CellRecord], budget: float) -> None:
    spec = loaded(folder, "all", budget)
    empty = folder / "elsewhere"
    resolver = CellResolver(load_plugins().registry)
    plan = make_plan([resolver.resolve(cell) for cell in spec.cells], resolver, FolderStore(empty), RunFolder(empty))
    stages = [stage for stage in plan.stages if stage.what == "defend"]
    assert len(stages) == 2
    assert sum(stage.flops or 0.0 for stage in stages) == pytest.approx(spent(whole[2]), rel=0.2)


@pytest.mark.slow
def test_compute_is_that_of_the_manifests(folder: Path, whole: dict[int, CellRecord]) -> None:
    facts = [json.loads(path.read_text())["facts"] for path in (folder / "store").glob("*/manifest.json")]
    made = {one["round"]: one for one in facts if "round" in one}
    for round, record in whole.items():
        total = Flops.from_json(made[round]["search"]) + Flops.from_json(made[round]["training"])
        assert spent(record) == total.nominal
