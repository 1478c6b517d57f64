"""The cells of a spec: its product, less what is excluded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.api.defense import TrainedDefense
from harness.api.refs import PluginRef
from harness.api.threat import Access, Threat, allows
from harness.records.cell_manifest import TuningRecord
from harness.registry.defense_stack import is_static, parts_of, runtime_parts, stack_problem, trained_part
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.spec.answers import GREEDY, AnswerSampling
from harness.spec.axes import Axes, make_axes
from harness.spec.checks.answers import check_sampling
from harness.spec.checks.utility import check_utility, utility_tasks
from harness.spec.exclude import Mask, remaining_cells
from harness.spec.fields import DiagnosticsExtent, Spec
from harness.spec.resources import UNSPECIFIED, Resources, victim_resources
from harness.spec.spec_problems import DataPath, SpecProblem

MAX_CELLS = 100_000
LABEL_JUDGE: PluginRef = Spec.model_fields["judge"].default
"""Who judges tasks of labels where a spec names nobody."""
_STRONGEST: tuple[Access, ...] = ("latent", "gradient", "scores", "text")


@dataclass(frozen=True)
class CellSpec:
    """One measurement: a victim with a task and a defense, under one attack, threat and seed.

    Attributes:
        round: which checkpoint of a `TrainedDefense` is attacked; None for every other defense.
        resources: what a worker is given for it; no part of its key.
        tuned: the search that the attack's parameters come from.
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
    training_threads: int = 1
    diagnostics: DiagnosticsExtent = "full"
    answers: AnswerSampling = GREEDY
    resources: Resources = UNSPECIFIED
    tuned: TuningRecord | None = None

    @property
    def trained(self) -> ResolvedPlugin | None:
        """The part of the defense that trains weights; None where no part does."""
        return trained_part(self.defense)

    @property
    def trained_plugin(self) -> TrainedDefense | None:
        """The plugin of `trained`; None where no part trains weights."""
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


def expand(
    spec: Spec, plugins: dict[DataPath, ResolvedPlugin], registry: Registry, problems: list[SpecProblem]
) -> list[CellSpec]:
    """The cells of a spec in the order task, victim, defense (its rounds in turn), attack, threat, seed (fastest).

    Args:
        plugins: what all its references were resolved to, by path.
        problems: where fields disagree, that is added here, and there are no cells.
    """
    _check_counts(spec, problems)
    axes = make_axes(spec, plugins, registry, problems)
    size = len(axes.variants) * len(axes.threats) * len(axes.seeds)
    for axis in (axes.tasks, axes.victims, axes.attacks):
        size *= len(axis.plugins)
    if size > MAX_CELLS:
        problems.append(SpecProblem((), f"makes {size} cells, more than {MAX_CELLS}; split it into several specs"))
        return []
    by_label = _judged_by_label(spec, axes, registry)
    _check_judge(axes, by_label, problems)
    left = remaining_cells(spec, axes, registry, problems)
    _check_access(axes, left, problems)
    _check_training(axes, left, registry, problems)
    _check_answers(axes, left, problems)
    check_sampling(spec, axes, left, problems)
    check_utility(spec, axes, left, registry, problems)
    resources = victim_resources(spec, axes, registry, problems)
    if not problems and not left.any():
        problems.append(SpecProblem(("exclude",), "leaves out every cell; remove an entry"))
    if problems:
        return []
    label_judge = registry.resolve("judge", LABEL_JUDGE) if by_label else axes.judge
    judges = [label_judge if task in by_label else axes.judge for task in range(len(axes.tasks.plugins))]
    return [_cell(spec, axes, resources, judges, at) for at in np.argwhere(left).tolist()]


def _cell(spec: Spec, axes: Axes, resources: list[Resources], judges: list[ResolvedPlugin], at: list[int]) -> CellSpec:
    task, victim, variant, attack, threat, seed = at
    defense, round_ = axes.variants[variant]
    return CellSpec(
        task=axes.tasks.plugins[task],
        victim=axes.victims.plugins[victim],
        defense=axes.defenses.plugins[defense],
        attack=axes.attacks.plugins[attack],
        judge=judges[task],
        threat=axes.threats[threat],
        seed=axes.seeds[seed],
        round=round_,
        stop_on_success=spec.stop_on_success,
        examples=spec.examples,
        clean_examples=spec.clean_examples,
        attack_draws=spec.attack_draws,
        judge_draws=spec.judge_draws,
        too_long=spec.too_long,
        training_threads=spec.training_threads,
        diagnostics=spec.diagnostics,
        answers=spec.answers,
        resources=resources[victim],
        tuned=spec.attacks[attack].tuned,
    )


