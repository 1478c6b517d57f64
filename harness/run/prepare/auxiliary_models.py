"""Which auxiliary models a cell needs, and what they are made ready with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.api.model.auxiliary import Auxiliary
from harness.api.task import TaskData
from harness.errors import PluginError, VictimError
from harness.registry.registry import Registry
from harness.registry.resolved import ResolvedPlugin
from harness.spec.cells import CellSpec
from harness.tokens.tokenizer import Tokenizer

JUDGES = "judge:"
"""Before the roles of a judge's models, where they stand beside those of an attack."""
DEFENSES = "defense:"
"""Before the roles of a defense's models: ``defense:0:lm`` is a role of the first runtime defense of a stack."""


@dataclass(frozen=True)
class AuxiliaryModel:
    """One auxiliary model.

    Attributes:
        chosen: which one; None: the victim of the cell itself.
        data: what it is made ready with.
        seed: of its making.
    """

    need: Auxiliary
    chosen: ResolvedPlugin | None
    data: TaskData
    seed: int


def auxiliary_models(cell: CellSpec, data: TaskData, registry: Registry) -> dict[str, AuxiliaryModel]:
    """The models that the attack, the judge and the defenses of a cell ask, by role.

    Raises:
        PluginError, VictimError: there is no such model.
    """
    found = attack_models(cell, cell.attack.plugin.models(), data, registry)
    for role, need in cell.judge.plugin.models().items():
        if need.victim is None:
            raise PluginError(f"judge {cell.judge.name}: model '{role}' is not named; name a victim for it")
        found[JUDGES + role] = _helper(need, registry.resolve("victim", need.victim), data, cell.seed)
    for place, part in enumerate(cell.runtime):
        for role, need in part.plugin.models().items():
            found[f"{DEFENSES}{place}:{role}"] = _asked(cell, f"defense {part.name}", role, need, data, registry)
    return found


def attack_models(
    cell: CellSpec, needs: Mapping[str, Auxiliary], data: TaskData, registry: Registry
) -> dict[str, AuxiliaryModel]:
    """The same for the models of one attack against the cell's victim."""
    return {
        role: _asked(cell, f"attack {cell.attack.name}", role, need, data, registry) for role, need in needs.items()
    }


def _asked(cell: CellSpec, who: str, role: str, need: Auxiliary, data: TaskData, registry: Registry) -> AuxiliaryModel:
    if need.victim is not None:
        return _helper(need, registry.resolve("victim", need.victim), data, cell.seed)
    victim = cell.victim.plugin
    if need.sees == "text" and victim.card(data).language_model:
        return AuxiliaryModel(need, None, data, cell.seed)
    sibling = None if need.sees == "nothing" else victim.sibling(need.sees)
    if sibling is None:
        raise VictimError(
            f"{who} asks a model '{role}' besides the victim, and {cell.victim.label} names none of its family; name "
            f"one: {{{who.split()[1]}: {{{role}: ...}}}}"
        )
    return _helper(need, registry.resolve("victim", sibling), data, cell.seed)


def _helper(need: Auxiliary, chosen: ResolvedPlugin, data: TaskData, seed: int) -> AuxiliaryModel:
    if need.sees == "nothing":
        return AuxiliaryModel(need, chosen, TaskData(need.labels, (), ()), 0)
    seen = data.text if need.sees == "text" else data
    if not chosen.plugin.estimate(seen):  # used as it is: one artifact for all tasks and seeds
        return AuxiliaryModel(need, chosen, TaskData(seen.labels, (), (), answer_tokens=seen.answer_tokens), 0)
    return AuxiliaryModel(need, chosen, seen, seed)


def check_same_tokens(victim: Tokenizer, other: Tokenizer, who: str) -> None:
    """Raise VictimError where two models do not share their tokens."""
    common = min(victim.vocabulary, other.vocabulary)
    rows = [[i] for i in range(common)]
    if victim.decode(rows) != other.decode(rows) or (victim.left, victim.right) != (other.left, other.right):
        raise VictimError(
            f"{who} has other tokens than the victim, and strings of tokens are to be sent to it; name a model with "
            "the victim's tokenizer"
        )
