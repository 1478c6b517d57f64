"""Whatever stands before the model stands before attacks and judges alike, and is paid for by the defense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pytest

from harness.api.defense import Defense
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.requests import Gradient, Score
from harness.api.runtime_defense import GuardDefense, TransformDefense
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.layer import Layer, offers_gradient
from harness.engine.defended.victim import DefendedVictim
from harness.engine.losses import cross_entropy
from harness.engine.meter import StepMeter
from harness.errors import AccessError
from harness.flops import Flops
from harness.run.cell.clean_check import check_clean
from plugins.attacks.gcg import GCG
from plugins.attacks.random_token import RandomToken
from plugins.judges.labels import WrongLabel
from tests.engine.toy import ToyBackend, judge_of, searching, toy_examples


class Blocker(GuardDefense):
    """Refuses what a test says; each call costs the length of the prompt."""

    name = "blocker"

    def __init__(self, refuse: Callable[[str], bool], log: list[tuple[str, list[str]]] | None = None) -> None:
        super().__init__()
        self._refuse, self._log = refuse, log if log is not None else []

    def blocks(self, texts: Sequence[str], fitted: dict[str, Any]) -> list[bool]:
        self._log.append((self.name, list(texts)))
        return [self._refuse(text) for text in texts]

    def cost(self, text: str) -> Flops:
        return Flops(len(text), 2.0 * len(text))


class Rewriter(TransformDefense):
    """Rewrites as a test says; each call costs 1,000."""

    name = "rewriter"

    def __init__(self, rewrite: Callable[[str], str], log: list[tuple[str, list[str]]] | None = None) -> None:
        super().__init__()
        self._rewrite, self._log = rewrite, log if log is not None else []

    def apply(self, texts: Sequence[str]) -> list[str]:
        self._log.append((self.name, list(texts)))
        return [self._rewrite(text) for text in texts]

    def cost(self, text: str) -> Flops:
        return Flops(1000.0, 1000.0)


class Opaque(Rewriter):
    """Lets no gradient through."""

    name = "opaque"
    offers: Literal["straight_through", "none"] = "none"


@pytest.fixture
def backend() -> ToyBackend:
    return ToyBackend()


def behind(backend: ToyBackend, *defenses: GuardDefense | TransformDefense) -> DefendedVictim:
    return DefendedVictim(backend, [Layer(defense, {}) for defense in defenses])


def problems_of(backend: ToyBackend, count: int = 3, tokens: int = 5) -> list[Problem]:
    allowed = allowed_tokens(backend.tokenizer)
    return [place(e, Threat(tokens=tokens), backend.tokenizer, allowed) for e in toy_examples(count)]


def score(victim: DefendedVictim, problem: Problem, candidates: np.ndarray) -> tuple[np.ndarray, StepMeter]:
    meter = StepMeter()
    (losses,) = victim.score([(problem, Score(candidates), meter)])
    return losses, meter


def gradient(victim: DefendedVictim, problem: Problem, tokens: np.ndarray) -> tuple[Any, StepMeter]:
    meter = StepMeter()
    (answer,) = victim.gradient([(problem, Gradient(tokens, top=5), meter)])
    return answer, meter


# -- guards -----------------------------------------------------------------------------------------------------------


def test_a_blocked_candidate_has_infinite_loss_and_the_others_their_own(backend: ToyBackend) -> None:
    (problem,) = problems_of(backend, 1)
    candidates = problem.random_tokens(np.random.default_rng(0), 20)
    refused = set(problem.prompts(candidates[::3]))
    plain, _ = score(DefendedVictim(backend), problem, candidates)
    losses, _ = score(behind(backend, Blocker(refused.__contains__)), problem, candidates)
    assert np.isinf(losses[::3]).all()
    kept = np.setdiff1d(np.arange(20), np.arange(20)[::3])
    np.testing.assert_allclose(losses[kept], plain[kept], atol=1e-12)


def test_a_blocked_attack_is_no_success(backend: ToyBackend) -> None:
    problems = problems_of(backend, 6)
    attack = GCG(GCG.Params(steps=6, candidates=16, topk=16))
    names = (0, "x")
    undefended = searching(DefendedVictim(backend), attack, names, "gradient", WrongLabel()).run(problems).rows
    assert any(row.success for row in undefended)
    clean = {problem.example.text for problem in problems}
    victim = behind(backend, Blocker(lambda text: text not in clean))
    rows = searching(victim, attack, names, "gradient", WrongLabel()).run(problems).rows
    assert not any(row.success for row in rows)
    assert all(row.loss == float("inf") and row.failure is None for row in rows)
    # Nothing finite was seen but the gradient's loss, so the attack stays at its first string.
    assert len({(row.example, *row.attack_tokens) for row in rows}) == 6


def test_an_attack_steers_around_a_guard(backend: ToyBackend) -> None:
    """Every attack is adaptive: what is refused is never taken while something passes."""
    problems = problems_of(backend, 4)
    victim = behind(backend, Blocker(lambda text: "fence" in text.lower()[50:] or text.count("e") % 2 == 0))
    attack = RandomToken(RandomToken.Params(steps=4, draws=32))
    rows = searching(victim, attack, (0, "x"), "scores", WrongLabel()).run(problems).rows
    assert all(np.isfinite(row.loss) for row in rows)
    assert all(row.loss == pytest.approx(row.attack_loss) for row in rows)


def test_a_blocked_clean_prompt_counts_wrong(backend: ToyBackend) -> None:
    examples = toy_examples(12)
    open_check = check_clean(judge_of(DefendedVictim(backend)), examples)
    refused = {example.text for example in examples[:5]}
    guarded = check_clean(judge_of(behind(backend, Blocker(refused.__contains__))), examples)
    for example, before, after in zip(examples, open_check.correct, guarded.correct, strict=True):
        assert after == (before and example.text not in refused)
    assert all(reply.logits is None for reply in guarded.replies[:5])


def test_a_blocked_prompt_costs_the_victim_nothing(backend: ToyBackend) -> None:
    texts = ["The red fox jumps.", "The blue dog looks over the river."]
    backend.calls.clear()
    replies = behind(backend, Blocker(lambda text: "dog" in text)).ask(texts)
    assert backend.calls == [1]
    assert replies[0].victim.nominal > 0
    assert replies[1].victim == Flops()
    assert [reply.defense.nominal for reply in replies] == [len(text) for text in texts]
    assert behind(backend, Blocker(lambda _: True)).ask(texts)[0].answer(1).blocked


def test_a_guard_lets_the_gradient_through(backend: ToyBackend) -> None:
    (problem,) = problems_of(backend, 1)
    tokens = problem.random_tokens(np.random.default_rng(0))
    plain, cost = gradient(DefendedVictim(backend), problem, tokens)
    guarded, guarded_cost = gradient(behind(backend, Blocker(lambda _: True)), problem, tokens)
    np.testing.assert_array_equal(plain.tokens, guarded.tokens)
    assert cost.attack == guarded_cost.attack


# -- transforms -------------------------------------------------------------------------------------------------------


def test_scores_and_verdicts_are_of_the_rewritten_prompt(backend: ToyBackend) -> None:
    (problem,) = problems_of(backend, 1)
    candidates = problem.random_tokens(np.random.default_rng(0), 8)
    losses, _ = score(behind(backend, Rewriter(str.upper)), problem, candidates)
    wanted = [
        cross_entropy(reply.logits, problem.example.proxy_label)
        for reply in DefendedVictim(backend).ask([text.upper() for text in problem.prompts(candidates)])
        if reply.logits is not None
    ]
    np.testing.assert_allclose(losses, wanted, atol=1e-12)

    attack = RandomToken(RandomToken.Params(steps=2, draws=8))
    victim = behind(backend, Rewriter(str.upper))
    for row in searching(victim, attack, (0, "x"), "scores", WrongLabel()).run([problem]).rows:
        (reply,) = DefendedVictim(backend).ask([problem.prompt(row.attack_text).upper()])
        assert reply.logits is not None
        assert row.loss == pytest.approx(cross_entropy(reply.logits, problem.example.proxy_label))
        assert row.success == (int(reply.logits.argmax()) != problem.example.label)


def test_straight_through_is_the_gradient_at_the_prompt_as_written(backend: ToyBackend) -> None:
    (problem,) = problems_of(backend, 1)
    tokens = problem.random_tokens(np.random.default_rng(0))
    plain, _ = gradient(DefendedVictim(backend), problem, tokens)
    through, meter = gradient(behind(backend, Rewriter(str.upper)), problem, tokens)
    np.testing.assert_array_equal(plain.tokens, through.tokens)
    np.testing.assert_array_equal(plain.values, through.values)
    assert meter.queries == 1


def test_a_transform_that_offers_no_gradient_says_so(backend: ToyBackend) -> None:
    problems = problems_of(backend, 1)
    victim = behind(backend, Opaque(str.upper))
    with pytest.raises(AccessError, match=r"defense opaque.*no gradient.*scores"):
        searching(victim, GCG(GCG.Params(steps=1)), (0, "x"), "gradient", WrongLabel()).run(problems)
    attack = RandomToken(RandomToken.Params(steps=1, draws=4))
    assert searching(victim, attack, (0, "x"), "gradient", WrongLabel()).run(problems).rows


def test_which_defenses_offer_a_gradient() -> None:
    assert offers_gradient(Defense())
    assert offers_gradient(Blocker(lambda _: True))
    assert offers_gradient(Rewriter(str.upper))
    assert not offers_gradient(Opaque(str.upper))


# -- costs, order, length ---------------------------------------------------------------------------------------------


def test_costs_of_layers_are_the_defenses_and_of_the_victim_the_attacks(backend: ToyBackend) -> None:
    (problem,) = problems_of(backend, 1)
    candidates = problem.random_tokens(np.random.default_rng(0), 8)
    _, plain = score(DefendedVictim(backend), problem, candidates)
    _, meter = score(behind(backend, Rewriter(lambda text: text)), problem, candidates)
    assert meter.attack == plain.attack
    assert meter.queries == plain.queries == 8
    assert meter.defense == Flops(8000.0, 8000.0)
    assert plain.defense == meter.judge == Flops()

    attack = RandomToken(RandomToken.Params(steps=1, draws=8))
    (row,) = (
        searching(behind(backend, Rewriter(lambda t: t)), attack, (0, "x"), "scores", WrongLabel()).run([problem]).rows
    )
    length = len(problem.before) + 5 + len(problem.after)
    assert row.defense_nominal == 9000.0  # eight candidates and the verdict
    assert row.judge_nominal == 2 * backend.n_params * length
    assert row.attack_nominal == 8 * 2 * backend.n_params * length


def test_layers_are_met_in_order_and_what_is_refused_goes_no_further(backend: ToyBackend) -> None:
    log: list[tuple[str, list[str]]] = []
    victim = behind(
        backend,
        Blocker(lambda text: "dog" in text, log),
        Rewriter(lambda text: text.replace("fox", "cat"), log),
        Blocker(lambda text: "cat" in text, log),
    )
    texts = ["The red dog.", "The red fox.", "The red hen."]
    replies = victim.ask(texts)
    assert log == [
        ("blocker", texts),
        ("rewriter", ["The red fox.", "The red hen."]),
        ("blocker", ["The red cat.", "The red hen."]),
    ]
    assert [reply.logits is None for reply in replies] == [True, True, False]
    assert [reply.defense.nominal for reply in replies] == [12, 12 + 1000 + 12, 12 + 1000 + 12]
    (plain,) = DefendedVictim(backend).ask(["The red hen."])
    np.testing.assert_array_equal(replies[2].logits, plain.logits)


@pytest.mark.parametrize("layers", [[], [Rewriter(str.lower)]], ids=["bare", "rewritten"])
def test_a_prompt_too_long_is_told_apart_and_not_asked(backend: ToyBackend, layers: list[Any]) -> None:
    long = "Q" * (backend.context + 1)
    backend.calls.clear()
    replies = behind(backend, *layers).ask(["The red fox.", long])
    assert backend.calls == [1]
    assert [reply.too_long for reply in replies] == [False, True]
    assert replies[1].victim == Flops()
    example = Example("long", (Chunk(long), Chunk("", Edit.OVERWRITABLE)), 0, 1)
    assert check_clean(judge_of(behind(backend, *layers)), [example]).correct == [False]


def test_a_rewrite_that_becomes_too_long_is_a_failed_step(backend: ToyBackend) -> None:
    (problem,) = problems_of(backend, 1)
    victim = behind(backend, Rewriter(lambda text: text + "Q" * 99))
    attack = RandomToken(RandomToken.Params(steps=2, draws=4))
    for row in searching(victim, attack, (0, "x"), "scores", WrongLabel()).run([problem]).rows:
        assert row.failure == "longer than the context"
        assert not row.success


def test_no_prompts_no_candidates_no_calls_that_fail(backend: ToyBackend) -> None:
    (problem,) = problems_of(backend, 1)
    for layers in ([], [Blocker(lambda _: False)], [Rewriter(str.lower)]):
        victim = behind(backend, *layers)
        assert victim.ask([]) == []
        losses, meter = score(victim, problem, np.empty((0, 5), dtype=np.int64))
        assert losses.shape == (0,)
        assert meter == StepMeter()
