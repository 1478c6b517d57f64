"""The system prompt: what the victim reads, scores and answers is the conversation with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from harness.api.model.backend import GenerateItem, prompt_ids
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.requests import Generate, Gradient, Sample, Score
from harness.api.runtime_defense import TransformDefense
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.api.threat import Threat
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.meter import StepMeter
from harness.errors import DataError, PluginError
from harness.flops import nominal_forward
from harness.testing.toys.language_model import ToyLanguageModel
from harness.testing.toys.tokenizers import CHAT, tokenizer_of
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.message import PLAIN, Conversation, Message
from plugins.defenses.system_prompt import SystemPrompt

TEXT = "Be good."
EXAMPLE = Example("e", (Chunk("What is a fox?"), Chunk("", Edit.PERTURBABLE)), target=" A fox")


def defense(**params: Any) -> SystemPrompt:
    return SystemPrompt(SystemPrompt.Params(text=TEXT, **params))


def tokenizer(**settings: Any) -> HFTokenizer:
    return tokenizer_of("byte_bpe").with_chat(replace(CHAT, **settings))


def defended(*defenses: Any, **settings: Any) -> DefendedVictim:
    backend: Any = ToyLanguageModel(tokenizer(**settings))
    return DefendedVictim(backend, [Layer(one) for one in defenses])


def problem_of(victim: DefendedVictim, position: Any = "suffix") -> Problem:
    own = victim.backend.tokenizer
    threat = Threat(position=position, tokens=4)
    return place(EXAMPLE, threat, own, allowed_tokens(own), surround=victim.surrounded)


@pytest.mark.parametrize("position", ["suffix", "answer"])
def test_attacks_and_verdicts_meet_the_victim_behind_the_system_prompt(position: str) -> None:
    victim, same = defended(defense()), defended(system=TEXT)
    problem, wanted = (problem_of(one, position) for one in (victim, same))
    assert problem.before.tolist() == wanted.before.tolist()
    rows = problem.random_tokens(np.random.default_rng(0), 5)
    requests = (
        ("score", Score(rows)),
        ("gradient", Gradient(rows[0], top=3)),
        ("sample", Sample(rows[:2, :2], 3, seed=1)),
        ("generate", Generate((problem.prompts(rows[:1])[0],), 6)),
    )
    for name, request in requests:
        meters = StepMeter(), StepMeter()
        found = getattr(victim, name)([(problem, request, meters[0])])
        expected = getattr(same, name)([(wanted, request, meters[1])])
        assert repr(found) == repr(expected)
        assert (meters[0].attack, meters[0].queries) == (meters[1].attack, meters[1].queries)
    texts = problem.prompts(rows)
    found, expected = (one.ask(texts, conversations=[problem.conversation] * 5) for one in (victim, same))
    assert [(a.text, a.victim, a.defense) for a in found] == [(a.text, a.victim, a.defense) for a in expected]


def compute_of_prompt(victim: DefendedVictim) -> float:
    """Of one, its answer left out."""
    real = victim.backend.generate
    victim.backend.generate = lambda items: [replace(said, new_tokens=0) for said in real(items)]  # type: ignore
    return victim.ask(["What is a fox?"])[0].victim.nominal


def test_its_tokens_are_paid_for_with_every_answer() -> None:
    question = [GenerateItem("What is a fox?", 1)]
    lengths = [len(prompt_ids(question, tokenizer(**settings))[0]) for settings in ({}, {"system": TEXT})]
    more = compute_of_prompt(defended(defense())) - compute_of_prompt(defended())
    assert more == nominal_forward(ToyLanguageModel(tokenizer()).n_params, lengths[1] - lengths[0]) > 0


@pytest.mark.parametrize(
    ("position", "own", "given", "read"),
    [
        ("before", None, None, TEXT),
        ("before", "Mine.", None, f"{TEXT}\n\nMine."),
        ("after", "Mine.", None, f"Mine.\n\n{TEXT}"),
        ("replace", "Mine.", None, TEXT),
        ("before", "Mine.", "Its.", f"{TEXT}\n\nIts."),
        ("replace", "Mine.", "Its.", TEXT),
        ("after", None, "", TEXT),
    ],
)
def test_a_system_prompt_that_is_there(position: str, own: str | None, given: str | None, read: str) -> None:
    before = () if given is None else (Message("system", given),)
    said = Message("user", "Hi"), Message("assistant", "Ho")
    made = defense(position=position).surround(Conversation((*before, *said), "user"), own)
    assert made == Conversation((Message("system", read), *said), "user")


def test_the_victims_own_system_prompt_is_known_to_it() -> None:
    victim = defended(defense(), system="Mine.")
    assert victim.surrounded(PLAIN).before == (Message("system", f"{TEXT}\n\nMine."),)
    backend: Any = ToyLanguageModel(tokenizer_of("byte_bpe").for_messages("Ours."))
    served = DefendedVictim(backend, victim.layers)
    assert served.surrounded(PLAIN).before == (Message("system", f"{TEXT}\n\nOurs."),)


class Shout(TransformDefense):
    """Capitals."""

    name = "shout"

    def apply(self, texts: Any) -> list[str]:
        return [text.upper() for text in texts]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_in_a_stack_each_defense_leaves_the_others_their_part(order: tuple[int, int]) -> None:
    asked: list[Any] = []
    victim = defended(*((defense(), Shout(Shout.Params()))[at] for at in order))
    real = victim.backend.generate
    victim.backend.generate = lambda items: asked.extend(i.asked for i in items) or real(items)  # type: ignore
    problem = problem_of(victim, "answer")
    victim.generate([(problem, Generate(("Sure, a",), 4), StepMeter())])
    # What begins the answer is nobody's to rewrite.
    assert asked == [(Message("system", TEXT), Message("user", "WHAT IS A FOX?"), Message("assistant", "Sure, a"))]
    two = defended(defense(), SystemPrompt(SystemPrompt.Params(text="And fair.")))
    assert two.surrounded(PLAIN).before == (Message("system", f"And fair.\n\n{TEXT}"),)


def test_it_stands_before_no_system_prompt_of_the_attackers() -> None:
    example = Example.of_messages("e", [("system", (Chunk("", Edit.PERTURBABLE),)), Message("user", "Hi")], target=" A")
    with pytest.raises(DataError, match="the message that may change is the system prompt"):
        defense().check(TaskData((), [], [example]))
    with pytest.raises(ValidationError, match="an empty system prompt is not a defense"):
        SystemPrompt.Params(text=" \n")


def test_a_defense_that_moves_the_attackers_message_is_named() -> None:
    class Moves(SystemPrompt):
        name = "moves"

        def surround(self, conversation: Conversation, system: str | None) -> Conversation:
            return Conversation((), "tool")

    with pytest.raises(PluginError, match=r"defense moves: surround\(\) must return .* same role, 'user'"):
        defended(Moves(SystemPrompt.Params())).ask(["Hi"])
