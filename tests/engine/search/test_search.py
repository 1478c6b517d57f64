"""The engine runs steps side by side, meters them, judges them itself, and loses nothing when it is stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.api.attack import Attack
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.state import State
from harness.api.requests import Gradient, Score
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.errors import AccessError, PluginError
from harness.records.journal import Journal
from plugins.attacks.gcg import GCG
from plugins.attacks.random_token import RandomToken
from plugins.judges.labels import WrongLabel
from tests.engine.toy import ToyBackend, searching, toy_examples, without_time

THREAT = Threat(tokens=5)


def problems_of(backend, count=6, threat=THREAT):
    allowed = allowed_tokens(backend.tokenizer)
    return [place(example, threat, backend.tokenizer, allowed) for example in toy_examples(count)]


def search_of(backend, attack, **kwargs):
    settings = {"names": (0, "cell"), "granted": "gradient", "judge": WrongLabel()} | kwargs
    return searching(DefendedVictim(backend), attack, **settings)


def gcg(**params):
    return GCG(GCG.Params(**({"steps": 4, "candidates": 16, "topk": 8} | params)))


def test_every_example_gets_every_step_in_order():
    backend = ToyBackend()
    result = search_of(backend, gcg()).run(problems_of(backend))
    assert [(row.example, row.step) for row in result.rows] == [(e.id, s) for e in toy_examples() for s in range(1, 5)]


def test_recorded_loss_is_the_loss_of_the_recorded_text():
    backend = ToyBackend()
    problems = problems_of(backend)
    result = search_of(backend, gcg()).run(problems)
    for row in result.rows:
        problem = next(p for p in problems if p.example.id == row.example)
        (reply,) = DefendedVictim(backend).ask([problem.prompt(row.attack_text)])
        assert row.loss == pytest.approx(reply.answer(problem.example.proxy_label).loss, abs=1e-12)
        assert row.loss == pytest.approx(row.attack_loss, abs=1e-9)
        assert row.success == (int(reply.logits.argmax()) != problem.example.label)


def test_neither_company_nor_width_changes_a_result():
    backend = ToyBackend()
    whole = search_of(backend, gcg()).run(problems_of(backend)).rows
    narrow = search_of(backend, gcg(), together=2).run(problems_of(backend)).rows
    alone = [row for p in problems_of(backend) for row in search_of(backend, gcg()).run([p]).rows]
    assert without_time(whole) == without_time(narrow) == without_time(alone)


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "attack", [gcg(), RandomToken(RandomToken.Params(steps=4, draws=8))], ids=["gcg", "random_token"]
)
def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path, cut, attack):
    backend = ToyBackend()
    whole = search_of(backend, attack).run(problems_of(backend))
    path = tmp_path / "journal.jsonl"

    class StoppedError(Exception):
        pass

    def stop(round, _rows):
        if round == cut:
            raise StoppedError

    with Journal(path) as journal:
        if cut:
            with pytest.raises(StoppedError):
                search_of(backend, attack).run(problems_of(backend), journal, stop)
    path.write_bytes(path.read_bytes() + b'{"rows": [{"exam')  # a kill in the middle of a line
    with Journal(path) as journal:
        assert len(journal.entries) == cut
        again = search_of(backend, attack).run(problems_of(backend), journal)
    assert without_time(again.rows) == without_time(whole.rows)
    assert again.cost == whole.cost


def test_compute_is_counted_by_purpose():
    backend = ToyBackend()
    problem = problems_of(backend, 1)[0]
    (row,) = search_of(backend, gcg(steps=1)).run([problem]).rows
    length = len(problem.before) + 5 + len(problem.after)
    assert row.queries == 17
    assert row.attack_nominal == 2 * backend.n_params * length * 16 + 6 * backend.n_params * length
    assert row.attack_executed == 4 * length * (16 + 3)
    assert row.judge_nominal == 2 * backend.n_params * length
    assert row.defense_nominal == 0


def test_stop_on_success_spends_nothing_after_it():
    backend = ToyBackend()
    rows = search_of(backend, gcg(steps=8), stop_on_success=True).run(problems_of(backend)).rows
    for example in toy_examples():
        mine = [row for row in rows if row.example == example.id]
        assert [row.success for row in mine[:-1]] == [False] * (len(mine) - 1)
        assert mine[-1].success or len(mine) == 8


def test_access_is_checked_where_the_request_arrives():
    backend = ToyBackend()
    with pytest.raises(AccessError, match=r"gcg.*asked for gradient.*grants scores"):
        search_of(backend, gcg(), granted="scores").run(problems_of(backend))


class Odd(Attack):
    """An attack whose step is given by the test."""

    name = "odd"

    class Params(Attack.Params):
        steps: int = 2

    def __init__(self, step):
        super().__init__()
        self._step = step

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        return (yield from self._step(state, problem, rng))


def run_odd(step, **kwargs):
    backend = ToyBackend()
    return search_of(backend, Odd(step), **kwargs).run(problems_of(backend, 2)).rows


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda s, p: State((*p.allowed[:6].tolist(),)), "6 tokens, budget 5"),
        (lambda s, p: State((0,) * 5), "token not allowed"),
    ],
)
def test_strings_that_break_the_threat_model_are_failed_steps(make, reason):
    def step(state, problem, rng):
        yield Score(problem.random_tokens(rng, 1))
        return make(state, problem)

    for row in run_odd(step):
        assert row.failure == reason
        assert row.success is False
        assert row.loss is None


def test_a_string_that_does_not_survive_tokenisation_is_a_failed_step():
    def step(state, problem, rng):
        yield Score(problem.random_tokens(rng, 1))
        (pieces,) = problem.tokenizer.encode(["brown"])
        letters = [problem.tokenizer.encode([c])[0][0] for c in "brown"]  # five tokens that merge into fewer
        assert len(pieces) < 5
        return problem.state(np.asarray(letters))

    assert {row.failure for row in run_odd(step)} == {"retokenisation"}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda s: "text", "yielded str"),
        (lambda s: Score(np.zeros((2, 6), int)), "6 tokens per string"),
        (lambda s: Score(np.full((1, 5), 10**6)), "token ids must lie in"),
        (lambda s: Score(np.zeros((1, 5))), "integer array"),
        (lambda s: Gradient(s.array, top=0), "at least 1"),
    ],
)
def test_a_bad_request_names_attack_example_and_step(bad, words):
    def step(state, problem, rng):
        yield bad(state)
        return state

    with pytest.raises(PluginError, match="attack odd, example validation-00000, step 1") as caught:
        run_odd(step)
    assert words in str(caught.value)


def test_an_attack_that_raises_or_returns_nonsense_is_named():
    def raising(state, problem, rng):
        yield Score(state.array[None])
        raise ZeroDivisionError("oops")

    def nonsense(state, problem, rng):
        yield Score(state.array[None])
        return 3

    with pytest.raises(PluginError, match="raised ZeroDivisionError: oops"):
        run_odd(raising)
    with pytest.raises(PluginError, match="returned int"):
        run_odd(nonsense)


@pytest.mark.parametrize(
    "broken",
    [
        lambda s: State(("a",) * 5),
        lambda s: State((1.5,) * 5),
        lambda s: State(s.tokens, memory={"seen": {1, 2}}),
        lambda s: State(s.tokens, loss="low"),
    ],
)
def test_a_state_that_is_no_plain_data_is_named(broken):
    def step(state, problem, rng):
        yield Score(state.array[None])
        return broken(state)

    with pytest.raises(PluginError, match=r"attack odd, example validation-00000, step 1: its State is not plain data"):
        run_odd(step)


def test_numpy_integers_in_a_state_are_taken_as_integers():
    def step(state, problem, rng):
        yield Score(state.array[None])
        return State(tuple(np.asarray(state.tokens)), np.float32(0.5))

    assert {type(token) for row in run_odd(step) for token in row.attack_tokens} == {int}


def test_no_candidates_is_a_step_like_any_other():
    def step(state, problem, rng):
        losses = yield Score(np.empty((0, 5), dtype=np.int64))
        assert losses.shape == (0,)
        return state.best(np.empty((0, 5), dtype=np.int64), losses)

    rows = run_odd(step)
    assert len(rows) == 4
    assert all(row.queries == 0 for row in rows)


def test_states_are_plain_data():
    state = State((1, 2, 3), 0.5, {"beam": [[1, 2], [3, 4]]})
    assert State.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_best_and_latest_never_take_a_loss_that_is_no_number():
    state = State((1, 1), 1.0)
    rows = np.asarray([[2, 2], [3, 3], [4, 4]])
    assert state.best(rows, np.asarray([np.nan, np.inf, 2.0])) == state
    assert state.latest(rows, np.asarray([np.nan, np.inf, 2.0])).tokens == (4, 4)
    assert state.best(rows, np.asarray([0.5, 0.5, np.nan])).tokens == (2, 2)
    assert state.latest(rows, np.full(3, np.nan)) == state
    assert State((1, 1), float("nan")).best(rows, np.asarray([3.0, 4.0, 5.0])).tokens == (2, 2)


def test_search_lowers_the_loss_below_chance():
    backend = ToyBackend()
    problems = problems_of(backend)
    searched = search_of(backend, gcg(steps=8)).run(problems)
    drawn = search_of(backend, RandomToken(RandomToken.Params(steps=8, draws=17))).run(problems)
    last = [np.mean([row.loss for row in rows.rows if row.step == 8]) for rows in (searched, drawn)]
    assert last[0] < last[1] / 10
