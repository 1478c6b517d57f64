"""The guard that looks at gradients: the request against finite differences, what it asks and rules, and a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from harness.api.model.backend import PerturbItem
from harness.api.requests import Classify, LossGradient, LossGradientAnswer
from harness.api.runtime_defense import Case, FitJob, Ruling
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.engine.defended.defense_requests import answer_defense_requests
from harness.errors import DataError
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.defenses.guards.gradient_detector import GradientDetector
from tests.engine.hub_models import byte_bpe
from tests.run.runs import run_spec

TOKENIZER = HFTokenizer(byte_bpe())


@pytest.mark.parametrize(("labels", "target"), [(2, 1), (0, " Sure")])
def test_the_request_is_answered_with_the_gradient_by_a_bias(labels: int, target: Any) -> None:
    from harness.testing.toys.random_transformer import random_backend
    from harness.tokens.prompts import answer_ids

    backend = random_backend(labels)
    text, layer = "the fox and the dog", 1
    ((answer, cost),) = answer_defense_requests("x", [LossGradient(text, target, layer)], {"": backend})
    assert cost.nominal > 0
    assert cost.executed > 0
    row = np.asarray([*backend.tokenizer.left, *backend.tokenizer.encode([text])[0], *backend.tokenizer.right])
    ids = answer_ids(backend.tokenizer, target) if isinstance(target, str) else target
    empty = np.empty(0, dtype=np.int64)

    def loss(bias: Any) -> float:
        item = PerturbItem(empty, row, empty, ids, layer, np.tile(bias, (len(row), 1)))
        return float(backend.perturb([item])[0].answer.loss)

    zero, direction = np.zeros(len(answer.gradient)), answer.gradient / np.linalg.norm(answer.gradient)
    assert answer.loss == pytest.approx(loss(zero), rel=1e-5)
    slope = (loss(0.01 * direction) - loss(-0.01 * direction)) / 0.02
    assert slope == pytest.approx(float(np.linalg.norm(answer.gradient)), rel=0.02)
    long = LossGradient("fox " * 5000, target)
    ((none, nothing),) = answer_defense_requests("x", [long], {"": backend})
    assert none is None
    assert nothing.nominal == 0


def detector(**params: Any) -> GradientDetector:
    return GradientDetector(GradientDetector.Params.model_validate(params))


def told(request: Any) -> Any:
    """Made-up answers: the second label is likelier, the gradient follows from the text."""
    if isinstance(request, Classify):
        return np.asarray([[0.0, 1.0]])
    assert isinstance(request, LossGradient)
    return LossGradientAnswer(1.0, np.random.default_rng(int(request.prompt)).normal(size=3))


def fitted(made: GradientDetector, count: int = 60, held_out: int = 0, labels: tuple[str, ...] = ("a", "b")) -> Any:
    targets = {"label": 0, "proxy_label": 1} if labels else {"target": " no"}
    examples = [Example(f"e-{i}", (Chunk(f"{i}", Edit.PERTURBABLE),), **targets) for i in range(count + held_out)]
    data = TaskData(labels, examples[:count], [])
    rng, ask = np.random.default_rng(0), lambda requests: [told(request) for request in requests]
    return made.fit(FitJob(data, 0, None, rng, list, ask, held_out=examples[count:]))  # type: ignore[arg-type]


def ruled(made: GradientDetector, facts: Any, gradient: Any) -> tuple[list[Any], Ruling]:
    steps, asked = made.ruling(Case("7", facts, TOKENIZER)), []
    answer: Any = None
    while True:
        try:
            asked.append(steps.send(answer))
        except StopIteration as end:
            return asked, end.value
        answer = told(asked[-1]) if isinstance(asked[-1], Classify) else gradient


def test_of_labels_the_victims_own_is_differentiated_by_and_the_unlike_is_refused() -> None:
    made = detector(layer=2)
    facts = fitted(made)
    assert facts["split"] == "train"
    assert facts["prompts"] == 40
    asked, ruling = ruled(made, facts, LossGradientAnswer(1.0, np.full(3, 50.0)))
    assert asked == [Classify(("7",)), LossGradient("7", 1, 2)]
    assert ruling.blocked
    assert ruling.penalty == pytest.approx(10 * (1 + ruling.score - facts["threshold"]))
    assert not ruled(made, facts, LossGradientAnswer(1.0, np.zeros(3)))[1].blocked
    assert ruled(made, facts, None)[1] == Ruling(True), "too long to be read"
    assert json.loads(json.dumps(facts)) == facts


def test_of_answers_in_text_the_loss_is_that_of_a_fixed_one() -> None:
    made = detector(answer="Of course")
    asked, _ = ruled(made, fitted(made, labels=()), LossGradientAnswer(1.0, np.zeros(3)))
    assert asked == [LossGradient("7", "Of course", 0)]
    with pytest.raises(ValidationError, match="an empty answer has no loss"):
        detector(answer=" ")


def test_a_length_is_unusual_either_way() -> None:
    made = detector(method="norm")
    facts = fitted(made, held_out=60)
    assert facts["split"] == "held_out"
    assert facts["prompts"] == 30, "the other half gives the threshold"
    assert ruled(made, facts, LossGradientAnswer(1.0, np.full(3, 1e4)))[1].blocked
    assert ruled(made, facts, LossGradientAnswer(1.0, np.full(3, 1e-4)))[1].blocked
    assert not ruled(made, facts, LossGradientAnswer(1.0, np.full(3, 0.9)))[1].blocked


def test_too_few_prompts_are_told() -> None:
    with pytest.raises(DataError, match="gradient_detector: needs 6 clean prompts, the task has 1"):
        fitted(detector(), 1)


SPEC = """
name: detected
version: "1"
tasks: [{word_length: {instructions: "Which?", syllables: open, train_size: 4000, validation_size: 64}}]
victims: [{tiny: {size: 7k, steps: 40, batch_size: 16}}]
defenses: [{gradient_detector: {fit_examples: 30, quantile: 0.9}}]
attacks: [{gcg: {steps: 2, candidates: 8, topk: 8}}]
examples: 8
clean_examples: 40
"""


@pytest.mark.slow
def test_a_run_behind_it(tmp_path: Path) -> None:
    run_spec(SPEC, tmp_path)
    (path,) = (tmp_path / "run/cells").glob("*/cell.json")
    facts = json.loads(path.read_text())["defense_facts"]
    (part,) = facts["parts"]
    assert part["reached"] == 40
    assert part["blocked"] < 20
    assert part["unread"] is None, "its rulings are always its own"
    assert facts["per_query"]["nominal"] > 0
    assert facts["fit"]["nominal"] > 0
