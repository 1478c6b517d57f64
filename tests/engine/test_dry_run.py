"""What is foreseen of defenses and judges, without a model, is what asking them then takes."""

from __future__ import annotations

import itertools
import math
from copy import copy
from typing import Any

import pytest

from harness.api.judge import Judge, Verdict
from harness.api.requests import Activations, Classify, Generate
from harness.api.runtime_defense import Case, GuardDefense, Ruling, RuntimeDefense, TransformDefense, VoteDefense
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_judge, pipeline_flops
from harness.errors import PluginError
from harness.flops import nominal_forward
from harness.registry.loader import load_plugins
from harness.testing.toys.random_transformer import random_backend

TEXT = "The red fox jumps over the fence."


class Reads(GuardDefense):
    """Asks the victim twice about each text."""

    name = "reads"

    def ruling(self, case: Case) -> Any:
        first = yield Activations(case.text)
        second = yield Classify((case.text,))
        return Ruling(not (len(first) and second.shape == (1, 2)))


class Asks(TransformDefense):
    """Asks a model of its own, and leaves the prompt as it is."""

    name = "asks"

    def rewrite(self, case: Case) -> Any:
        yield Classify((case.text, case.text), model="other")
        return case.text


class Twice(VoteDefense):
    """Three copies as they are."""

    name = "twice"

    def copies(self) -> int:
        return 3


STACKS = [stack for size in range(4) for stack in itertools.permutations((Reads(), Asks(), Twice()), size)]


@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: "-".join(defense.name for defense in stack) or "none")
def test_a_prompt_takes_what_was_foreseen(stack: tuple[RuntimeDefense, ...]) -> None:
    victim, other = random_backend(2), copy(random_backend(2, seed=1))
    other.n_params = 3 * victim.n_params
    layers = [Layer(defense, models={"other": other} if isinstance(defense, Asks) else {}) for defense in stack]
    (reply,) = DefendedVictim(victim, layers).ask([TEXT])
    tokenizer = victim.tokenizer
    tokens = len(tokenizer.encode([TEXT])[0]) + len(tokenizer.left) + len(tokenizer.right)
    sizes = [{"other": other.n_params} if isinstance(defense, Asks) else {} for defense in stack]
    foreseen = pipeline_flops(stack, sizes, victim.n_params, tokens)
    assert (reply.victim + reply.defense).nominal == pytest.approx(foreseen)
    one_pass = pipeline_flops(stack, sizes, victim.n_params, tokens, loss=True)
    assert one_pass < foreseen if any(isinstance(defense, Twice) for defense in stack) else one_pass == foreseen


def test_what_nobody_knows_stays_unknown() -> None:
    assert math.isnan(pipeline_flops([Asks()], [{"other": None}], 1000, 20.0))
    assert math.isnan(pipeline_flops([Asks()], [{"other": 10}], None, 20.0))
    assert pipeline_flops([Reads()], [{}], 1000, 20.0, 5.0) == nominal_forward(1000, 20 + 20 + 25)


def test_a_role_that_the_victim_takes_is_of_its_size() -> None:
    assert pipeline_flops([Asks()], [{}], 1000, 20.0) == pipeline_flops([Asks()], [{"other": 1000}], 1000, 20.0)


class Breaks(GuardDefense):
    """Cannot go on with a made-up answer."""

    name = "breaks"

    def ruling(self, case: Case) -> Any:
        (answer,) = yield Generate((case.text,), 5)
        return Ruling(bool(case.fitted["threshold"] < len(answer)))


class Endless(GuardDefense):
    """Never has enough."""

    name = "endless"

    def ruling(self, case: Case) -> Any:
        while True:
            yield Activations(case.text)


def test_a_defense_that_cannot_go_on_has_asked_for_all_it_wants() -> None:
    assert pipeline_flops([Breaks()], [{}], 1000, 20.0) == nominal_forward(1000, 20 + 25)
    assert pipeline_flops([Endless()], [{}], 1000, 20.0) == nominal_forward(1000, 20 + 100 * 20)


class Rates(Judge):
    """Asks its model twice, the second time about what it said; or raises."""

    name = "rates"
    fails = False

    def verdict(self, example: Any, answer: Any) -> Any:
        (first,) = yield Generate((answer.text,), 7, model="judge")
        if self.fails:
            raise ValueError("no luck")
        yield Classify((first, answer.text), model="judge")
        return Verdict(False)


def test_a_verdict_is_counted_by_model() -> None:
    found = dry_run_judge(Rates())
    assert (found.answered, found.text_tokens) == (0, 0)
    judge = found.auxiliary["judge"]
    assert judge.answered == 3
    assert judge.text_tokens > 2 * 200 / 4 + 7


def test_every_judge_that_asks_no_model_is_foreseen_to_ask_nothing() -> None:
    alone = [entry.cls for entry in load_plugins().registry.entries("judge") if not entry.cls.Params.model_fields]
    assert {"answer_rule", "wrong_label"} <= {made.name for made in alone}
    for made in alone:
        assert dry_run_judge(made(made.Params())).nominal(0, 0.0, {}) == 0


def test_a_judge_that_breaks_down_is_named() -> None:
    judge = Rates()
    judge.fails = True
    with pytest.raises(PluginError, match="judge rates: a verdict: raised ValueError: no luck"):
        dry_run_judge(judge)
