"""Defenses: those that train weights are here, those that work while the victim is asked in `runtime_defense`.

Every attack goes through them: scores, gradients and verdicts are those of the defended victim.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.api.plugin import Kind, Plugin
from harness.api.task import Example, TaskData
from harness.api.threat import Threat
from harness.api.victim import Progress, RetrainJob
from harness.flops import Flops

if TYPE_CHECKING:
    from harness.api.attack import Attack
    from harness.api.model.backend import Backend
    from harness.api.problem.search_result import SearchResult
    from harness.api.refs import PluginRef


class Defense(Plugin):
    """Base of all sorts, and by itself the absence of a defense. Subclass `TrainedDefense`, `GuardDefense`,
    `TransformDefense`, `ConversationDefense` or `VoteDefense`.
    """

    kind: ClassVar[Kind] = "defense"

    def check(self, data: TaskData) -> None:
        """Raise `DataError` where this defense cannot stand before a victim of that task, such as one that needs
        labels (``data.labels``). Called before anything is spent.
        """


Resolve = Callable[["PluginRef", dict[str, Any]], "Attack"]
"""Makes the attack that a reference names, with some parameters replaced."""


@dataclass(frozen=True)
class RoundJob:
    """What a trained defense is given for one round.

    Attributes:
        round: 1, 2, …
        model: folder of the weights to start from (the previous round's, or the fine-tuned victim's for round 1).
        previous: folder of the previous round's artifact with whatever `train_round` left there, or None for round 1.
        folder: write this round's model here in hub layout, and what the next round needs.
        scratch: keeps its content when the run is killed and started again.
        data: the task's data; use ``data.train`` only.
        threat: the threat model the defense trains against.
        seed: of the run. `rng` gives generators that depend on (seed, artifact, round, purpose) alone.
        open: loads a model folder as a backend.
        search: runs an attack on examples against a backend, metered, resumable from ``scratch``.
        resolve: makes the attack that a `PluginRef` names, with some parameters replaced.
        retrain: the victim's own training, where it has one; None: `harness.retrain` trains the folder.
        retrains_views: whether that takes views as well as rows.
    """

    round: int
    model: Path
    previous: Path | None
    folder: Path
    scratch: Path
    data: TaskData
    threat: Threat
    seed: int
    rng: Callable[[str], np.random.Generator]
    open: Callable[[Path], Backend]
    search: Callable[[Backend, Attack, Sequence[Example]], SearchResult]
    resolve: Resolve
    progress: Progress
    retrain: Callable[[RetrainJob], Flops] | None = None
    retrains_views: bool = False


@dataclass(frozen=True, slots=True)
class RoundCost:
    """Compute of one round, and what the reader should know of it.

    Attributes:
        search: spent on looking for attack strings.
        training: spent on weight updates.
        notes: JSON data for the artifact's manifest, e.g. the training attack's strength in this round.
    """

    search: Flops
    training: Flops
    notes: dict[str, Any]


class TrainedDefense(Defense):
    """A defense that changes weights, round by round; each round is an artifact with its cumulative compute."""

    @abstractmethod
    def rounds(self) -> int:
        """How many rounds there are at most."""

    @abstractmethod
    def evaluated(self) -> tuple[int, ...]:
        """The rounds whose checkpoints are attacked, one cell each."""

    def budget(self) -> float | None:
        """Nominal FLOPs, search and training of all rounds together, after which no further round begins; the round
        that reaches them is trained to its end. None: there are as many rounds as `rounds` says.
        """
        return None

    def settles(self, round: int) -> bool:
        """Whether the cell of this round takes the last round trained, where the budget ends training before it. By
        default it does not, and is recorded as skipped.
        """
        return False

    def attack(self) -> PluginRef | None:
        """The training attack, as a reference; None for a defense that trains without one."""
        return None

    def against(self, threat: Threat) -> Threat:
        """The threat model trained against, where the one attacked under is ``threat``: by default the same, without
        limits on what the attack spends.
        """
        return threat.unlimited()

    @abstractmethod
    def round_identity(self, params: dict[str, Any], round: int, threat: Threat) -> dict[str, Any]:
        """What can change the weights of this round, as JSON data.

        Args:
            params: identity of the parameters, plugins named in them resolved; leave out what only later rounds see, so
                that artifacts are shared.
        """

    @abstractmethod
    def estimate(self, n_params: int, tokens: float, round: int, threat: Threat, resolve: Resolve) -> float:
        """Nominal compute of one round, in FLOPs, for prompts of ``tokens`` tokens, attack string included."""

    @abstractmethod
    def train_round(self, job: RoundJob) -> RoundCost:
        """Train one round and write the model to ``job.folder``."""
