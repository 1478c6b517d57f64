"""One cell, from artifacts to records."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from harness.api.problem.problem import Problem
from harness.api.problem.search_result import Row
from harness.api.runtime_defense import TransformDefense, VoteDefense
from harness.api.task import TaskData
from harness.api.threat import allows
from harness.engine.defended.victim import offers_gradient
from harness.engine.search.budget import SearchBudget
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.errors import AccessError, VictimError
from harness.flops import Flops
from harness.records.cell import CellRecord
from harness.records.read import Cell as Recorded
from harness.records.write import write_cell
from harness.registry.defense_stack import is_randomised
from harness.run.cell.clean_check import check_clean, choose_examples, shortened
from harness.run.cell.diagnostics import diagnose, rejudged
from harness.run.cell.manifest import (
    auxiliary_facts,
    base_record,
    compute,
    defense_facts,
    guarded_facts,
    host,
    versions,
    victim_facts,
)
from harness.run.cell.rejudge import Sources, rejudge
from harness.run.cell_label import cell_label
from harness.run.prepare.auxiliary_models import JUDGES
from harness.run.prepare.preparer import Preparer
from harness.run.reporter import CellProgress
from harness.run.run_folder import RunFolder, now
from harness.spec.cells import CellSpec
from harness.spec.load import LoadedSpec
from harness.store.atomic import write_json

NONE = Sources()


def check_access(cell: CellSpec, data: TaskData) -> None:
    """Check that the victim and its defense offer what the attack asks for (the threat model's grant is the spec's),
    that the defense can be had, and that the attack fits the task.

    Raises:
        AccessError: they do not.
        VictimError: the defense trains weights, and this victim's are not here.
        DataError: the attack cannot be run on this task.
    """
    card = cell.victim.plugin.card(data)
    wanted, most = cell.attack.plugin.access, card.access
    if not allows(most, wanted):
        raise AccessError(
            f"attack {cell.attack.name} asks for {wanted}, victim {cell.victim.label} offers {most}; exclude it"
        )
    opaque = [part for part in cell.runtime if not offers_gradient(part.plugin)]
    if wanted == "gradient" and opaque and not cell.static:
        raise AccessError(
            f"attack {cell.attack.name} asks for gradient, defense {opaque[0].label} offers none; exclude it"
        )
    rewriting = [part for part in cell.runtime if isinstance(part.plugin, TransformDefense | VoteDefense)]
    if wanted == "latent" and rewriting:
        raise AccessError(
            f"attack {cell.attack.name} perturbs activations at its string, defense {rewriting[0].label} rewrites the "
            "prompt before the victim sees it; exclude it"
        )
    if cell.trained is not None and not card.local:
        raise VictimError(
            f"defense {cell.trained.name} trains the victim's weights, and those of {cell.victim.label} are elsewhere; "
            "exclude it, or use a victim that runs here"
        )
    cell.attack.plugin.check(data)


def run_cell(
    cell: CellSpec, spec: LoadedSpec, folder: RunFolder, preparer: Preparer, sources: Sources = NONE
) -> CellRecord:
    """Prepare, attack, write the records; where one of the ``sources`` has done the attack, only judge it."""
    began, started = time.monotonic(), now()
    keys, data = preparer.keys(cell), preparer.tasks.data(cell.task)
    source = None if is_randomised(cell.defense) else sources.find(keys.search)  # one answer of several is recorded
    if source is not None:
        return _again(cell, spec, folder, preparer, source)
    check_access(cell, data)  # before anything is trained for nothing
    if reason := preparer.not_trained(cell):
        return _skipped(cell, spec, folder, preparer, reason)
    desk, judges = preparer.desks(cell)
    preparer.made(keys.pipeline)
    victim, jury = judges.victim, JudgeRunner(cell.judge.plugin, judges, cell.judge_draws)
    preparer.reporter.stage(f"attack {cell_label(cell)}")
    examples, cut = list(data.validation[: cell.clean_examples]), 0
    if cell.too_long == "truncate":
        examples, cut = shortened(examples, victim, cell.threat)
    clean = check_clean(jury, examples, (cell.seed, keys.pipeline))
    problems, example_rows = choose_examples(victim, cell, examples, clean)
    steps = cell.attack.plugin.params.steps
    watch = _Watch(preparer, len(problems) * steps)
    with folder.journal(keys.cell) as journal:
        if journal.entries:
            preparer.reporter.note(f"{cell_label(cell)} goes on after round {len(journal.entries)}")
        search = Search(
            desk,
            cell.attack.plugin,
            (cell.seed, keys.search),
            cell.threat.access,
            jury,
            stop_on_success=cell.stop_on_success,
            allowance=SearchBudget(cell.threat.queries, cell.threat.flops),
            limited=preparer.limited,
            note=preparer.reporter.note,
        )
        result = search.run(problems, journal, watch.seen)
    moved = [] if cell.attack.plugin.access == "latent" else problems  # a perturbation is not in the string
    diagnostics = diagnose(victim, examples, clean, moved, result.rows, (cell.seed, keys.search))
    facts = guarded_facts(cell, preparer, victim, examples, clean)
    record = base_record(cell, spec, keys.cell).model_copy(
        update={
            "status": "done",
            "search": keys.search,
            "data_hash": data.hash,
            "benign": _benign(problems),
            "attack_facts": cell.attack.plugin.facts(),
            "auxiliary": auxiliary_facts(cell, desk, judges, preparer),
            "victim_facts": victim_facts(cell, victim, preparer),
            "defense_facts": facts.model_copy(update={"diagnostics": diagnostics}),
            "n_clean": len(examples),
            "n_clean_correct": sum(clean.correct),
            "n_truncated": cut,
            "n_attacked": len(problems),
            "clean_compute": compute(clean.cost),
            "attack_steps": steps,
            "versions": versions(),
            "host": host(),
            "agreement": victim.backend.describe(),
            "started": started,
            "seconds": time.monotonic() - began,
        }
    )
    write_cell(folder.cell(keys.cell), record, example_rows, result.rows)
    journal.delete()
    (folder.cell(keys.cell) / "error.txt").unlink(missing_ok=True)  # of an earlier start
    return record


def _skipped(cell: CellSpec, spec: LoadedSpec, folder: RunFolder, preparer: Preparer, reason: str) -> CellRecord:
    """The manifest of a cell that is not measured, with the reason; there are no tables beside it."""
    key = preparer.keys(cell).cell
    facts = defense_facts(cell, preparer)
    changes = {"status": "skipped", "error": reason, "defense_facts": facts, "versions": versions(), "started": now()}
    record = base_record(cell, spec, key).model_copy(update=changes)
    write_json(folder.cell(key) / "cell.json", record.model_dump(mode="json"))
    (folder.cell(key) / "error.txt").unlink(missing_ok=True)
    return record


def _again(cell: CellSpec, spec: LoadedSpec, folder: RunFolder, preparer: Preparer, source: Recorded) -> CellRecord:
    """The records of a search done before, under this cell's judge."""
    began, started, key = time.monotonic(), now(), preparer.keys(cell).cell
    preparer.reporter.stage(f"judge {cell_label(cell)}")
    changes: dict[str, Any] = {}
    examples, steps = source.examples().to_pylist(), source.steps().to_pylist()
    if source.record.key != key:
        models = preparer.judges(cell)
        found = rejudge(source, JudgeRunner(cell.judge.plugin, models), preparer.tasks.data(cell.task))
        examples, steps, changes = found.examples, found.steps, found.changes
        attack = {role: facts for role, facts in source.record.auxiliary.items() if not role.startswith(JUDGES)}
        judge = auxiliary_facts(cell, ModelRouter(None), models, preparer)
        changes |= {"auxiliary": attack | judge, "seconds": time.monotonic() - began, "started": started}
        if source.record.defense_facts is not None:
            right = changes.get("n_clean_correct", source.record.n_clean_correct) / max(1, source.record.n_clean)
            facts = rejudged(source.record.defense_facts, steps, right, source.record.n_attacked)
            changes["defense_facts"] = facts
    own = base_record(cell, spec, key)
    named = ("key", "spec_name", "spec_version", "spec_hash", "judge", "target_asr")
    changes |= {name: getattr(own, name) for name in named}
    whole = source.record.model_copy(update=changes).model_dump(mode="json")
    record = CellRecord.model_validate(whole)
    write_cell(folder.cell(key), record, examples, steps)
    (folder.cell(key) / "error.txt").unlink(missing_ok=True)
    return record


def _benign(problems: Sequence[Problem]) -> bool:
    return bool(problems) and all(problem.example.benign for problem in problems)


class _Watch:
    """Adds up a cell's rows for the reporter."""

    def __init__(self, preparer: Preparer, total: int) -> None:
        self.reporter, self.total = preparer.reporter, total
        self.steps, self.spent = 0, Flops()
        self.broken: set[str] = set()
        self.examples: set[str] = set()

    def seen(self, _: int, rows: list[Row]) -> None:
        for row in rows:
            self.steps += 1
            self.examples.add(row["example"])
            if row["success"]:
                self.broken.add(row["example"])
            self.spent += Flops(row["attack_nominal"], row["attack_executed"])
        self.reporter.cell(
            CellProgress(self.steps, self.total, len(self.broken) / max(1, len(self.examples)), self.spent)
        )
