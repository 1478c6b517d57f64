"""A guard that asks a classifier."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from harness import Auxiliary, Case, Classify, DataError, FitJob, GuardDefense, Params, Ruling, VictimRef, hookimpl

ROLE = "classifier"


class ClassifierGuard(GuardDefense):
    """Refuse prompts, or answers, to which a classifier gives classes of harm or attack too high a probability.

    What is longer than the classifier's context cannot be read, and is refused.
    """

    name = "classifier_guard"
    paper = "after Inan et al. 2023, Llama Guard, arXiv:2312.06674 (a model that judges inputs or outputs)"

    class Params(Params):
        """Which classifier, what it reads, and from where on it refuses."""

        model: VictimRef = Field(
            description="a victim that classifies, e.g. {huggingface: {model: ..., fine_tune: false}}"
        )
        classes: tuple[str, ...] = Field(
            min_length=2, description="names of its classes, in the model's order unless the model knows these names"
        )
        refuse: tuple[str, ...] = Field(
            min_length=1, description="classes that are refused; their probabilities add up"
        )
        reads: Literal["prompt", "answer"] = Field("prompt", description="what is classified; answer: of tasks in text")
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
            description="what a refused candidate's loss is raised by, and once more per nat of log-odds above the "
            "threshold; 0: it has no loss",
        )

        @model_validator(mode="after")
        def _known_classes(self) -> Self:
            names = [name.strip() for name in self.classes]
            if len(set(names)) < len(names) or not all(names):
                raise ValueError(f"`classes` must be different names, one per class, got {list(self.classes)}")
            strange = [name for name in self.refuse if name.strip() not in names]
            if strange or len({name.strip() for name in self.refuse}) == len(names):
                told = f"{strange[0]!r} is none of them" if strange else "they are all refused"
                raise ValueError(f"`refuse` must name some of `classes` ({', '.join(names)}), not all; {told}")
            if self.quantile is not None and self.reads == "answer":
                raise ValueError("`quantile` is of clean prompts, and this guard reads answers; give a threshold")
            return self

        @property
        def refused(self) -> list[int]:
            """Indices of the classes that are refused."""
            names = [name.strip() for name in self.classes]
            return sorted({names.index(name.strip()) for name in self.refuse})

    @property
    def reads(self) -> Literal["prompt", "answer"]:
        return self.params.reads

    def models(self) -> dict[str, Auxiliary]:
        """The classifier, used as it is; its classes have the space with which a language model would say them."""
        labels = tuple(f" {name.strip()}" for name in self.params.classes)
        return {ROLE: Auxiliary(self.params.model, sees="nothing", labels=labels)}

    def fit(self, job: FitJob) -> dict[str, Any]:
        if self.params.quantile is None:
            return {"threshold": self.params.threshold}
        texts = job.seen([example.text for example in job.data.train[: self.params.fit_examples]])
        if not texts:
            raise DataError("classifier_guard: the task has no training prompts to take a threshold from")
        (logits,) = job.ask([Classify(tuple(texts), ROLE)])
        values = [found for row in logits if (found := self._probability(row)) is not None]
        if not values:
            raise DataError("classifier_guard: all training prompts are longer than the classifier's context")
        return {"threshold": float(np.quantile(values, self.params.quantile)), "prompts": len(values)}

    def ruling(self, case: Case) -> Any:
        text = case.text if self.reads == "prompt" else case.answer or ""
        if not text:  # nothing was said, and nobody is asked
            return Ruling(False)
        (logits,) = yield Classify((text,), ROLE)
        probability = self._probability(logits)
        if probability is None:
            return Ruling(True)
        threshold = case.fitted["threshold"]
        excess = _log_odds(probability) - _log_odds(threshold)
        penalty = self.params.penalty * (1 + max(0.0, excess)) if self.params.penalty else float("inf")
        return Ruling(probability > threshold, float(penalty), probability)

    def _probability(self, logits: Any) -> float | None:
        """Of the refused classes together, by softmax; None where the text could not be read."""
        row = np.asarray(logits, dtype=np.float64)
        if row.shape != (len(self.params.classes),) or not np.isfinite(row).all():
            return None
        weights = np.exp(row - row.max())
        return float(weights[self.params.refused].sum() / weights.sum())


def _log_odds(probability: float) -> float:
    kept = min(max(probability, 1e-12), 1 - 1e-12)
    return float(np.log(kept) - np.log1p(-kept))


@hookimpl
def harness_register_defenses(register):
    register(ClassifierGuard)
