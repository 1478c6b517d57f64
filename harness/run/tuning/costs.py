"""What a candidate takes, known before it is tried: the dry run of its steps, for prompts of each cell's length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.api.task import TaskData
from harness.api.victim import VictimCard
from harness.errors import HarnessError, RunError, first_line
from harness.number_format import format_flops
from harness.records.model_role import ModelRole
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.run.cell_label import cell_label
from harness.run.plan.attack_flops import UnitFlops, unit_flops
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.run.tuning.trials import PARTS, Quote

_SLACK = 1 + 1e-9  # sums in another order differ in their last bits


@dataclass(frozen=True)
class CostedCell:
    """A cell, as far as costs depend on it.

    Attributes:
        data: of its task, the training examples that are attacked in the place of the validation split.
        tokens, longest: of a prompt with the attack string: mean and most.
        parts: how many examples each half of them has.
    """

    resolved: ResolvedCell
    data: TaskData
    card: VictimCard
    tokens: float
    longest: float
    parts: tuple[int, ...]

    def unit(self, attack: ResolvedPlugin, resolver: CellResolver, *, longest: bool = False) -> UnitFlops:
        """What a step of an attack takes here, and its verdict.

        Raises:
            RunError: nobody knows.
        """
        spec = replace(self.resolved.spec, attack=attack)
        models = {role: model for role, model in self.resolved.auxiliary.items() if role.asker != "attack"}
        models |= resolver.models_of(attack.plugin, self.resolved)
        sizes: dict[ModelRole, int | None] = {
            role: auxiliary.model.victim.plugin.card(auxiliary.model.data).n_params
            for role, auxiliary in models.items()
            if auxiliary.model is not None
        }
        tokens = self.longest if longest else self.tokens
        found = unit_flops(spec, self.card, tokens, sizes, self.data)
        if math.isnan(found.attack + found.judging):
            raise RunError(
                f"{cell_label(spec)}: the compute of a model that is asked is unknown, so it cannot be held to a "
                "budget; state its n_params, or leave the cell out"
            )
        return found


def halves(count: int, group: int) -> tuple[int, ...]:
    """How many of some examples each part has; those that share a string stay together."""
    first = min(count, math.ceil(count / PARTS / group) * group)
    return first, count - first


def step_flops(cells: Sequence[CostedCell], attack: ResolvedPlugin, resolver: CellResolver) -> list[float]:
    """What a step on one example takes in each cell.

    Raises:
        RunError: nothing, or nobody knows.
    """
    found = [cell.unit(attack, resolver).attack for cell in cells]
    if not sum(found) > 0:
        raise RunError(
            f"{attack.name}: its steps take no compute, so candidates cannot be compared at equal compute, and there "
            "is nothing to tune"
        )
    return found


def quote(
    cells: Sequence[CostedCell], attack: ResolvedPlugin, per_example: float, resolver: CellResolver
) -> tuple[Quote, list[float]]:
    """What an attack would take with as many steps as the budget per example, mean over cells, allows; and what an
    example of each cell may spend.
    """
    each = step_flops(cells, attack, resolver)
    mean = sum(each) / len(each)
    steps = math.floor(per_example / mean * _SLACK)
    if steps < 1:
        return Quote(0, why=f"one step takes {format_flops(mean)}, more than --per-example"), []
    most = [0.0] * PARTS
    caps = [per_example * own / mean for own in each]  # of the cells together, the budget per example
    for cell, own, cap in zip(cells, each, caps, strict=True):
        judging = steps * cell.unit(attack, resolver, longest=True).judging
        added = own if cell.resolved.spec.runtime else 0.0  # what a defense adds is known after a request alone
        for part, count in enumerate(cell.parts):
            most[part] += count * (cap + judging + added)
    return Quote(steps, tuple(amount * _SLACK for amount in most)), caps


def why_refused(error: HarnessError) -> str:
    """Why an attack does not accept some parameters, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 else first_line(error)


def attack_with(attack: ResolvedPlugin, changes: dict[str, Any], resolver: CellResolver) -> ResolvedPlugin:
    """The attack with some parameters changed. Raises PluginError where it does not accept them."""
    from harness.api.refs import PluginRef, resolved_ref

    ref = resolved_ref(attack)
    return resolver.registry.resolve("attack", PluginRef(name=ref.name, params={**ref.params, **changes}))
