"""A search before it starts: which cells, what is tried, and what it will take. Loads no model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.api.attack import Attack
from harness.api.params import relative_to
from harness.api.refs import PluginRef
from harness.errors import RunError, did_you_mean
from harness.hashing import content_key
from harness.number_format import format_flops
from harness.registry.resolved_plugin import ResolvedPlugin, plugin_key
from harness.run.cell_label import cell_label
from harness.run.cell_problems import runnable_cells
from harness.run.plan.estimate import prompt_tokens
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.run.tuning.bench import only, training_examples
from harness.run.tuning.costs import CostedCell, attack_with, halves, quote, step_flops
from harness.run.tuning.dimension import Dimension
from harness.run.tuning.written_space import search_space
from harness.spec.cells import CellSpec
from harness.spec.fields import AttackEntry
from harness.spec.load import LoadedSpec


@dataclass(frozen=True)
class Wanted:
    """What a user asks for.

    Attributes:
        attack: name or label of an entry of the spec's attacks.
        flops: nominal, of the whole search.
        per_example: at which candidates are compared; None: what the entry itself takes in its steps.
        examples: training examples of each cell; None: as many as the spec attacks.
        space: parameters to try, as `harness.run.tuning.written_space.read_space` gives them.
        seed: of examples and candidates.
    """

    attack: str
    flops: float
    per_example: float | None = None
    examples: int | None = None
    space: Mapping[str, Any] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """A search before it starts.

    Attributes:
        place: of the entry among the spec's attacks.
        entry: as the spec has it.
        attack: the same, resolved.
        cells: on which candidates are tried.
        space: what is tried.
        per_example: nominal FLOPs that a candidate may spend on an example, mean over cells.
        examples: training examples of each cell.
        candidate: the most that one candidate takes, estimated.
        clean: what it takes to see which examples victims get right, estimated.
        step_flops: what a step of the entry takes on an example, mean over cells, estimated.
        key: of the search; a larger budget goes on with the same.
    """

    place: int
    entry: AttackEntry
    attack: ResolvedPlugin
    cells: tuple[ResolvedCell, ...]
    space: tuple[Dimension, ...]
    per_example: float
    examples: int
    candidate: float
    clean: float
    step_flops: float
    key: str

    @property
    def first(self) -> dict[str, Any] | None:
        """The entry's own value of each dimension; None where one lies outside the space."""
        params = self.attack.plugin.params.model_dump(mode="json")
        values = {dimension.name: params[dimension.name] for dimension in self.space}
        return values if all(values[dimension.name] in dimension for dimension in self.space) else None


def make_plan(source: LoadedSpec, wanted: Wanted, resolver: CellResolver) -> Plan:
    """Work a search out; loads no model.

    Raises:
        RunError: there is no such attack, nothing to tune, or the budget does not do.
        InvalidSpecError: a cell of it cannot be run.
        DataError: there are no training examples.
    """
    place, chosen = _entry(source, wanted.attack, resolver)
    entry = source.spec.attacks[place]
    cells = _runnable(source, chosen, resolver)
    attack = cells[0].spec.attack
    with paths_from_spec(source):
        space = search_space(attack.plugin, _maker(attack, resolver), wanted.space or {})
    costed = [_costed(cell, wanted, source.spec.examples) for cell in cells]
    own = step_flops(costed, attack, resolver)
    per_example = wanted.per_example or _rounded_up(attack.plugin.params.steps * sum(own) / len(own))
    for cell in cells:
        if cell.spec.threat.flops is not None and cell.spec.threat.flops < per_example:
            raise RunError(
                f"{cell_label(cell.spec)}: its threat model allows {format_flops(cell.spec.threat.flops)} per example, "
                f"less than {format_flops(per_example)}; give a smaller --per-example"
            )
    quoted, _ = quote(costed, attack, per_example, resolver)
    candidate = sum(quoted.most) if quoted.steps else per_example * sum(sum(cell.parts) for cell in costed)
    clean = sum(sum(cell.parts) * cell.unit(attack, resolver).clean for cell in costed)
    if wanted.flops < clean + candidate:
        raise RunError(
            f"--flops: {format_flops(wanted.flops)} do not allow two candidates of about {format_flops(candidate)}; "
            f"give {format_flops(clean + 2 * candidate)} or more, fewer --examples, or a smaller --per-example"
        )
    examples = max(sum(cell.parts) for cell in costed)
    costs = candidate, clean, sum(own) / len(own)
    key = _key(cells, space, per_example, examples, wanted.seed)
    return Plan(place, entry, attack, tuple(cells), tuple(space), per_example, examples, *costs, key)


