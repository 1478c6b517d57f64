"""What a step of an attack, a verdict or a defense asks for, found by running them on made-up answers.

An estimate that needs no model and holds for any plugin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, get_args

import numpy as np

from harness.api.attack import Attack
from harness.api.judge import Answer, Judge
from harness.api.problem.placement import place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Request
from harness.api.runtime_defense import Case, GuardDefense, RuntimeDefense, TransformDefense, VoteDefense
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.api.threat import Threat
from harness.engine.defended.defense_requests import DEFENSE_REQUESTS
from harness.engine.generators import PluginCall, call_plugin, run_generators
from harness.engine.made_up_answers import made_up_answer
from harness.engine.search.request_kinds import Work, kind_of, passes
from harness.errors import PluginError
from harness.flops import nominal_backward, nominal_forward
from harness.tokens.answers.answer_rule import AnswerRule
from harness.tokens.fake_tokenizer import FakeTokenizer

EXAMPLE = "rehearsal"
"""The id of the made-up example, by which a plugin may know a dry run."""

_STEPS = 2
_MOST_REQUESTS = 10_000  # after which an attack or a judge is taken not to end
_MOST_DEFENSE_REQUESTS = 100  # about one text
_TEXT = "x" * 200
_LABELS: tuple[str, ...] = (" weather", " food")
_QUESTION = (
    Chunk("Is this about the weather or about food?\n"),
    Chunk("Fresh bread and soup", Edit.PERTURBABLE),
    Chunk("\n"),
)
_MOST_KEPT = 1000
_dry_runs: dict[tuple[Any, ...], DryRun] = {}  # of attacks, by all that they depend on; a large spec asks often
_CHARACTERS = 4  # per token of an attack's own words


@dataclass(frozen=True, slots=True)
class DryRun:
    """What one step of one example asks for.

    Attributes:
        scored, differentiated, sampled, answered: sequences that are scored forward, differentiated (forward and
            backward), continued by a token, and answered in text.
        text_tokens: tokens of the answers at their longest, and those of the prompts that are the attack's own words.
        auxiliary: what auxiliary models are asked, by role.
    """

    scored: float
    differentiated: float
    sampled: float = 0.0
    answered: float = 0.0
    text_tokens: float = 0.0
    auxiliary: Mapping[str, DryRun] = field(default_factory=dict)

    @classmethod
    def of(cls, requests: Sequence[Request], steps: int, problem: Problem, *, by_label: bool = False) -> DryRun:
        """The requests of so many steps about a problem, per step: those to the victim, and those to each auxiliary
        model.

        Args:
            by_label: the victim answers with a label, however long its answer in text may be.
        """
        roles = sorted({request.model for request in requests if request.model})
        auxiliary = {role: cls._of_one_model(requests, role, steps, problem, by_label=False) for role in roles}
        return replace(cls._of_one_model(requests, "", steps, problem, by_label=by_label), auxiliary=auxiliary)

    @classmethod
    def _of_one_model(
        cls, requests: Sequence[Request], role: str, steps: int, problem: Problem, *, by_label: bool
    ) -> DryRun:
        own = [(request, kind_of(request)) for request in requests if request.model == role]
        counts: Counter[str] = Counter()
        for request, kind in own:
            counts[kind.work] += kind.sequences(request) * passes(request, problem)
        per_step: dict[str, Any] = {work: counts[work] / steps for work in get_args(Work)}
        prompts = [
            (_own_length(text, problem) / _CHARACTERS, 0 if by_label else kind.new_tokens(r))
            for r, kind in own
            for text in getattr(r, "prompts", ())
        ]
        return cls(**per_step, text_tokens=sum(length + longest for length, longest in prompts) / steps)

    def nominal(
        self, n_params: int | None, tokens: float, sizes: Mapping[str, int | None] = MappingProxyType({})
    ) -> float:
        """Nominal FLOPs of one step for prompts of ``tokens`` tokens, attack string included; judging left out.

        Args:
            sizes: parameters of the auxiliary models by role; a role that is left out is the victim's own.
        """
        forward, backward = nominal_forward(n_params, 1), nominal_backward(n_params, 1)
        sequences = self.scored + self.differentiated + self.sampled + self.answered
        own = (sequences * forward + self.differentiated * backward) * tokens + self.text_tokens * forward
        others = (model.nominal(sizes.get(role, n_params), tokens) for role, model in self.auxiliary.items())
        return own + sum(others)


def _own_length(text: str, problem: Problem) -> int:
    """Characters of a prompt that the attack or judge has added to the example's own, which are counted as tokens."""
    around = [part for part in (problem.before_text, problem.after_text) if part and part in text]
    return max(0, len(text) - sum(map(len, around)))


def dry_run_attack(attack: Attack, threat: Threat, data: TaskData | None = None) -> DryRun:
    """Average over the first steps. Run once for attacks of equal parameters on equal examples.

    Args:
        data: of the task, whose first validation example is then attacked; by default a made-up question with two
            labels is.

    Raises:
        PluginError: the attack raised, a step does not end, yields what is no request or returns what is no state.
    """
    example, labels, by_label = Example(EXAMPLE, _QUESTION, 0, 1), _LABELS, False
    attackable = [] if data is None else [one for one in data.validation[:100] if one.attackable]
    if data is not None and attackable:
        example, labels, by_label = replace(attackable[0], id=EXAMPLE), data.labels, bool(data.labels)
    read = tuple(sorted(attack.fingerprint().items()))  # of files, which parameters only name
    key = (type(attack), attack.params.model_dump_json(), read, threat.model_dump_json(), example, labels)
    if key not in _dry_runs:
        if len(_dry_runs) >= _MOST_KEPT:
            _dry_runs.clear()
        _dry_runs[key] = _dry_run(attack, threat, example, labels, by_label=by_label)
    return _dry_runs[key]


