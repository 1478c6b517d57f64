"""Attacks through tokenizers that put a space before a text or fall back on bytes: what the attack was told of its
string is what the victim says to the whole prompt, and steps in which nothing survives are recorded.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from harness.api.attack import Attack
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.torch.backend import TorchBackend
from plugins.attacks.gcg import GCG
from plugins.attacks.random_search import RandomSearch
from plugins.attacks.random_token import RandomToken
from plugins.judges.labels import WrongLabel
from tests.engine.hub_models import random_model
from tests.engine.toy import ToyBackend, searching
from tests.tokens.kinds import SENTENCES, tokenizer_of

LABELS = (" FIRST", " NEGATIVE", " the dog jumps")  # of two tokens and more, whatever the kind
KINDS = (*SENTENCES, "prefix_space", "plain")
ATTACKS: tuple[Attack, ...] = (
    GCG(GCG.Params(steps=2, candidates=12, topk=16)),
    RandomSearch(RandomSearch.Params(steps=2, candidates=12)),
    RandomToken(RandomToken.Params(steps=2, draws=12)),
)
PLACES = (
    {"position": "suffix"},
    {"position": "prefix"},
    {"position": "infix"},
    {"edit": "replace"},
)


@cache
def backend(kind: str, head: str) -> TorchBackend:
    tokenizer = tokenizer_of(kind)
    labels = LABELS if head == "label_tokens" else ()
    model = random_model("gpt_neox", "label_tokens", tokenizer.vocabulary)
    return TorchBackend(model, tokenizer, head, labels)  # type: ignore[arg-type]


def problems(kind: str, **wanted: Any) -> list[Problem]:
    """Strings at the beginning of the prompt, in the middle and next to its end."""
    tokenizer = tokenizer_of(kind)
    allowed = allowed_tokens(tokenizer)
    found = []
    for lead in ("Say it: ", "", " Well,"):
        for i, where in enumerate(PLACES):
            chunks = (
                Chunk(lead),
                Chunk("the quick fox", Edit.PERTURBABLE),
                Chunk("\n\nAnswer:" if i % 2 else " Answer:"),
            )
            example = Example(f"{lead}{i}", chunks, **wanted)
            threat = Threat.model_validate({"tokens": 3, **where})
            found.append(place(example, threat, tokenizer, allowed))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_several_tokens_are_scored_as_they_follow_the_prompt(kind: str) -> None:
    made, tokenizer = backend(kind, "label_tokens"), tokenizer_of(kind)
    prompt = "Is the fox quick?\n\nAnswer:"
    (start,) = tokenizer.encode([prompt])
    scores = []
    for label in LABELS:
        (whole,) = tokenizer.encode([prompt + label])
        assert whole[: len(start)] == start
        assert len(whole) - len(start) > 1
        with torch.no_grad():
            log_probs = made.model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
        scores.append(sum(float(log_probs[at - 1, whole[at]]) for at in range(len(start), len(whole))))
    assert made.classify([np.asarray(start)])[0][0] == pytest.approx(scores, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_a_label_is_that_of_the_whole_prompt(kind: str) -> None:
    victim = DefendedVictim(backend(kind, "label_tokens"), labels=LABELS)
    asked = problems(kind, label=0, proxy_label=2)
    for attack in ATTACKS:
        rows = searching(victim, attack, judge=WrongLabel()).run(asked).rows
        assert len(rows) == 2 * len(asked)
        for row in rows:
            assert row.failure is None
            assert row.loss == pytest.approx(row.attack_loss, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_a_target_is_that_of_the_whole_prompt(kind: str) -> None:
    victim = DefendedVictim(backend(kind, "generation"), answer_tokens=4)
    asked = problems(kind, target=" The dog jumps")
    tokenizer = tokenizer_of(kind)
    for string in searching(victim, ATTACKS[0]).run(asked).strings:
        problem, state = string.problem, string.state
        (text,) = problem.attack_texts(state.array[None])
        assert text is not None
        (row,) = tokenizer.encode([problem.prompt(text)])
        (whole,) = tokenizer.encode([problem.prompt(text) + problem.example.target])
        assert whole[: len(row)] == row
        with torch.no_grad():
            log_probs = victim.backend.model(torch.tensor([whole])).logits[0].double().log_softmax(-1)  # type: ignore[attr-defined]
        nll = [-float(log_probs[at - 1, whole[at]]) for at in range(len(row), len(whole))]
        assert state.loss == pytest.approx(np.mean(nll), abs=1e-4)


def dead_letters() -> np.ndarray[Any, Any]:
    """Tokens that no text is tokenised to: the bytes of letters that have a token of their own."""
    tokenizer = tokenizer_of("sentencepiece")
    return np.asarray([tokenizer._rust.token_to_id(f"<0x{ord(letter):02X}>") for letter in "ABCDefgh"])


def toy_problem(tokens: int = 4) -> tuple[ToyBackend, Problem]:
    tokenizer = tokenizer_of("sentencepiece")
    chunks = (Chunk("Say it:"), Chunk("", Edit.OVERWRITABLE), Chunk("\n\nAnswer:"))
    example = Example("e", chunks, 0, 1)
    return ToyBackend(tokenizer), place(example, Threat(tokens=tokens), tokenizer, allowed_tokens(tokenizer))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_where_nothing_survives_every_step_is_recorded(attack: Attack) -> None:
    backend, problem = toy_problem()
    problem = replace(problem, allowed=dead_letters())
    longer = type(attack)(attack.params.model_copy(update={"steps": 4}))
    found = searching(DefendedVictim(backend), longer, judge=WrongLabel()).run([problem])
    assert [row.step for row in found.rows] == [1, 2, 3, 4]
    assert {row.failure for row in found.rows} == {"retokenisation"}
    assert not any(row.success for row in found.rows)
    assert all(row.attack_text is None and row.attack_loss is None for row in found.rows)
    if not isinstance(attack, RandomToken):  # whose draws are fresh in any case
        assert len({tuple(row.attack_tokens) for row in found.rows}) > 2


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_from_a_string_without_hope_the_search_goes_on_from_a_fresh_draw(attack: Attack) -> None:
    backend, problem = toy_problem()
    dead = problem.state(dead_letters()[:4])  # a substitution repairs one token of four
    victim = DefendedVictim(backend)
    search = searching(victim, replace_start(attack, dead), judge=WrongLabel())
    rows = search.run([problem]).rows
    assert rows[-1].failure is None
    assert rows[-1].loss == pytest.approx(rows[-1].attack_loss)
    assert not set(rows[-1].attack_tokens) & set(dead.tokens)


def replace_start(attack: Attack, state: Any) -> Attack:
    """The attack, but begun at this state."""
    begun = type("Begun", (type(attack),), {"start": lambda *_: state})
    return begun(attack.params)  # type: ignore[no-any-return]
