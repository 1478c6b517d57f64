"""Perturbation training: examples in randomly perturbed views, ever stronger ones, that are to be answered alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from harness import (
    DataError,
    Example,
    Flops,
    Resolve,
    RoundCost,
    RoundJob,
    Threat,
    TrainConfig,
    TrainRow,
    ViewLoss,
    Views,
    hookimpl,
    nominal_backward,
    nominal_forward,
    rows_hash,
)
from plugins.defenses._training.augmented_views import Curriculum, Kind, Viewer
from plugins.defenses._training.round_defense import InRounds
from plugins.defenses._training.training_rows import TrainingRow, TrainingRows


class PerturbationTraining(InRounds):
    """Fine-tuning on randomly perturbed views of clean examples, ever stronger ones; no attack is run.

    Each example is learnt in several views at once: as it is, and with random tokens or mistyped characters where an
    attacker may write. A consistency loss has all of them answered alike.
    """

    name = "perturbation_training"
    paper = (
        "consistency over views: Hendrycks et al. 2020, 'AugMix', arXiv 1912.02781; contrastive term: Khosla et al. "
        "2020, arXiv 2004.11362; growing strength: Bengio et al. 2009, 'Curriculum learning'"
    )

    class Params(InRounds.Params):
        rounds: PositiveInt = Field(4, description="how many rounds to train, at most; each leaves a checkpoint")
        threat: Threat | None = Field(
            None, description="where the perturbations go, and how long they are; by default as in the evaluation"
        )
        perturbations: tuple[Kind, ...] = Field(
            ("random_tokens", "characters"), min_length=1, description="what a view is drawn from, with equal chances"
        )
        strength: Curriculum = Field(Curriculum(), description="strength of the views over the training, 0 to 1")
        tokens: PositiveInt | None = Field(
            None, description="random tokens of a view at strength 1; by default as many as the threat model allows"
        )
        characters: float = Field(
            0.2,
            gt=0,
            le=1,
            description="share of the region's characters that a view changes at strength 1; an empty region gets "
            "random characters, four for each of `tokens`",
        )
        views: PositiveInt = Field(2, description="perturbed views of each example")
        clean: bool = Field(True, description="whether the example as it is is one more view")
        loss: ViewLoss = Field(ViewLoss(), description="what is added to the mean loss of the views")
        examples_per_round: PositiveInt = Field(1000, description="examples of a round")
        epochs: PositiveInt = Field(1, description="passes over them, each with views of its own")
        optimizer: Literal["adafactor", "adamw"] = "adafactor"
        learning_rate: PositiveFloat = 1e-5
        batch_size: PositiveInt = Field(8, description="examples per update, each in all its views")

        @model_validator(mode="after")
        def _fit_together(self) -> PerturbationTraining.Params:
            if self.views + self.clean < 2 and self.loss.consistency + self.loss.contrastive > 0:
                raise ValueError(
                    "with a single view there is nothing to agree with: raise views, or set loss.consistency and "
                    "loss.contrastive to 0"
                )
            return self

    def round_identity(self, params: dict[str, Any], round: int, threat: Threat) -> dict[str, Any]:
        return {
            "params": {k: v for k, v in params.items() if k not in self.shared},
            "threat": threat.identity(),
        }

    def estimate(self, n_params: int, tokens: float, round: int, threat: Threat, resolve: Resolve) -> float:
        seen = self.params.examples_per_round * self.params.epochs * (self.params.views + self.params.clean) * tokens
        return seen * (nominal_forward(n_params, 1) + nominal_backward(n_params, 1))

    def train_round(self, job: RoundJob) -> RoundCost:
        from harness import retrain

        params = self.params
        victim = job.open(job.model)
        school = TrainingRows(job.model, victim.tokenizer, victim.context, job.data, self.name)
        viewer = Viewer(victim.tokenizer, job.threat, params.tokens or job.threat.tokens, params.characters)
        chosen = school.draw(params.examples_per_round, job.rng("examples"), viewer.widest)
        if not chosen:
            raise DataError(
                f"{self.name}: with {viewer.tokens} random tokens every training example is longer than the victim's "
                f"context of {victim.context} tokens; use shorter texts or a victim with a longer context"
            )
        course = self._course(chosen, job)
        rng, counts = job.rng("views"), Counter[str]()
        groups = [self._group(example, strength, viewer, school, rng, counts) for example, strength in course]
        views = Views(groups, params.loss)
        config = TrainConfig(
            optimizer=params.optimizer, learning_rate=params.learning_rate, batch_size=params.batch_size
        )
        spent = retrain(
            job.model,
            job.folder,
            views,
            config,
            labels=job.data.labels,
            seed=int(job.rng("dropout").integers(2**31)),
            scratch=job.scratch,
            progress=job.progress,
        )
        # The audit trail: what was drawn, how strong, when; and what the rows that come of it hash to.
        notes = {
            "examples": len(chosen),
            "views": dict(counts),
            "schedule": viewer.schedule([strength for _, strength in course[:: params.batch_size]]),
            "rows_sha256": rows_hash(views.rows),
        }
        return RoundCost(Flops(), spent, notes)

    def _course(self, chosen: Sequence[Example], job: RoundJob) -> list[tuple[Example, float]]:
        """The examples in the order in which they are learnt, each with the strength of its views: one per update."""
        rng, params = job.rng("order"), self.params
        seen = [chosen[i] for _ in range(params.epochs) for i in rng.permutation(len(chosen))]
        updates = -(-len(seen) // params.batch_size)
        strengths = [params.strength.strength(job.round, update / updates) for update in range(updates)]
        return [(example, strengths[at // params.batch_size]) for at, example in enumerate(seen)]

    def _group(
        self,
        example: Example,
        strength: float,
        viewer: Viewer,
        school: TrainingRows,
        rng: np.random.Generator,
        counts: Counter[str],
    ) -> tuple[TrainRow, ...]:
        """The views of an example; one that does not fit the context is taken as the example is, and counted."""
        clean = school.row(TrainingRow(example.text, example.label, example.reply))
        rows = [clean] * self.params.clean
        counts["clean"] += len(rows)
        for _ in range(self.params.views):
            kind = self.params.perturbations[int(rng.integers(len(self.params.perturbations)))]
            row = school.row(TrainingRow(viewer.view(example, kind, strength, rng), example.label, example.reply))
            fits = school.holds(row)
            counts[kind if fits else "too long, left as it is"] += 1
            rows.append(row if fits else clean)
        return tuple(rows)


@hookimpl
def harness_register_defenses(register):
    register(PerturbationTraining)