def _dry_run(attack: Attack, threat: Threat, example: Example, labels: tuple[str, ...], *, by_label: bool) -> DryRun:
    rng = np.random.default_rng(0)
    allowed = np.arange(FakeTokenizer.vocabulary)
    problem = replace(place(example, threat, FakeTokenizer(), allowed, labels), radius=threat.radius or 1.0)
    where = f"attack {attack.name}: a step"
    state = call_plugin(f"attack {attack.name}: the start", attack.start, problem, rng)
    requests: list[Request] = []
    for _ in range(_STEPS):
        state = _run((where, partial(attack.step, state, problem, rng)), requests, problem, rng)
        if not isinstance(state, State):
            raise PluginError(f"{where} returned {type(state).__name__}, not a State")
    return DryRun.of(requests, _STEPS, problem, by_label=by_label)


rehearse = dry_run_attack
"""The name of `dry_run_attack` in version 0.1."""


def dry_run_judge(judge: Judge) -> DryRun:
    """What judging one answer asks of the judge's models.

    Raises:
        PluginError: the judge raised, or does not end.
    """
    chunk, rules = Chunk(_TEXT, Edit.OVERWRITABLE), (AnswerRule(phrase="no"),)  # all that a judge may look at
    example = Example(EXAMPLE, (chunk,), target=" Sure", reply=" No", forbidden=rules, wanted=rules)
    answer = Answer(0, (0.0, 1.0), 1.0, _TEXT)
    requests: list[Request] = []
    verdict = f"judge {judge.name}: a verdict", partial(judge.verdict, example, answer)
    problem = _problem(example, 10)
    _run(verdict, requests, problem, np.random.default_rng(0))
    return DryRun.of(requests, 1, problem)


def _run(call: PluginCall, requests: list[Request], problem: Problem, rng: np.random.Generator) -> Any:
    """What the generator returns; what it asks for is added to the requests."""
    where, _ = call

    def answer(yielded: dict[str, Any]) -> dict[str, Any]:
        (request,) = yielded.values()
        try:
            kind_of(request)
        except PluginError as error:
            raise PluginError(f"{where} {error}") from None
        requests.append(request)
        if len(requests) > _MOST_REQUESTS:
            raise PluginError(f"{where} does not end ({_MOST_REQUESTS} requests)")
        return dict.fromkeys(yielded, made_up_answer(request, problem, rng))

    return run_generators({"": call}, answer)[""]


def _problem(example: Example, tokens: int) -> Problem:
    empty, ids = np.empty(0, dtype=np.int64), np.arange(FakeTokenizer.vocabulary)
    return Problem(example, "", "", empty, empty, tokens, ids, FakeTokenizer())


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
        sizes: parameters of each defense's auxiliary models by role; a role that is left out is the victim's own.
        tokens, answer: of the prompt, and of an answer in text at its longest.
        loss: of one pass for a loss, in which a vote draws one copy.
    """
    behind = nominal_forward(n_params, 1) * (tokens + answer)
    for defense, own in reversed(list(zip(defenses, sizes, strict=True))):
        behind += _defense_flops(defense, {"": n_params, **own}, tokens)
        if isinstance(defense, VoteDefense) and not loss:
            behind *= defense.copies()
    return behind


def _defense_flops(defense: RuntimeDefense, sizes: Mapping[str, int | None], tokens: float) -> float:
    """Nominal FLOPs of what a defense asks about one text. One that cannot go on with made-up answers is taken to have
    asked for all it wants.
    """
    method: Callable[[Case], Any]
    if isinstance(defense, GuardDefense):
        method = defense.ruling
    elif isinstance(defense, TransformDefense):
        method = defense.rewrite
    elif isinstance(defense, VoteDefense):
        method = defense.copy
    else:
        return 0.0
    spent: list[float] = []
    problem = _problem(Example(EXAMPLE, (Chunk(_TEXT, Edit.OVERWRITABLE),), target=" Sure"), 10)

    def answer(yielded: dict[str, Any]) -> dict[str, Any]:
        (request,) = yielded.values()
        kind = DEFENSE_REQUESTS[type(request)]
        per_token = nominal_forward(sizes.get(request.model, sizes[""]), 1) * kind.passes
        spent.append(per_token * kind.texts(request) * (tokens + kind.new_tokens(request)))
        made_up = made_up_answer(request, problem, np.random.default_rng(0))
        return dict.fromkeys(yielded, made_up) if len(spent) < _MOST_DEFENSE_REQUESTS else {}

    with suppress(Exception):
        case = Case(_TEXT, {}, FakeTokenizer(), (EXAMPLE,), _TEXT)
        run_generators({"": (f"defense {defense.name}", partial(method, case))}, answer)
    return sum(spent)
