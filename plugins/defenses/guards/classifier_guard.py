"""A guard that refuses by a classifier's probabilities."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from harness import Auxiliary, Case, Classify, DataError, FitJob, GuardDefense, Ruling, hookimpl
from plugins._common.classifier import ClassifierParams
from plugins.defenses._guards.threshold import log_odds, refusal_penalty

ROLE = "classifier"


class ClassifierGuard(GuardDefense):
    """Refuse prompts, or answers, to which a classifier gives classes of harm or attack too high a probability.

    What is longer than the classifier's context cannot be read, and is refused.
    """

    name = "classifier_guard"
    paper = "after Inan et al. 2023, Llama Guard, arXiv:2312.06674 (a model that judges inputs or outputs)"

    class Params(ClassifierParams):
        """Which classifier, what it reads, and at which probability it refuses."""

        refuse: tuple[str, ...] = Field(
            min_length=1,
            description="classes that are refused; their probabilities add up, or of a multi-label classifier, whose "
            "classes do not exclude each other, the highest counts",
        )
        reads: Literal["prompt", "answer"] = Field(
            "prompt", description="what is classified: the prompt, or the answer (of tasks answered in text)"
        )
        threshold: float = Field(0.5, ge=0, le=1, description="probabilities above it are refused")
        quantile: float | None = Field(
            None,
            gt=0,
            lt=1,
            description="take the threshold from clean training prompts instead: this share of them passes",
        )
        fit_examples: PositiveInt = Field(500, description="training prompts that a threshold is taken from")
        penalty: NonNegativeFloat = Field(
            10.0,
            description="what is added to a refused candidate's loss, and added again per nat of log-odds above the "
            "threshold; 0: it has no loss",
        )

        @model_validator(mode="after")
        def _known_classes(self) -> Self:
            names = self.class_names
            unknown = [name for name in self.refuse if name.strip() not in names]
            if unknown:
                raise ValueError(
                    f"`refuse` must name some of `classes` ({', '.join(names)}); {unknown[0]!r} is not one of them"
                )
            if self.quantile is not None and self.reads == "answer":
                raise ValueError("`quantile` is for guards of prompts, and this guard reads answers; give a threshold")
            return self

        @property
        def refused_indices(self) -> list[int]:
            """Indices of the classes that are refused."""
            return sorted({self.class_names.index(name.strip()) for name in self.refuse})

    @property
    def reads(self) -> Literal["prompt", "answer"]:
        return self.params.reads

    def models(self) -> dict[str, Auxiliary]:
        """The classifier, used as it is."""
        return {ROLE: self.params.auxiliary}

    def fit(self, job: FitJob) -> dict[str, Any]:
        if self.params.quantile is None:
            return {"threshold": self.params.threshold}
        texts = job.seen([example.text for example in job.data.train[: self.params.fit_examples]])
        if not texts:
            raise DataError("classifier_guard: the task has no training prompts to take a threshold from")
        (logits,) = job.ask([Classify(tuple(texts), ROLE, tuple(texts))])
        probabilities = [value for row in logits if (value := self._probability(row)) is not None]
        if not probabilities:
            raise DataError("classifier_guard: all training prompts are longer than the classifier's context")
        return {"threshold": float(np.quantile(probabilities, self.params.quantile)), "prompts": len(probabilities)}

    def ruling(self, case: Case) -> Any:
        text = case.text if self.reads == "prompt" else case.answer or ""
        if not text:  # an empty answer is not classified
            return Ruling(False)
        (logits,) = yield Classify((text,), ROLE, (text,))
        probability = self._probability(logits)
        if probability is None:
            return Ruling(True)
        threshold = case.fitted["threshold"]
        excess = log_odds(probability) - log_odds(threshold)
        return Ruling(probability > threshold, refusal_penalty(self.params.penalty, excess), probability)

    def _probability(self, logits: Any) -> float | None:
        """Of the refused classes together; None where the text is too long to be read."""
        params = self.params
        if np.ndim(logits) == 1 and len(params.refused_indices) == len(params.class_names):
            raise DataError(
                f"classifier_guard: `refuse` names all of `classes` ({', '.join(params.class_names)}), of which this "
                "classifier gives every text one: leave out those that are let through"
            )
        probability: float | None = params.probability(logits, params.refused_indices)
        return probability


@hookimpl
def harness_register_defenses(register):
    register(ClassifierGuard)
