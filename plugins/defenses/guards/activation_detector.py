"""A guard that detects attacks by the victim's activations."""

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
from plugins.defenses._guards.detectors import Detector, Mahalanobis, Probe, detector_from_json, roc_auc
from plugins.defenses._guards.threshold import clean_prompts, conformal_threshold, refusal_penalty

HOLD_OUT_EVERY = 3  # one in so many training prompts is left out of the fit


class ActivationDetector(GuardDefense):
    """Refuse prompts whose activations in the victim score higher, as attacked text, than those of nearly all clean
    prompts.
    """

    name = "activation_detector"
    paper = (
        "Mahalanobis distance: Lee et al. 2018, arXiv:1807.03888; linear probes: Alain and Bengio 2016, "
        "arXiv:1610.01644; the adaptive attack on both: Bailey et al. 2024, arXiv:2412.09565"
    )
    offers: ClassVar = "surrogate"

    class Params(Params):
        """Which activations, which detector, and where its threshold lies."""

        method: Literal["probe", "mahalanobis"] = Field(
            "probe",
            description="probe: logistic regression of attacked against clean text; mahalanobis: distance from clean "
            "text, without running an attack",
        )
        layer: int = Field(
            -1, description="0: input embeddings; l: output of layer l, counted from 1; negative: from the last"
        )
        pool: Literal["last", "mean"] = Field(
            "last", description="activations at the last token, or their mean over all"
        )
        attack: AttackRef = Field(PluginRef(name="gcg"), description="the attack that the probe is fitted on")
        fit_examples: PositiveInt = Field(
            200,
            ge=6,
            description="training prompts that the detector is fitted on, at most; the probe on attacked ones as well",
        )
        quantile: float = Field(0.99, gt=0, le=1, description="share of clean prompts that should pass")
        l2: PositiveFloat = Field(0.01, description="L2 penalty of the probe, on standardised activations")
        components: PositiveInt = Field(64, description="of mahalanobis: how many main directions of clean text count")
        penalty: NonNegativeFloat = Field(
            10.0,
            description="what is added to a refused candidate's loss, and added again per unit above the threshold; 0: "
            "it has no loss",
        )

    def attack(self) -> PluginRef | None:
        return self.params.attack if self.params.method == "probe" else None

    def fit(self, job: FitJob) -> dict[str, Any]:
        order = job.rng.permutation(len(job.data.train))
        examples = [job.data.train[int(i)] for i in order if self.attack() is None or job.data.train[int(i)].attackable]
        examples = examples[: self.params.fit_examples]
        if len(examples) < 2 * HOLD_OUT_EVERY:
            raise DataError(
                f"activation_detector: needs {2 * HOLD_OUT_EVERY} training prompts, the task has {len(examples)}"
            )
        clean = self._activations(job, job.seen([example.text for example in examples]))
        held_out = np.arange(len(examples)) % HOLD_OUT_EVERY == 0
        attacked = self._attacked_activations(job, examples)
        detector: Detector
        if attacked is not None:
            detector = Probe.fit(clean[~held_out], attacked[~held_out], self.params.l2)
        else:
            labels = np.asarray([example.label for example in examples], dtype=np.float64)
            detector = Mahalanobis.fit(clean[~held_out], labels[~held_out], self.params.components)
        scores = _scores(detector, clean[held_out])
        facts: dict[str, Any] = {"prompts": len(examples)}
        if attacked is not None:
            facts["auroc"] = roc_auc(scores, _scores(detector, attacked[held_out]))
        unseen, facts["split"] = clean_prompts(job, self.params.fit_examples)
        if facts["split"] == "held_out":  # better than training prompts, which the victim was trained on
            scores = _scores(detector, self._activations(job, job.seen([example.text for example in unseen])))
        return facts | {"threshold": conformal_threshold(scores, self.params.quantile), "detector": detector.to_json()}

    def ruling(self, case: Case) -> Any:
        activations = yield Activations(case.text, self.params.layer, self.params.pool)
        score = detector_from_json(case.fitted["detector"]).score(activations)
        excess = score - case.fitted["threshold"]
        return Ruling(excess > 0, refusal_penalty(self.params.penalty, excess), score)

    def surrogate(self, place: Place) -> Any:
        """The penalty and its gradient through the victim, [S, A]; zero below the threshold."""
        p = self.params
        activations = yield Activations(tokens=place.row, layer=p.layer, pool=p.pool)
        detector = detector_from_json(place.fitted["detector"])
        excess = detector.score(activations) - place.fitted["threshold"]
        if excess <= 0:
            return Slope(0.0)
        direction = p.penalty * detector.gradient(activations)
        gradient = yield ActivationGradient(
            place.before, place.tokens, place.after, direction, place.allowed, p.layer, p.pool
        )
        return Slope(refusal_penalty(p.penalty, excess), gradient)

    def _attacked_activations(self, job: FitJob, examples: list[Example]) -> Floats | None:
        """Activations of the attacked prompts, [n, H], in the order of the examples; None where no attack is run."""
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
