"""What a step of an attack asks for, found by running two steps on made-up answers.

An estimate that needs no model and holds for any plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.attack import Attack, Gradient, GradientAnswer, Score, Step
from harness.errors import PluginError
from harness.flops import nominal_backward, nominal_forward
from harness.problem import Problem
from harness.state import State
from harness.task import Chunk, Edit, Example
from harness.threat import Threat

_FIRST = 0x4E00  # one printable character per token, so that every string survives tokenisation
_STEPS = 2
_BOUND = 10_000  # requests in a step after which an attack is taken not to end


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Sequences per step of one example: scored forward, and differentiated (forward and backward)."""

    scored: float
    differentiated: float

    def nominal(self, n_params: int, tokens: float) -> float:
        """Nominal FLOPs of one step for prompts of ``tokens`` tokens, attack string included; judging left out."""
        forward, backward = nominal_forward(n_params, 1) * tokens, nominal_backward(n_params, 1) * tokens
        return self.scored * forward + self.differentiated * (forward + backward)


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
    scored = differentiated = requests = 0
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
            requests += 1
            if requests > _BOUND:
                raise PluginError(f"attack {attack.name}: a step does not end ({_BOUND} requests)")
            if isinstance(request, Score):
                scored += len(request.candidates)
                answer = rng.random(len(request.candidates))
            elif isinstance(request, Gradient):
                differentiated += 1
                top = min(request.top, PretendTokenizer.vocabulary)
                tokens = np.stack([rng.permutation(PretendTokenizer.vocabulary)[:top] for _ in request.tokens])
                answer = GradientAnswer(float(rng.random()), tokens, np.sort(-rng.random(tokens.shape), axis=1))
            else:
                raise PluginError(f"attack {attack.name}: a step yielded {type(request).__name__}, no request")
    return Rehearsal(scored / _STEPS, differentiated / _STEPS)
