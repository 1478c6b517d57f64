"""From names to plugins: every reference of a spec chosen through the registry, and the axes of its product."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.defense import TrainedDefense
from harness.errors import PluginError
from harness.identity import canonical_json
from harness.plugin import Kind
from harness.refs import PluginRef
from harness.registry.chosen import Chosen
from harness.registry.labels import with_labels
from harness.registry.problems import ParamsError
from harness.registry.registry import Registry
from harness.spec.model import Spec
from harness.spec.problems import DataPath, Problem
from harness.spec.shape import RefAt
from harness.threat import Threat

MAX_ROUNDS = 10_000


@dataclass(frozen=True)
class Axis:
    """One list of plugins of a spec: as written and as chosen, in order."""

    field: str
    kind: Kind
    refs: tuple[PluginRef, ...]
    chosen: tuple[Chosen, ...]


@dataclass(frozen=True)
class Axes:
    """Everything a cell is a combination of.

    Attributes:
        variants: what is attacked of each defense: its place in ``defenses``, and a round or None.
    """

    tasks: Axis
    victims: Axis
    defenses: Axis
    variants: tuple[tuple[int, int | None], ...]
    attacks: Axis
    threats: tuple[Threat, ...]
    seeds: tuple[int, ...]
    judge: Chosen


def choose_all(refs: Iterable[RefAt], registry: Registry, problems: list[Problem]) -> dict[DataPath, Chosen]:
    """The plugins of those references that can be chosen, by place; what the others lack is noted."""
    found: dict[DataPath, Chosen] = {}
    for at in refs:
        try:
            found[at.path] = registry.choose(at.kind, at.ref)
        except ParamsError as error:
            problems.extend(Problem((*at.params, *loc), message) for loc, message in error.problems)
        except PluginError as error:
            problems.append(Problem(at.path, str(error)))
    return found


def axes_of(spec: Spec, chosen: dict[DataPath, Chosen], problems: list[Problem]) -> Axes:
    """The axes of a spec whose plugins have all been chosen; notes entries that are the same as an earlier one."""
    defenses = _axis(spec, "defenses", "defense", chosen, problems)
    _note_repeated("threats", [threat_key(threat) for threat in spec.threats], problems)
    _note_repeated("seeds", list(spec.seeds), problems)
    return Axes(
        tasks=_axis(spec, "tasks", "task", chosen, problems),
        victims=_axis(spec, "victims", "victim", chosen, problems),
        defenses=defenses,
        variants=tuple(_variants(defenses, problems)),
        attacks=_axis(spec, "attacks", "attack", chosen, problems),
        threats=spec.threats,
        seeds=spec.seeds,
        judge=chosen["judge",],
    )


def threat_key(threat: Threat) -> Any:
    """Equal for threats that mean the same (``suffix`` is the position 1.0)."""
    return canonical_json({**threat.model_dump(mode="json"), "position": threat.fraction})


def full_key(chosen: Chosen) -> str:
    """Equal for plugins whose parameters are all equal, those outside the identity (paths and the like) included."""
    params = chosen.plugin.params
    identity = chosen.identity()
    outside = set(type(params).model_fields) - set(identity["params"])
    return canonical_json([identity, params.model_dump(mode="json", include=outside)])


def _axis(spec: Spec, field: str, kind: Kind, chosen: dict[DataPath, Chosen], problems: list[Problem]) -> Axis:
    refs: tuple[PluginRef, ...] = getattr(spec, field)
    plugins = tuple(chosen[field, index] for index in range(len(refs)))
    _note_repeated(field, [full_key(plugin) for plugin in plugins], problems)
    return Axis(field, kind, refs, with_labels(plugins, [ref.params for ref in refs]))


def _variants(defenses: Axis, problems: list[Problem]) -> Iterable[tuple[int, int | None]]:
    for index, defense in enumerate(defenses.chosen):
        if not isinstance(defense.plugin, TrainedDefense):
            yield index, None
            continue
        path: DataPath = (defenses.field, index)
        if defense.plugin.rounds() > MAX_ROUNDS:  # asked first: a list of a billion rounds would fill the memory
            problems.append(Problem(path, f"asks for more than {MAX_ROUNDS} rounds; ask for fewer"))
            continue
        rounds = defense.plugin.evaluated()
        if not rounds:
            problems.append(Problem(path, "none of its rounds is evaluated; ask for at least one"))
        yield from ((index, round_) for round_ in rounds)


def _note_repeated(field: str, keys: list[Any], problems: list[Problem]) -> None:
    first: dict[Any, int] = {}
    for index, key in enumerate(keys):
        if first.setdefault(key, index) != index:
            problems.append(
                Problem((field, index), "the same as {other}; remove one of the two", other=(field, first[key]))
            )
