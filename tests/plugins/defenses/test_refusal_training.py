"""Refusal training: what is learnt after which prompts, in which shares, its cost, and what it refuses in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import ValidationError

import harness
from harness.api.task import TaskData
from harness.api.threat import Threat
from harness.engine.open_backend import open_folder
from harness.errors import DataError
from harness.flops import Flops
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.defenses._training.refusal_examples import REFUSAL
from plugins.defenses.text_answers.refusal_training import RefusalTraining
from tests.engine.hub_models import byte_bpe, write_folder
from tests.plugins.defenses.text_rounds import DATA, example, run_round

TOKENIZER = HFTokenizer(byte_bpe())


def defense(**params: Any) -> RefusalTraining:
    return RefusalTraining(RefusalTraining.Params(**params))


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("victim"), "gpt_neox", "label_tokens", scale=1.0)


def text_of(ids: Any) -> str:
    return TOKENIZER.decode([list(ids)])[0]


@given(st.integers(1, 50), st.floats(0.01, 1.0))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_harmful_prompts_are_refused_and_benign_ones_answered(
    victim: Path, tmp_path_factory: pytest.TempPathFactory, count: int, share: float
) -> None:
    learnt: list[Any] = []
    made = defense(examples_per_round=count, harmful_share=share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "retrain", lambda _model, _folder, rows, *_, **__: learnt.extend(rows) or Flops())
        cost = run_round(made, victim, tmp_path_factory.mktemp("round"))
    said = [(text_of(row.ids[: row.start]), text_of(row.ids[row.start :])) for row in learnt]
    replies = {e.text: e.reply for e in DATA.train}
    harmful = [(prompt, reply) for prompt, reply in said if "poison" in prompt]
    assert all(reply.startswith(f" {REFUSAL}") for _, reply in harmful)
    assert all(reply.startswith(replies[prompt]) for prompt, reply in said if "bread" in prompt)
    assert len({prompt for prompt, _ in said}) == len(said)  # each prompt once
    wanted = max(1, int(share * count + 0.5))
    assert len(harmful) == min(20, wanted) == cost.notes["harmful"]
    assert len(said) - len(harmful) == min(20, count - wanted) == cost.notes.get("benign", 0)
    assert cost.search == Flops()


def test_an_example_s_own_reply_comes_first_unless_a_refusal_is_given(tmp_path: Path, victim: Path) -> None:
    data = replace(DATA, train=[e if e.benign else replace(e, reply=" Never.") for e in DATA.train])
    for refusal, wanted in ((None, " Never."), ("No way.", " No way.")):
        learnt: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(harness, "retrain", lambda *a, learnt=learnt, **_: learnt.extend(a[2]) or Flops())
            run_round(defense(refusal=refusal, examples_per_round=8), victim, tmp_path / str(refusal), data)
        said = {text_of(row.ids[row.start :]) for row in learnt if "poison" in text_of(row.ids)}
        assert all(reply.startswith(wanted) for reply in said)
        assert said


@pytest.mark.parametrize("lora", [None, {"r": 4}], ids=["weights", "adapter"])
def test_it_learns_to_refuse_new_prompts_at_the_cost_it_says(tmp_path: Path, victim: Path, lora: Any) -> None:
    made = defense(
        examples_per_round=32, epochs=3, lora=lora, optimizer="adamw", learning_rate=3e-3 if lora is None else 3e-2
    )
    rows: list[Any] = []
    real = harness.retrain
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "retrain", lambda *a, **k: (rows.extend(a[2]), real(*a, **k))[1])
        cost = run_round(made, victim, tmp_path / "out")
    nothing = np.empty(0, dtype=np.int64)
    prompt = np.array([harness.render(example(2000).text, TOKENIZER)])
    target = harness.reply_ids(f" {REFUSAL}", TOKENIZER, None)
    item = harness.ScoreItem(nothing, prompt, nothing, target)
    before, after = (
        open_folder(folder, "generation", dtype="float32", device="cpu").score([item])[0].losses[0]
        for folder in (victim, tmp_path / "out")
    )
    assert after < before - (1 if lora is None else 0.1)  # nats per token
    n, tokens = open_folder(victim, "generation", device="cpu").n_params, 3 * sum(len(row.ids) for row in rows)
    if lora is None:
        assert cost.training.nominal == pytest.approx(6 * n * tokens)
    else:
        assert 4 * n * tokens < cost.training.nominal < 6 * n * tokens
    mean = tokens / 3 / len(rows)
    assert made.estimate(n, mean, 1, Threat(), None) == pytest.approx(cost.training.nominal, rel=0.3)  # type: ignore[arg-type]


def test_what_it_cannot_stand_before_is_refused_in_words() -> None:
    labelled = TaskData((" NO", " YES"), DATA.train, DATA.validation)
    benign, harmful = ([e for e in DATA.train if e.benign == wanted] for wanted in (True, False))
    for data, words in (
        (labelled, "answered with labels"),
        (replace(DATA, train=benign), "none of 20 training prompts is harmful"),
        (replace(DATA, train=harmful), "refuses everything"),
    ):
        with pytest.raises(DataError, match=words):
            defense().check(data)
    defense(harmful_share=1).check(replace(DATA, train=harmful))
    with pytest.raises(ValidationError, match="empty refusal"):
        defense(refusal="  ")
    made = defense()
    identity = made.round_identity(made.params.identity(), 1, Threat())
    assert {"refusal", "harmful_share", "epochs"} <= identity["params"].keys()
    assert "rounds" not in identity["params"]
