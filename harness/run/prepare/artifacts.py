"""Finding what was made before, or making it: trained models, fitted defenses, certificates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.api.victim import PrepareJob, PretrainJob
from harness.engine.threads import fixed_threads
from harness.engine.torch.weights.named_base import base_of
from harness.errors import VictimError, error_text
from harness.run.prepare.auxiliary_models import ModelSpec
from harness.run.prepare.keys import ArtifactSpec
from harness.run.prepare.pretrainings import PretrainingSpec
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.reporter import WorkReporter
from harness.store.artifacts import Artifact, ArtifactStore, MakeArtifact
from harness.tokens.special_tokens import special_tokens_in


class Artifacts:
    """The artifacts of a run; what could not be made once is not tried again for other cells that need it.

    Args:
        on_artifact: told the key of each artifact that is found or made.
    """

    def __init__(
        self, store: ArtifactStore, reporter: WorkReporter, on_artifact: Callable[[str], object] = lambda _: None
    ) -> None:
        self.store, self.reporter, self.on_artifact = store, reporter, on_artifact
        self._failed: dict[str, str] = {}

    def find_or_make(self, spec: ArtifactSpec, make: MakeArtifact, threads: int) -> Artifact:
        """The artifact that is known by this.

        Args:
            threads: of torch while it is made, whatever this process has; kept in its manifest.

        Raises:
            VictimError: it could not be made for a cell before.
        """

        def make_with_threads(out: Path, scratch: Path) -> dict[str, Any]:
            with fixed_threads(threads):
                return make(out, scratch) | {"threads": threads}

        if spec.key in self._failed:
            raise VictimError(self._failed[spec.key])
        try:
            artifact = self.store.ensure(spec.key, spec.identity(), make_with_threads)
            self.on_artifact(spec.key)
            return artifact
        except Exception as error:
            self._failed[spec.key] = error_text(error)
            raise

    def folder(self, artifact: Artifact) -> Path:
        """An artifact's files, on this machine, with those of the artifact that it stands upon, if there is one."""
        base = base_of(artifact.folder)
        if base is not None and base.artifact is not None and (beneath := self.store.find(base.artifact)) is not None:
            self.folder(beneath)
        return artifact.folder

    def victim(self, cell: ResolvedCell) -> Artifact:
        """The cell's victim, made ready for its task."""
        return self.model(cell.victim, f"on {cell.spec.task.label}")

    def model(self, model: ModelSpec, purpose: str) -> Artifact:
        """A model made ready.

        Args:
            purpose: what for, as it is told to the reporter.
        """

        def make(out: Path, scratch: Path) -> dict[str, Any]:
            pretrained = None if model.pretraining is None else self.pretrained(model.pretraining)
            self.reporter.stage(f"prepare {model.victim.label} {purpose}, seed {model.seed}")
            start = None if pretrained is None else self.folder(pretrained)
            job = PrepareJob(model.data, model.seed, out, scratch, self.reporter.progress, start)
            with special_tokens_in(model.data.fixed_parts):
                spent = model.victim.plugin.prepare(job)
            facts = {"card": asdict(model.victim.plugin.card(model.data)), "compute": spent.to_json()}
            return facts if pretrained is None else facts | {"pretraining": pretrained.facts | {"key": pretrained.key}}

        return self.find_or_make(model.artifact, make, model.training_threads)

    def pretrained(self, pretraining: PretrainingSpec) -> Artifact:
        """What victims start from that were pretrained."""

        def make(out: Path, scratch: Path) -> dict[str, Any]:
            self.reporter.stage(f"prepare {pretraining.label}")
            job = PretrainJob(pretraining.tasks, pretraining.seed, out, scratch, self.reporter.progress)
            cost = pretraining.victim.plugin.pretrain(job)
            amounts = {"compute": cost.training.to_json(), "robust": cost.robust.to_json()}
            return amounts | {"notes": dict(cost.notes)}

        return self.find_or_make(pretraining.artifact, make, pretraining.training_threads)
