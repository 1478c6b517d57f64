"""Content addresses: what a victim, a defended victim and a cell are known by.

Whatever can change a number is hashed here, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from harness.api.runtime_defense import GuardDefense, TransformDefense
from harness.flops import CONVENTION
from harness.hashing import content_key
from harness.records import VERSION
from harness.records.model_role import ModelRole, asked_by
from harness.registry.defense_stack import is_randomised
from harness.registry.resolved_plugin import ResolvedPlugin, plugin_key
from harness.spec.cells import CellSpec


@dataclass(frozen=True)
class ArtifactSpec:
    """What an artifact is known by.

    Attributes:
        identity: gives all that it depends on, as JSON data; not kept, since thousands of cells share a few artifacts.
    """

    key: str
    identity: Callable[[], dict[str, Any]] = field(repr=False, compare=False)

    @classmethod
    def of(cls, identity: Callable[..., dict[str, Any]], *arguments: Any) -> ArtifactSpec:
        """The artifact of that identity, a function of the arguments."""
        bound = partial(identity, *arguments)
        return cls(content_key(bound()), bound)


@dataclass(frozen=True)
class TrainingInputs:
    """What a training attack brings besides its parameters: keys of its auxiliary models by name, and its files."""

    models: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def victim_identity(
    victim: ResolvedPlugin,
    data_hash: str,
    fingerprint: Mapping[str, str],
    seed: int,
    training_threads: int = 1,
    pretraining: str = "",
) -> dict[str, Any]:
    """What makes a fine-tuned victim: model, task data, seed, torch's threads where they are not 1, and the key of its
    pretraining, if it has one. Rounds and fits begin with it.
    """
    identity = {
        "what": "victim",
        "victim": victim.identity(),
        "model": dict(fingerprint),
        "data": data_hash,
        "seed": seed,
        "accounting": CONVENTION,
    }
    identity |= {"pretraining": pretraining} if pretraining else {}
    return identity if training_threads == 1 else identity | {"threads": training_threads}


def pretraining_identity(
    victim: ResolvedPlugin,
    identity: Mapping[str, Any],
    texts: Sequence[str],
    fingerprint: Mapping[str, str],
    seed: int,
    training_threads: int,
) -> dict[str, Any]:
    """What makes a pretraining: plugin, what it says of it, hashes of the tasks it reads, its files, the seed."""
    known = {
        "what": "pretraining",
        "victim": [victim.name, victim.distribution, victim.key_version],
        "of": dict(identity),
        "texts": list(texts),
        "model": dict(fingerprint),
        "seed": seed,
        "accounting": CONVENTION,
    }
    return known if training_threads == 1 else known | {"threads": training_threads}


def round_identity(cell: CellSpec, round: int, previous_key: str, training: TrainingInputs) -> dict[str, Any]:
    """What makes one round of a trained defense: the weights it starts from and what that round does."""
    part = cell.trained
    assert part is not None
    plugin, identity = part.plugin, part.identity()
    of = plugin.round_identity(identity.pop("params"), round, plugin.against(cell.threat))
    known = {"what": "defense", "defense": identity, "round": round, "of": of, "from": previous_key, "seed": cell.seed}
    return known | {name: value for name, value in asdict(training).items() if value}


def stop_identity(cell: CellSpec) -> dict[str, Any] | None:
    """Where a budget may end the training before the cell's round, which is not known before: the budget, and what the
    cell is then. None without a budget, so that such cells keep their keys.
    """
    plugin = cell.trained_plugin
    if cell.round is None or plugin is None or plugin.budget() is None:
        return None
    return {"flops": plugin.budget(), "settles": plugin.settles(cell.round)}


def fit_identity(cell: CellSpec, at: int, weights_key: str, models: Mapping[ModelRole, str]) -> dict[str, Any]:
    """What makes the fit of the runtime defense at place ``at``."""
    part = cell.runtime[at]
    identity = {"what": "guard", "defense": part.identity(), "from": weights_key, "seed": cell.seed}
    identity["evaluated"] = _evaluated(cell)  # what is behind may set thresholds
    before = [other.identity() for other in cell.runtime[:at] if isinstance(other.plugin, TransformDefense)]
    if before:
        identity["behind"] = before
    own_models = asked_by(models, "defense", at)
    if own_models:
        identity["models"] = own_models
    if part.plugin.attack() is not None:
        identity["threat"] = cell.threat.unlimited().identity()
    return identity


def pipeline_identity(cell: CellSpec, weights_key: str, models: Mapping[ModelRole, str]) -> dict[str, Any]:
    """What makes a defended victim: the same for every attack on it."""
    return {
        "what": "pipeline",
        "weights": weights_key,
        "defenses": [part.identity() for part in cell.runtime],
        "models": {str(role): key for role, key in models.items() if role.asker == "defense"},
        "seed": cell.seed,
        "evaluated": _evaluated(cell),
    }


def _evaluated(cell: CellSpec) -> int:
    """How many validation examples a cell evaluates on, attacked or clean."""
    return max(cell.clean_examples, cell.examples)


def _defended_by(cell: CellSpec) -> Any:
    """What stands before the weights, for the key of a search."""
    runtime = [part.identity() for part in cell.runtime]
    if not runtime:
        return cell.defense.name if cell.trained is None else cell.trained.name
    return runtime[0] if cell.runtime == (cell.defense,) else runtime


def search_identity(
    cell: CellSpec, data_hash: str, weights_key: str, models: Mapping[ModelRole, str]
) -> dict[str, Any]:
    """What makes a cell's attack strings; ``weights_key`` stands for victim, seed, data and trained defense."""
    identity: dict[str, Any] = {
        "what": "search",
        "format": VERSION,
        "accounting": CONVENTION,
        "task": cell.task.identity(),
        "data": data_hash,
        "weights": weights_key,
        "defense": _defended_by(cell),
        "attack": cell.attack.identity(),
        "threat": cell.threat.identity(),
        "files": cell.attack.fingerprint(),
        "models": {str(role): key for role, key in models.items() if role.asker != "judge"},
        "seed": cell.seed,
        "examples": cell.examples,
        "clean_examples": cell.clean_examples,
    }
    if cell.static:
        identity["non_adaptive"] = True
    if is_randomised(cell.defense):
        identity["draws"] = [cell.attack_draws, cell.judge_draws]
    if (answers := cell.answers.identity()) is not None:
        identity["answers"] = answers
    if cell.too_long == "truncate":
        identity["too_long"] = cell.too_long
    if stop := stop_identity(cell):
        identity["budget"] = stop
    if cell.task.plugin.answers == "text" and any(isinstance(part.plugin, GuardDefense) for part in cell.runtime):
        identity["blocked"] = "attacked"  # harmful prompts that a guard blocks were once left out
    if cell.stop_on_success:  # then the judge tells how long each example is attacked
        identity["stopped_by"] = cell.judge.identity()
    return identity


