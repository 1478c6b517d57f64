"""Which tasks of a spec its field ``utility`` means, and whether its cells can tell what a defense loses on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.registry.registry import Registry
from harness.spec.axes import Axes
from harness.spec.exclude import EntryMatcher, Mask
from harness.spec.fields import Spec
from harness.spec.spec_problems import SpecProblem

UNDEFENDED = "none"
_Named = list[tuple[int, list[int]]]


def utility_tasks(spec: Spec, axes: Axes, registry: Registry, problems: list[SpecProblem]) -> tuple[int, ...]:
    """Indices of the tasks that ``utility.tasks`` means; an entry that means none is a problem."""
    return tuple(sorted({index for _, found in _named(spec, axes, registry, problems) for index in found}))


def check_utility(spec: Spec, axes: Axes, left: Mask, registry: Registry, problems: list[SpecProblem]) -> None:
    """Every victim and defense must have cells of every utility task, and every victim be there undefended."""
    named = _named(spec, axes, registry, problems)
    if spec.utility is None:
        return
    there: Mask = np.asarray(left.any(axis=(3, 4, 5)))  # [tasks, victims, variants]
    undefended = [axes.defenses.plugins[defense].name == UNDEFENDED for defense, _ in axes.variants]
    victims = axes.victims.plugins
    if spec.utility.max_loss is not None:
        measured = [index for _, found in named for index in found] or list(range(len(axes.tasks.plugins)))
        defended = there[:, :, [not each for each in undefended]].any(axis=2)
        alone: Mask = np.asarray(there[:, :, undefended].any(axis=2))
        lacks = defended.any(axis=0) & ~alone[measured].all(axis=0)
        if lacks.any():
            message = (
                f"is a loss against the undefended victim, and {victims[int(lacks.argmax())].label} has no cell with "
                "the defense 'none'; add it to `defenses`, and do not exclude it for any task"
            )
            problems.append(SpecProblem(("utility", "max_loss"), message))
    for entry, indices in named:
        for index in indices:
            lacking = there.any(axis=0) & ~there[index]
            if lacking.any():
                victim, variant = np.argwhere(lacking)[0].tolist()
                defense = axes.defenses.plugins[axes.variants[variant][0]].label
                message = (
                    f"{axes.tasks.plugins[index].label} is left out for {victims[victim].label} with {defense}, so "
                    "its utility would be unknown; change `exclude`, or take the task out of utility.tasks"
                )
                problems.append(SpecProblem(("utility", "tasks", entry), message))
                break


def _named(spec: Spec, axes: Axes, registry: Registry, problems: list[SpecProblem]) -> _Named:
    """Of each entry of ``utility.tasks`` the indices of the tasks that it means."""
    entries = () if spec.utility is None else spec.utility.tasks
    named: _Named = []
    for entry, ref in enumerate(entries):
        found: list[SpecProblem] = []
        path = ("utility", "tasks", entry)
        matcher = EntryMatcher(axes, registry, path, found, "it does not measure utility; add it to `tasks`")
        named.append((entry, matcher.tasks(ref)))
        # The entry is the reference itself, where those of `exclude` have it in a field.
        problems += [replace(problem, path=(*path, *problem.path[len(path) + 1 :])) for problem in found]
    return named
