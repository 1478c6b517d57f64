"""Best-of-N: readable perturbations of a text, asked about one by one, the first that works kept."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness import ChatFormat, ChatTemplate
from harness.api.judge import Answer, Judge
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.state import State
from harness.api.requests import Generate
from harness.api.runtime_defense import GuardDefense
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_attack
from harness.engine.torch.backend import TorchBackend
from harness.flops import Flops
from harness.records.journal import Journal
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.message import Conversation, Message
from plugins.attacks._common.answer_success import contains_target, looks_successful
from plugins.attacks._common.text_augmentation import augment, scramble_letters, shift_character
from plugins.attacks.best_of_n import BestOfN, text_to_augment
from plugins.judges.labels import WrongLabel
from tests.engine.hub_models import byte_bpe, random_model
from tests.engine.toy import ToyBackend, searching, toy_examples, without_time

LABELS = (" HAM", " SPAM")
ATTACK = BestOfN(BestOfN.Params(steps=6, samples=8))


def problems(backend: Any, threat: Threat | None = None, edit: Edit = Edit.OVERWRITABLE) -> list[Any]:
    allowed = allowed_tokens(backend.tokenizer)
    examples = toy_examples(12, edit)
    return [place(e, threat or Threat(tokens=8), backend.tokenizer, allowed, LABELS) for e in examples]


# -- augmentations -----------------------------------------------------------------------------------------------------


def is_printable(c: str) -> bool:
    return " " <= c <= "~"


@given(text=st.text(max_size=60), sigma=st.floats(0, 1), seed=st.integers(0, 99))
@settings(deadline=None)
def test_an_augmentation_keeps_the_length_and_what_it_is_not_about(text: str, sigma: float, seed: int) -> None:
    drawn = augment(text, sigma, np.random.default_rng(seed))
    assert len(drawn) == len(text)
    for old, new in zip(text, drawn, strict=True):
        if not (old.isalpha() or is_printable(old)):
            assert new == old
        if is_printable(old) and not old.isalpha():
            assert abs(ord(new) - ord(old)) <= 1
            assert is_printable(new)
    assert drawn == augment(text, sigma, np.random.default_rng(seed))
    assert augment(text, 0.0, np.random.default_rng(seed)) == text


@given(word=st.text(st.characters(categories=["L"]), min_size=2, max_size=12), seed=st.integers(0, 99))
def test_scrambling_moves_inner_letters_alone(word: str, seed: int) -> None:
    drawn = scramble_letters(word, np.random.default_rng(seed))
    assert (drawn[0], drawn[-1], sorted(drawn)) == (word[0], word[-1], sorted(word))


@given(st.characters())
def test_shifting_stays_in_printable_ascii(character: str) -> None:
    rng = np.random.default_rng(0)
    drawn = {shift_character(character, rng) for _ in range(40)}
    if not is_printable(character):
        assert drawn == {character}
    else:
        near = {chr(ord(character) - 1), chr(ord(character) + 1)}
        outside = any(not is_printable(c) for c in near)
        assert drawn == {c for c in near if is_printable(c)} | ({character} if outside else set())


def test_each_is_as_frequent_as_in_the_paper() -> None:
    sigma, rng = 0.25, np.random.default_rng(0)
    capitals = augment("a 1 " * 4000, sigma, rng)[::4]
    digits = augment("5" * 16_000, sigma, rng)
    words = augment("\u0431\u0432\u0433\u0434\u0435\u0436\u0437\u0438\u043a " * 4000, sigma, rng).split()  # not ASCII
    assert sum(c.isupper() for c in capitals) / 4000 == pytest.approx(sigma**0.5, abs=0.03)
    assert sum(c != "5" for c in digits) / 16_000 == pytest.approx(sigma**3, abs=0.004)
    moved = sum(sorted(word) == sorted(words[0]) and word != words[0] for word in words) / 4000
    plain = "\u0431\u0432\u0433\u0434\u0435\u0436\u0437\u0438\u043a"
    assert sum(word != plain for word in words) / len(words) == pytest.approx(sigma**0.5, abs=0.03), moved


def test_words_of_three_letters_and_the_ends_of_longer_ones_stay() -> None:
    text, rng = "the fox lingers beyond every door", np.random.default_rng(0)
    for _ in range(100):
        for old, new in zip(text.split(), augment(text, 1e-3, rng).lower().split(), strict=True):
            assert sorted(new) == sorted(old)
            assert (new[0], new[-1]) == (old[0], old[-1])
            assert len(old) > 3 or new == old


# -- what is augmented -------------------------------------------------------------------------------------------------


def test_what_is_replaced_is_augmented_else_words_of_the_prompt() -> None:
    backend = ToyBackend()
    (inserted, *_), (replaced, *_) = (
        problems(backend, Threat(tokens=8, edit=edit), Edit.PERTURBABLE) for edit in ("insert", "replace")
    )
    (empty, *_) = problems(backend)  # its chunk is to be replaced, and is empty
    assert text_to_augment(replaced, np.random.default_rng(0)) == " over the old fence"
    for problem, text in ((inserted, " over the old fence"), (empty, empty.example.text)):
        words = text_to_augment(problem, np.random.default_rng(0)).split()
        assert len(words) == 8
        assert set(words) <= set(text.split())


def test_words_come_from_the_users_own_text_alone() -> None:
    tokenizer = HFTokenizer(byte_bpe())
    lead, tail = Chunk("System: be good.\nUser: <|endoftext|>Hi <|padding|> "), Chunk("<|endoftext|>\nAssistant:")
    said = Chunk("the old fence", Edit.PERTURBABLE)
    around = Conversation((Message("system", "Never say no."),))

    def words(*chunks: Chunk, **more: Any) -> set[str]:
        example = Example("e", chunks, 0, 1, **more)
        placed = place(example, Threat(tokens=8), tokenizer, allowed_tokens(tokenizer))
        return {word for seed in range(20) for word in text_to_augment(placed, np.random.default_rng(seed)).split()}

    assert words(lead, said, tail) == {"the", "old", "fence"}
    assert words(lead, Chunk("", Edit.PERTURBABLE), tail) == {"System:", "be", "good.", "User:", "Assistant:"}
    tokenizer = tokenizer.with_chat(ChatFormat(ChatTemplate("{% for m in messages %}{{ m.content }}|{% endfor %}")))
    assert words(said, conversation=around) == {"the", "old", "fence"}


def test_an_augmented_request_is_the_papers_attack() -> None:
    """Every string is the request itself, in other letters."""
    backend = ToyBackend()
    placed = problems(backend, Threat(tokens=30, edit="replace"), Edit.PERTURBABLE)
    search = searching(DefendedVictim(backend, labels=LABELS), ATTACK, granted="text", judge=WrongLabel())
    texts = {row.attack_text for row in search.run(placed).rows}
    assert len(texts) > 6
    assert all(len(text) == len(" over the old fence") for text in texts)


# -- the search --------------------------------------------------------------------------------------------------------


def test_the_first_string_that_works_is_kept_and_nothing_more_is_asked() -> None:
    backend = ToyBackend()
    placed = problems(backend)
    victim = DefendedVictim(backend, labels=LABELS)
    rows = searching(victim, ATTACK, granted="text", judge=WrongLabel()).run(placed).rows
    broken = 0
    for problem in placed:
        own = [row for row in rows if row.example == problem.example.id]
        (reply,) = victim.ask([problem.prompt("")])
        first = next((i for i, row in enumerate(own) if row.success), len(own))
        for i, row in enumerate(own):
            assert len(row.attack_tokens) <= 8
            assert row.queries == (8 if i <= first else 0)
            assert row.attack_nominal >= 2 * backend.n_params * row.queries
            if i > first:
                assert row.attack_tokens == own[first].attack_tokens
        broken += first < len(own) and reply.label == problem.example.label
    assert broken  # some that a clean prompt does not break


def test_the_first_wanted_answer_decides_and_else_the_last_string_stands() -> None:
    problem = problems(ToyBackend())[0]
    for answers, at in (([" HAM", " SPAM", " SPAM"], 1), ([" HAM", None, " HAM"], 2)):
        attack = BestOfN(BestOfN.Params(samples=3))
        step = attack.step(attack.start(problem, np.random.default_rng(0)), problem, np.random.default_rng(1))
        asked = next(step)
        assert isinstance(asked, Generate)
        assert len(asked.prompts) == 3
        with pytest.raises(StopIteration) as end:
            step.send(answers)
        assert problem.prompt_of(end.value.value) == asked.prompts[at]


def test_answers_are_drawn_anew_in_each_step_at_a_temperature() -> None:
    def asked(**params: Any) -> list[Generate]:
        attack, problem, rng = (
            BestOfN(BestOfN.Params(samples=2, **params)),
            problems(ToyBackend())[0],
            np.random.default_rng(3),
        )
        state, found = attack.start(problem, rng), []
        for _ in range(2):
            step = attack.step(state, problem, rng)
            found.append(next(step))
            with pytest.raises(StopIteration) as stop:
                step.send([None, None])
            state = stop.value.value
        return found

    drawn, greedy = asked(temperature=1.0), asked()
    assert {request.temperature for request in drawn} == {1.0}
    assert len({request.seed for request in drawn}) == 2
    assert {(request.temperature, request.seed) for request in greedy} == {(0.0, 0)}
    assert "temperature" not in BestOfN.Params().identity()
    assert BestOfN.Params(temperature=1.0).identity() == BestOfN.Params().identity() | {"temperature": 1.0}


def test_where_nothing_fits_nothing_is_asked() -> None:
    backend = ToyBackend()
    (odd,) = backend.tokenizer.encode(["\x07"])[0]  # a token that no augmentation begins with
    placed = [replace(problem, allowed=np.asarray([odd])) for problem in problems(backend)]
    rows = (
        searching(DefendedVictim(backend, labels=LABELS), ATTACK, granted="text", judge=WrongLabel()).run(placed).rows
    )
    assert {row.queries for row in rows} == {0}
    assert {tuple(row.attack_tokens) for row in rows} == {(odd,) * 8}


@pytest.mark.parametrize(("said", "wanted"), [(" SPAM", True), ("SPAM", True), (" HAM", False), (None, False)])
def test_a_label_is_wanted_where_it_is_the_proxy_label(said: str | None, wanted: bool) -> None:
    problem = problems(ToyBackend())[0]
    assert problem.wanted == LABELS[problem.example.proxy_label] == " SPAM"
    assert looks_successful(problem, said) == contains_target(problem, said) == wanted


@pytest.mark.parametrize("cut", [1, 3])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path: Path, cut: int) -> None:
    class StoppedError(Exception):
        pass

    def stop(round: int, _rows: Any) -> None:
        if round == cut:
            raise StoppedError

    backend = ToyBackend()
    search = searching(DefendedVictim(backend, labels=LABELS), ATTACK, granted="text", judge=WrongLabel())
    whole = search.run(problems(backend))
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(StoppedError):
        search.run(problems(backend), journal, stop)
    with Journal(tmp_path / "journal.jsonl") as journal:
        again = search.run(problems(backend), journal)
    assert without_time(again.rows) == without_time(whole.rows)
    assert [string.state for string in again.strings] == [string.state for string in whole.strings]
    assert all(
        State.from_json(json.loads(json.dumps(string.state.to_json()))) == string.state for string in whole.strings
    )


def test_what_it_will_ask_is_known_beforehand() -> None:
    found = dry_run_attack(BestOfN(BestOfN.Params(samples=7)), Threat(tokens=5))
    assert (found.answered, found.scored, found.differentiated) == (7, 0, 0)


# -- victims that answer in text ---------------------------------------------------------------------------------------


class Shouting(GuardDefense):
    """Refuses prompts with many capitals."""

    name = "shouting"

    def blocks(self, texts: Any, fitted: Any) -> list[bool]:
        return [sum(c.isupper() for c in text) > 9 for text in texts]

    def cost(self, text: str) -> Flops:
        return Flops()


class AnyAnswer(Judge):
    """Any answer is one too many."""

    name = "any_answer"
    reads = "text"

    def success(self, example: Example, answer: Answer) -> bool:
        return True  # a guard's refusal does not come here


@cache
def model() -> TorchBackend:
    tokenizer = HFTokenizer(byte_bpe())
    made = random_model("gpt_neox", "label_tokens", tokenizer.vocabulary, context=256)
    return TorchBackend(made, tokenizer, "generation")


def test_an_answer_in_text_is_kept_and_better_ones_are_still_asked_for() -> None:
    allowed = allowed_tokens(model().tokenizer)
    examples = [
        Example(f"v-{i}", (Chunk(f"Tell me of the {thing}", Edit.PERTURBABLE), Chunk(":")), target=" Sure")
        for i, thing in enumerate(("kite", "old bell", "lazy dog"))
    ]
    threat = Threat(tokens=60, edit="replace")
    placed = [place(example, threat, model().tokenizer, allowed) for example in examples]
    victim = DefendedVictim(model(), [Layer(Shouting(), {})], answer_tokens=4)
    attack = BestOfN(BestOfN.Params(steps=4, samples=2, sigma=0.4, max_tokens=3))
    rows = searching(victim, attack, granted="text", judge=AnyAnswer()).run(placed).rows
    assert {row.queries for row in rows} == {2}  # the judge may want more than an answer that does not refuse
    by_example = [[row.success for row in rows if row.example == e.id] for e in examples]
    assert all(won == sorted(won) for won in by_example)  # what was found stays
    assert any(not won[0] and won[-1] for won in by_example)


@pytest.mark.slow
def test_a_trained_classifier_falls_to_some(trained: Any) -> None:
    victim = trained("word_length", "26k")
    backend = victim.open()
    placed = [
        replace(problem, wanted=victim.data.labels[problem.example.proxy_label])
        for problem in victim.problems(backend, 40)
    ]
    attack = BestOfN(BestOfN.Params(steps=8, samples=16))
    defended = DefendedVictim(backend, labels=victim.data.labels)
    rows = searching(defended, attack, granted="text", judge=WrongLabel()).run(placed).rows
    table = np.asarray([row.success for row in rows]).reshape(len(placed), -1)
    print("broken so far", np.logical_or.accumulate(table, axis=1).mean(axis=0).round(2))
    assert table[:, -1].mean() > 0.05
    assert (np.diff(table.astype(int), axis=1) >= 0).all()
