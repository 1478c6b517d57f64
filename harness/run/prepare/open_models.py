"""The models that are loaded: the one under attack, the same undefended, and those asked besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.api.model.backend import Backend
from harness.api.task import TaskData
from harness.engine.defended.victim import DefendedVictim
from harness.errors import HarnessError, VictimError, error_text
from harness.records.model_role import Asker, ModelRole, asked_by
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.run.prepare.artifacts import Artifacts
from harness.run.prepare.auxiliary_models import AuxiliaryModel
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.store.artifacts import Artifact
from harness.tokens.prompts import plain_tokenizer
from harness.tokens.special_tokens import EVERYWHERE, special_tokens_in


@dataclass(frozen=True)
class OpenModel:
    """An auxiliary model that is loaded.

    Attributes:
        as_victim: the model as requests reach it.
        artifact: that it was loaded from; None: it is the cell's victim itself.
        beside: the cell's victim, undefended; None where that is not open.
    """

    as_victim: DefendedVictim
    artifact: Artifact | None
    beside: DefendedVictim | None

    @cached_property
    def same_tokens(self) -> bool:
        """Whether it shares its tokens with the victim, as far as both vocabularies go, and what they put around a
        prompt.
        """
        if self.beside is None:
            return False
        one, other = (plain_tokenizer(model.backend.tokenizer) for model in (self.as_victim, self.beside))
        rows = [[i] for i in range(min(one.vocabulary, other.vocabulary))]
        around = [(each.left, getattr(each, "appended", each.right)) for each in (one, other)]
        return one.decode(rows) == other.decode(rows) and around[0] == around[1]


def models_by_name(models: Mapping[ModelRole, OpenModel], asker: Asker) -> dict[str, DefendedVictim]:
    """The models that one asker asks, by the names that it calls them."""
    return {name: model.as_victim for name, model in asked_by(models, asker).items()}


class OpenModels:
    """Keeps the models of the cell in hand loaded; one that no longer serves is let go before the next is loaded."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._attacked: tuple[str, Backend] | None = None
        self._undefended: tuple[str, Backend] | None = None
        self._auxiliary: dict[str, Backend] = {}  # by key of the artifact

    def attacked(self, cell: ResolvedCell, weights: Artifact) -> Backend:
        """The model that the cell attacks, with these weights."""
        if self._attacked is None or self._attacked[0] != weights.key:
            self._attacked = None  # free the old model before the new one is loaded
            self._artifacts.reporter.stage(f"load {cell.spec.victim.label}")
            with special_tokens_in(cell.data.fixed_parts):
                self._attacked = (weights.key, _loaded(cell.spec.victim, self._artifacts.folder(weights), cell.data))
        return self._attacked[1]

    def undefended(self, cell: ResolvedCell, weights: Artifact) -> Backend:
        """The cell's victim before any defense, loaded next to the one with these weights."""
        artifact = self._artifacts.victim(cell)
        if artifact.key == weights.key:
            return self.attacked(cell, weights)
        if self._undefended is None or self._undefended[0] != artifact.key:
            self._undefended = None
            self._artifacts.reporter.stage(f"load {cell.spec.victim.label}, undefended")
            with special_tokens_in(cell.data.fixed_parts):
                self._undefended = (
                    artifact.key,
                    _loaded(cell.spec.victim, self._artifacts.folder(artifact), cell.data),
                )
        return self._undefended[1]

    def auxiliary(
        self, cell: ResolvedCell, models: Mapping[ModelRole, AuxiliaryModel], victim: DefendedVictim | None
    ) -> dict[ModelRole, OpenModel]:
        """Auxiliary models, made ready and loaded.

        Args:
            victim: serves the roles that are the victim's own; others may have to share its tokens. None where there
                are no such roles.

        Raises:
            VictimError: one has other tokens than the victim, and must have the same.
        """
        specs = {role: auxiliary.model for role, auxiliary in models.items() if auxiliary.model is not None}
        artifacts = {
            role: self._artifacts.model(spec, f"for {role.name} on {cell.spec.task.label}")
            for role, spec in specs.items()
        }
        wanted = {artifact.key for artifact in artifacts.values()}
        self._auxiliary = {key: backend for key, backend in self._auxiliary.items() if key in wanted}
        found: dict[ModelRole, OpenModel] = {}
        for role, auxiliary in models.items():
            spec = auxiliary.model
            if spec is None:
                assert victim is not None  # a judge names its models
                found[role] = OpenModel(victim, None, victim)
                continue
            artifact = artifacts[role]
            if artifact.key not in self._auxiliary:
                self._artifacts.reporter.stage(f"load {spec.victim.label}")
                with special_tokens_in(EVERYWHERE):  # its prompts come from templates, which may hold chat markers
                    self._auxiliary[artifact.key] = _loaded(spec.victim, self._artifacts.folder(artifact), spec.data)
            backend = self._auxiliary[artifact.key]
            as_victim = DefendedVictim(backend, labels=spec.data.labels, answer_tokens=spec.data.answer_tokens)
            found[role] = OpenModel(as_victim, artifact, victim)
            if auxiliary.same_tokens and victim is not None and not found[role].same_tokens:
                raise VictimError(
                    f"model '{role}' ({spec.victim.label}) has other tokens than the victim, but it is sent strings "
                    "of tokens; name a model with the victim's tokenizer"
                )
        return found


def _loaded(victim: ResolvedPlugin, folder: Path, data: TaskData) -> Backend:
    """The model in an artifact. Raises VictimError where it cannot be loaded."""
    try:
        backend: Backend = victim.plugin.open(folder, data)
    except HarnessError:
        raise
    except Exception as error:
        raise VictimError(
            f"{folder}: cannot be loaded ({error_text(error)}); delete the folder to have it made again"
        ) from error
    return backend
