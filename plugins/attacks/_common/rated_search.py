"""What PAIR and TAP share: an attacker model proposes strings, and a judging model rates what comes of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from harness import (
    Attack,
    Auxiliary,
    DataError,
    Generate,
    Message,
    Messages,
    Problem,
    State,
    TaskData,
    Tokens,
    VictimRef,
)
from plugins.attacks._common.attacker_prompt import (
    EMPTY,
    OPEN,
    UNUSABLE,
    Turn,
    attacker_prompt,
    fit_proposal,
    parse_proposal,
)
from plugins.attacks._common.rating import BEST, WORST, parse_rating, rating_prompt
from plugins.attacks._common.whole_text import clean_state

ATTACKER, JUDGE = "attacker", "judge"
BEST_SCORE = "score"
"""Key of a state's memory: the rating of its string."""

Conversation = list[Turn]


class RatedParams(Attack.Params):
    """The two models, and how they are asked."""

    attacker: VictimRef = Field(description="the model that proposes strings, as a victim; its compute counts")
    judge: VictimRef = Field(description="the model that rates the answers, as a victim; its compute counts as well")
    temperature: NonNegativeFloat = Field(1.0, description="sampling temperature of the attacker")
    max_tokens: PositiveInt = Field(500, description="longest proposal with its reason, in the attacker's tokens")
    answer_tokens: PositiveInt = Field(150, description="longest answer of the victim that is read, in its tokens")
    rating_tokens: PositiveInt = Field(64, description="longest rating, in the judging model's tokens")
    stop_at: int = Field(BEST, gt=WORST, le=BEST, description="rating at which an example's search ends")
    max_chars: PositiveInt = Field(
        4000, ge=200, description="longest prompt of the attacker, and longest text that the judging model is shown"
    )


@dataclass(frozen=True)
class Attempt:
    """A proposal and what came of it.

    Attributes:
        turn: what the attacker is told.
        tokens: the string; None where the proposal could not be used.
        score: from 1 to 10; 0 where it could not be used.
    """

    turn: Turn
    tokens: Tokens | None
    score: int


class RatedSearch(Attack):
    """Base of the attacks whose attacker model is told a rating.

    Attributes:
        rules: what the attacker is to do; None: what `llm_attacker` has it do.
    """

    rules: ClassVar[str | None] = None

    def models(self) -> dict[str, Auxiliary]:
        """Both used as they are."""
        p = self.params
        return {ATTACKER: Auxiliary(p.attacker, sees="nothing"), JUDGE: Auxiliary(p.judge, sees="nothing")}

    def check(self, data: TaskData) -> None:
        """Raise DataError of a task with labels, where a label is the verdict."""
        if data.labels:
            raise DataError(f"{self.name} has answers in text rated; for tasks with labels use llm_attacker")

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return clean_state(problem)

    def proposals(
        self, problem: Problem, conversations: Sequence[Conversation], rng: np.random.Generator
    ) -> Generator[Generate, Any, list[str]]:
        """One proposal for each conversation, the last line where no marks stand around it; "" where there is none."""
        p, seed = self.params, int(rng.integers(1 << 62))
        given = {} if self.rules is None else {"rules": self.rules}
        prompts = tuple(attacker_prompt(problem, turns, p.max_chars, reasons=True, **given) for turns in conversations)
        said = yield Generate(prompts, p.max_tokens, p.temperature, seed, ATTACKER, data=prompts)
        return [_proposal(one or "") for one in said]

    def attempts(
        self, problem: Problem, proposals: Sequence[str], said: Messages = ()
    ) -> Generator[Generate, Any, list[Attempt]]:
        """The victim is asked with each proposal, the judging model rates what it answers. A refusal by a guard and an
        empty answer are rated 1 without it, and so is an answer whose rating cannot be read.

        Args:
            said: turns of the conversation before, with the victim's answers.
        """
        p = self.params
        strings = [fit_proposal(problem, text) for text in proposals]
        usable = {i: tokens for i, tokens in enumerate(strings) if tokens is not None}
        texts = [problem.prompts(tokens[None])[0] for tokens in usable.values()]
        before = (*problem.conversation.before, *said)
        prompts = tuple((*before, Message("user", text)) for text in texts) if said else tuple(texts)
        answers = dict(zip(usable, (yield Generate(prompts, p.answer_tokens)) if usable else [], strict=True))
        asked = {i: rating_prompt(problem, answer, p.max_chars) for i, answer in answers.items() if answer}
        told = (yield judging(asked.values(), p.rating_tokens)) if asked else []
        ratings = dict(zip(asked, map(parse_rating, told), strict=True))
        made = []
        for i, text in enumerate(proposals):
            if i not in usable:
                made.append(Attempt(Turn(text, EMPTY, UNUSABLE), None, 0))
                continue
            score = ratings.get(i, WORST)
            feedback = "It could not be rated." if score is None else f"It was rated {score} of {BEST}."
            string = str(problem.attack_texts(usable[i][None])[0]).strip()
            made.append(Attempt(Turn(string, answers[i] or EMPTY, feedback), usable[i], score or WORST))
        return made

    def found(self, state: State) -> bool:
        """Whether the search is over."""
        return int(state.memory.get(BEST_SCORE, 0)) >= self.params.stop_at


def _proposal(said: str) -> str:
    lines = said.strip().splitlines()
    return parse_proposal(said if OPEN in said or not lines else lines[-1])


def judging(asked: Any, max_tokens: int) -> Generate:
    """A request to the judging model.

    Args:
        asked: prompts, each with its parts that are nobody's instructions.
    """
    prompts, data = zip(*asked, strict=True)
    return Generate(prompts, max_tokens, model=JUDGE, data=tuple(part for parts in data for part in parts))


def best_state(
    state: State, attempts: Sequence[Attempt], memory: dict[str, Any], earlier: tuple[str, ...] = ()
) -> State:
    """The state with the best-rated string; as good a new one takes the place of an old one.

    Args:
        earlier: the attacker's turns before that of the attempts.
    """
    before = int(state.memory.get(BEST_SCORE, 0))
    best = max(attempts, key=lambda attempt: attempt.score, default=None)
    if best is None or best.tokens is None or best.score < before:
        return State(state.tokens, memory=memory | {BEST_SCORE: before}, earlier=state.earlier)
    return State(tuple(best.tokens.tolist()), memory=memory | {BEST_SCORE: best.score}, earlier=earlier)
