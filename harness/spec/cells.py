"""The cells of a spec: its product, less what is excluded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.api.defense import TrainedDefense
from harness.api.threat import Access, Threat, allows
from harness.registry.defense_stack import is_static, parts_of, runtime_parts, trained_part, why_impossible
from harness.registry.registry import Registry
from harness.registry.resolved import ResolvedPlugin
from harness.spec.exclude import Mask, remaining
from harness.spec.model import Spec
from harness.spec.parse import refs_of
from harness.spec.problems import DataPath, InvalidSpecError, SpecProblem
from harness.spec.resolve import Axes, axes_of, choose_all
from harness.spec.resources import NOTHING_SAID, Resources, resources_of

MAX_CELLS = 100_000
_STRONGEST: tuple[Access, ...] = ("latent", "gradient", "scores", "text")


@dataclass(frozen=True)
class CellSpec:
    """One measurement: a victim with a task and a defense, under one attack, threat and seed.

    Attributes:
        round: which checkpoint of a `TrainedDefense` is attacked; None for every other defense.
        resources: what a worker is given for it; no part of what it is known by.
    """

    task: ResolvedPlugin
    victim: ResolvedPlugin
    defense: ResolvedPlugin
    attack: ResolvedPlugin
    judge: ResolvedPlugin
    threat: Threat
    seed: int
    round: int | None
    stop_on_success: bool
    examples: int
    clean_examples: int
    attack_draws: int = 4
    judge_draws: int = 5
    too_long: Literal["exclude", "error", "truncate"] = "exclude"
    resources: Resources = NOTHING_SAID

    @property
    def trained(self) -> ResolvedPlugin | None:
        """The part of the defense that trains weights."""
        return trained_part(self.defense)

    @property
    def trained_plugin(self) -> TrainedDefense | None:
        """Its plugin."""
        part = self.trained
        return None if part is None else part.plugin

    @property
    def runtime(self) -> tuple[ResolvedPlugin, ...]:
        """The parts of the defense that work while the victim is asked, in order."""
        return runtime_parts(self.defense)

    @property
    def static(self) -> bool:
        """Whether the attack searches against the undefended victim."""
        return is_static(self.defense)


def expand(spec: Spec, registry: Registry) -> list[CellSpec]:
    """The cells of a spec in the order task, victim, defense (its rounds in turn), attack, threat, seed (fastest).

    Raises:
        SpecError: a plugin, its parameters, an exclude or the access of an attack does not fit; names every problem.
    """
    problems: list[SpecProblem] = []
    chosen = choose_all(refs_of(spec, []), registry, problems)
    cells = [] if problems else cells_of(spec, chosen, registry, problems)
    if problems:
        raise InvalidSpecError(f"spec '{spec.name}'", problems)
    return cells


def cells_of(
    spec: Spec, chosen: dict[DataPath, ResolvedPlugin], registry: Registry, problems: list[SpecProblem]
) -> list[CellSpec]:
    """The cells of a spec whose plugins have all been chosen; none, and problems noted, where fields disagree."""
    _check_counts(spec, problems)
    axes = axes_of(spec, chosen, registry, problems)
    size = len(axes.variants) * len(axes.threats) * len(axes.seeds)
    for axis in (axes.tasks, axes.victims, axes.attacks):
        size *= len(axis.chosen)
    if size > MAX_CELLS:
        problems.append(SpecProblem((), f"makes {size} cells, more than {MAX_CELLS}; split it into several specs"))
        return []
    _check_judge(axes, problems)
    left = remaining(spec, axes, registry, problems)
    _check_access(axes, left, problems)
    _check_training(axes, left, registry, problems)
    _check_answers(axes, left, problems)
    resources = resources_of(spec, axes, registry, problems)
    if not problems and not left.any():
        problems.append(SpecProblem(("exclude",), "leaves out every cell; remove an entry"))
    return [] if problems else [_cell(spec, axes, resources, place) for place in np.argwhere(left).tolist()]


def _cell(spec: Spec, axes: Axes, resources: list[Resources], place: list[int]) -> CellSpec:
    task, victim, variant, attack, threat, seed = place
    defense, round_ = axes.variants[variant]
    return CellSpec(
        task=axes.tasks.chosen[task],
        victim=axes.victims.chosen[victim],
        defense=axes.defenses.chosen[defense],
        attack=axes.attacks.chosen[attack],
        judge=axes.judge,
        threat=axes.threats[threat],
        seed=axes.seeds[seed],
        round=round_,
        stop_on_success=spec.stop_on_success,
        examples=spec.examples,
        clean_examples=spec.clean_examples,
        attack_draws=spec.attack_draws,
        judge_draws=spec.judge_draws,
        too_long=spec.too_long,
        resources=resources[victim],
    )


def _check_counts(spec: Spec, problems: list[SpecProblem]) -> None:
    if spec.clean_examples < spec.examples:
        where = "clean_examples" if "clean_examples" in spec.model_fields_set else "examples"
        said = f"clean_examples ({spec.clean_examples}) must be at least examples ({spec.examples}); raise or lower one"
        problems.append(SpecProblem((where,), said))


def _check_judge(axes: Axes, problems: list[SpecProblem]) -> None:
    """The judge must read what the victims of every task say."""
    reads = axes.judge.plugin.reads
    for index, task in enumerate(axes.tasks.chosen):
        if task.plugin.answers != reads:
            said = (
                f"is answered with {task.plugin.answers}, and judge {axes.judge.name} reads {reads}; name another "
                "judge, or put the task into a spec of its own"
            )
            problems.append(SpecProblem(("tasks", index), said))


def _check_access(axes: Axes, left: Mask, problems: list[SpecProblem]) -> None:
    """Every attack must have a threat that grants what it asks for, and no cell that is left may grant less."""
    combined: Mask = np.asarray(left.any(axis=(0, 1, 2, 5)))  # [attacks, threats]
    most = next(access for access in _STRONGEST if any(threat.access == access for threat in axes.threats))
    for attack, chosen in enumerate(axes.attacks.chosen):
        wants: Access = chosen.plugin.access
        path: DataPath = ("attacks", attack)
        if not allows(most, wants):
            said = f"asks for {wants} access, but no threat grants more than {most}; raise a threat's access"
            problems.append(SpecProblem(path, said))
            continue
        for index, threat in enumerate(axes.threats):
            if combined[attack, index] and not allows(threat.access, wants):
                said = f"asks for {wants} access, but {{other}} grants only {threat.access}; exclude that combination"
                problems.append(SpecProblem(path, said, other=("threats", index)))


def _check_answers(axes: Axes, left: Mask, problems: list[SpecProblem]) -> None:
    """A guard of answers must have answers to read."""
    combined: Mask = np.asarray(left.any(axis=(1, 3, 4, 5)))  # [tasks, variants]
    noted: set[tuple[int, int]] = set()
    for task, variant in np.argwhere(combined).tolist():
        place = axes.variants[variant][0]
        why = why_impossible(parts_of(axes.defenses.chosen[place]), axes.tasks.chosen[task].plugin.answers)
        if why and (task, place) not in noted and not why_impossible(parts_of(axes.defenses.chosen[place])):
            noted.add((task, place))
            problems.append(SpecProblem(("defenses", place), f"{why} (task {axes.tasks.chosen[task].label})"))


def _check_training(axes: Axes, left: Mask, registry: Registry, problems: list[SpecProblem]) -> None:
    """A training attack that perturbs activations must be told how far."""
    combined: Mask = np.asarray(left.any(axis=(0, 1, 3, 5)))  # [variants, threats]
    noted: set[int] = set()
    for (defense, _), threats in zip(axes.variants, combined, strict=True):
        trained = trained_part(axes.defenses.chosen[defense])
        plugin = trained.plugin if trained else None
        ref = plugin.attack() if plugin else None
        if (
            plugin is None
            or ref is None
            or defense in noted
            or registry.choose("attack", ref).plugin.access != "latent"
        ):
            continue
        if any(plugin.against(axes.threats[i]).radius is None for i in np.flatnonzero(threats)):
            noted.add(defense)
            said = (
                f"trains against attack {ref.name}, which perturbs activations, under a threat model without a radius; "
                "give the defense a threat of its own: {access: latent, radius: ...}"
            )
            problems.append(SpecProblem(("defenses", defense), said))