def cell_identity(cell: CellSpec, search_key: str, models: Mapping[ModelRole, str]) -> dict[str, Any]:
    """What makes a cell's numbers: its attack strings, who judges them, and which diagnostics it has where not all."""
    identity = {
        "what": "cell",
        "search": search_key,
        "judge": cell.judge.identity(),
        "models": {str(role): key for role, key in models.items() if role.asker == "judge"},
        "stop_on_success": cell.stop_on_success,
    }
    if cell.tuned is not None:  # what the search for parameters took is a part of the record
        identity["tuned"] = cell.tuned.model_dump(mode="json")
    # They change no other number, but a key promises that whoever has it has the same record.
    return identity if cell.diagnostics == "full" else identity | {"diagnostics": cell.diagnostics}


def stand_in_key(cell: CellSpec) -> str:
    """Instead of the key of a cell whose data or model cannot be found, so that its failure can be recorded."""
    plugins = [plugin_key(plugin) for plugin in (cell.task, cell.victim, cell.defense, cell.attack, cell.judge)]
    rest = [cell.threat.identity(), cell.seed, cell.round, cell.examples, cell.clean_examples, cell.stop_on_success]
    rest += [] if (answers := cell.answers.identity()) is None else [answers]
    return content_key({"what": "cell without key", "plugins": plugins, "rest": rest})


class Keys:
    """Keys of a cell and of the artifacts it needs.

    Args:
        data_hash: of the task's data.
        fingerprint: of the victim's files.
        models: keys of the auxiliary models by role.
        training: what the attack brings that the defense trains against.
        pretraining: key of the victim's pretraining; "": it has none.

    Attributes:
        models: of the auxiliary models.
        victim: of the victim, made ready for the task.
        rounds: the defense's rounds 1 … ``cell.round``.
        weights: of the model that is attacked: the last round's, or the victim's.
        fits: of each runtime defense, in order, what it is fitted with, if it is one that is fitted.
        pipeline: of the defended victim, whatever attacks it.
        search: of what the attack does; cells that differ in nothing but the judge share it.
        cell: of the cell.
    """

    def __init__(
        self,
        cell: CellSpec,
        data_hash: str,
        fingerprint: Mapping[str, str],
        models: Mapping[ModelRole, str] | None = None,
        training: TrainingInputs = TrainingInputs(),
        pretraining: str = "",
    ) -> None:
        self.models = models or {}
        victim = victim_identity(cell.victim, data_hash, fingerprint, cell.seed, cell.training_threads, pretraining)
        self.victim = self.weights = content_key(victim)
        rounds: list[ArtifactSpec] = []
        for round in range(1, (cell.round or 0) + 1):
            rounds.append(ArtifactSpec.of(round_identity, cell, round, self.weights, training))
            self.weights = rounds[-1].key
        self.rounds = tuple(rounds)
        places = range(len(cell.runtime))
        self.fits = tuple(ArtifactSpec.of(fit_identity, cell, at, self.weights, self.models) for at in places)
        self.pipeline = content_key(pipeline_identity(cell, self.weights, self.models))
        self.search = content_key(search_identity(cell, data_hash, self.weights, self.models))
        self.cell = content_key(cell_identity(cell, self.search, self.models))
