"""The variants of GCG: annealed acceptance, several swaps; stopping and going on; and where nothing survives."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import binomtest, chisquare

from harness.api.problem.state import State
from harness.api.requests import Gradient, GradientAnswer
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_attack
from harness.records.journal import Journal
from plugins.attacks._common.substitutions import substitutions
from plugins.attacks.gcg import GCG
from plugins.judges.labels import WrongLabel
from tests.engine.toy import ToyBackend, searching, without_time
from tests.plugins.attacks.test_gcg import drive, gcg, pretend_problem, toy_problem

# -- annealed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "temperature", "rise"), [(1, 1.0, 0.5), (5, 1.0, 0.5), (8, 0.3, 0.05), (9, 4.0, 1.0)])
def test_a_worse_string_is_accepted_with_the_chance_of_its_step(step: int, temperature: float, rise: float) -> None:
    problem = pretend_problem()
    attack = gcg(steps=10, candidates=3, topk=9, keep="annealed", temperature=temperature)
    state = State((1, 2, 3, 4), 1.0, {"step": step - 1})
    accepted = 0
    for seed in range(400):
        _, _, _, after = drive(attack, problem, state, lambda rows: np.full(len(rows), 1.0 + rise), seed=seed)
        assert after.memory == {"step": step}
        assert (after.loss == 1.0) == (after.tokens == state.tokens)
        accepted += after.loss != 1.0
    chance = exp(-rise / (temperature * (1 - step / 10)))
    assert binomtest(accepted, 400, chance).pvalue > 1e-4


def test_a_better_or_equal_string_is_always_accepted_and_a_worse_one_never_at_the_end() -> None:
    problem = pretend_problem()
    for step, temperature, loss, moves in ((3, 0.0, 1.0, True), (3, 0.0, 1.1, False), (10, 9.0, 1.1, False)):
        attack = gcg(steps=10, candidates=3, topk=9, keep="annealed", temperature=temperature)
        state = State((1, 2, 3, 4), 1.0, {"step": step - 1})
        for seed in range(20):
            _, _, _, after = drive(attack, problem, state, lambda rows, v=loss: np.full(len(rows), v), seed=seed)
            assert (after.tokens != state.tokens) is moves


def test_annealing_lies_between_its_two_ends() -> None:
    """Without heat it never gets worse; with much it takes what each step finds, as plain GCG does."""
    problem = toy_problem()

    def losses(**params: Any) -> list[float]:
        attack = gcg(steps=12, candidates=4, topk=60, **params)
        return [row.attack_loss for row in searching(DefendedVictim(ToyBackend()), attack).run([problem]).rows]

    cold, warm, hot = (losses(keep="annealed", temperature=t) for t in (0.0, 0.003, 1e9))
    plain, best = losses(keep="this_step"), losses(keep="best_so_far")
    assert cold == best == sorted(best, reverse=True)
    assert hot[:-1] == plain[:-1]  # but for the last step, which is always cold
    assert any(a < b for a, b in pairwise(plain))
    assert warm not in (cold, hot)


# -- stopping and going on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [{"keep": "annealed"}, {"momentum": 0.5}, {"keep": "annealed", "momentum": 0.3}])
def test_a_stopped_search_goes_on_as_if_undisturbed(params: dict[str, Any], tmp_path: Path) -> None:
    problem = toy_problem()
    attack = gcg(steps=6, candidates=8, topk=30, temperature=0.2, **params)

    def run(path: Path) -> list[dict[str, Any]]:
        with Journal(path) as journal:
            rows = searching(DefendedVictim(ToyBackend()), attack).run([problem], journal).rows
        return without_time(rows)

    whole = run(tmp_path / "whole")
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").write_bytes(b"".join(lines[:3]))
    assert run(tmp_path / "cut") == whole


# -- several swaps ----------------------------------------------------------------------------------------------------


def test_pairs_of_positions_are_uniform_and_so_are_their_tokens() -> None:
    current = np.asarray([0, 1, 2, 3])
    choices = np.asarray([[0, 5, 6], [5, 6, 7], [2, 5, 6], [5, 6, 7]])
    gradient = GradientAnswer(0.0, choices, np.zeros(choices.shape))
    rows = substitutions(current, gradient, np.random.default_rng(0), 30_000, swaps=2)
    changed = rows != current
    assert (changed.sum(axis=1) == 2).all()
    pairs = [int((changed[:, a] & changed[:, b]).sum()) for a, b in combinations(range(4), 2)]
    assert chisquare(pairs).pvalue > 1e-6
    for position, tokens in enumerate(choices):
        counts = [int((rows[:, position] == token).sum()) for token in tokens if token != current[position]]
        assert chisquare(counts).pvalue > 1e-6


@pytest.mark.parametrize("swaps", [3, 4, 99])
def test_no_more_positions_are_changed_than_have_a_choice(swaps: int) -> None:
    current = np.asarray([0, 1, 2, 3])
    choices = np.asarray([[0], [9], [8], [7]])
    rows = substitutions(current, GradientAnswer(0.0, choices, np.zeros((4, 1))), np.random.default_rng(0), 5, swaps)
    assert rows.tolist() == [[0, 9, 8, 7]] * 5


# -- where nothing survives -------------------------------------------------------------------------------------------


def test_a_string_with_no_way_out_is_given_up_for_a_fresh_draw() -> None:
    problem = toy_problem()
    letters = [problem.tokenizer.encode([letter])[0][0] for letter in "brow"]  # merge into fewer tokens
    attack = gcg(candidates=6, topk=1, keep="annealed", momentum=0.5)
    step = attack.step(problem.state(np.asarray(letters)), problem, np.random.default_rng(0))
    next(step)
    everything = np.tile(problem.allowed, (4, 1))
    values = np.where(everything == np.asarray(letters)[:, None], -1.0, 0.0)  # nothing else is worth a try
    scored = step.send(GradientAnswer(0.7, everything, values))
    assert scored.candidates.shape == (0, 4)
    with pytest.raises(StopIteration) as stop:
        step.send(np.empty(0))
    lost: State = stop.value.value
    assert (list(lost.tokens), lost.loss) == (letters, None)

    asked = next(attack.step(State.from_json(lost.to_json()), problem, np.random.default_rng(1)))
    assert isinstance(asked, Gradient)
    assert asked.tokens.tolist() != letters
    assert problem.survives(asked.tokens[None])[0]
    _, _, _, after = drive(attack, problem, lost, lambda rows: np.zeros(len(rows)), top=len(problem.allowed))
    assert after.memory["step"] == 2
    assert "lost" not in after.memory


def test_steps_are_recorded_where_no_string_survives() -> None:
    problem = toy_problem()
    (letter,) = problem.tokenizer.encode(["o"])[0]
    after_text = "x" + problem.after_text  # "ox" is one token
    after = np.asarray(problem.tokenizer.encode([after_text])[0])
    problem = replace(problem, budget=2, allowed=np.asarray([letter]), after_text=after_text, after=after)
    assert not problem.survives(np.asarray([[letter, letter]]))[0]
    rows = searching(DefendedVictim(ToyBackend()), gcg(steps=4), judge=WrongLabel()).run([problem]).rows
    assert [row.step for row in rows] == [1, 2, 3, 4]
    assert not any(row.success for row in rows)
    assert all(row.attack_loss is None and row.queries == 1 for row in rows)


# -- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params", [{"momentum": 1.0}, {"momentum": -0.1}, {"swaps": 0}, {"temperature": -1.0}, {"initial": ""}]
)
def test_parameters_out_of_range_are_errors(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GCG.Params(**params)


@pytest.mark.parametrize("params", [{"momentum": 0.4}, {"keep": "annealed"}, {"swaps": 3}, {"initial": "! "}])
def test_variants_cost_what_plain_gcg_costs(params: dict[str, Any]) -> None:
    assert dry_run_attack(gcg(candidates=32, **params), Threat()) == dry_run_attack(gcg(candidates=32), Threat())
