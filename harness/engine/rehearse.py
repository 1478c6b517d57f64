"""What a step of an attack asks for, found by running two steps on made-up answers.

An estimate that needs no model and holds for any plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.attack import Attack, Generate, Gradient, GradientAnswer, Request, Sample, Score, Step
from harness.engine.text.sampling import draw
from harness.errors import PluginError
from harness.flops import nominal_backward, nominal_forward
from harness.problem import Problem
from harness.state import State
from harness.task import Chunk, Edit, Example
from harness.threat import Threat

_FIRST = 0x4E00  # one printable character per token, so that every string survives tokenisation
_STEPS = 2
_BOUND = 10_000  # requests in a step after which an attack is taken not to end


_CHARACTERS = 4  # per token of an attack's own words


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What one step of one example asks for.

    Attributes:
        scored, differentiated, sampled, answered: sequences that are scored forward, differentiated (forward and
            backward), continued by a token, and answered in text.
        words: tokens of the answers at their longest, and those of the prompts that are the attack's own words.
    """

    scored: float
    differentiated: float
    sampled: float = 0.0
    answered: float = 0.0
    words: float = 0.0

    def nominal(self, n_params: int | None, tokens: float) -> float:
        """Nominal FLOPs of one step for prompts of ``tokens`` tokens, attack string included; judging left out."""
        forward, backward = nominal_forward(n_params, 1), nominal_backward(n_params, 1)
        sequences = self.scored + self.differentiated + self.sampled + self.answered
        return (sequences * forward + self.differentiated * backward) * tokens + self.words * forward


class PretendTokenizer:
    """One character per token and back."""

    vocabulary = 1024
    special: frozenset[int] = frozenset()
    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[ord(c) - _FIRST for c in text] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return ["".join(chr(_FIRST + i) for i in row) for row in ids]

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [(i, i + 1) for i in range(len(text))]


def rehearse(attack: Attack, threat: Threat) -> Rehearsal:
    """Average over the first steps.

    Raises:
        PluginError: a step does not end, yields what is no request or returns what is no state.
        Exception: whatever the attack raises.
    """
    rng = np.random.default_rng(0)
    empty = np.empty(0, dtype=np.int64)
    example = Example("rehearsal", (Chunk("", Edit.OVERWRITABLE),), 0, 1)
    problem = Problem(
        example, "", "", empty, empty, threat.tokens, np.arange(PretendTokenizer.vocabulary), PretendTokenizer()
    )
    state = attack.start(problem, rng)
    asked: list[Request] = []
    for _ in range(_STEPS):
        step: Step = attack.step(state, problem, rng)
        answer: Any = None
        while True:
            try:
                request = step.send(answer)
            except StopIteration as stop:
                state = stop.value
                if not isinstance(state, State):
                    raise PluginError(
                        f"attack {attack.name}: a step returned {type(state).__name__}, no State"
                    ) from None
                break
            if not isinstance(request, Request):
                raise PluginError(f"attack {attack.name}: a step yielded {type(request).__name__}, no request")
            asked.append(request)
            if len(asked) > _BOUND:
                raise PluginError(f"attack {attack.name}: a step does not end ({_BOUND} requests)")
            answer = _made_up(request, problem, rng)
    return _counted(asked)


def _made_up(request: Request, problem: Problem, rng: np.random.Generator) -> Any:
    """An answer of the right form."""
    vocabulary = PretendTokenizer.vocabulary
    if isinstance(request, Score):
        return rng.random(len(request.candidates))
    if isinstance(request, Gradient):
        top = min(request.top, vocabulary)
        tokens = np.stack([rng.permutation(vocabulary)[:top] for _ in request.tokens])
        return GradientAnswer(float(rng.random()), tokens, np.sort(-rng.random(tokens.shape), axis=1))
    if isinstance(request, Sample):
        chances = rng.dirichlet(np.ones(vocabulary), len(request.strings))
        return draw(np.log(np.maximum(chances, 1e-300)), problem.allowed, request.k, request.seed, request.top)
    words = rng.integers(vocabulary, size=(len(request.prompts), min(request.max_tokens, problem.budget)))
    return problem.tokenizer.decode(words.tolist())


def _counted(asked: Sequence[Request]) -> Rehearsal:
    generated = [request for request in asked if isinstance(request, Generate)]
    prompts = [(prompt, request.max_tokens) for request in generated for prompt in request.prompts]
    return Rehearsal(
        scored=sum(len(r.candidates) for r in asked if isinstance(r, Score)) / _STEPS,
        differentiated=sum(isinstance(r, Gradient) for r in asked) / _STEPS,
        sampled=sum(len(r.strings) for r in asked if isinstance(r, Sample)) / _STEPS,
        answered=len(prompts) / _STEPS,
        words=sum(len(prompt) / _CHARACTERS + longest for prompt, longest in prompts) / _STEPS,
    )
