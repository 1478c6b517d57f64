"""Whether a cell's victim and defenses offer what its attack asks for; asked before anything is trained for nothing."""

from __future__ import annotations

from harness.api.runtime_defense import TransformDefense, VoteDefense
from harness.api.task import TaskData
from harness.api.threat import allows
from harness.engine.defended.victim import offers_gradient
from harness.errors import AccessError, VictimError
from harness.spec.cells import CellSpec


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
