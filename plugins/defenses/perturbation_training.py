"""Perturbation training: fine-tuning on randomly perturbed views of examples, with a consistency loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from harness import (
    DataError,
    Example,
    Flops,
    Resolve,
    RoundCost,
    RoundJob,
    Threat,
    TrainRow,
    ViewLoss,
    Views,
    hookimpl,
    rows_hash,
)
from plugins.defenses._training.augmented_views import Curriculum, ViewKind, ViewSampler
from plugins.defenses._training.round_defense import RoundDefense, nominal_training
from plugins.defenses._training.training_rows import TrainingExample, TrainingRowBuilder


class PerturbationTraining(RoundDefense):
    """Fine-tuning on randomly perturbed views of clean examples, whose strength grows; no attack is run.

    Each example is trained on in several views at once: as it is, and with random tokens or typos where an attacker
    may write. A consistency loss draws their answers together.
    """

    name = "perturbation_training"
    paper = (
        "consistency over views: Hendrycks et al. 2020, 'AugMix', arXiv 1912.02781; contrastive term: Khosla et al. "
        "2020, arXiv 2004.11362; growing strength: Bengio et al. 2009, 'Curriculum learning'"
    )

    class Params(RoundDefense.Params):
        rounds: PositiveInt = Field(4, description="how many rounds to train, at most; each leaves a checkpoint")
        threat: Threat | None = Field(
            None, description="where the perturbations go, and how long they are; by default as in the evaluation"
        )
        perturbations: tuple[ViewKind, ...] = Field(
            ("random_tokens", "characters"),
            min_length=1,
            description="what a view is drawn from, with equal probability",
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
        clean: bool = Field(True, description="whether the unchanged example is one more view")
        loss: ViewLoss = Field(ViewLoss(), description="what is added to the mean loss of the views")
        examples_per_round: PositiveInt = Field(1000, description="examples of a round")
        epochs: PositiveInt = Field(1, description="passes over them, each with views of its own")
        batch_size: PositiveInt = Field(8, description="examples per update, each in all its views")

        @model_validator(mode="after")
        def _fit_together(self) -> PerturbationTraining.Params:
            if self.views + self.clean < 2 and self.loss.consistency + self.loss.contrastive > 0:
                raise ValueError(
                    "with a single view there is nothing to agree with: raise views, or set loss.consistency and "
                    "loss.contrastive to 0"
                )
            return self

    def estimate(self, n_params: int, tokens: float, round: int, threat: Threat, resolve: Resolve) -> float:
        seen = self.params.examples_per_round * self.params.epochs * (self.params.views + self.params.clean) * tokens
        return nominal_training(n_params, seen, frozen=self.params.lora is not None)

    def train_round(self, job: RoundJob) -> RoundCost:
        params = self.params
        victim = job.open(job.model)
        builder = TrainingRowBuilder(job.model, victim.tokenizer, victim.context, job.data, self.name)
        sampler = ViewSampler(victim.tokenizer, job.threat, params.tokens or job.threat.tokens, params.characters)
        examples = builder.sample(params.examples_per_round, job.rng("examples"), sampler.longest_threat)
        if not examples:
            raise DataError(
                f"{self.name}: with {sampler.tokens} random tokens every training example is longer than the victim's "
                f"context of {victim.context} tokens; use shorter texts or a victim with a longer context"
            )
        order = self._training_order(examples, job)
        rng, counts = job.rng("views"), Counter[str]()
        groups = [self._views_of(example, strength, sampler, builder, rng, counts) for example, strength in order]
        views = Views(groups, params.loss)
        spent = self.train_weights(job, views, "dropout")
        notes = {  # an audit trail: what was drawn, how strong and when, and the hash of the rows made of it
            "examples": len(examples),
            "views": dict(counts),
            "schedule": sampler.schedule([strength for _, strength in order[:: params.batch_size]]),
            "rows_sha256": rows_hash(views.rows),
        }
        return RoundCost(Flops(), spent, notes)

    def _training_order(self, examples: Sequence[Example], job: RoundJob) -> list[tuple[Example, float]]:
        """The examples of all epochs in the order of training, each with the strength of its views, one per update."""
        rng, params = job.rng("order"), self.params
        order = [examples[i] for _ in range(params.epochs) for i in rng.permutation(len(examples))]
        updates = -(-len(order) // params.batch_size)
        strengths = [params.strength.strength(job.round, update / updates) for update in range(updates)]
        return [(example, strengths[i // params.batch_size]) for i, example in enumerate(order)]

    def _views_of(
        self,
        example: Example,
        strength: float,
        sampler: ViewSampler,
        builder: TrainingRowBuilder,
        rng: np.random.Generator,
        counts: Counter[str],
    ) -> tuple[TrainRow, ...]:
        """Rows of an example's views; one that does not fit the context is replaced by the clean row, and counted."""
        clean = builder.row(TrainingExample.clean(example))
        rows = [clean] * self.params.clean
        counts["clean"] += len(rows)
        for _ in range(self.params.views):
            kind = self.params.perturbations[int(rng.integers(len(self.params.perturbations)))]
            row = builder.row(replace(TrainingExample.clean(example), text=sampler.view(example, kind, strength, rng)))
            fits = builder.fits(row)
            counts[kind if fits else "too long, left as it is"] += 1
            rows.append(row if fits else clean)
        return tuple(rows)


@hookimpl
def harness_register_defenses(register):
    register(PerturbationTraining)
