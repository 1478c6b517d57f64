"""The axes of a spec's product: its references resolved to plugins by the registry, the rounds of its defenses, its
threats and seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from harness.api.defense import TrainedDefense
from harness.api.plugin import Kind
from harness.api.refs import PluginRef
from harness.api.runtime_defense import RuntimeDefense
from harness.api.threat import Threat
from harness.errors import PluginError
from harness.hashing import canonical_json
from harness.registry.defense_stack import make_stack, stack_problem, trained_part
from harness.registry.param_errors import ParamsError
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin, plugin_key
from harness.registry.same_content import repeated
from harness.registry.short_labels import with_labels
from harness.spec.fields import AttackEntry, DefenseEntry, Spec
from harness.spec.parse import LocatedRef, entry_refs
from harness.spec.spec_problems import DataPath, SpecProblem

MAX_ROUNDS = 10_000


@dataclass(frozen=True)
class Axis:
    """One list of plugins of a spec, in order.

    Attributes:
        refs: as written.
        plugins: what they were resolved to.
    """

    field: str
    kind: Kind
    refs: tuple[PluginRef | DefenseEntry, ...]
    plugins: tuple[ResolvedPlugin, ...]


@dataclass(frozen=True)
class Axes:
    """Everything a cell is a combination of.

    Attributes:
        variants: what is attacked of each defense: its index in ``defenses``, and a round or None.
    """

    tasks: Axis
    victims: Axis
    defenses: Axis
    variants: tuple[tuple[int, int | None], ...]
    attacks: Axis
    threats: tuple[Threat, ...]
    seeds: tuple[int, ...]
    judge: ResolvedPlugin


def resolve_refs(
    refs: Iterable[LocatedRef], registry: Registry, problems: list[SpecProblem]
) -> dict[DataPath, ResolvedPlugin]:
    """The plugins of those references that can be resolved, by path; what is wrong with the others is added to
    ``problems``.
    """
    found: dict[DataPath, ResolvedPlugin] = {}
    for located in refs:
        try:
            found[located.path] = registry.resolve(located.kind, located.ref)
        except ParamsError as error:
            problems.extend(SpecProblem((*located.params_path, *loc), message) for loc, message in error.problems)
        except PluginError as error:
            problems.append(SpecProblem(located.written_at or located.path, str(error)))
    return found


def make_axes(
    spec: Spec, plugins: dict[DataPath, ResolvedPlugin], registry: Registry, problems: list[SpecProblem]
) -> Axes:
    """The axes of a spec whose plugins have all been resolved; an entry that equals an earlier one is a problem."""
    defenses = _defenses(spec, plugins, registry, problems)
    _check_repeated("threats", [threat_key(threat) for threat in spec.threats], problems)
    _check_repeated("seeds", list(spec.seeds), problems)
    return Axes(
        tasks=_axis(spec, "tasks", "task", plugins, problems),
        victims=_axis(spec, "victims", "victim", plugins, problems),
        defenses=defenses,
        variants=tuple(_variants(defenses, problems)),
        attacks=_axis(spec, "attacks", "attack", plugins, problems),
        threats=spec.threats,
        seeds=spec.seeds,
        judge=plugins["judge",],
    )


def threat_key(threat: Threat) -> Any:
    """Equal for threats that mean the same (``suffix`` is the position 1.0)."""
    position = threat.position if threat.begins_answer else threat.fraction
    return canonical_json({**threat.model_dump(mode="json"), "position": position})


def _axis(
    spec: Spec, field: str, kind: Kind, plugins: dict[DataPath, ResolvedPlugin], problems: list[SpecProblem]
) -> Axis:
    refs: tuple[PluginRef, ...] = getattr(spec, field)
    listed = tuple(plugins[field, index] for index in range(len(refs)))
    _check_same(field, listed, problems)
    labelled = with_labels(listed, [ref.params for ref in refs])
    pairs = zip(refs, labelled, strict=True)
    return Axis(field, kind, refs, tuple(_told_if_tuned(ref, plugin) for ref, plugin in pairs))


def _told_if_tuned(ref: PluginRef, plugin: ResolvedPlugin) -> ResolvedPlugin:
    """The plugin; where it is an attack whose parameters were searched for, its label says so."""
    if not isinstance(ref, AttackEntry) or ref.tuned is None:
        return plugin
    return replace(plugin, short_label=f"{plugin.label}, tuned")


def _defenses(
    spec: Spec, plugins: dict[DataPath, ResolvedPlugin], registry: Registry, problems: list[SpecProblem]
) -> Axis:
    """Defenses and stacks of them; a part is called the same wherever it stands."""
    refs = [entry_refs(entry, ("defenses", index)) for index, entry in enumerate(spec.defenses)]
    # Each different defense as it was written first.
    first = {plugin_key(plugins[path]): (plugins[path], ref) for path, ref in reversed([*chain.from_iterable(refs)])}
    labelled = with_labels([plugin for plugin, _ in first.values()], [ref.params for _, ref in first.values()])
    by_key = dict(zip(first, labelled, strict=True))
    found = []
    for index, (entry, parts_written) in enumerate(zip(spec.defenses, refs, strict=True)):
        parts = tuple(by_key[plugin_key(plugins[path])] for path, _ in parts_written)
        why = stack_problem(parts) or _static_problem(parts, entry)
        if why:
            problems.append(SpecProblem(("defenses", index), why))
        found.append(parts[0] if entry.single is not None else make_stack(parts, entry.non_adaptive, registry))
    _check_same("defenses", found, problems)
    return Axis("defenses", "defense", spec.defenses, tuple(found))


def _static_problem(parts: tuple[ResolvedPlugin, ...], entry: DefenseEntry) -> str:
    """Why an entry cannot be non-adaptive; "" where it can."""
    if entry.non_adaptive and not isinstance(parts[0].plugin, TrainedDefense | RuntimeDefense):
        return "non_adaptive: without a defense there is nothing to adapt to; remove the field"
    return ""


def _variants(defenses: Axis, problems: list[SpecProblem]) -> Iterable[tuple[int, int | None]]:
    for index, defense in enumerate(defenses.plugins):
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


def _check_same(field: str, plugins: Sequence[ResolvedPlugin], problems: list[SpecProblem]) -> None:
    for index, earlier in repeated(plugins).items():
        elsewhere = plugin_key(plugins[index]) != plugin_key(plugins[earlier])
        what = "has the content of {other}, in another place" if elsewhere else "the same as {other}"
        problems.append(SpecProblem((field, index), f"{what}; remove one of the two", other=(field, earlier)))


def _check_repeated(field: str, keys: list[Any], problems: list[SpecProblem]) -> None:
    first: dict[Any, int] = {}
    for index, key in enumerate(keys):
        if first.setdefault(key, index) != index:
            problems.append(
                SpecProblem((field, index), "the same as {other}; remove one of the two", other=(field, first[key]))
            )
