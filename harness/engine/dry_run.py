"""What a step of an attack asks for, found by running two steps on made-up answers.

An estimate that needs no model and holds for any plugin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.api.attack import Attack, Step
from harness.api.judge import Answer, Judge
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import (
    Activations,
    Classify,
    Generate,
    Gradient,
    GradientAnswer,
    Likelihood,
    Perturb,
    PerturbAnswer,
    Request,
    Sample,
    Score,
)
from harness.api.runtime_defense import Case, GuardDefense, RuntimeDefense, TransformDefense, VoteDefense
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.sampling import draw
from harness.errors import PluginError
from harness.flops import nominal_backward, nominal_forward
from harness.tokens.fake_tokenizer import FakeTokenizer

_STEPS = 2
_BOUND = 10_000  # requests in a step after which an attack is taken not to end


_CHARACTERS = 4  # per token of an attack's own words
_CLASSES = 2
_WIDTH = 8  # of made-up activations


@dataclass(frozen=True, slots=True)
class DryRun:
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
    beside: Mapping[str, DryRun] = field(default_factory=dict)  # what auxiliary models are asked, by role

    def nominal(
        self, n_params: int | None, tokens: float, sizes: Mapping[str, int | None] = MappingProxyType({})
    ) -> float:
        """Nominal FLOPs of one step for prompts of ``tokens`` tokens, attack string included; judging left out.

        Args:
            sizes: parameters of the auxiliary models by role; a role that is left out is the victim's own.
        """
        forward, backward = nominal_forward(n_params, 1), nominal_backward(n_params, 1)
        sequences = self.scored + self.differentiated + self.sampled + self.answered
        own = (sequences * forward + self.differentiated * backward) * tokens + self.words * forward
        others = (asked.nominal(sizes.get(role, n_params), tokens) for role, asked in self.beside.items())
        return own + sum(others)


def dry_run_attack(attack: Attack, threat: Threat) -> DryRun:
    """Average over the first steps.

    Raises:
        PluginError: a step does not end, yields what is no request or returns what is no state.
        Exception: whatever the attack raises.
    """
    rng = np.random.default_rng(0)
    problem = _problem(Example("rehearsal", (Chunk("", Edit.OVERWRITABLE),), 0, 1), threat.tokens)
    problem = replace(problem, radius=threat.radius or 1.0)
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
    return _by_role(asked, _STEPS)


rehearse = dry_run_attack
"""The name of `dry_run_attack` in version 0.1."""


def dry_run_judge(judge: Judge) -> DryRun:
    """What judging one answer asks of the judge's models.

    Raises:
        PluginError: the judge does not end.
        Exception: whatever the judge raises.
    """
    rng = np.random.default_rng(0)
    example = Example("rehearsal", (Chunk("x" * 200, Edit.OVERWRITABLE),), target=" Sure", reply=" No")
    judging = judge.verdict(example, Answer(0, (0.0, 1.0), 1.0, "x" * 200))
    asked: list[Request] = []
    answer: Any = None
    while len(asked) <= _BOUND:
        try:
            request = judging.send(answer)
        except StopIteration:
            return _by_role(asked, 1)
        asked.append(request)
        answer = _made_up(request, _problem(example, 10), rng)
    raise PluginError(f"judge {judge.name}: a verdict does not end ({_BOUND} requests)")


def _problem(example: Example, tokens: int) -> Problem:
    empty, ids = np.empty(0, dtype=np.int64), np.arange(FakeTokenizer.vocabulary)
    return Problem(example, "", "", empty, empty, tokens, ids, FakeTokenizer())


def _made_up(request: Request, problem: Problem, rng: np.random.Generator) -> Any:
    """An answer of the right form."""
    vocabulary = FakeTokenizer.vocabulary
    if isinstance(request, Score):
        return rng.random(len(request.candidates))
    if isinstance(request, Gradient):
        top = min(request.top, vocabulary)
        tokens = np.stack([rng.permutation(vocabulary)[:top] for _ in request.tokens])
        return GradientAnswer(float(rng.random()), tokens, np.sort(-rng.random(tokens.shape), axis=1))
    if isinstance(request, Perturb):
        width = _WIDTH if request.delta is None else np.shape(request.delta)[1]
        return PerturbAnswer(float(rng.random()), rng.normal(size=(len(request.tokens), width)), 1.0)
    if isinstance(request, Classify):
        return rng.normal(size=(len(request.prompts), _CLASSES))
    if isinstance(request, Sample):
        chances = rng.dirichlet(np.ones(vocabulary), len(request.strings))
        return draw(np.log(np.maximum(chances, 1e-300)), problem.allowed, request.k, request.seed, request.top)
    words = rng.integers(vocabulary, size=(len(request.prompts), min(request.max_tokens, problem.budget)))
    return problem.tokenizer.decode(words.tolist())


def _by_role(asked: Sequence[Request], steps: int) -> DryRun:
    """Counts per step: the victim's own, and those of each role beside it."""
    roles = sorted({request.model for request in asked if request.model})
    beside = {role: _counted([request for request in asked if request.model == role], steps) for role in roles}
    return replace(_counted([request for request in asked if not request.model], steps), beside=beside)