def _rounded_up(flops: float) -> float:
    """To three digits, so that no step is lost."""
    unit = 10.0 ** (math.floor(math.log10(flops)) - 2)
    return math.ceil(flops / unit) * unit


def _entry(source: LoadedSpec, name: str, resolver: CellResolver) -> tuple[int, list[CellSpec]]:
    """The place of the attack that is meant, and its cells. Raises RunError where there is none, or several."""
    places: dict[str, int] = {}
    with paths_from_spec(source):
        for place, entry in enumerate(source.spec.attacks):
            ref = PluginRef(name=entry.name, params=entry.params)
            places.setdefault(plugin_key(resolver.registry.resolve("attack", ref)), place)
    cells: dict[int, list[CellSpec]] = {}
    for cell in source.cells:
        cells.setdefault(places[plugin_key(cell.attack)], []).append(cell)
    labels = {place: own[0].attack.label for place, own in cells.items()}
    found = [place for place, label in labels.items() if label == name]
    found = found or [place for place in labels if source.spec.attacks[place].name == name]
    if not found:
        known = sorted({*labels.values(), *(source.spec.attacks[place].name for place in labels)})
        raise RunError(
            f"{source.path}: no cell has an attack '{name}'{did_you_mean(name, known)}; known: {', '.join(known)}"
        )
    if len(found) > 1:
        several = ", ".join(f"'{labels[place]}'" for place in found)
        raise RunError(f"{source.path}: several attacks are called '{name}'; name one by its label: {several}")
    return found[0], cells[found[0]]


def _runnable(source: LoadedSpec, cells: Sequence[CellSpec], resolver: CellResolver) -> list[ResolvedCell]:
    """The cells worked out, each once. Raises InvalidSpecError where one cannot be run."""
    found, problems = runnable_cells(replace(source, cells=tuple(cells)), resolver)
    if problems is not None:
        raise problems
    return list({cell.keys.cell: cell for cell in found}.values())


def _costed(cell: ResolvedCell, wanted: Wanted, default: int) -> CostedCell:
    """A cell as far as its costs can be told before its victim is there."""
    spec = cell.spec
    examples = training_examples(cell.data, wanted.examples or default, wanted.seed)
    data, card = only(cell.data, examples), spec.victim.plugin.card(cell.data)
    tokens = prompt_tokens(data, card, spec.threat.tokens, [part.plugin for part in spec.runtime])
    return CostedCell(cell, data, card, tokens, tokens, halves(len(examples), spec.attack.plugin.group()))


def _maker(attack: ResolvedPlugin, resolver: CellResolver) -> Callable[[Mapping[str, Any]], Attack]:
    def make(changes: Mapping[str, Any]) -> Attack:
        changed: Attack = attack_with(attack, dict(changes), resolver).plugin
        return changed

    return make


@contextmanager
def paths_from_spec(source: LoadedSpec) -> Iterator[None]:
    """Relative paths among the parameters count from the spec's folder."""
    with relative_to(source.path.parent, source.plain_folders):
        yield


def _key(
    cells: Sequence[ResolvedCell], space: Sequence[Dimension], per_example: float, examples: int, seed: int
) -> str:
    return content_key(
        {
            "what": "tuning",
            "cells": [cell.keys.search for cell in cells],
            "space": [{"kind": type(dimension).__name__, **asdict(dimension)} for dimension in space],
            "per_example": per_example,
            "examples": examples,
            "seed": seed,
        }
    )
