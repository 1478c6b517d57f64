"""Circuit breakers: which prompts are rerouted and which retained, with which answers; cost; refusals in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import harness
from harness.api.task import TaskData
from harness.api.threat import Threat
from harness.engine.open_backend import open_folder
from harness.errors import DataError, VictimError
from harness.flops import Flops
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.defenses.text_answers.circuit_breakers import CircuitBreakers
from tests.engine.hub_models import byte_bpe, write_folder
from tests.plugins.defenses.text_rounds import DATA, run_round

TOKENIZER = HFTokenizer(byte_bpe())
NEVER = replace(DATA, train=[e if e.benign else replace(e, reply=" Never.") for e in DATA.train])


def defense(**params: Any) -> CircuitBreakers:
    return CircuitBreakers(CircuitBreakers.Params(**params))


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("victim"), "gpt_neox", "label_tokens", scale=1.0)


@pytest.mark.parametrize("refusals", [True, False])
def test_complying_answers_are_rerouted_and_good_replies_retained(
    tmp_path: Path, victim: Path, refusals: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[Any] = []
    monkeypatch.setattr(harness, "retrain", lambda *a, **_: learnt.append(a[2]) or Flops())
    cost = run_round(defense(steps=10, batch_size=8, retain_refusals=refusals), victim, tmp_path / "out", NEVER)
    (pairs,) = learnt

    def said(row: Any) -> tuple[str, str]:
        prompt, reply = TOKENIZER.decode([list(row.ids[: row.start]), list(row.ids[row.start :])])
        return prompt, reply

    assert len(pairs.groups) == 80
    harmful, retained = ([said(row) for row in rows] for rows in zip(*pairs.groups, strict=True))
    assert {prompt for prompt, _ in harmful} == {e.text for e in DATA.train if not e.benign}  # all, again and again
    assert all(reply.startswith(" Sure, here") for _, reply in harmful)
    replies = {e.text: e.reply for e in NEVER.train}
    assert all(reply.startswith(replies[prompt]) for prompt, reply in retained)
    assert any("poison" in prompt for prompt, _ in retained) == refusals
    assert cost.notes["harmful"] == 20
    assert cost.notes["retained"] == (40 if refusals else 20)
    assert cost.search == Flops()


def test_the_victim_as_it_was_is_counted(tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = harness.retrain
    monkeypatch.setattr(harness, "retrain", lambda *a, **k: (seen.append(a[2]), real(*a, **k))[1])
    made = defense(steps=3, batch_size=4)
    cost = run_round(made, victim, tmp_path / "out", NEVER)
    n, rows = open_folder(victim, "generation", device="cpu").n_params, seen[0].rows
    tokens = sum(len(row.ids) for row in rows)
    assert cost.training.nominal == pytest.approx(8 * n * tokens)
    assert cost.notes["rows_sha256"] == harness.rows_hash(rows)
    guess = made.estimate(n, tokens / len(rows), 1, Threat(), None)  # type: ignore[arg-type]
    assert guess == pytest.approx(cost.training.nominal)


def test_what_it_cannot_stand_before_is_refused_in_words() -> None:
    benign, harmful = ([e for e in DATA.train if e.benign == wanted] for wanted in (True, False))
    untargeted = [replace(e, target="") for e in DATA.train]
    for data, words in (
        (TaskData((" NO", " YES"), DATA.train, DATA.validation), "answered with labels"),
        (replace(DATA, train=benign), "none of 20 training prompts is harmful"),
        (replace(DATA, train=harmful), "no training prompt is benign"),
        (replace(DATA, train=untargeted), "no harmful training prompt has a target"),
    ):
        with pytest.raises(DataError, match=words):
            defense().check(data)
    defense().check(DATA)
    with pytest.raises(ValidationError):
        defense(loss={"alpha": 0})


def test_a_victim_with_a_training_of_its_own_is_refused(tmp_path: Path, victim: Path) -> None:
    with pytest.raises(VictimError, match="circuit_breakers: trains on the model's activations"):
        run_round(defense(steps=1), victim, tmp_path / "out", NEVER, retrain=lambda _: Flops())


def test_what_changes_weights_changes_the_key() -> None:
    def of(**params: Any) -> Any:
        made = defense(**params)
        return made.round_identity(made.params.identity(), 1, Threat())

    assert of() == of(rounds=3)
    changes: list[dict[str, Any]] = [{"loss": {"alpha": 5}}, {"loss": {"layers": [1]}}, {"loss": {"tokens": "answer"}}]
    changes += [{"steps": 10}, {"retain_refusals": False}, {"lora": {}}]
    assert all(of(**change) != of() for change in changes)
