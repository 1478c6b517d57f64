"""beast is the paper's beam search: the same candidates as plain code finds, for any width and branching, on a real
language model and a real classifier; strings that cannot stand are never scored, and nothing stops a search.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Sample, SampleAnswer, Score
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_attack
from harness.engine.sampling import gumbel
from harness.engine.search.search import Search
from harness.engine.torch.backend import TorchBackend
from harness.errors import PluginError
from harness.records.journal import Journal
from harness.rng import named_rng
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.attacks.beast import Beast, beams_of
from plugins.judges.labels import WrongLabel
from tests.engine.hub_models import byte_bpe, random_model
from tests.engine.toy import searching, toy_examples, without_time

NAMES = (0, "cell")


@cache
def tokenizer() -> HFTokenizer:
    return HFTokenizer(byte_bpe())


def classifier(strategy: Any = "auto") -> TorchBackend:
    model = random_model("gpt_neox", "classification", tokenizer().vocabulary, seed=1)
    return TorchBackend(model, tokenizer(), strategy=strategy)


def language_model(strategy: Any = "auto") -> TorchBackend:
    model = random_model("gpt_neox", "label_tokens", tokenizer().vocabulary, seed=2)
    return TorchBackend(model, tokenizer(), "generation", strategy=strategy)


@cache
def shared() -> tuple[TorchBackend, TorchBackend]:
    """A victim and a sampler for tests that do not ask what was computed."""
    return classifier(), language_model()


def problems_of(count: int = 1, tokens: int = 4) -> list[Problem]:
    allowed = allowed_tokens(tokenizer())
    return [place(example, Threat(tokens=tokens), tokenizer(), allowed) for example in toy_examples(count)]


def beast(**params: Any) -> Beast:
    return Beast(Beast.Params(**params))


def search_of(
    attack: Beast, victim: DefendedVictim | None = None, sampler: DefendedVictim | None = None, **options: Any
) -> Search:
    victim, sampler = victim or DefendedVictim(shared()[0]), sampler or DefendedVictim(shared()[1])
    return searching(victim, attack, NAMES, "scores", models={"sampler": sampler}, **options)


class Watched(DefendedVictim):
    """Writes down what it is asked, and what that took."""

    def __init__(self, backend: TorchBackend) -> None:
        super().__init__(backend)
        self.asked: list[tuple[Any, Any, float]] = []

    def score(self, requests: Any) -> Any:
        return self._noted(requests, super().score(requests))

    def sample(self, requests: Any) -> Any:
        return self._noted(requests, super().sample(requests))

    def _noted(self, requests: Any, answers: Any) -> Any:
        self.asked += [(r, a, m.attack.executed) for (_, r, m), a in zip(requests, answers, strict=True)]
        return answers


# -- against plain code ------------------------------------------------------------------------------------------------


def plain_beast(
    problem: Problem, width: int, branching: int, steps: int, top: int | None = None
) -> list[tuple[list[tuple[int, ...]], list[float], tuple[int, ...]]]:
    """Candidates, losses and best string so far of each step: whole rows through the bare models, one at a time."""
    victim, sampler = (backend.model for backend in shared())
    before, after = problem.before.tolist(), problem.after.tolist()
    beams: list[tuple[int, ...]] = [()]
    best: tuple[float, tuple[int, ...]] = (np.inf, ())
    found = []
    for step in range(1, steps + 1):
        seed = int(named_rng(*NAMES, problem.example.id, step).integers(1 << 63))
        beams = [()] if len(beams[0]) == problem.budget else beams
        scored = []
        for number, beam in enumerate(beams):
            with torch.no_grad():
                logits = sampler(input_ids=torch.tensor([[*before, *beam]])).logits[0, -1]
            log_probs = logits.log_softmax(-1).double().numpy()
            among = sorted(problem.allowed.tolist(), key=lambda t: -log_probs[t])[:top]
            noise = gumbel(seed, np.asarray(number), np.asarray(among))
            keys = dict(zip(among, log_probs[among] + noise, strict=True))
            for token in sorted(among, key=lambda t: -keys[t])[: branching if beam else width]:
                row = [*before, *beam, token, *after]
                if tokenizer().encode(tokenizer().decode([row]))[0] == row:
                    with torch.no_grad():
                        answer = victim(input_ids=torch.tensor([row])).logits[0].double()
                    scored.append(((*beam, token), float(-answer.log_softmax(-1)[problem.example.proxy_label])))
        best = min([best, *((loss, beam) for beam, loss in scored)])
        found.append(([beam for beam, _ in scored], [loss for _, loss in scored], best[1]))
        beams = [beam for beam, _ in sorted(scored, key=lambda pair: pair[1])[:width]]
    return found


@pytest.mark.parametrize(
    ("width", "branching", "top"),
    [(1, 1, None), (2, 2, None), (4, 4, None), (2, 5, None), (5, 2, None), (1, 4, None), (6, 1, None), (3, 3, 12)],
)
def test_candidates_are_those_of_a_plain_beam_search(width: int, branching: int, top: int | None) -> None:
    steps = 6  # a whole pass of 4 tokens, and half of another
    victim = Watched(shared()[0])
    problems = problems_of(2)
    attack = beast(width=width, branching=branching, top=top, steps=steps)
    result = search_of(attack, victim).run(problems)
    scores = [(request, losses) for request, losses, _ in victim.asked if isinstance(request, Score)]
    for at, problem in enumerate(problems):
        rows = [row for row in result.rows if row.example == problem.example.id]
        plain = plain_beast(problem, width, branching, steps, top)
        assert len(rows) == len(plain) == steps
        for (request, losses), row, (candidates, wanted, best) in zip(scores[at::2], rows, plain, strict=True):
            assert list(map(tuple, request.candidates.tolist())) == candidates
            np.testing.assert_allclose(losses, wanted, atol=1e-4)
            assert tuple(row.attack_tokens) == best
            assert len(candidates) <= width * branching or len(candidates[0]) == 1
    assert max(len(candidates) for candidates, *_ in plain) == max(width, width * branching)


def test_the_victim_may_sample_itself() -> None:
    victim = Watched(language_model())
    example = Example("text", toy_examples(1)[0].chunks, target=" the fox")
    problem = place(example, Threat(tokens=3), tokenizer(), allowed_tokens(tokenizer()))
    result = search_of(beast(steps=3, width=2, branching=3), victim, victim).run([problem])
    assert len(result.rows[0].attack_tokens) == 1
    assert {type(request) for request, _, _ in victim.asked} == {Sample, Score}
    losses = [row.attack_loss for row in result.rows]
    assert losses == sorted(losses, reverse=True)


def test_without_its_sampler_it_cannot_be_run() -> None:
    with pytest.raises(PluginError, match="asked model 'sampler'"):
        searching(DefendedVictim(shared()[0]), beast(), NAMES, "scores").run(problems_of())


# -- a whole search ----------------------------------------------------------------------------------------------------


def test_passes_follow_each_other_the_best_is_kept_and_short_strings_are_valid() -> None:
    result = search_of(beast(steps=9, width=3, branching=3), judge=WrongLabel()).run(problems_of(3))
    for string in result.strings:
        rows = [row for row in result.rows if row.example == string.problem.example.id]
        losses = [row.attack_loss for row in rows]
        assert losses == sorted(losses, reverse=True)
        assert all(row.failure is None and 1 <= len(row.attack_tokens) <= 4 for row in rows)
        for row in rows:
            np.testing.assert_allclose(row.loss, row.attack_loss, atol=1e-4)  # the judge sees the same string
        assert len(string.state.memory["beams"][0]) == 1  # the ninth step: two passes of four, and a first token
    lengths = {len(row.attack_tokens) for row in result.rows}
    assert min(lengths) < 4


def test_another_pass_draws_anew() -> None:
    sampler = Watched(shared()[1])
    search_of(beast(steps=4, width=3, branching=2), None, sampler).run(problems_of(1, tokens=2))
    first, _, second, _ = [answer.tokens.tolist() for _, answer, _ in sampler.asked]
    assert first != second


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path: Path, cut: int) -> None:
    class StoppedError(Exception):
        pass

    def stop(round_: int, _rows: Any) -> None:
        if round_ == cut:
            raise StoppedError

    def fresh() -> Search:  # backends of their own: what one remembers must not make the other's compute smaller
        models = (DefendedVictim(classifier()), DefendedVictim(language_model()))
        return search_of(beast(steps=6, width=3, branching=4), *models, judge=WrongLabel())

    whole = fresh().run(problems_of(2))
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(StoppedError):
        fresh().run(problems_of(2), journal, stop)
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert len(journal.entries) == cut
        again = fresh().run(problems_of(2), journal)
    timeless = [without_time(one.rows) for one in (whole, again)]
    assert timeless[0] == timeless[1]
    assert [string.state for string in again.strings] == [string.state for string in whole.strings]


def test_a_state_is_plain_data_between_any_two_steps() -> None:
    problem = problems_of()[0]
    attack = beast(width=2, branching=2)
    state = attack.start(problem, np.random.default_rng(0))
    for at in range(6):
        known = State.from_json(json.loads(json.dumps(state.to_json())))
        assert known == state
        state, again = (stepped(attack, problem, one, seed=at)[-1] for one in (state, known))
        assert state == again


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_samples_and_scores_are_metered_and_the_samplers_are_no_queries() -> None:
    width, branching = 3, 2
    (problem,) = problems_of()
    victim, sampler = Watched(shared()[0]), Watched(shared()[1])
    rows = search_of(beast(steps=4, width=width, branching=branching), victim, sampler).run([problem]).rows
    around = len(problem.before) + len(problem.after)
    beams, kept = 1, 0
    for step, (row, (scored, *_), (sampled, *_)) in enumerate(zip(rows, victim.asked, sampler.asked, strict=True)):
        kept = len(scored.candidates)
        assert sampled.strings.shape == (beams, step)
        assert row.queries == kept
        wanted = 2 * victim.backend.n_params * kept * (around + step + 1)
        wanted += 2 * sampler.backend.n_params * beams * (len(problem.before) + step)
        assert row.attack_nominal == wanted
        beams = min(width, kept)


def test_what_beams_share_is_computed_once() -> None:
    """Against full forwards of every row: what stands before is remembered from step to step, and beams that begin
    alike are read behind their common beginning.
    """
    spent = {}
    for strategy in ("full", "auto"):
        victim, sampler = Watched(classifier(strategy)), Watched(language_model(strategy))
        result = search_of(beast(steps=12, width=5, branching=5), victim, sampler).run(problems_of(1, tokens=12))
        spent[strategy] = [np.asarray([executed for *_, executed in one.asked]) for one in (sampler, victim)]
        assert len(result.rows) == 12
    # `executed` is read off the meter of a step: the victim's holds the sampler's share as well
    for shared_, whole in zip(spent["auto"], spent["full"], strict=True):
        assert (shared_[1:] < 0.6 * whole[1:]).all()
    (problem,) = problems_of(1, tokens=12)
    backend = shared()[1]
    row = backend.executed.forward(len(problem.before), 1)
    assert spent["auto"][0][1] < 5 * row  # five beams of one token: their common beginning is not read five times


def test_a_plan_knows_what_a_step_asks() -> None:
    found = dry_run_attack(beast(width=3, branching=5), Threat(tokens=4))
    # the first tokens are drawn behind the prompt, the second ones behind each beam
    assert (found.scored, found.auxiliary["sampler"].sampled) == ((3 + 15) / 2, (1 + 3) / 2)
    assert beast().models()["sampler"].same_tokens


# -- by hand, and at the edges -----------------------------------------------------------------------------------------


def stepped(
    attack: Beast, problem: Problem, state: State, losses: Any = None, tokens: Any = None, seed: int = 0
) -> tuple[Sample | None, Score, State]:
    """One step with made-up answers: ``tokens`` for each beam (else drawn), ``losses`` of the candidates."""
    rng = np.random.default_rng(seed)
    step = attack.step(state, problem, rng)
    asked = next(step)
    sampled = None
    if isinstance(asked, Sample):
        sampled = asked
        drawn = np.random.default_rng(seed + 1).permuted(np.tile(problem.allowed, (len(asked.strings), 1)), axis=1)[
            :, : asked.k
        ]
        drawn = drawn if tokens is None else np.tile(np.asarray(tokens), (len(asked.strings), 1))
        asked = step.send(SampleAnswer(drawn, np.zeros(drawn.shape)))
    assert isinstance(asked, Score)
    given = np.linspace(1.0, 2.0, len(asked.candidates)) if losses is None else losses(asked.candidates)
    with pytest.raises(StopIteration) as stop:
        step.send(given)
    return sampled, asked, stop.value.value


def letters(text: str) -> list[int]:
    return [tokenizer().encode([letter])[0][0] for letter in text]


def test_the_first_beams_are_drawn_from_one_string_and_the_lowest_losses_go_on() -> None:
    (problem,) = problems_of()
    attack = beast(width=3, branching=2)
    state = attack.start(problem, np.random.default_rng(0))
    assert (state.tokens, state.loss) == ((), None)
    sampled, scored, state = stepped(attack, problem, state)
    assert sampled is not None
    assert (sampled.strings.shape, sampled.k, sampled.model) == ((1, 0), 3, "sampler")
    assert scored.model == ""
    sampled, scored, state = stepped(attack, problem, state, lambda rows: -np.arange(float(len(rows))))
    assert sampled is not None
    assert (len(sampled.strings), sampled.k) == (3, 2)
    assert state.memory["beams"] == scored.candidates[::-1][:3].tolist()
    assert state.tokens == tuple(scored.candidates[-1])
    np.testing.assert_array_equal(scored.near, scored.candidates[::2])  # one of each beam


@pytest.mark.parametrize("useless", [np.nan, np.inf])
def test_losses_that_are_no_numbers_are_never_taken(useless: float) -> None:
    (problem,) = problems_of()
    attack = beast(width=2, branching=3)
    known = State((7, 8), 3.0, {"beams": [letters("z"), letters("q")]})
    assert problem.survives(np.asarray(known.memory["beams"])).all()
    *_, after = stepped(attack, problem, known, lambda rows: np.full(len(rows), useless))
    assert (after.tokens, after.loss) == (known.tokens, known.loss)
    assert len(after.memory["beams"]) == 2  # the search goes on all the same
    _, scored, after = stepped(attack, problem, known, lambda rows: np.asarray([useless] * (len(rows) - 1) + [1.0]))
    assert (after.tokens, after.loss) == (tuple(scored.candidates[-1]), 1.0)
    assert after.memory["beams"][0] == scored.candidates[-1].tolist()


def test_strings_that_do_not_survive_are_not_scored() -> None:
    (problem,) = problems_of()
    pair = next(letters(pair) for pair in ("or", "er", "as", "wo") if len(tokenizer().encode([pair])[0]) == 1)
    assert not problem.survives(np.asarray([pair]))[0]  # the two letters are one token
    q, z = letters("qz")
    state = State((), None, {"beams": [pair[:1], [q]]})
    _, scored, after = stepped(beast(width=4, branching=2), problem, state, tokens=[pair[1], z])
    assert scored.candidates.tolist() == [[pair[0], z], [q, pair[1]], [q, z]]
    assert after.memory["beams"] == scored.candidates.tolist()  # fewer beams than the width


def test_beams_that_nothing_can_follow_give_up_their_last_tokens() -> None:
    (problem,) = problems_of()
    attack = beast(width=4, branching=1)
    bad = never_text()[:1]
    q, z, w = letters("qzw")
    state = State((q,), 1.5, {"beams": [[q, z], [q, w], [z, q]]})
    sampled, scored, after = stepped(attack, problem, state, lambda rows: np.empty(0), tokens=bad)
    assert sampled is not None
    assert scored.candidates.shape == (0, 3)
    assert after == State((q,), 1.5, {"beams": [[q], [z]]})  # none twice, in their order
    *_, after = stepped(attack, problem, after, lambda rows: np.empty(0), tokens=bad)
    assert after == State((q,), 1.5, {"beams": [[]]})
    *_, after = stepped(attack, problem, after, lambda rows: np.empty(0), tokens=bad)
    assert after == State((q,), 1.5, {"beams": [[]]})
    assert beams_of(after, problem.budget).shape == (1, 0)


def never_text() -> list[int]:
    """Tokens of bytes that are never part of a text."""
    vocabulary = byte_bpe().get_vocab()
    return sorted(vocabulary[chr(byte)] for byte in range(0xF5, 0x100))


def test_an_alphabet_in_which_nothing_survives_ends_in_rows_all_the_same() -> None:
    problem = replace(problems_of()[0], allowed=np.asarray(never_text()))
    victim, sampler = Watched(shared()[0]), Watched(shared()[1])
    search = search_of(beast(steps=5, width=3, branching=2), victim, sampler, judge=WrongLabel())
    result = search.run([problem])
    assert [row.attack_loss for row in result.rows] == [None] * 5
    assert [row.queries for row in result.rows] == [0] * 5
    assert {row.attack_text for row in result.rows} == {""}  # nothing was put in, and that was judged
    drawn = [tuple(answer.tokens[0].tolist()) for _, answer, _ in sampler.asked]
    assert len(drawn) == 5
    assert len(set(drawn)) > 1  # each step draws again


def test_a_budget_of_one_token_is_a_pass_per_step() -> None:
    victim = Watched(shared()[0])
    rows = search_of(beast(steps=3, width=4, branching=9), victim).run(problems_of(1, tokens=1)).rows
    assert [request.candidates.shape[1] for request, *_ in victim.asked] == [1, 1, 1]
    assert all(len(request.candidates) <= 4 for request, *_ in victim.asked)
    assert [len(row.attack_tokens) for row in rows] == [1, 1, 1]


def test_more_beams_than_there_are_tokens() -> None:
    allowed = np.asarray(sorted(letters("qzwvk")))
    problem = replace(problems_of(1, tokens=3)[0], allowed=allowed)
    victim = Watched(shared()[0])
    search_of(beast(steps=3, width=200, branching=200), victim).run([problem])
    sizes = [len(request.candidates) for request, *_ in victim.asked]
    assert sizes[0] <= 5
    assert sizes[1] <= 25
    assert sizes[2] <= 125
    for request, *_ in victim.asked:
        assert len(np.unique(request.candidates, axis=0)) == len(request.candidates) > 0


@pytest.mark.parametrize("width", [2, 300])
def test_where_nothing_stands_before_the_string_its_first_token_is_uniform(width: int) -> None:
    chunks = (Chunk("", Edit.OVERWRITABLE), Chunk(" The fox jumps.\n\nAnswer:"))
    allowed = allowed_tokens(tokenizer())
    problem = place(Example("first", chunks, 0, 1), Threat(tokens=3), tokenizer(), allowed)
    assert len(problem.before) == 0
    victim, sampler = Watched(shared()[0]), Watched(shared()[1])
    attack = beast(steps=4, width=width, branching=2)
    rows = search_of(attack, victim, sampler).run([problem]).rows
    assert [request.strings.shape[1] for request, *_ in sampler.asked] == [1, 2]  # none for the first of each pass
    assert len(rows) == 4
    first = victim.asked[0][0].candidates[:, 0]
    assert len(set(first.tolist())) == len(first) <= width
    assert np.isin(first, allowed).all()


# -- through a spec ----------------------------------------------------------------------------------------------------

SPEC = """
name: beams
version: "1"
tasks:
  - word_length:
      {train_size: 300, validation_size: 60, instructions: "Which word is longer?", syllables: open, min_letters: 4,
       max_letters: 6}
victims: [{tiny: {size: 7k, steps: 60}}]
attacks: [{beast: {steps: 6, width: 2, branching: 5}}]
threats: [{tokens: 4, access: scores}]
examples: 5
clean_examples: 20
"""


@pytest.mark.slow
def test_a_run_trains_the_sampler_that_the_spec_leaves_out(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from tests.run.runs import harness_here

    (tmp_path / "beams.yaml").write_text(SPEC, encoding="utf-8")
    done = harness_here("run", "beams.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs/beams/cells").iterdir()
    facts = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
    sampler = facts["auxiliary"]["sampler"]
    assert sampler["victim"]["params"]["size"] == "7k"
    assert sampler["preparation"]["nominal"] > 0
    rows = pq.read_table(folder / "steps.parquet").to_pylist()
    assert len(rows) > 0
    assert len(rows) % 6 == 0  # every step of every example that the victim gets right
    for row in rows:
        assert row["failure"] is None
        assert 0 < len(row["attack_tokens"]) <= 4
        assert 0 < row["queries"] <= 10  # scores; the sampler's strings are none
        assert 0 < row["attack_executed"] < row["attack_nominal"]
