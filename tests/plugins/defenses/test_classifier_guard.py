"""The guard that asks a classifier: what it asks, what it makes of the answer, and a run behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from harness.api.requests import Classify
from harness.api.runtime_defense import Case, FitJob, Ruling
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.errors import DataError
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.defenses.guards.classifier_guard import ClassifierGuard
from tests.engine.hub_models import byte_bpe, write_folder
from tests.run.runs import run_spec

TOKENIZER = HFTokenizer(byte_bpe())
MODEL = {"huggingface": {"model": "somewhere", "fine_tune": False}}
CLASSES = ("safe", "odd", "harmful")


def guard(**params: Any) -> ClassifierGuard:
    given = {"model": MODEL, "classes": CLASSES, "refuse": ("harmful",)} | params
    return ClassifierGuard(ClassifierGuard.Params.model_validate(given))


def ruled(made: ClassifierGuard, logits: Any, threshold: float = 0.5, **case: Any) -> tuple[Any, Ruling]:
    """What it asks and, answered so, what it rules."""
    asked = made.ruling(Case(**{"text": "a prompt", "fitted": {"threshold": threshold}, "tokenizer": TOKENIZER} | case))
    request = next(asked)
    with pytest.raises(StopIteration) as end:
        asked.send(np.asarray([logits]))
    return request, end.value.value


def test_it_refuses_above_the_threshold() -> None:
    request, ruling = ruled(guard(), [0.0, 0.0, np.log(3.0)])
    assert request == Classify(("a prompt",), "classifier", data=("a prompt",))
    assert ruling.score == pytest.approx(0.6)
    assert ruling.blocked
    assert ruling.penalty == pytest.approx(10 * (1 + np.log(0.6 / 0.4)))
    _, ruling = ruled(guard(), [0.0, 0.0, np.log(3.0)], threshold=0.7)
    assert not ruling.blocked
    assert ruling.charged == 0
    _, both = ruled(guard(refuse=("odd", "harmful")), [0.0, 0.0, np.log(3.0)], threshold=0.7)
    assert both.score == pytest.approx(0.8)
    assert both.blocked
    assert ruled(guard(penalty=0), [0, 0, 9.0])[1].penalty == float("inf")


def test_of_classes_that_do_not_exclude_each_other_the_likeliest_counts() -> None:
    own = [[0.0, 6.0], [0.0, 6.0], [0.0, -6.0]]  # each class's own logits of no and yes
    assert ruled(guard(refuse=("safe",)), own)[1].score == pytest.approx(1 / (1 + np.exp(-6)))
    assert ruled(guard(refuse=("safe", "odd")), own)[1].score == pytest.approx(1 / (1 + np.exp(-6)))
    assert not ruled(guard(), own)[1].blocked
    harmless = [[0.0, -6.0]] * 3
    assert not ruled(guard(refuse=CLASSES), harmless)[1].blocked, "none of its classes need be true"
    assert ruled(guard(refuse=CLASSES), own)[1].blocked
    assert ruled(guard(), [[np.nan] * 2] * 3)[1] == Ruling(True)


def test_all_of_classes_that_exclude_each_other_cannot_be_refused() -> None:
    with pytest.raises(DataError, match=r"`refuse` names all of `classes` \(safe, odd, harmful\).*leave out"):
        ruled(guard(refuse=CLASSES), [0.0, 1.0, 2.0])


def test_what_cannot_be_read_is_refused() -> None:
    assert ruled(guard(), [np.nan] * 3)[1] == Ruling(True)


def test_it_may_read_answers() -> None:
    made = guard(reads="answer")
    assert made.reads == "answer"
    request, _ = ruled(made, [0.0, 0.0, 0.0], answer="Sure.")
    assert request == Classify(("Sure.",), "classifier", data=("Sure.",))
    with pytest.raises(StopIteration) as end:
        next(made.ruling(Case("a prompt", {"threshold": 0.5}, TOKENIZER, answer="")))
    assert end.value.value == Ruling(False)  # nothing was said


def test_a_quantile_of_clean_prompts_passes() -> None:
    examples = [Example(f"train-{i}", (Chunk(f"prompt {i}", Edit.PERTURBABLE),), 0, 1) for i in range(40)]
    odds = np.linspace(-3, 3, 40)

    def ask(requests: Any) -> list[Any]:
        (request,) = requests
        assert request.prompts == tuple(e.text.upper() for e in examples)  # as they reach the guard
        rows = np.stack([np.zeros(40), np.zeros(40), odds], axis=1)
        rows[0] = np.nan  # too long: no value
        return [rows]

    job = FitJob(
        TaskData(("a", "b"), examples, []),
        0,
        None,
        np.random.default_rng(0),
        lambda t: [x.upper() for x in t],
        ask,  # type: ignore[arg-type]
    )
    made = guard(quantile=0.9, fit_examples=100)
    fitted = made.fit(job)
    chances = np.exp(odds[1:]) / (2 + np.exp(odds[1:]))
    assert fitted == {"threshold": pytest.approx(float(np.quantile(chances, 0.9))), "prompts": 39}
    assert guard().fit(job) == {"threshold": 0.5}
    empty = FitJob(TaskData(("a", "b"), [], []), 0, None, np.random.default_rng(0))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no training prompts"):
        made.fit(empty)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"refuse": ("harmfull",)}, "'harmfull' is not one of them"),
        ({"classes": ("a", "a")}, "must be different names"),
        ({"reads": "answer", "quantile": 0.9}, "give a threshold"),
    ],
)
def test_mistakes_are_told(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        guard(**wrong)


SPEC = """
name: guarded
version: "1"
tasks: [{word_length: {instructions: "Which?", syllables: open, train_size: 200, validation_size: 64}}]
victims: [{tiny: {size: 7k, steps: 12, batch_size: 16}}]
defenses: [{classifier_guard: {model: {huggingface: {model: MODEL, fine_tune: false}}, classes: ["NO", "YES"], refuse: ["YES"], quantile: 0.7, fit_examples: 40}}]
attacks: [{gcg: {steps: 2, candidates: 8, topk: 8}}]
examples: 8
clean_examples: 40
"""  # noqa: E501


@pytest.mark.slow
def test_a_run_behind_it(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "gpt_neox", scale=2.0)
    run_spec(SPEC.replace("MODEL", str(folder)), tmp_path)
    (path,) = (tmp_path / "run/cells").glob("*/cell.json")
    cell = json.loads(path.read_text())
    (part,) = cell["defense_facts"]["parts"]
    assert 0 < part["blocked"] < part["reached"] == 40  # about three in ten of the clean prompts
    assert cell["defense_facts"]["per_query"]["nominal"] > 0
    assert cell["n_clean_correct"] <= 40 - part["blocked"]
