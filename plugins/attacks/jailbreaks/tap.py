"""TAP: a tree of proposals, pruned where they leave the request and where they are rated low."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt

from harness import Generate, Problem, State, Step, hookimpl
from plugins.attacks._common.attacker_prompt import Turn, fit_proposal
from plugins.attacks._common.rated_search import Conversation, RatedParams, RatedSearch, best_state, judging
from plugins.attacks._common.rating import parse_same, topic_prompt

_LEAVES = "leaves"  # key of a state's memory


class TAP(RatedSearch):
    """Each conversation of a tree branches; what strays from the request is pruned before the victim is asked, and of
    the rest the best-rated go on.
    """

    name = "tap"
    access = "text"
    paper = "Mehrotra et al. 2023, 'Tree of Attacks: Jailbreaking Black-Box LLMs Automatically', arXiv 2312.02119"

    class Params(RatedParams):
        steps: PositiveInt = Field(10, description="depth of the tree; each level is judged and recorded")
        branching: PositiveInt = Field(4, description="proposals that each conversation branches into")
        width: PositiveInt = Field(10, description="conversations that are kept after a level, at most")
        history: PositiveInt = Field(1, description="last turns of a conversation that the attacker's prompt contains")

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        if self.found(state):
            return state
        p = self.params
        leaves: list[Conversation] = [[Turn(*turn) for turn in leaf] for leaf in state.memory.get(_LEAVES, [[]])]
        branches = [leaf for leaf in leaves for _ in range(p.branching)]
        proposals = yield from self.proposals(problem, branches, rng)
        kept = yield from self._on_topic(problem, proposals)
        attempts = yield from self.attempts(problem, [proposals[i] for i in kept])
        grown = [[*branches[i], attempt.turn][-p.history :] for i, attempt in zip(kept, attempts, strict=True)]
        best = sorted(range(len(grown)), key=lambda i: -attempts[i].score)[: p.width]
        leaves = [grown[i] for i in best] or leaves  # where all strayed, the level is tried again
        return best_state(state, attempts, {_LEAVES: [[list(turn) for turn in leaf] for leaf in leaves]})

    def _on_topic(self, problem: Problem, proposals: Sequence[str]) -> Generator[Generate, Any, list[int]]:
        """Which proposals can be used and still ask for what the clean prompt does; one that the judging model says
        nothing readable of is not pruned.
        """
        p, asked = self.params, {}
        for i, text in enumerate(proposals):
            tokens = fit_proposal(problem, text)
            if tokens is not None:
                asked[i] = topic_prompt(problem, problem.prompts(tokens[None])[0], p.max_chars)
        told = (yield judging(asked.values(), p.rating_tokens)) if asked else []
        return [i for i, said in zip(asked, told, strict=True) if parse_same(said) is not False]


@hookimpl
def harness_register_attacks(register):
    register(TAP)
