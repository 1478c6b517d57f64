"""Which combinations an `exclude` entry leaves out. An entry that matches nothing is a mistake and named as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from harness.api.plugin import Kind
from harness.api.refs import PluginRef
from harness.api.threat import Threat
from harness.registry.defense_stack import STATIC, DefenseStack, is_static
from harness.registry.param_errors import ParamsError
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.registry.same_content import same_content
from harness.spec.axes import Axes, Axis, threat_key
from harness.spec.fields import Combinations, DefenseEntry, Spec
from harness.spec.pydantic_errors import validation_problems
from harness.spec.spec_problems import DataPath, SpecProblem, name_hint

Mask = NDArray[np.bool_]


def remaining_cells(spec: Spec, axes: Axes, registry: Registry, problems: list[SpecProblem]) -> Mask:
    """True for each combination that is left, shape [tasks, victims, variants, attacks, threats, seeds]."""
    shape = (
        len(axes.tasks.plugins),
        len(axes.victims.plugins),
        len(axes.variants),
        len(axes.attacks.plugins),
        len(axes.threats),
        len(axes.seeds),
    )
    left: Mask = np.ones(shape, dtype=np.bool_)

    def matched(entry: Combinations, path: DataPath, otherwise: str) -> Mask:
        mask: Mask = np.zeros(shape, dtype=np.bool_)
        mask[np.ix_(*EntryMatcher(axes, registry, path, problems, otherwise).matches(entry))] = True
        return mask

    for index, entry in enumerate(spec.exclude):
        before, path = len(problems), ("exclude", index)
        dropped = matched(entry, path, "nothing is excluded")
        kept: Mask = np.zeros(shape, dtype=np.bool_)
        for at, exception in enumerate(entry.unless):
            found = matched(exception, (*path, "unless", at), "nothing is kept")
            if len(problems) == before and not (found & dropped).any():
                problems.append(
                    SpecProblem((*path, "unless", at), "is not among what this entry leaves out; remove it")
                )
            kept |= found
        if entry.unless and len(problems) == before and not (dropped & ~kept).any():
            problems.append(SpecProblem((*path, "unless"), "keeps all that this entry leaves out; remove the entry"))
        left &= ~dropped | kept
    return left


def _parts(defense: ResolvedPlugin) -> tuple[ResolvedPlugin, ...]:
    return defense.plugin.parts if isinstance(defense.plugin, DefenseStack) else (defense,)


class EntryMatcher:
    """Finds what one entry of `exclude`, `resources` or `utility.tasks` means on each axis.

    Args:
        path: of the entry, for problems.
        otherwise: what follows from an entry that matches nothing, for messages.
    """

    def __init__(
        self,
        axes: Axes,
        registry: Registry,
        path: DataPath,
        problems: list[SpecProblem],
        otherwise: str = "nothing is excluded",
    ) -> None:
        self._axes, self._registry, self._path, self._problems = axes, registry, path, problems
        self._otherwise = otherwise

    def matches(self, entry: Combinations) -> list[list[int]]:
        """Indices on each axis: tasks, victims, variants, attacks, threats, seeds."""
        axes = self._axes
        return [
            self._plugins(entry.task, axes.tasks),
            self._plugins(entry.victim, axes.victims),
            self._variants(entry),
            self._plugins(entry.attack, axes.attacks),
            self._threats(entry),
            self._seeds(entry),
        ]

    def tasks(self, ref: PluginRef) -> list[int]:
        """Indices of the tasks that a reference means."""
        return self._plugins(ref, self._axes.tasks)

    def victims(self, ref: PluginRef) -> list[int]:
        """Indices of the victims that a reference means."""
        return self._plugins(ref, self._axes.victims)

    def _defenses(self, entry: DefenseEntry | None, axis: Axis) -> list[int]:
        """Indices of the defenses that an entry means: by name, adaptive or static; of stacks, by all their parts."""
        if entry is None:
            return list(range(len(axis.plugins)))
        names = [ref.name for ref in entry.parts]
        stacks = [(stack, tuple(part.name for part in _parts(stack))) for stack in axis.plugins]
        named = [
            index
            for index, (stack, part_names) in enumerate(stacks)
            if list(part_names) == names and (is_static(stack) or not entry.non_adaptive)
        ]
        if not named:
            known = {name for _, part_names in stacks if len(part_names) == 1 for name in part_names}
            if len(names) == 1 and not entry.non_adaptive:
                message = f"no defense of this spec is called '{names[0]}'{name_hint(names[0], known)}"
            else:
                message = f"no defense of this spec is {' + '.join(names)}{STATIC if entry.non_adaptive else ''}"
            self._add_problem(("defense",), message)
            return []
        return self._with_params(entry.parts, axis, named)

    def _same(self, kind: Kind, ref: PluginRef, base: PluginRef, plugin: ResolvedPlugin) -> bool:
        # Parameters are equal when writing them over the plugin's own changes nothing: so "4" and 4 agree.
        written = PluginRef(name=ref.name, params={**base.params, **ref.params})
        return same_content(self._registry.resolve(kind, written), plugin)

    def _plugins(self, ref: PluginRef | None, axis: Axis) -> list[int]:
        if ref is None:
            return list(range(len(axis.plugins)))
        named = [index for index, plugin in enumerate(axis.plugins) if plugin.name == ref.name]
        if not named:
            names = {plugin.name for plugin in axis.plugins}
            self._add_problem(
                (axis.kind,), f"no {axis.kind} of this spec is called '{ref.name}'{name_hint(ref.name, names)}"
            )
            return []
        return self._with_params([ref], axis, named)

    def _with_params(self, refs: Sequence[PluginRef], axis: Axis, named: Sequence[int]) -> list[int]:
        """Those of the named entries of a list whose parts have the parameters that the references give."""
        found: list[int] = []
        refused: ParamsError | None = None
        for index in named:
            written = axis.refs[index]
            bases = written.parts if isinstance(written, DefenseEntry) else (written,)
            try:
                pairs = zip(refs, bases, _parts(axis.plugins[index]), strict=True)
                if all(self._same(axis.kind, ref, base, part) for ref, base, part in pairs):
                    found.append(index)
            except ParamsError as error:
                refused = error
        names = " + ".join(ref.name for ref in refs)
        if not found and refused is None:
            message = f"no {axis.kind} '{names}' of this spec has these parameters, so {self._otherwise}"
            self._add_problem((axis.kind,), message)
        elif not found and refused is not None:
            for loc, message in refused.problems:
                self._add_problem((axis.kind, refs[0].name, *loc), message)
        return found

    def _variants(self, entry: Combinations) -> list[int]:
        variants = self._axes.variants
        defenses = set(self._defenses(entry.defense, self._axes.defenses))
        of_defense = [index for index, (defense, _) in enumerate(variants) if defense in defenses]
        if entry.round is None:
            return of_defense
        found = [index for index in of_defense if variants[index][1] == entry.round]
        if not found and of_defense:
            rounds = sorted({round_ for index in of_defense if (round_ := variants[index][1]) is not None})
            known = f"rounds: {', '.join(map(str, rounds[:20]))}" if rounds else "there are no rounds here"
            self._add_problem(("round",), f"no cell has round {entry.round}, so {self._otherwise}; {known}")
        return found

    def _threats(self, entry: Combinations) -> list[int]:
        found: list[int] = []
        given = entry.threat or {}
        for index, threat in enumerate(self._axes.threats):
            try:
                changed = Threat.model_validate({**threat.model_dump(), **given}, strict=True)
            except ValidationError as error:
                if not any(detail["loc"] for detail in error.errors()):
                    continue  # fields that do not go together: no threat has these besides its own
                for problem in validation_problems(error, given, {(): Threat}):
                    self._add_problem(("threat", *problem.path), problem.message)
                return []
            if threat_key(changed) == threat_key(threat):
                found.append(index)
        if not found:
            self._add_problem(("threat",), f"no threat of this spec has these fields, so {self._otherwise}")
        return found

    def _seeds(self, entry: Combinations) -> list[int]:
        seeds = self._axes.seeds
        if entry.seed is None:
            return list(range(len(seeds)))
        if entry.seed not in seeds:
            self._add_problem(("seed",), f"no cell has seed {entry.seed}, so {self._otherwise}")
        return [index for index, seed in enumerate(seeds) if seed == entry.seed]

    def _add_problem(self, where: DataPath, message: str) -> None:
        self._problems.append(SpecProblem((*self._path, *where), message))
