"""What holds for every attack on relaxed strings, whatever moves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.api.attack import Attack
from harness.api.model.backend import ScoreItem
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_attack
from harness.records.journal import Journal
from harness.testing.toys.backend import ToyLatent
from plugins.attacks.pgd import PGD
from plugins.attacks.white_box.adc import ADC
from tests.engine.toy import searching, without_time
from tests.plugins.attacks.test_pgd import toy_problem

both = pytest.mark.parametrize("attack", [PGD, ADC])


@both
def test_a_search_finds_what_lowers_the_loss_and_can_be_stopped(attack: type[Attack], tmp_path: Path) -> None:
    problem = toy_problem()

    def run(name: str) -> Any:
        with Journal(tmp_path / name) as journal:
            return searching(DefendedVictim(ToyLatent()), attack(attack.Params(steps=4, updates=5))).run(
                [problem], journal
            )

    whole = run("whole")
    losses = [row.attack_loss for row in whole.rows]
    assert losses == sorted(losses, reverse=True)
    strings = problem.random_tokens(np.random.default_rng(6), 40)
    (random,) = ToyLatent().score([ScoreItem(problem.before, strings, problem.after, problem.target)])
    assert losses[-1] < np.quantile(random.losses, 0.25)
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").write_bytes(b"".join(lines[:2]))
    assert without_time(run("cut").rows) == without_time(whole.rows)


@both
def test_an_update_costs_a_gradient_and_at_most_a_forward(attack: type[Attack]) -> None:
    spent = dry_run_attack(attack(attack.Params(updates=10)), Threat())
    assert spent.differentiated == 10
    assert 0 < spent.scored <= 10