def _check_counts(spec: Spec, problems: list[SpecProblem]) -> None:
    if spec.clean_examples < spec.examples:
        where = "clean_examples" if "clean_examples" in spec.model_fields_set else "examples"
        message = (
            f"clean_examples ({spec.clean_examples}) must be at least examples ({spec.examples}); raise or lower one"
        )
        problems.append(SpecProblem((where,), message))


def _judged_by_label(spec: Spec, axes: Axes, registry: Registry) -> frozenset[int]:
    """Tasks of labels that show utility in a spec whose judge reads text: their own labels say what is right."""
    if axes.judge.plugin.reads == "labels":
        return frozenset()
    named = utility_tasks(spec, axes, registry, [])
    return frozenset(index for index in named if axes.tasks.plugins[index].plugin.answers == "labels")


def _check_judge(axes: Axes, by_label: frozenset[int], problems: list[SpecProblem]) -> None:
    """The judge must read what the victims of every task say, but of those that are judged by their labels."""
    reads = axes.judge.plugin.reads
    for index, task in enumerate(axes.tasks.plugins):
        if task.plugin.answers != reads and index not in by_label:
            message = (
                f"is answered with {task.plugin.answers}, and judge {axes.judge.name} reads {reads}; name another "
                "judge, put the task into a spec of its own, or name it in utility.tasks, so that its labels measure "
                "utility"
            )
            problems.append(SpecProblem(("tasks", index), message))


def _check_access(axes: Axes, left: Mask, problems: list[SpecProblem]) -> None:
    """Every attack must have a threat that grants what it asks for, and no cell that is left may grant less."""
    combined: Mask = np.asarray(left.any(axis=(0, 1, 2, 5)))  # [attacks, threats]
    most = next(access for access in _STRONGEST if any(threat.access == access for threat in axes.threats))
    for attack, plugin in enumerate(axes.attacks.plugins):
        wants: Access = plugin.plugin.access
        path: DataPath = ("attacks", attack)
        if not allows(most, wants):
            message = f"asks for {wants} access, but no threat grants more than {most}; raise a threat's access"
            problems.append(SpecProblem(path, message))
            continue
        for index, threat in enumerate(axes.threats):
            if combined[attack, index] and not allows(threat.access, wants):
                message = (
                    f"asks for {wants} access, but {{other}} grants only {threat.access}; exclude that combination"
                )
                problems.append(SpecProblem(path, message, other=("threats", index)))


def _check_answers(axes: Axes, left: Mask, problems: list[SpecProblem]) -> None:
    """A guard of answers must have answers to read."""
    combined: Mask = np.asarray(left.any(axis=(1, 3, 4, 5)))  # [tasks, variants]
    pairs = dict.fromkeys((task, axes.variants[variant][0]) for task, variant in np.argwhere(combined).tolist())
    for task, defense in pairs:
        parts = parts_of(axes.defenses.plugins[defense])
        why = stack_problem(parts, axes.tasks.plugins[task].plugin.answers)
        if why and not stack_problem(parts):
            problems.append(SpecProblem(("defenses", defense), f"{why} (task {axes.tasks.plugins[task].label})"))


def _check_training(axes: Axes, left: Mask, registry: Registry, problems: list[SpecProblem]) -> None:
    """A training attack that perturbs activations needs a radius."""
    combined: Mask = np.asarray(left.any(axis=(0, 1, 3, 5)))  # [variants, threats]
    reported: set[int] = set()
    for (defense, _), threats in zip(axes.variants, combined, strict=True):
        trained = trained_part(axes.defenses.plugins[defense])
        plugin = trained.plugin if trained else None
        ref = plugin.attack() if plugin else None
        if (
            plugin is None
            or ref is None
            or defense in reported
            or registry.resolve("attack", ref).plugin.access != "latent"
        ):
            continue
        if any(plugin.against(axes.threats[i]).radius is None for i in np.flatnonzero(threats)):
            reported.add(defense)
            message = (
                f"trains against attack {ref.name}, which perturbs activations, under a threat model without a radius; "
                "give the defense a threat of its own: {access: latent, radius: ...}"
            )
            problems.append(SpecProblem(("defenses", defense), message))
