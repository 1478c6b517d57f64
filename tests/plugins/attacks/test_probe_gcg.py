"""probe_gcg is GCG whose candidates a draft model has filtered: with a draft that agrees it chooses what GCG chooses,
with one that does not it asks the victim more often, and what the draft computes is paid for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.stats import spearmanr

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Gradient, GradientAnswer, Score
from harness.api.task import NO_LABEL
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_attack
from harness.engine.search.search import Search
from harness.engine.torch.backend import TorchBackend
from harness.errors import PluginError
from harness.records.journal import Journal
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.attacks.gcg import GCG
from plugins.attacks.probe_gcg import ProbeGCG, filtered_set_size, probe_agreement
from plugins.attacks.random_token import RandomToken
from plugins.judges.labels import WrongLabel
from tests.engine.hub_models import byte_bpe, random_model
from tests.engine.toy import searching, toy_examples, without_time


@cache
def tokenizer() -> HFTokenizer:
    return HFTokenizer(byte_bpe())


def classifier(seed: int = 1, **sizes: int) -> TorchBackend:
    model = random_model("gpt_neox", "classification", tokenizer().vocabulary, seed=seed, **sizes)
    return TorchBackend(model, tokenizer())


@cache
def shared(seed: int = 1, hidden: int = 32) -> TorchBackend:
    """For tests that do not ask what was computed."""
    return classifier(seed, hidden=hidden)


def problems_of(count: int = 1, tokens: int = 4) -> list[Problem]:
    allowed = allowed_tokens(tokenizer())
    return [place(example, Threat(tokens=tokens), tokenizer(), allowed) for example in toy_examples(count)]


def probe_gcg(**params: Any) -> ProbeGCG:
    return ProbeGCG(
        ProbeGCG.Params(**({"steps": 4, "candidates": 32, "topk": 16, "probe": 8, "reduction": 4} | params))
    )


class Watched(DefendedVictim):
    """Writes down the scores it is asked for."""

    def __init__(self, backend: TorchBackend) -> None:
        super().__init__(backend)
        self.scores: list[tuple[Score, Any, float]] = []

    def score(self, requests: Any) -> Any:
        before = [meter.attack.executed for *_, meter in requests]
        answers = super().score(requests)
        for (_, request, meter), answer, known in zip(requests, answers, before, strict=True):
            self.scores.append((request, answer, meter.attack.executed - known))
        return answers


def search_of(attack: GCG, victim: DefendedVictim, draft: DefendedVictim | None = None, **options: Any) -> Search:
    return searching(victim, attack, (0, "cell"), models={"draft": draft} if draft else {}, **options)


# -- agreement and sizes -----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=20))
def test_agreement_is_spearmans_correlation_moved_to_the_unit_interval(pairs: list[tuple[int, int]]) -> None:
    drafted, losses = np.asarray(pairs, dtype=float).T
    found = probe_agreement(drafted, losses)
    if len(set(drafted)) == 1 or len(set(losses)) == 1:
        assert found == 0.5
    else:
        assert found == pytest.approx((1 + spearmanr(drafted, losses).statistic) / 2)
    if len(set(drafted)) == len(set(losses)) == len(pairs):
        d = drafted.argsort().argsort() - losses.argsort().argsort()
        n = len(pairs)
        assert found == pytest.approx(1 - 3 * (d**2).sum() / (n * (n**2 - 1)))  # as the paper writes it


def test_agreement_of_what_is_no_number() -> None:
    assert probe_agreement(np.empty(0), np.empty(0)) == probe_agreement(np.ones(1), np.zeros(1)) == 0.5
    assert probe_agreement(np.asarray([1.0, 2.0, np.inf]), np.asarray([3.0, 4.0, np.nan])) == pytest.approx(1.0)
    assert probe_agreement(np.asarray([1.0, 2.0, np.inf]), np.asarray([np.nan, 4.0, 3.0])) == pytest.approx(0.0)


def test_sizes_are_those_of_the_paper() -> None:
    assert [filtered_set_size(alpha, 512, 8) for alpha in (0.0, 0.25, 0.5, 0.99, 1.0)] == [64, 48, 32, 1, 1]
    assert [filtered_set_size(alpha, 128, 8) for alpha in (0.0, 0.5, 1.0, 1.0 + 1e-12)] == [16, 8, 1, 1]
    params = ProbeGCG.Params()
    assert (params.candidates // params.probe, params.reduction) == (8, 8)  # 512 // 16 = 32 in the paper


# -- whole searches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"keep": "best_so_far"}, {"swaps": 2, "momentum": 0.5}], ids=str)
def test_a_draft_that_agrees_chooses_what_gcg_chooses(params: dict[str, Any]) -> None:
    victim, draft = Watched(shared()), Watched(shared())
    attack = probe_gcg(**params)
    given_ = {name: value for name, value in attack.params if name in GCG.Params.model_fields}
    plain = search_of(GCG(GCG.Params(**given_)), DefendedVictim(shared())).run(problems_of(2))
    found = search_of(attack, victim, draft).run(problems_of(2))
    for row, wanted in zip(found.rows, plain.rows, strict=True):
        assert row.attack_tokens == wanted.attack_tokens
        assert row.attack_loss == pytest.approx(wanted.attack_loss, abs=1e-5)
        assert row.queries in (1 + 4, 1 + 4 + 1)  # gradient, probe set, and the draft's best if it is not among them
    assert [len(request.candidates) for request, *_ in draft.scores] == [32] * len(found.rows)


def test_a_search_asks_the_probe_set_and_the_drafts_best() -> None:
    victim, draft = Watched(shared()), Watched(shared(2, 16))
    (problem,) = problems_of()
    rows = search_of(probe_gcg(candidates=64, steps=6), victim, draft, judge=WrongLabel()).run([problem]).rows
    sizes = set()
    for row, (all_, drafted, _), probed, rest in zip(
        rows, draft.scores, victim.scores[::2], victim.scores[1::2], strict=True
    ):
        candidates = all_.candidates.tolist()
        assert len(candidates) == 64
        probe, filtered = probed[0].candidates.tolist(), rest[0].candidates.tolist()
        assert len(probe) == 8
        at = [candidates.index(one) for one in probe]
        alpha = (1 + spearmanr(drafted[at], probed[1]).statistic) / 2
        size = max(1, int((1 - alpha) * 64 / 4))
        sizes.add(size)
        best = {tuple(candidates[i]) for i in np.argsort(drafted, kind="stable")[:size]}
        known, others = ([tuple(one) for one in asked] for asked in (probe, filtered))
        assert best - set(known) <= set(others) <= best  # a candidate may have been drawn twice, as in GCG
        assert len(others) <= size
        losses = dict(zip([*known, *others], [*probed[1], *rest[1]], strict=True))
        assert row.attack_tokens == list(min(losses, key=losses.__getitem__))
        assert row.attack_loss == min(losses.values())
        assert row.queries == 1 + len(probe) + len(filtered)
        assert row.loss == pytest.approx(row.attack_loss, abs=1e-4)
    assert len(sizes) > 1  # it follows the agreement


def test_the_drafts_compute_is_paid_for_to_the_flop() -> None:
    backend, small = classifier(), classifier(2, hidden=16)
    victim, draft = Watched(backend), Watched(small)
    rows = search_of(probe_gcg(), victim, draft).run(problems_of()).rows
    (problem,) = problems_of()
    length = len(problem.before) + 4 + len(problem.after)
    assert backend.n_params != small.n_params
    for at, row in enumerate(rows):
        scored = sum(len(request.candidates) for request, *_ in victim.scores[2 * at : 2 * at + 2])
        assert row.attack_nominal == 2 * length * (backend.n_params * (3 + scored) + small.n_params * 32)
        executed = sum(spent for *_, spent in [draft.scores[at], *victim.scores[2 * at : 2 * at + 2]])
        assert draft.scores[at][2] > 0
        assert row.attack_executed > executed  # the rest is the gradient's
    # besides the draft's share it costs less than GCG at the same candidates
    plain = search_of(GCG(GCG.Params(steps=4, candidates=32, topk=16)), DefendedVictim(classifier())).run([problem])
    for row, other in zip(rows, plain.rows, strict=True):
        assert row.attack_nominal - 2 * length * small.n_params * 32 < other.attack_nominal


def test_examples_that_share_a_string_are_probed_together() -> None:
    victim, draft = Watched(shared()), Watched(shared())
    plain = search_of(GCG(GCG.Params(steps=3, candidates=32, topk=16, prompts=2)), DefendedVictim(shared()))
    wanted = plain.run(problems_of(2))
    found = search_of(probe_gcg(steps=3, prompts=2), victim, draft).run(problems_of(2))
    assert [string.state.tokens for string in found.strings] == [string.state.tokens for string in wanted.strings]
    assert len(found.strings) == 1
    assert {row.queries for row in found.rows} <= {1 + 4, 1 + 4 + 1}


def test_in_a_task_in_text_both_models_score_the_target() -> None:
    def language_model(seed: int, **sizes: int) -> TorchBackend:
        model = random_model("gpt_neox", "label_tokens", tokenizer().vocabulary, seed=seed, **sizes)
        return TorchBackend(model, tokenizer(), "generation")

    example = replace(toy_examples(1)[0], label=NO_LABEL, proxy_label=NO_LABEL, target=" the fox")
    problem = place(example, Threat(tokens=4), tokenizer(), allowed_tokens(tokenizer()))
    victim, draft = Watched(language_model(1)), Watched(language_model(2, hidden=16))
    rows = search_of(probe_gcg(), victim, draft).run([problem]).rows
    for watched in (victim, draft):
        request, losses, _ = watched.scores[-2]
        row = np.asarray([*problem.before, *request.candidates[0], *problem.after, *problem.target])  # type: ignore[misc]
        with torch.no_grad():
            log_probs = watched.backend.model(input_ids=torch.as_tensor(row[None])).logits[0].log_softmax(-1)
        size = len(problem.target)  # type: ignore[arg-type]
        told = [float(log_probs[len(row) - size - 1 + i, row[len(row) - size + i]]) for i in range(size)]
        assert losses[0] == pytest.approx(-np.mean(told), abs=1e-4)
    assert all(row.attack_loss is not None for row in rows)


def test_without_its_draft_it_cannot_be_run() -> None:
    with pytest.raises(PluginError, match="asked model 'draft'"):
        search_of(probe_gcg(), DefendedVictim(shared())).run(problems_of())
    (need,) = probe_gcg().models().values()
    assert (need.sees, need.same_tokens, need.victim) == ("task", True, None)


@pytest.mark.parametrize("cut", [1, 3])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path: Path, cut: int) -> None:
    class StoppedError(Exception):
        pass

    def stop(round_: int, _rows: Any) -> None:
        if round_ == cut:
            raise StoppedError

    def fresh() -> Search:  # backends of their own: what one remembers must not make the other's compute smaller
        models = (DefendedVictim(classifier()), DefendedVictim(classifier(2, hidden=16)))
        return search_of(probe_gcg(keep="best_so_far"), *models, judge=WrongLabel())

    whole = fresh().run(problems_of(2))
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(StoppedError):
        fresh().run(problems_of(2), journal, stop)
    with Journal(tmp_path / "journal.jsonl") as journal:
        again = fresh().run(problems_of(2), journal)
    assert without_time(again.rows) == without_time(whole.rows)
    assert [string.state for string in again.strings] == [string.state for string in whole.strings]


def test_a_plan_knows_what_a_step_asks() -> None:
    found = dry_run_attack(probe_gcg(candidates=64), Threat(tokens=4))
    assert found.auxiliary["draft"].scored == 64
    assert found.differentiated == 1
    assert 8 < found.scored <= 8 + 64 / 4


# -- at the edges ------------------------------------------------------------------------------------------------------


def stepped(
    attack: ProbeGCG, problem: Problem, state: State, drafted: Any, losses: Any, seed: int = 0
) -> tuple[list[Score], State]:
    """One step with made-up answers; the last two are called with candidates."""
    rng = np.random.default_rng(seed)
    step = attack.step(state, problem, rng)
    asked: Any = next(step)
    assert isinstance(asked, Gradient)
    tokens = np.stack([np.random.default_rng(at).permutation(problem.allowed)[:16] for at in range(problem.budget)])
    asked = step.send(GradientAnswer(1.0, tokens, np.sort(-np.ones(tokens.shape), axis=1)))
    scores = []
    while True:
        assert isinstance(asked, Score)
        scores.append(asked)
        try:
            asked = step.send((drafted if asked.model == "draft" else losses)(asked.candidates))
        except StopIteration as stop:
            return scores, stop.value


def test_losses_that_are_no_numbers_are_never_taken() -> None:
    (problem,) = problems_of()
    state = State(tuple(problem.random_tokens(np.random.default_rng(0)).tolist()), 3.0)
    for useless in (np.nan, np.inf):
        nothing = lambda rows, v=useless: np.full(len(rows), v)  # noqa: E731
        scores, after = stepped(probe_gcg(), problem, state, nothing, nothing)
        assert (after.tokens, after.loss) == (state.tokens, state.loss)
        assert [len(one.candidates) for one in scores][:2] == [32, 4]
        assert len(scores[2].candidates) <= 4  # half of the 32 / 4 of no agreement, less what was probed

    values = iter((0.5, 0.7))

    def mixed(rows: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(rows)) == 1, next(values), np.nan)

    scores, after = stepped(probe_gcg(), problem, state, lambda rows: np.arange(float(len(rows))), mixed)
    assert (after.tokens, after.loss) == (tuple(scores[1].candidates[1].tolist()), 0.5)


@pytest.mark.parametrize("candidates", [1, 2, 3])
def test_hardly_any_candidates(candidates: int) -> None:
    (problem,) = problems_of()
    state = problem.state(problem.random_tokens(np.random.default_rng(0)))
    ascending = lambda rows: np.arange(float(len(rows)))  # noqa: E731
    scores, after = stepped(probe_gcg(candidates=candidates), problem, state, ascending, ascending)
    asked = sum(len(one.candidates) for one in scores[1:])
    assert min(candidates, 2) <= asked <= candidates
    assert after.loss == 0.0


def test_an_alphabet_in_which_nothing_survives_ends_in_rows_all_the_same() -> None:
    vocabulary = byte_bpe().get_vocab()
    never = sorted(vocabulary[chr(byte)] for byte in range(0xF5, 0x100))  # bytes that are never part of a text
    problem = replace(problems_of()[0], allowed=np.asarray(never))
    victim, draft = Watched(shared()), Watched(shared(2, 16))
    rows = search_of(probe_gcg(), victim, draft, judge=WrongLabel()).run([problem]).rows
    assert [(row.failure, row.attack_loss, row.queries) for row in rows] == [("retokenisation", None, 1)] * 4
    assert {len(request.candidates) for request, *_ in [*victim.scores, *draft.scores]} == {0}


def test_a_budget_of_one_token_and_more_candidates_than_there_are() -> None:
    (problem,) = problems_of(1, tokens=1)
    few = replace(problem, allowed=problem.allowed[problem.survives(problem.allowed[:, None])][:5])
    rows = search_of(probe_gcg(topk=1000), Watched(shared()), Watched(shared(2, 16))).run([few]).rows
    assert len(rows) == 4
    assert all(row.attack_tokens[0] in few.allowed and row.attack_loss is not None for row in rows)


def test_a_state_is_plain_data_between_any_two_steps() -> None:
    (problem,) = problems_of()
    attack = probe_gcg(keep="annealed", momentum=0.5)
    state = attack.start(problem, np.random.default_rng(0))
    rising = lambda rows: np.arange(float(len(rows)))  # noqa: E731
    for at in range(4):
        known = State.from_json(json.loads(json.dumps(state.to_json())))
        state, again = (stepped(attack, problem, one, rising, rising, seed=at)[1] for one in (state, known))
        assert state == again


# -- is it worth it ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_at_equal_compute_it_is_ahead_of_gcg_and_of_random_draws(trained: Callable[..., Any]) -> None:
    """A victim with nine times the draft's parameters, 128 candidates; compute in steps of GCG."""
    seed = 0
    big, small = trained("word_length", "150k", seed, steps=300), trained("word_length", "7k", seed)
    backend, models = big.open(), {"draft": DefendedVictim(small.open())}
    problems = big.problems(backend, 24)
    attacks = {
        "gcg": GCG(GCG.Params(steps=5, candidates=128)),
        "random_token": RandomToken(RandomToken.Params(steps=5, draws=131)),
        "probe_gcg": ProbeGCG(ProbeGCG.Params(steps=22, candidates=128)),
    }
    broken, losses = {}, {}
    for name, attack in attacks.items():
        search = searching(DefendedVictim(backend), attack, (seed, name), judge=WrongLabel(), models=models)
        rows = search.run(problems).rows
        table = {
            key: np.asarray([getattr(row, key) for row in rows], dtype=float).reshape(24, -1)
            for key in ("success", "attack_loss", "attack_nominal")
        }
        spent = table["attack_nominal"].cumsum(axis=1).mean(axis=0)
        if name == "gcg":
            budgets = spent
        at = [np.searchsorted(spent, budget * 1.000001) - 1 for budget in budgets]
        broken[name] = np.maximum.accumulate(table["success"], axis=1).mean(axis=0)[at]
        losses[name] = np.minimum.accumulate(table["attack_loss"], axis=1).mean(axis=0)[at]
        print(seed, name, len(spent), spent[-1] / budgets[-1], broken[name].round(2), losses[name].round(2))
    assert losses["probe_gcg"][2:].mean() < losses["gcg"][2:].mean()
    assert losses["probe_gcg"][-1] < losses["random_token"][-1]
    assert broken["probe_gcg"][-1] > broken["random_token"][-1]
