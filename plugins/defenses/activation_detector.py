"""A guard that looks at the victim's activations."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from harness import (
    ActivationGradient,
    Activations,
    AttackRef,
    Case,
    DataError,
    Example,
    FitJob,
    Floats,
    GuardDefense,
    Params,
    Place,
    PluginRef,
    Ruling,
    Slope,
    hookimpl,
)
from plugins.defenses._detectors import Detector, Mahalanobis, Probe, detector_from_json, roc_auc
from plugins.defenses._guard_threshold import clean_prompts, conformal_threshold

HELD_OUT = 3  # one in so many training prompts is not fitted on


class ActivationDetector(GuardDefense):
    """Refuse prompts whose activations in the victim look more like attacked text than nearly all clean ones'."""

    name = "activation_detector"
    paper = (
        "Mahalanobis distance: Lee et al. 2018, arXiv:1807.03888; linear probes: Alain and Bengio 2016, "
        "arXiv:1610.01644; the adaptive attack on both: Bailey et al. 2024, arXiv:2412.09565"
    )
    offers: ClassVar = "surrogate"

    class Params(Params):
        """Which activations, and how they are told apart."""

        method: Literal["probe", "mahalanobis"] = Field(
            "probe",
            description="probe: logistic regression of attacked against clean text; mahalanobis: distance from clean "
            "text, which sees no attack",
        )
        layer: int = Field(
            -1, description="0: input embeddings; l: output of layer l, counted from 1; negative: from the last"
        )
        pool: Literal["last", "mean"] = Field(
            "last", description="activations at the last token, or their mean over all"
        )
        attack: AttackRef = Field(PluginRef(name="gcg"), description="the attack that the probe is fitted on")
        fit_examples: PositiveInt = Field(200, ge=6, description="training prompts; of the probe attacked as well")
        quantile: float = Field(0.99, gt=0, le=1, description="share of clean prompts that passes")
        l2: PositiveFloat = Field(0.01, description="of the probe, on standardised activations")
        components: PositiveInt = Field(64, description="of the distance: main directions of clean text that count")
        penalty: NonNegativeFloat = Field(
            10.0,
            description="what a refused candidate's loss is raised by, and once more per unit above the threshold; 0: "
            "it has no loss",
        )

    def attack(self) -> PluginRef | None:
        return self.params.attack if self.params.method == "probe" else None

    def fit(self, job: FitJob) -> dict[str, Any]:
        order = job.rng.permutation(len(job.data.train))[: self.params.fit_examples]
        examples = [job.data.train[int(i)] for i in order]
        if len(examples) < 2 * HELD_OUT:
            raise DataError(f"activation_detector: needs {2 * HELD_OUT} training prompts, the task has {len(examples)}")
        clean = self._activations(job, job.seen([example.text for example in examples]))
        held = np.arange(len(examples)) % HELD_OUT == 0
        attacked = self._attacked(job, examples)
        detector: Detector
        if attacked is not None:
            detector = Probe.fit(clean[~held], attacked[~held], self.params.l2)
        else:
            labels = np.asarray([example.label for example in examples], dtype=np.float64)
            detector = Mahalanobis.fit(clean[~held], labels[~held], self.params.components)
        scores = _scores(detector, clean[held])
        found: dict[str, Any] = {"prompts": len(examples)}
        if attacked is not None:  # of prompts that it was not fitted on
            found["auroc"] = roc_auc(scores, _scores(detector, attacked[held]))
        unseen, found["split"] = clean_prompts(job, self.params.fit_examples)
        if found["split"] == "held_out":  # the victim was trained on the others
            scores = _scores(detector, self._activations(job, job.seen([example.text for example in unseen])))
        return found | {"threshold": conformal_threshold(scores, self.params.quantile), "detector": detector.to_json()}

    def ruling(self, case: Case) -> Any:
        activations = yield Activations(case.text, self.params.layer, self.params.pool)
        score = detector_from_json(case.fitted["detector"]).score(activations)
        excess = score - case.fitted["threshold"]
        return Ruling(excess > 0, self._penalty(excess), score)

    def surrogate(self, place: Place) -> Any:
        """Above the threshold, the gradient of the score through the victim; below it is flat."""
        p = self.params
        activations = yield Activations(tokens=place.row, layer=p.layer, pool=p.pool)
        detector = detector_from_json(place.fitted["detector"])
        excess = detector.score(activations) - place.fitted["threshold"]
        if excess <= 0:
            return Slope(0.0)
        direction = p.penalty * detector.slope(activations)
        gradient = yield ActivationGradient(
            place.before, place.tokens, place.after, direction, place.allowed, p.layer, p.pool
        )
        return Slope(self._penalty(excess), gradient)

    def _penalty(self, excess: float) -> float:
        return float(self.params.penalty * (1 + max(0.0, excess))) if self.params.penalty else float("inf")

    def _attacked(self, job: FitJob, examples: list[Example]) -> Floats | None:
        """Activations of the prompts after the attack, in their order; None where none is run."""
        ref = self.attack()
        if ref is None:
            return None
        assert job.search is not None
        assert job.resolve is not None
        ends = job.search(job.resolve(ref, {}), examples).ends()
        texts = {problem.example.id: problem.prompt_of(state) for problem, state in ends}
        return self._activations(job, job.seen([texts[example.id] for example in examples]))

    def _activations(self, job: FitJob, texts: list[str]) -> Floats:
        return np.stack(job.ask([Activations(text, self.params.layer, self.params.pool) for text in texts]))


def _scores(detector: Detector, activations: Floats) -> Floats:
    return np.asarray([detector.score(row) for row in activations])


@hookimpl
def harness_register_defenses(register):
    register(ActivationDetector)
