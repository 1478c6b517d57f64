"""Guards with penalties, votes, randomness and static attacks: what attacks and judges meet, on a victim of numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from harness.api.problem.placement import allowed_tokens, place
from harness.api.requests import Gradient, Likelihood, Score
from harness.api.runtime_defense import Case, GuardDefense, Place, Ruling, Slope, TransformDefense, VoteDefense
from harness.api.threat import Threat
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.meter import StepMeter
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.errors import AccessError, PluginError
from harness.flops import Flops
from harness.records.step_row import StepRow
from plugins.attacks.gcg import GCG
from plugins.attacks.random_token import RandomToken
from plugins.judges.labels import WrongLabel
from tests.engine.toy import ToyBackend, toy_examples, without_time


def odd(text: str) -> int:
    """Characters that no clean prompt has."""
    return sum(char not in "ATabcdefghijklmnopqrstuvwxyz.: \n" for char in text)


class Spelling(GuardDefense):
    """Refuses prompts with odd characters; offers how many there are too many as a penalty, and its gradient."""

    name = "spelling"
    offers = "surrogate"

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def ruling(self, case: Case) -> Any:
        yield from ()
        excess = odd(case.text) - self.most
        return Ruling(excess > 0, 5.0 + 5.0 * max(0, excess))

    def surrogate(self, place: Place) -> Any:
        yield from ()
        tokenizer = ToyBackend().tokenizer
        excess = odd(tokenizer.decode([place.row.tolist()])[0]) - self.most
        if excess <= 0:
            return Slope(0.0)
        counts = np.asarray([odd(text) for text in tokenizer.decode(place.allowed[:, None])], dtype=float)
        slope = np.broadcast_to(5.0 * counts, (len(place.tokens), len(counts))).copy()
        return Slope(5.0 + 5.0 * excess, slope)


class Swaps(TransformDefense):
    """Puts random letters behind the prompt."""

    name = "swaps"

    @property
    def randomised(self) -> bool:
        return True

    def rewrite(self, case: Case) -> Any:
        yield from ()
        return case.text + "".join(case.rng.choice(list("abcdefgh"), size=3))


class Letters(VoteDefense):
    """Seven copies with a random letter behind each."""

    name = "letters"

    def copies(self) -> int:
        return 7

    def copy(self, case: Case) -> Any:
        yield from ()
        return case.text + str(case.rng.choice(list("abcdefghijklm")))


class Asks(GuardDefense):
    """Asks for what the victim cannot tell."""

    name = "asks"

    def ruling(self, case: Case) -> Any:
        yield Likelihood(case.text, model=case.fitted["model"])
        return Ruling(False)


def problems(backend: ToyBackend, count: int, tokens: int = 5) -> list[Any]:
    allowed = allowed_tokens(backend.tokenizer)
    return [place(e, Threat(tokens=tokens), backend.tokenizer, allowed) for e in toy_examples(count)]


def victim(backend: ToyBackend, *defenses: Any, draws: int = 1) -> DefendedVictim:
    return DefendedVictim(backend, [Layer(defense) for defense in defenses], draws=draws)


def scored(defended: DefendedVictim, problem: Any, candidates: np.ndarray, *names: str) -> tuple[np.ndarray, StepMeter]:
    meter = StepMeter(names=names or ("a",))
    (losses,) = defended.score([(problem, Score(candidates), meter)])
    return losses, meter


def run(attacked: DefendedVictim, judged: DefendedVictim, attack: Any, them: Sequence[Any]) -> list[StepRow]:
    judge = JudgeRunner(WrongLabel(), ModelRouter(judged), draws=5)
    return Search(ModelRouter(attacked), attack, (0, "cell"), "gradient", judge).run(them).rows


def test_a_penalty_is_added_to_the_loss_of_a_blocked_candidate() -> None:
    backend = ToyBackend()
    (problem,) = problems(backend, 1)
    candidates = problem.random_tokens(np.random.default_rng(0), 30)
    plain, _ = scored(victim(backend), problem, candidates)
    losses, _ = scored(victim(backend, Spelling(1)), problem, candidates)
    excess = np.asarray([odd(text) - 1 for text in problem.prompts(candidates)])
    wanted = plain + np.where(excess > 0, 5.0 + 5.0 * excess, 0.0)
    np.testing.assert_allclose(losses, wanted)
    assert (excess > 0).any()
    # Behind a transform the same, by way of whole texts.
    again, _ = scored(victim(backend, Spelling(1), _Same()), problem, candidates)
    np.testing.assert_allclose(again, wanted)


class _Same(TransformDefense):
    """Changes nothing."""

    name = "same"

    def apply(self, texts: Sequence[str]) -> list[str]:
        return list(texts)


def test_the_adaptive_attack_breaks_a_filter_that_the_static_one_does_not() -> None:
    backend = ToyBackend()
    them = problems(backend, 8, tokens=8)
    attack = GCG(GCG.Params(steps=24, candidates=48, topk=64, keep="best_so_far"))
    fence = Spelling(max(odd(p.example.text) for p in them))
    broken = {}
    for kind, attacked in (("static", victim(backend)), ("adaptive", victim(backend, fence))):
        rows = run(attacked, victim(backend, fence), attack, them)
        broken[kind] = len({row.example for row in rows if row.success})
        assert all(row.draws == 1 for row in rows)
    assert broken["static"] <= 2
    assert broken["adaptive"] >= 6


def test_the_gradient_of_a_surrogate_is_added_to_the_victims() -> None:
    backend = ToyBackend()
    (problem,) = problems(backend, 1)
    tokens = problem.random_tokens(np.random.default_rng(0))
    guard = Spelling(0)

    def full(defended: DefendedVictim) -> Any:
        (answer,) = defended.gradient([(problem, Gradient(tokens, len(problem.allowed)), StepMeter())])
        values = np.zeros(answer.values.shape)
        np.put_along_axis(values, np.searchsorted(problem.allowed, answer.tokens), answer.values, axis=1)
        return values

    slope = next(_returned(guard.surrogate(Place(*_around(problem, tokens), problem.allowed, {}))))
    np.testing.assert_allclose(full(victim(backend, guard)), full(victim(backend)) + slope.gradient)


def _around(problem: Any, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return problem.before, tokens, problem.after


def _returned(asking: Any) -> Any:
    try:
        asking.send(None)
    except StopIteration as stop:
        yield stop.value


def test_a_vote_takes_the_majority_and_its_loss_is_the_mean_over_copies() -> None:
    backend = ToyBackend()
    texts = [example.text for example in toy_examples(5)]
    defended = victim(backend, Letters())
    replies = defended.ask(texts, names=[("x", i) for i in range(5)])
    for i, (text, reply) in enumerate(zip(texts, replies, strict=True)):
        cases = [Case(text, {}, backend.tokenizer, ("x", i, "copy", j, "layer", 0)) for j in range(7)]
        made = [text + str(case.rng.choice(list("abcdefghijklm"))) for case in cases]
        alone = victim(backend).ask(made)
        labels = [one.label for one in alone]
        assert reply.label == max((0, 1), key=labels.count)
        assert reply.answer(1).loss == pytest.approx(np.mean([one.answer(1).loss for one in alone]))
        total = sum((one.victim for one in alone), Flops())
        assert reply.victim.nominal == pytest.approx(total.nominal / 7)
        assert reply.defense.nominal == pytest.approx(total.nominal * 6 / 7)


def test_draws_depend_on_names_alone_and_verdicts_are_fresh() -> None:
    backend = ToyBackend()
    (problem,) = problems(backend, 1)
    candidates = problem.random_tokens(np.random.default_rng(0), 6)
    defended = victim(backend, Swaps(), draws=3)
    first, meter = scored(defended, problem, candidates, "a")
    np.testing.assert_array_equal(first, scored(defended, problem, candidates, "a")[0])
    assert not np.array_equal(first, scored(defended, problem, candidates, "b")[0])
    assert meter.queries == 18  # each draw is a query
    (alone,) = (scored(defended, problem, candidates[3:4], "a")[0],)
    assert alone[0] == pytest.approx(first[3])  # the same draws for all candidates of a request

    rows = run(defended, defended, RandomToken(RandomToken.Params(steps=4, draws=6)), [problem])
    assert {row.draws for row in rows} == {5}
    assert all(row.success == (2 * row.broken_draws > 5) for row in rows)
    assert rows[0].attack_loss != pytest.approx(rows[0].loss)  # judged on draws that the attack has not seen
    again = run(defended, defended, RandomToken(RandomToken.Params(steps=4, draws=6)), [problem])
    assert without_time(rows) == without_time(again)


def test_order_matters_a_guard_behind_a_vote_sees_every_copy() -> None:
    backend = ToyBackend()
    seen: list[str] = []

    class Watch(GuardDefense):
        """Looks on."""

        name = "watch"

        def blocks(self, texts: Sequence[str], fitted: dict[str, Any]) -> list[bool]:
            seen.extend(texts)
            return [False for _ in texts]

    victim(backend, Watch(), Letters()).ask(["The red fox."])
    assert seen == ["The red fox."]
    seen.clear()
    victim(backend, Letters(), Watch()).ask(["The red fox."])
    assert len(seen) == 7
    assert all(text.startswith("The red fox.") for text in seen)


def test_what_a_model_cannot_tell_is_refused_in_words() -> None:
    backend = ToyBackend()
    asking = DefendedVictim(backend, [Layer(Asks(), {"model": ""})])
    with pytest.raises(AccessError, match="defense asks: this victim does not answer likelihood requests"):
        asking.ask(["The red fox."])
    with pytest.raises(PluginError, match="asked model 'lm', but models\\(\\) names none"):
        DefendedVictim(backend, [Layer(Asks(), {"model": "lm"})]).ask(["The red fox."])
