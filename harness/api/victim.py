"""Victims: models under attack, and how one is made ready for a task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.api.model.shape import MemoryFacts, ModelShape
from harness.api.plugin import Kind, Plugin
from harness.api.refs import PluginRef
from harness.api.task import TaskData
from harness.api.threat import Access
from harness.api.training import TrainConfig, TrainRow
from harness.flops import Flops
from harness.tokens.message import Messages

if TYPE_CHECKING:
    from harness.api.model.backend import Backend

Progress = Callable[[str, float, float], None]
"""Called as ``progress(what, done, total)``; cheap to call often."""


@dataclass(frozen=True, slots=True)
class VictimCard:
    """What is known of a victim before it is made; everything a plan and a plot need.

    Attributes:
        family: models on one scaling curve, e.g. ``pythia``.
        n_params: all parameters as used, embeddings included (N of the nominal convention); None where nobody knows.
        pretraining_flops: compute spent before the task was seen, or None when there was none or it is unknown.
        access: the most that the model can answer.
        context: longest sequence in tokens.
        chars_per_token: rough average, for estimates only.
        language_model: whether it gives next tokens of any text, so that attacks can sample from it.
        local: whether the model runs on this machine, from an artifact that holds its weights. A model behind a URL
            does not: no defense can train it, and this machine's speed says nothing of its.
    """

    family: str
    n_params: int | None
    pretraining_flops: float | None
    access: Access
    context: int
    chars_per_token: float = 4.0
    local: bool = True
    language_model: bool = False


@dataclass(frozen=True)
class PrepareJob:
    """What a victim is given to make itself ready.

    Attributes:
        data: the task's data; train on ``data.train`` only.
        seed: of the run.
        folder: write the finished model here, in hub layout (config.json, model.safetensors, tokenizer.json).
        scratch: keeps its content when the run is killed and started again; for checkpoints of the training itself.
        progress: to be called as the work goes on.
        pretrained: folder that `Victim.pretrain` wrote; None where the victim has no such stage.
    """

    data: TaskData
    seed: int
    folder: Path
    scratch: Path
    progress: Progress
    pretrained: Path | None = None


@dataclass(frozen=True)
class Pretraining:
    """What a victim learns before it sees any task. It is an artifact of its own: all victims whose pretraining is the
    same share it, whatever their tasks are.

    Attributes:
        identity: all of the victim's parameters that can change it, as JSON data. What `Victim.fingerprint` tells, the
            data of ``tasks`` and the seed are part of the key anyway.
        flops: nominal compute that it will spend, an estimate.
        tasks: tasks whose training prompts it reads.
        seed: of all that is drawn; None: the run's, so that each seed of a run has a pretraining of its own.
    """

    identity: Mapping[str, Any]
    flops: float
    tasks: tuple[PluginRef, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class PretrainJob:
    """What a victim is given for its pretraining.

    Attributes:
        tasks: data of the tasks that `Pretraining.tasks` names, in that order.
        seed: of all that is drawn.
        folder: write model and tokenizer here; `PrepareJob.pretrained` leads to it.
        scratch: keeps its content when the run is killed and started again.
        progress: to be called as the work goes on.
    """

    tasks: Sequence[TaskData]
    seed: int
    folder: Path
    scratch: Path
    progress: Progress


@dataclass(frozen=True)
class PretrainCost:
    """What a pretraining took.

    Attributes:
        training: all of its compute.
        robust: of that, what hardens the model: perturbed text, and passes beyond the plain loss.
        notes: what was drawn, as JSON data; kept in the manifest of each cell.
    """

    training: Flops
    robust: Flops = field(default_factory=Flops)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetrainJob:
    """What a victim is given to train itself on, in a round of a trained defense.

    Attributes:
        model: folder of the weights to start from: `PrepareJob.folder`, or `folder` of the round before.
        folder: write the trained model here, with all that `Victim.open` needs.
        rows: what to learn, in the victim's tokens: whole prompts with their right labels or replies; or
            `harness.Views` of them, where the victim says that it takes these.
        config: optimiser, learning rate, epochs and the like, as the defense's parameters say.
        data: the task's data.
        seed: of all that is drawn.
        scratch: keeps its content when the run is killed and started again.
        progress: to be called as the work goes on.
    """

    model: Path
    folder: Path
    rows: Sequence[TrainRow]
    config: TrainConfig
    data: TaskData
    seed: int
    scratch: Path
    progress: Progress


class Victim(Plugin):
    """A model. Implement `card`, `prepare`, `estimate` and `open`.

    Data without labels ask for a language model: trained on the prompts, each with its ``reply``, and opened with a
    head that answers in text.
    """

    kind: ClassVar[Kind] = "victim"
    retrains_views: ClassVar[bool] = False
    """Whether `retrain` takes `harness.Views` as well as rows."""

    @abstractmethod
    def card(self, data: TaskData) -> VictimCard:
        """Facts about the model, without loading it and without importing torch where that can be helped."""

    def family(self) -> str | None:
        """`VictimCard.family`, where the parameters alone tell it; None: the model must be looked at.

        A submission to a leaderboard is held against it without opening a model.
        """
        return None

    def sibling(self, sees: Literal["text", "task"]) -> PluginRef | None:
        """A small model of its family with the same tokens, as a reference to a victim: what attacks ask besides the
        victim where the spec names no other. None: there is none.

        Args:
            sees: ``text``: it is to be a language model; ``task``: another victim of the task.
        """
        return None

    def fingerprint(self) -> dict[str, str]:
        """What else identifies the model: hash of a local folder's files, commit of a hub id. Part of the artifact's
        key.
        """
        return {}

    def files_beside_spec(self) -> tuple[Path, ...]:
        """Small text files that its parameters name, and that whoever repeats a run needs next to its spec: kept in
        run.json, and put next to the spec on a page. None by default.
        """
        return ()

    def trained_against(self, data: TaskData) -> str:
        """What in the training of `prepare` hardens the model against attacks, as the standings say it in every row of
        the victim, "undefended" ones among them: ``random strings in 30% of its examples``. "" where
        nothing does. What that took is part of preparing the victim.
        """
        return ""

    def takes_messages(self, data: TaskData) -> bool:
        """Whether conversations can be put to it: it has a chat template, or a server of its own that has. Tasks that
        give messages are refused before a run where it says no. By default no.
        """
        return False

    def check_messages(self, data: TaskData, messages: Messages) -> None:
        """Raise VictimError where these messages cannot be put to it, as far as can be told before a run: its chat
        template takes no system prompt, say. A last one of the assistant is to be gone on with. Asked of victims that
        take conversations; by default all is well.
        """

    def remarks(self, data: TaskData) -> list[str]:
        """What a user should know before a run: settings that are seldom meant, a sentence each. None by default."""
        return []

    def pretraining(self) -> Pretraining | None:
        """What it learns before it sees any task, with `pretrain`. None, the default: nothing."""
        return None

    def pretrain(self, job: PretrainJob) -> PretrainCost:
        """Pretrain a model and write it to ``job.folder``. Called once per artifact where `pretraining` asks for it."""
        raise NotImplementedError

    @abstractmethod
    def estimate(self, data: TaskData) -> float:
        """Nominal compute that `prepare` will spend, in FLOPs; 0 when there is nothing to train.
        What `pretrain` spends is not part of it.
        """

    def memory(self, data: TaskData) -> MemoryFacts | None:
        """What its need of memory follows from, for a plan; None where that is unknown. By default a guess from
        `card` for a decoder in float32 on a CPU.
        """
        card = self.card(data)
        if card.n_params is None:
            return None
        return MemoryFacts(card.n_params, ModelShape.guess(card.n_params), batch=16 if self.estimate(data) else 0)

    @abstractmethod
    def prepare(self, job: PrepareJob) -> Flops:
        """Make the model ready for the task, write it to ``job.folder``, return the compute spent. Called once per
        artifact.
        """

    def retrain(self, job: RetrainJob) -> Flops:
        """Train a prepared model on rows, write it to ``job.folder``, return the compute spent. Implement it where the
        folder is not in hub layout, so that defenses can train the model: by default transformers loads and trains it.
        """
        raise NotImplementedError

    @property
    def retrains(self) -> bool:
        """Whether it has a training of its own for defenses."""
        return type(self).retrain is not Victim.retrain

    @abstractmethod
    def open(self, folder: Path, data: TaskData) -> Backend:
        """Load a prepared or defended model from ``folder`` (most return `harness.TorchBackend`)."""
