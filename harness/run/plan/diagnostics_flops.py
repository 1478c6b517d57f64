"""What the diagnostics of a cell will compute, from sizes and the length of prompts."""

from __future__ import annotations

from collections.abc import Mapping

from harness.api.task import TaskData
from harness.api.threat import allows
from harness.api.victim import VictimCard
from harness.engine.dry_run import pipeline_flops
from harness.flops import nominal_forward
from harness.records.model_role import ModelRole, asked_by
from harness.spec.cells import CellSpec

READ_EXAMPLES = 16
"""Examples whose activations are compared, clean and attacked; and those whose clean prompts are read in any case."""


def diagnostics_flops(
    cell: CellSpec, card: VictimCard, tokens: float, sizes: Mapping[ModelRole, int | None], data: TaskData
) -> float:
    """Nominal FLOPs of a cell's diagnostics, as if every example were attacked: labels of the attacked prompts, and
    activations of some, clean and attacked. What is found in latent space is no string, and clean prompts alone are
    read. NaN: unknown.

    Args:
        tokens: of a prompt, attack string included.
        sizes: parameters of the auxiliary models; a role that the victim takes itself is left out.
    """
    if cell.diagnostics != "full":
        return 0.0
    clean = nominal_forward(card.n_params, 1) * (tokens - cell.threat.tokens) if allows(card.access, "latent") else 0.0
    if cell.attack.plugin.access == "latent":
        return min(max(cell.examples, cell.clean_examples), READ_EXAMPLES) * clean
    defenses = [part.plugin for part in cell.runtime]
    defense_sizes = [asked_by(sizes, "defense", place) for place in range(len(defenses))]
    asked = pipeline_flops(defenses, defense_sizes, card.n_params, tokens) if data.labels else 0.0
    read = clean + nominal_forward(card.n_params, 1) * tokens if allows(card.access, "latent") else 0.0
    return cell.examples * asked + min(cell.examples, READ_EXAMPLES) * read
