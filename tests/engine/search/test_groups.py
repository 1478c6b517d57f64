"""A universal string: several examples share one, the answers are means, and each example pays for itself."""

from __future__ import annotations

import numpy as np
import pytest

from harness.api.problem.group import Group
from harness.api.problem.placement import allowed_tokens, place
from harness.api.requests import Gradient, Score
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.meter import StepMeter
from harness.engine.search.router import ModelRouter, PendingRequest
from harness.records.journal import Journal
from plugins.attacks.gcg import GCG
from plugins.judges.labels import WrongLabel
from tests.engine.toy import ToyBackend, searching, toy_examples, without_time


def placed(backend: ToyBackend, count: int = 7) -> list:
    allowed = allowed_tokens(backend.tokenizer)
    return [place(example, Threat(tokens=5), backend.tokenizer, allowed) for example in toy_examples(count)]


def asked(group: Group, request: Score | Gradient, backend: ToyBackend) -> tuple:
    meters = [StepMeter() for _ in group.members]
    (answer,) = ModelRouter(DefendedVictim(backend)).answer([PendingRequest(group, request, meters)])
    return answer, meters


def test_losses_are_means_over_the_examples_and_each_pays_its_own() -> None:
    backend = ToyBackend()
    problems = placed(backend, 3)
    group = Group.of(problems)
    candidates = group.random_tokens(np.random.default_rng(0), 6)
    losses, meters = asked(group, Score(candidates), backend)
    alone = [asked(problem, Score(candidates), backend) for problem in problems]
    np.testing.assert_allclose(losses, np.mean([own for own, _ in alone], axis=0), rtol=1e-12)
    assert [meter.queries for meter in meters] == [6, 6, 6]
    assert [meter.attack for meter in meters] == [own.attack for _, (own,) in alone]


def test_gradients_are_means_over_the_examples() -> None:
    backend = ToyBackend()
    problems = placed(backend, 3)
    group = Group.of(problems)
    tokens = group.random_tokens(np.random.default_rng(1))
    answer, _ = asked(group, Gradient(tokens, top=4), backend)
    whole = [asked(problem, Gradient(tokens, top=len(group.allowed)), backend)[0] for problem in problems]
    by_token = [
        [
            dict(zip(row.tolist(), values.tolist(), strict=True))
            for row, values in zip(one.tokens, one.values, strict=True)
        ]
        for one in whole
    ]
    for place_, (row, values) in enumerate(zip(answer.tokens, answer.values, strict=True)):
        means = {int(t): float(np.mean([one[place_][int(t)] for one in by_token])) for t in group.allowed}
        assert sorted(values) == list(values)
        assert values == pytest.approx([means[int(t)] for t in row])
        assert values[-1] <= min(m for t, m in means.items() if t not in row) + 1e-12
    assert answer.loss == pytest.approx(np.mean([one.loss for one in whole]))


def test_a_string_survives_where_it_survives_in_every_example() -> None:
    problems = placed(ToyBackend(), 4)
    rows = np.random.default_rng(2).choice(problems[0].allowed, size=(200, 5))
    alive = np.logical_and.reduce([problem.survives(rows) for problem in problems])
    assert (Group.of(problems).survives(rows) == alive).all()
    assert 0 < alive.sum() < len(alive)


def test_examples_of_a_group_get_the_same_string_and_verdicts_of_their_own(tmp_path) -> None:
    backend = ToyBackend()
    problems = placed(backend)  # groups of 3, 3 and 1
    attack = GCG(GCG.Params(prompts=3, steps=3, candidates=12, topk=8))
    result = searching(DefendedVictim(backend), attack, judge=WrongLabel()).run(problems)
    assert [len(string.problem.members) for string in result.strings] == [3, 3, 1]
    ids = [problem.example.id for problem in problems]
    assert [(row.example, row.step) for row in result.rows] == [(i, s) for i in ids for s in (1, 2, 3)]
    strings = {(row.example, row.step): row.attack_tokens for row in result.rows}
    for step in (1, 2, 3):
        assert strings[ids[0], step] == strings[ids[1], step] == strings[ids[2], step] != strings[ids[3], step]
    losses = {row.loss for row in result.rows if row.step == 3}
    assert len(losses) == len(problems)
    for string in result.strings:
        own = [
            row.loss
            for row in result.rows
            if row.step == 3 and row.example in {m.example.id for m in string.problem.members}
        ]
        assert np.mean(own) == pytest.approx(string.state.loss)

    # Stopped after one round and gone on with, it is the same.
    with Journal(tmp_path / "journal") as journal:
        searching(DefendedVictim(backend), attack, judge=WrongLabel()).run(problems, journal)
    lines = (tmp_path / "journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").write_bytes(lines[0])
    with Journal(tmp_path / "cut") as journal:
        again = searching(DefendedVictim(backend), attack, judge=WrongLabel()).run(problems, journal)
    assert without_time(again.rows) == without_time(result.rows)