def _counted(asked: Sequence[Request], steps: int) -> DryRun:
    whole = [request for request in asked if isinstance(request, Generate | Classify)]
    prompts = [(p, r.max_tokens if isinstance(r, Generate) else 0) for r in whole for p in r.prompts]
    return DryRun(
        scored=sum(len(r.candidates) for r in asked if isinstance(r, Score)) / steps,
        differentiated=sum(isinstance(r, Gradient | Perturb) for r in asked) / steps,
        sampled=sum(len(r.strings) for r in asked if isinstance(r, Sample)) / steps,
        answered=len(prompts) / steps,
        words=sum(len(prompt) / _CHARACTERS + longest for prompt, longest in prompts) / steps,
    )


_TEXT = "x" * 200
_QUESTIONS = 100  # requests about one text


def pipeline_flops(
    defenses: Sequence[RuntimeDefense],
    sizes: Sequence[Mapping[str, int | None]],
    n_params: int | None,
    tokens: float,
    answer: float = 0.0,
    *,
    loss: bool = False,
) -> float:
    """Nominal FLOPs of one prompt through the defenses to the victim; NaN where a size is unknown.

    Args:
        sizes: parameters of each defense's auxiliary models by role.
        tokens, answer: of the prompt, and of an answer in text at its longest.
        loss: of one pass for a loss, in which a vote draws one copy.
    """
    behind = nominal_forward(n_params, 1) * (tokens + answer)
    for defense, own in reversed(list(zip(defenses, sizes, strict=True))):
        behind += _of_defense(defense, {"": n_params, **own}, tokens)
        if isinstance(defense, VoteDefense) and not loss:
            behind *= defense.copies()
    return behind


def _of_defense(defense: RuntimeDefense, sizes: Mapping[str, int | None], tokens: float) -> float:
    """Nominal FLOPs of what a defense asks about one text. One that cannot go on with made-up answers is taken to have
    asked for all it wants.
    """
    case = Case(_TEXT, {}, FakeTokenizer(), ("rehearsal",), _TEXT)
    total = 0.0
    asking: Any = iter(())
    if isinstance(defense, GuardDefense):
        asking = defense.ruling(case)
    elif isinstance(defense, TransformDefense):
        asking = defense.rewrite(case)
    elif isinstance(defense, VoteDefense):
        asking = defense.copy(case)
    answer: Any = None
    with suppress(Exception):
        for _ in range(_QUESTIONS):
            request = asking.send(answer)
            per_token = nominal_forward(sizes.get(request.model), 1)
            if isinstance(request, Generate):
                total += per_token * len(request.prompts) * (tokens + request.max_tokens)
                answer = [_TEXT] * len(request.prompts)
            elif isinstance(request, Classify):
                total += per_token * len(request.prompts) * tokens
                answer = np.zeros((len(request.prompts), _CLASSES))
            elif isinstance(request, Likelihood | Activations):
                total += per_token * tokens
                answer = np.ones(_WIDTH)
    return total
