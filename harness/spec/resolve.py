"""From names to plugins: every reference of a spec chosen through the registry, and the axes of its product."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.api.defense import TrainedDefense
from harness.api.plugin import Kind
from harness.api.refs import PluginRef
from harness.api.runtime_defense import RuntimeDefense
from harness.api.threat import Threat
from harness.errors import PluginError
from harness.hashing import canonical_json
from harness.registry.defense_stack import made_of, trained_part, why_impossible
from harness.registry.param_errors import ParamsError
from harness.registry.registry import Registry
from harness.registry.resolved import ResolvedPlugin
from harness.registry.short_labels import with_labels
from harness.spec.model import DefenseEntry, Spec
from harness.spec.parse import RefAt, parts_at
from harness.spec.problems import DataPath, SpecProblem

MAX_ROUNDS = 10_000


@dataclass(frozen=True)
class Axis:
    """One list of plugins of a spec: as written and as chosen, in order."""

    field: str
    kind: Kind
    refs: tuple[PluginRef | DefenseEntry, ...]
    chosen: tuple[ResolvedPlugin, ...]


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
    judge: ResolvedPlugin


def choose_all(
    refs: Iterable[RefAt], registry: Registry, problems: list[SpecProblem]
) -> dict[DataPath, ResolvedPlugin]:
    """The plugins of those references that can be chosen, by place; what the others lack is noted."""
    found: dict[DataPath, ResolvedPlugin] = {}
    for at in refs:
        try:
            found[at.path] = registry.choose(at.kind, at.ref)
        except ParamsError as error:
            problems.extend(SpecProblem((*at.params, *loc), message) for loc, message in error.problems)
        except PluginError as error:
            problems.append(SpecProblem(at.stands or at.path, str(error)))
    return found


def axes_of(
    spec: Spec, chosen: dict[DataPath, ResolvedPlugin], registry: Registry, problems: list[SpecProblem]
) -> Axes:
    """The axes of a spec whose plugins have all been chosen; notes entries that are the same as an earlier one."""
    defenses = _defenses(spec, chosen, registry, problems)
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


def full_key(chosen: ResolvedPlugin) -> str:
    """Equal for plugins whose parameters are all equal, those outside the identity (paths and the like) included."""
    params = chosen.plugin.params
    identity = chosen.identity()
    outside = set(type(params).model_fields) - set(identity["params"])
    return canonical_json([identity, params.model_dump(mode="json", include=outside)])


def _axis(
    spec: Spec, field: str, kind: Kind, chosen: dict[DataPath, ResolvedPlugin], problems: list[SpecProblem]
) -> Axis:
    refs: tuple[PluginRef, ...] = getattr(spec, field)
    plugins = tuple(chosen[field, index] for index in range(len(refs)))
    _note_repeated(field, [full_key(plugin) for plugin in plugins], problems)
    return Axis(field, kind, refs, with_labels(plugins, [ref.params for ref in refs]))


def _defenses(
    spec: Spec, chosen: dict[DataPath, ResolvedPlugin], registry: Registry, problems: list[SpecProblem]
) -> Axis:
    """Defenses and stacks of them; a part is called the same wherever it stands."""
    places = [parts_at(entry, ("defenses", index)) for index, entry in enumerate(spec.defenses)]
    flat = [(path, ref) for own in places for path, ref in own]
    first = {full_key(chosen[path]): chosen[path] for path, _ in reversed(flat)}
    named = with_labels(tuple(first.values()), [chosen_ref.params for chosen_ref in _refs_of_keys(flat, chosen, first)])
    by_key = dict(zip(first, named, strict=True))
    found = []
    for index, (entry, own) in enumerate(zip(spec.defenses, places, strict=True)):
        parts = tuple(by_key[full_key(chosen[path])] for path, _ in own)
        why = why_impossible(parts) or _none_static(parts, entry)
        if why:
            problems.append(SpecProblem(("defenses", index), why))
        found.append(parts[0] if entry.single is not None else made_of(parts, entry.non_adaptive, registry))
    _note_repeated("defenses", [full_key(defense) for defense in found], problems)
    return Axis("defenses", "defense", spec.defenses, tuple(found))


def _refs_of_keys(
    flat: list[tuple[DataPath, PluginRef]], chosen: dict[DataPath, ResolvedPlugin], keys: Iterable[str]
) -> list[PluginRef]:
    """What was written for each different defense, where it stands first."""
    written = {full_key(chosen[path]): ref for path, ref in reversed(flat)}
    return [written[key] for key in keys]


def _none_static(parts: tuple[ResolvedPlugin, ...], entry: DefenseEntry) -> str:
    if entry.non_adaptive and not isinstance(parts[0].plugin, TrainedDefense | RuntimeDefense):
        return "non_adaptive: without a defense there is nothing to adapt to; remove the field"
    return ""


def _variants(defenses: Axis, problems: list[SpecProblem]) -> Iterable[tuple[int, int | None]]:
    for index, defense in enumerate(defenses.chosen):
        trained = trained_part(defense)
        if trained is None:
            yield index, None
            continue
        path: DataPath = (defenses.field, index)
        if trained.plugin.rounds() > MAX_ROUNDS:  # asked first: a list of a billion rounds would fill the memory
            problems.append(SpecProblem(path, f"asks for more than {MAX_ROUNDS} rounds; ask for fewer"))
            continue
        rounds = trained.plugin.evaluated()
        if not rounds:
            problems.append(SpecProblem(path, "none of its rounds is evaluated; ask for at least one"))
        yield from ((index, round_) for round_ in rounds)


def _note_repeated(field: str, keys: list[Any], problems: list[SpecProblem]) -> None:
    first: dict[Any, int] = {}
    for index, key in enumerate(keys):
        if first.setdefault(key, index) != index:
            problems.append(
                SpecProblem((field, index), "the same as {other}; remove one of the two", other=(field, first[key]))
            )
