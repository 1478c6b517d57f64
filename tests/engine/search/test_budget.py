"""The threat model's limits on what an attack spends, kept by the engine for every attack."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from harness.engine.search.budget import FLOPS, QUERIES, SearchBudget
from harness.errors import AccessError
from harness.records.journal import Journal
from plugins.attacks.none import NoAttack
from plugins.attacks.random_search import RandomSearch
from plugins.attacks.random_token import RandomToken
from tests.engine.search.test_search import gcg, problems_of, search_of
from tests.engine.toy import ToyBackend, without_time

ATTACKS = {
    "gcg": gcg(steps=6),
    "random_token": RandomToken(RandomToken.Params(steps=6, draws=8)),
    "random_search": RandomSearch(RandomSearch.Params(steps=6, candidates=8)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
@given(queries=st.integers(1, 130))
@settings(max_examples=25, deadline=None)
def test_no_attack_has_more_queries_than_granted(name: str, queries: int) -> None:
    backend = ToyBackend()
    free = search_of(backend, ATTACKS[name]).run(problems_of(backend, 2))
    held = search_of(backend, ATTACKS[name], budget=SearchBudget(queries=queries)).run(problems_of(backend, 2))
    for string, unheld in zip(held.strings, free.strings, strict=True):
        spent = [row.queries for row in held.rows if row.example == string.problem.example.id]
        assert sum(spent) == string.totals[0].queries <= queries
        assert (string.limit == QUERIES) == (unheld.totals[0].queries > queries)
    same = {(row.example, row.step): row.attack_tokens for row in free.rows}
    for string in held.strings:
        rows = [row for row in held.rows if row.example == string.problem.example.id]
        for row in rows[:-1] if string.limit else rows:  # up to its end a search is the same
            assert row.attack_tokens == same[row.example, row.step]


def test_flops_are_held_to_the_limit_and_the_last_string_is_judged() -> None:
    backend = ToyBackend()
    free = search_of(backend, gcg(steps=6)).run(problems_of(backend))
    limit = 2.5 * max(row.attack_nominal for row in free.rows)
    held = search_of(backend, gcg(steps=6), budget=SearchBudget(flops=limit)).run(problems_of(backend))
    for string in held.strings:
        rows = [row for row in held.rows if row.example == string.problem.example.id]
        assert (string.limit, len(rows)) == (FLOPS, 3)
        assert sum(row.attack_nominal for row in rows) <= limit
        assert rows[-1].attack_nominal > 0  # what was answered in the step that was given up
        assert rows[-1].attack_tokens == rows[-2].attack_tokens
        assert (rows[-1].loss, rows[-1].success) == (rows[-2].loss, rows[-2].success)


def test_a_limited_search_goes_on_where_it_was_stopped(tmp_path) -> None:
    backend, limits = ToyBackend(), SearchBudget(queries=40)
    whole = search_of(backend, gcg(steps=6), budget=limits).run(problems_of(backend))

    class StoppedError(Exception):
        pass

    for cut in (1, 2, 3):
        path = tmp_path / f"{cut}.jsonl"

        def stop(round: int, _rows: object, at: int = cut) -> None:
            if round == at:
                raise StoppedError

        with Journal(path) as journal, pytest.raises(StoppedError):
            search_of(backend, gcg(steps=6), budget=limits).run(problems_of(backend), journal, stop)
        with Journal(path) as journal:
            again = search_of(backend, gcg(steps=6), budget=limits).run(problems_of(backend), journal)
        assert without_time(again.rows) == without_time(whole.rows)


def test_flops_of_a_victim_of_unknown_size_cannot_be_limited() -> None:
    backend = ToyBackend()
    backend.n_params = None  # type: ignore[assignment]
    with pytest.raises(AccessError, match="limit `queries` instead"):
        search_of(backend, gcg(), budget=SearchBudget(flops=1e9)).run(problems_of(backend))


def test_no_attack_is_the_clean_prompt() -> None:
    backend = ToyBackend()
    problems = problems_of(backend)
    rows = search_of(backend, NoAttack()).run(problems).rows
    assert [(row.queries, row.attack_nominal, row.failure) for row in rows] == [(0, 0.0, None)] * len(problems)
    for row, problem in zip(rows, problems, strict=True):
        (reply,) = search_of(backend, NoAttack()).models.victim.ask([problem.before_text + problem.after_text])
        assert row.loss == reply.answer(problem.example.proxy_label).loss
        assert row.attack_text == ""
