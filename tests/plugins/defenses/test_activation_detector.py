"""The guard that looks at activations: its two detectors against their definitions, its gradient, and a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.requests import ActivationGradient, Activations
from harness.api.runtime_defense import Case, FitJob, Place, Slope
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.errors import DataError
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.defenses._guards.detectors import Mahalanobis, Probe, detector_from_json, roc_auc
from plugins.defenses.guards.activation_detector import ActivationDetector
from tests.engine.hub_models import byte_bpe
from tests.run.runs import run_spec

TOKENIZER = HFTokenizer(byte_bpe())


def clouds(seed: int, width: int = 5, apart: float = 2.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    shape = rng.normal(size=(width, width))
    return rng.normal(size=(60, width)) @ shape, rng.normal(size=(50, width)) @ shape + apart


@given(st.integers(0, 500))
@settings(deadline=None, max_examples=20)
def test_the_probe_is_at_the_minimum_of_its_loss(seed: int) -> None:
    clean, attacked = clouds(seed)
    made = Probe.fit(clean, attacked, 0.05)
    both = np.concatenate([clean, attacked])
    scale = both.std(0) + 1e-8

    def loss(weights: Any, bias: float) -> float:
        off = np.logaddexp(0, clean @ weights + bias).mean() + np.logaddexp(0, -(attacked @ weights + bias)).mean()
        return float(0.5 * off + 0.025 * ((weights * scale) ** 2).sum())

    least = loss(made.weights, made.bias)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        step = rng.normal(size=6) * 0.05
        assert loss(made.weights + step[:5] / scale, made.bias + step[5]) > least - 1e-6


@given(st.integers(0, 500))
@settings(deadline=None, max_examples=20)
def test_the_distance_is_that_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=80).astype(float)
    turned, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    clean = rng.normal(size=(80, 4)) * [1, 2, 3, 4] @ turned + 3 * labels[:, None]
    made = Mahalanobis.fit(clean, labels, 64)
    means = [clean[labels == kind].mean(0) for kind in (0, 1)]
    within = np.concatenate([clean[labels == kind] - means[kind] for kind in (0, 1)])
    inverse = np.linalg.inv(within.T @ within / (80 - 2))
    for row in rng.normal(size=(5, 4)) * 4:
        wanted = min(np.sqrt((row - mean) @ inverse @ (row - mean)) for mean in means)
        assert made.score(row) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("kind", ["probe", "mahalanobis"])
def test_slopes_are_gradients_and_json_keeps_them(kind: str) -> None:
    clean, attacked = clouds(1)
    made = Probe.fit(clean, attacked, 0.1) if kind == "probe" else Mahalanobis.fit(clean, np.zeros(60), 3)
    again = detector_from_json(json.loads(json.dumps(made.to_json())))
    for row in attacked[:5]:
        assert again.score(row) == pytest.approx(made.score(row), rel=1e-4, abs=1e-4)
        numeric = [(made.score(row + step) - made.score(row - step)) / 2e-4 for step in 1e-4 * np.eye(5)]
        np.testing.assert_allclose(made.gradient(row), numeric, rtol=1e-3, atol=1e-6)


def test_few_prompts_in_a_wide_space_leave_a_distance() -> None:
    rng = np.random.default_rng(0)
    made = Mahalanobis.fit(rng.normal(size=(6, 40)), np.zeros(6), 64)
    assert len(made.whitener) <= 5  # there is no spread in more directions
    assert np.isfinite(made.score(rng.normal(size=40)))
    assert np.isfinite(Mahalanobis.fit(np.ones((6, 4)), np.zeros(6), 64).score(np.zeros(4)))


def test_area_is_the_chance_to_rank_right() -> None:
    assert roc_auc(np.asarray([0.0, 1.0]), np.asarray([1.0, 2.0])) == pytest.approx(3.5 / 4)


def detector(**params: Any) -> ActivationDetector:
    return ActivationDetector(ActivationDetector.Params.model_validate(params))


def fitted(made: ActivationDetector, count: int = 30) -> dict[str, Any]:
    """Fitted on activations that are made up from the text, of a distance detector (no attack is run)."""
    examples = [Example(f"train-{i}", (Chunk(f"{i}", Edit.PERTURBABLE),), i % 2, 1 - i % 2) for i in range(count)]

    def ask(requests: Any) -> list[Any]:
        assert all((r.layer, r.pool, r.model) == (made.params.layer, made.params.pool, "") for r in requests)
        return [np.random.default_rng(int(r.text)).normal(size=3) for r in requests]

    data = TaskData(("a", "b"), examples, [])
    return made.fit(FitJob(data, 0, None, np.random.default_rng(0), list, ask))  # type: ignore[arg-type]


def test_it_refuses_what_is_far_and_says_so_in_its_gradient() -> None:
    made = detector(method="mahalanobis", layer=1, pool="mean")
    assert made.attack() is None
    facts = fitted(made)
    assert facts["prompts"] == 30
    asked = made.ruling(Case("text", facts, TOKENIZER))
    assert next(asked) == Activations("text", 1, "mean")
    with pytest.raises(StopIteration) as end:
        asked.send(np.full(3, 50.0))
    ruling = end.value.value
    assert ruling.blocked
    assert ruling.penalty == pytest.approx(10 * (1 + ruling.score - facts["threshold"]))

    ids = np.arange(3)
    place = Place(ids[:1], ids[1:2], ids[2:], ids, facts)
    sloped = made.surrogate(place)
    assert next(sloped).layer == 1
    request = sloped.send(np.full(3, 50.0))
    assert isinstance(request, ActivationGradient)
    np.testing.assert_allclose(request.direction, 10 * detector_from_json(facts["detector"]).gradient(np.full(3, 50.0)))
    with pytest.raises(StopIteration) as end:
        sloped.send(np.ones((1, 3)))
    assert end.value.value.penalty == pytest.approx(ruling.penalty)
    flat = made.surrogate(place)
    next(flat)
    with pytest.raises(StopIteration) as end:
        flat.send(np.zeros(3))
    assert end.value.value == Slope(0.0)


def test_too_few_prompts_are_told() -> None:
    with pytest.raises(DataError, match="needs 6 training prompts, the task has 3"):
        fitted(detector(method="mahalanobis"), 3)


SPEC = """
name: detected
version: "1"
tasks: [{word_length: {instructions: "Which?", syllables: open, train_size: 4000, validation_size: 64}}]
victims: [{tiny: {size: 7k, steps: 40, batch_size: 16}}]
defenses:
  - activation_detector: {fit_examples: 30, quantile: 0.9, attack: {gcg: {steps: 2, candidates: 8, topk: 8}}}
  - activation_detector: {method: mahalanobis, fit_examples: 60, quantile: 0.9, layer: 1, pool: mean}
attacks: [{gcg: {steps: 2, candidates: 8, topk: 8}}]
examples: 8
clean_examples: 40
"""


@pytest.mark.slow
def test_a_run_behind_it(tmp_path: Path) -> None:
    run_spec(SPEC, tmp_path)
    cells = [json.loads(path.read_text()) for path in (tmp_path / "run/cells").glob("*/cell.json")]
    assert len(cells) == 2
    for cell in cells:
        (part,) = cell["defense_facts"]["parts"]
        assert part["reached"] == 40
        assert part["blocked"] < 20
        assert part["offers"] == "surrogate"
        assert cell["defense_facts"]["per_query"]["nominal"] > 0
        assert cell["defense_facts"]["fit"]["nominal"] > 0
