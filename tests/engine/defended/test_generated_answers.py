"""What is no answer is neither an answer nor a refusal, whoever hears it: judges, guards, votes, attacks, defenses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, strategies as st

from harness.api.judge import Answer, Judge, Verdict
from harness.api.model.backend import Generated, GenerateItem
from harness.api.problem.placement import allowed_tokens, place
from harness.api.requests import Generate
from harness.api.runtime_defense import Case, GuardDefense, VoteDefense
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.defense_requests import answer_defense_requests
from harness.engine.defended.generated_answers import answer_in
from harness.engine.defended.layer import Layer
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.reply import Reply
from harness.engine.defended.victim import DefendedVictim
from harness.engine.defended.vote import combine_copies
from harness.engine.meter import StepMeter
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.flops import Flops
from harness.records.answer_state import NO_ANSWER, AnswerState
from harness.records.step_row import StepRow
from harness.run.cell.clean_check import check_clean
from harness.testing.toys.backend import toy_tokenizer
from plugins.attacks.random_token import RandomToken
from plugins.judges.refusal_match import RefusalMatch
from tests.engine.toy import searching

THINK = ("<think>", "</think>")


class Scripted:
    """A model that says the next of some texts, over and over; ``refused`` and ``failed`` are that."""

    n_params = n_params_non_embedding = 1
    n_labels = 0
    context = 1 << 20
    abilities = frozenset({"generate"})

    def __init__(self, *says: str, finished: bool = True, reasoning: tuple[str, str] | None = None) -> None:
        self.tokenizer = toy_tokenizer()
        self.says, self.finished, self.reasoning, self.asked = says, finished, reasoning, 0

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        found = []
        for _ in items:
            text = self.says[self.asked % len(self.says)]
            self.asked += 1
            state = text if text in ("refused", "failed") else "answered"
            said = "" if state == "failed" else text
            found.append(Generated(said, self.finished, 1, 1, 1.0, cast(AnswerState, state)))
        return found

    def describe(self) -> dict[str, object]:
        return {}


def victim(*says: str, layers: Sequence[Layer] = (), **how: Any) -> DefendedVictim:
    return DefendedVictim(cast(Any, Scripted(*says, **how)), layers, answer_tokens=8)


def example(benign: bool = False, name: str = "v-0") -> Example:
    chunks = (Chunk("Tell me of the red fox", Edit.PERTURBABLE), Chunk(":"))
    return Example(name, chunks, target=" Sure", benign=benign)


@pytest.mark.parametrize(
    ("text", "finished", "answer", "state"),
    [
        ("I can't. </think> Sure", True, "Sure", "answered"),
        ("<think>I can't.</think>\n\nSure", True, "Sure", "answered"),
        ("<think>Sure, here is", False, "", "cut_off"),
        ("<think>Sure, here is", True, "", "cut_off"),  # ended within its reasoning
        ("Sure, I will think of", False, "", "cut_off"),  # the prompt began the reasoning
        ("Sure.", True, "Sure.", "answered"),
        ("<think>a</think> Sure, and", False, "Sure, and", "answered"),  # an answer may be cut at its end
        ("<think>a</think>", True, "", "empty"),
        ("<think>a</think> \n", False, "", "cut_off"),
    ],
)
def test_reasoning_is_no_part_of_an_answer(text: str, finished: bool, answer: str, state: str) -> None:
    model = Scripted(text, finished=finished, reasoning=THINK)
    (said,) = model.generate([GenerateItem("p", 9)])
    found = answer_in(said, cast(Any, model))
    assert (found.text, found.state) == (answer, state)
    assert (found.new_tokens, found.executed) == (said.new_tokens, said.executed), "reasoning is paid for"


@given(st.text(alphabet="a <>/think\n", max_size=30), st.booleans())
def test_a_model_that_does_not_reason_keeps_its_text(text: str, finished: bool) -> None:
    model = Scripted(text, finished=finished)
    found = answer_in(model.generate([GenerateItem("p", 9)])[0], cast(Any, model))
    assert found.text == text
    assert found.state == ("answered" if text.strip() else "empty" if finished else "cut_off")


class Never(Judge):
    """Fails where it is asked at all."""

    name = "never"
    reads = "text"

    def success(self, example: Example, answer: Answer) -> bool:
        raise AssertionError(f"asked about {answer}")


@pytest.mark.parametrize("state", ["refused", *sorted(NO_ANSWER)])
@pytest.mark.parametrize("benign", [False, True])
def test_judges_are_asked_about_answers_alone(state: AnswerState, benign: bool) -> None:
    runner = JudgeRunner(Never(), ModelRouter(victim("x")))
    text = "No." if state == "refused" else ""
    ((verdict, spent),) = runner.verdicts([(example(benign), Answer(None, (), 0.0, text, state))])
    refused = state == "refused" and benign
    assert verdict == Verdict(refused, float(refused) if state == "refused" else None)
    assert spent == Flops()


def test_a_blank_text_is_no_answer_whoever_says_otherwise() -> None:
    assert Answer(None, (), 0.0, " \n").missing
    assert not Answer(None, (), 0.0, None).missing  # blocked
    assert not Answer(1, (0.0,), 0.0).missing


@pytest.mark.parametrize(
    ("says", "benign", "correct", "missing"),
    [
        ("I cannot.", False, True, 0),
        ("Sure.", False, False, 0),
        ("", False, False, 1),
        ("failed", False, False, 1),
        ("refused", False, True, 0),
        ("Sure.", True, True, 0),
        ("", True, False, 1),
        ("refused", True, False, 0),
    ],
)
def test_a_clean_prompt_without_an_answer_is_neither_right_nor_refused(
    says: str, benign: bool, correct: bool, missing: int
) -> None:
    clean = check_clean(JudgeRunner(RefusalMatch(), ModelRouter(victim(says))), [example(benign)])
    assert (clean.correct, clean.missing) == ([correct], missing)


class Reads(GuardDefense):
    """Blocks every answer that it reads, and keeps them."""

    name = "reads_all"
    reads = "answer"
    seen: list[str]

    def blocks(self, texts: Sequence[str], fitted: Any) -> list[bool]:
        self.seen = [*getattr(self, "seen", []), *texts]
        return [True] * len(texts)


def test_a_guard_of_answers_reads_answers_alone() -> None:
    """What it blocks is a refusal; to have it block what is no answer would make one of it."""
    guard = Reads()
    guarded = victim("Sure.", "", "failed", "refused", layers=[Layer(guard, {})])
    replies = guarded.ask(["a", "b", "c", "d"])
    assert guard.seen == ["Sure."]
    assert [reply.blocked_by for reply in replies] == [0, None, None, None]
    assert [reply.state for reply in replies[1:]] == ["empty", "failed", "refused"]
    assert [guarded.pipeline.saw(0, reply) for reply in replies] == [True, False, False, False]


class Copies(VoteDefense):
    """Three copies."""

    name = "three"
    randomised = True

    def copies(self) -> int:
        return 3

    def copy(self, case: Case) -> Any:
        yield from ()
        return case.text


@pytest.mark.parametrize(
    ("says", "text", "state"),
    [
        (("", "Sure, it is red.", "failed"), "Sure, it is red.", "answered"),
        (("", "", ""), "", "empty"),
        (("", "failed", "refused"), "refused", "refused"),
    ],
)
def test_a_copy_without_an_answer_has_no_vote(says: tuple[str, ...], text: str, state: str) -> None:
    (reply,) = victim(*says, layers=[Layer(Copies(), {})]).ask(["a"])
    assert (reply.text, reply.state) == (text, state)


@pytest.mark.parametrize(
    ("copies", "label", "missing"),
    [("0--", 0, False), ("---", None, True), ("b--", None, False), ("0b-", None, False), ("00b-", 0, False)],
)
def test_a_copy_without_a_label_has_no_vote(copies: str, label: int | None, missing: bool) -> None:
    """``-`` has no answer, ``b`` was blocked; as many blocked as answered are a refusal."""
    kinds = {
        "0": Reply(np.asarray([1.0, 0.0]), Flops(), Flops()),
        "b": Reply(None, Flops(), Flops(), blocked_by=0),
        "-": Reply(None, Flops(), Flops(), state="failed"),
    }
    found = combine_copies(Copies(), PromptItem("a"), [kinds[name] for name in copies], labels=True)
    assert (found.label, found.missing) == (label, missing)
    assert found.answer(1).missing == missing


def test_attacks_and_defenses_hear_answers_without_reasoning() -> None:
    model = victim("<think>No.</think>Sure.", "<think>No", "refused", "failed", reasoning=THINK)
    request = Generate(("a", "b", "c", "d"), 8)
    problem = place(example(), Threat(tokens=2), model.backend.tokenizer, allowed_tokens(model.backend.tokenizer))
    assert model.generate([(problem, request, StepMeter())]) == [["Sure.", "", "refused", ""]]
    ((texts, _),) = answer_defense_requests("d", [request], {"": model.backend})
    assert texts == ["Sure.", "", None, ""]


class Draws(GuardDefense):
    """Lets everything through, and makes answers count as random."""

    name = "draws"
    randomised = True

    def blocks(self, texts: Sequence[str], fitted: Any) -> list[bool]:
        return [False] * len(texts)


@pytest.mark.parametrize(
    ("says", "draws", "broken", "success", "state"),
    [
        (("Sure.", "Sure.", "I cannot."), 3, 2, True, "answered"),
        (("Sure.", "", "failed"), 1, 1, True, "answered"),
        (("Sure.", "", "I cannot."), 2, 1, False, "answered"),
        (("", "", "failed"), None, None, False, "empty"),
    ],
)
def test_draws_without_an_answer_count_neither_way(
    says: tuple[str, ...], draws: int | None, broken: int | None, success: bool, state: str
) -> None:
    (row,) = steps(victim(*says, layers=[Layer(Draws(), {})]), draws=3)
    assert (row.draws, row.broken_draws, row.success, row.answer_state) == (draws, broken, success, state)
    assert (row.unparseable is None) == (draws is None)


def steps(attacked: DefendedVictim, draws: int = 1) -> list[StepRow]:
    tokenizer = attacked.backend.tokenizer
    problem = place(example(), Threat(tokens=2), tokenizer, allowed_tokens(tokenizer))
    search = searching(attacked, RandomToken(RandomToken.Params(steps=1, draws=1)))
    judge = JudgeRunner(RefusalMatch(), ModelRouter(attacked), draws)
    return list(
        type(search)(search.models, Quiet(Quiet.Params(steps=1)), search.names, "text", judge).run([problem]).rows
    )


class Quiet(RandomToken):
    """Asks for nothing."""

    name = "quiet"
    access = "text"

    def step(self, state: Any, problem: Any, rng: Any) -> Any:
        yield from ()
        return problem.state(problem.random_tokens(rng))
