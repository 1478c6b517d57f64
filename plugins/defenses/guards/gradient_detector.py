"""A guard that detects attacks by the gradient of the victim's loss."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator

from harness import (
    Case,
    Classify,
    DataError,
    Example,
    FitJob,
    Floats,
    GuardDefense,
    LossGradient,
    Params,
    Prompt,
    Ruling,
    hookimpl,
)
from plugins.defenses._guards.detectors import Mahalanobis, detector_from_json
from plugins.defenses._guards.threshold import MIN_HELD_OUT, conformal_threshold, refusal_penalty

HOLD_OUT_EVERY = 3  # one in so many prompts is left out of the fit, where there are no others for the threshold
TINY = 1e-30  # added to a norm before its logarithm

T = TypeVar("T")


class GradientDetector(GuardDefense):
    """Refuse prompts at which the gradient of the victim's loss is unlike that at clean prompts.

    The loss is that of the label which the victim itself finds most likely, or of a fixed beginning of an answer in
    text; the gradient is by a bias of one layer. A prompt that is too long for it is refused.
    """

    name = "gradient_detector"
    paper = (
        "after Xie et al. 2024, GradSafe, arXiv:2402.13494 (gradients of the loss of a fixed answer, compared with "
        "those of known prompts); distance: Lee et al. 2018, arXiv:1807.03888"
    )

    class Params(Params):
        """Which gradient, what of it is looked at, and where the threshold lies."""

        method: Literal["direction", "norm"] = Field(
            "direction",
            description="direction: the distance of the gradient from those at clean prompts, within their main "
            "directions; norm: how far the logarithm of its length is from theirs, either way",
        )
        layer: NonNegativeInt = Field(
            0, description="by a bias of which layer: 0: input embeddings; l: output of layer l, counted from 1"
        )
        answer: str = Field(
            "Sure", description="answer in text whose loss is differentiated; of labels it is the victim's own label"
        )
        fit_examples: PositiveInt = Field(200, ge=6, description="clean prompts that it is fitted on, at most")
        quantile: float = Field(0.99, gt=0, le=1, description="share of clean prompts that should pass")
        components: PositiveInt = Field(64, description="of direction: how many main directions of clean text count")
        penalty: NonNegativeFloat = Field(
            10.0,
            description="what is added to a refused candidate's loss, and added again per unit above the threshold; 0: "
            "it has no loss",
        )

        @field_validator("answer")
        @classmethod
        def _not_blank(cls, value: str) -> str:
            if not value.strip():
                raise ValueError("an empty answer has no loss; write the beginning of one, such as Sure")
            return value

    def fit(self, job: FitJob) -> dict[str, Any]:
        count, labels = self.params.fit_examples, len(job.data.labels)
        fitted_on, unseen, split = _two_parts(job, count)
        if len(fitted_on) < 2:
            raise DataError(f"{self.name}: needs 6 clean prompts, the task has {len(fitted_on) + len(unseen)}")
        features = self._features(job, fitted_on, labels)
        if len(features) < 2:
            raise DataError(f"{self.name}: nearly all clean prompts are longer than the victim's context")
        detector = Mahalanobis.fit(features, np.zeros(len(features)), self.params.components)
        scores = [detector.score(row) for row in self._features(job, unseen, labels)]
        if not scores:
            raise DataError(f"{self.name}: all prompts for the threshold are longer than the victim's context")
        return {
            "labels": labels,
            "threshold": conformal_threshold(scores, self.params.quantile),
            "detector": detector.to_json(),
            "prompts": len(features),
            "split": split,
        }

    def ruling(self, case: Case) -> Any:
        feature = yield from self._feature(case.conversation.prompt(case.text), case.text, case.fitted.get("labels", 0))
        if feature is None:
            return Ruling(True)
        score = detector_from_json(case.fitted["detector"]).score(feature)
        excess = score - case.fitted["threshold"]
        return Ruling(excess > 0, refusal_penalty(self.params.penalty, excess), score)

    def _feature(self, prompt: Prompt, text: str, labels: int) -> Generator[Any, Any, Floats | None]:
        """What is compared of a prompt: the gradient [H], or the logarithm of its length [1]; None where the prompt is
        too long.
        """
        target: int | str = self.params.answer
        if labels:
            (logits,) = yield Classify((text,))
            if not np.isfinite(logits).any():
                return None
            target = int(np.argmax(logits))
        answer = yield LossGradient(prompt, target, self.params.layer)
        if answer is None:
            return None
        if self.params.method == "norm":
            return np.log([np.linalg.norm(answer.gradient) + TINY])
        return np.asarray(answer.gradient)

    def _features(self, job: FitJob, examples: Sequence[Example], labels: int) -> Floats:
        """Those of clean prompts as they reach the guard, [n, H] or [n, 1], without those that are too long."""
        texts = job.seen([example.text for example in examples])
        steps = [
            self._feature(example.conversation.prompt(text), text, labels)
            for example, text in zip(examples, texts, strict=True)
        ]
        return np.stack([row for row in _together(job, steps) if row is not None] or [np.empty(0)])


def _two_parts(job: FitJob, count: int) -> tuple[Sequence[Example], Sequence[Example], str]:
    """Clean prompts to fit on, others for the threshold, and the split of the latter. Of held-out prompts, which no
    model was trained on, where there are enough for both; a victim's gradients at its training prompts are smaller.
    """
    if len(job.held_out) >= 2 * MIN_HELD_OUT:
        half = min(count, len(job.held_out) // 2)
        return job.held_out[:half], job.held_out[half : half + count], "held_out"
    order = job.rng.permutation(len(job.data.train))[:count]
    examples = [job.data.train[int(i)] for i in order]
    unseen = examples[::HOLD_OUT_EVERY]
    return [example for i, example in enumerate(examples) if i % HOLD_OUT_EVERY], unseen, "train"


def _together(job: FitJob, steps: Sequence[Generator[Any, Any, T]]) -> list[T]:
    """What each of the generators returns, their requests asked together round by round."""
    returned: dict[int, T] = {}
    answers: dict[int, Any] = dict.fromkeys(range(len(steps)))
    while answers:
        asked = {}
        for i, answer in answers.items():
            try:
                asked[i] = steps[i].send(answer)
            except StopIteration as end:
                returned[i] = end.value
        answers = dict(zip(asked, job.ask(list(asked.values())), strict=True)) if asked else {}
    return [returned[i] for i in range(len(steps))]


@hookimpl
def harness_register_defenses(register):
    register(GradientDetector)
