"""PAIR: an attacker model refines its proposals by the ratings of a judging model."""

from __future__ import annotations

import numpy as np
from pydantic import Field, PositiveInt

from harness import Problem, State, Step, hookimpl
from plugins.attacks._common.attacker_prompt import Turn
from plugins.attacks._common.rated_search import RatedParams, RatedSearch, best_state

_STREAMS = "streams"  # key of a state's memory


class PAIR(RatedSearch):
    """Conversations side by side, in which an attacker model proposes strings and is told how a judging model rated the
    victim's answers.
    """

    name = "pair"
    access = "text"
    paper = "Chao et al. 2023, 'Jailbreaking Black Box Large Language Models in Twenty Queries', arXiv 2310.08419"

    class Params(RatedParams):
        steps: PositiveInt = Field(3, description="turns of each conversation; each is judged and recorded")
        streams: PositiveInt = Field(20, description="conversations side by side, each with one proposal per step")
        history: PositiveInt = Field(4, description="last turns of a conversation that the attacker's prompt contains")

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        if self.found(state):
            return state
        p = self.params
        streams = [[Turn(*turn) for turn in stream] for stream in state.memory.get(_STREAMS, [[]] * p.streams)]
        proposals = yield from self.proposals(problem, streams, rng)
        attempts = yield from self.attempts(problem, proposals)
        longer = [[*turns, attempt.turn][-p.history :] for turns, attempt in zip(streams, attempts, strict=True)]
        return best_state(state, attempts, {_STREAMS: [[list(turn) for turn in turns] for turns in longer]})


@hookimpl
def harness_register_attacks(register):
    register(PAIR)
