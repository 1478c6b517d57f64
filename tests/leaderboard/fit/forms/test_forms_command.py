"""`harness fit attack-scaling --form`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import DataError
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.run_command import run_command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = [FakeCell(seed=seed, examples=60, attack=attack) for seed in (0, 1) for attack in ("gcg", "beast")]
    none = FakeCell(attack="none", first_success=[0] * 40)
    return write_run(tmp_path_factory.mktemp("forms") / "run", [*cells, none])


def test_all_forms_stand_side_by_side_in_80_columns(run: Path) -> None:
    told = run_command("fit", "attack-scaling", run, "--form", "auto")
    assert max(map(len, told.splitlines())) <= 80
    for text in ("logistic", "saturating", "−ln ASR = a · n^−b", "held out", "best", "attack beast", "2 seeds"):
        assert text in told
    assert "0 of 40 attacked examples fell, 10 are needed." in " ".join(told.split())


def test_json_has_the_chosen_form_first(run: Path) -> None:
    found = json.loads(run_command("fit", "attack-scaling", run, "--form", "auto", "--json"))
    by_attack = {group["attack"]: group for group in found}
    assert by_attack["none"]["forms"] == []
    gcg = by_attack["gcg"]
    assert gcg["chosen"] == gcg["forms"][0]["form"]
    assert {form["form"] for form in gcg["forms"]} == {"logistic", "saturating", "beta", "power"}
    assert gcg["ask"] == pytest.approx(1e-5)  # 10⁹ FLOPs a step, of 10¹⁴
    held_out = [form["held_out"] for form in gcg["forms"]]
    assert held_out == sorted(held_out, reverse=True)


def test_one_form_alone_is_compared_with_none(run: Path) -> None:
    found = json.loads(run_command("fit", "attack-scaling", run, "--form", "power", "--json"))
    assert [form["form"] for form in found[0]["forms"]] == ["power"]
    assert found[0]["forms"][0]["held_out"] is None
    assert found[0]["decided"] is None
    assert "held out" not in run_command("fit", "attack-scaling", run, "--form", "power")


@pytest.mark.parametrize("option", [("--method", "ols"), ("--asr", "at_step")])
def test_what_does_not_go_together_is_said(run: Path, option: tuple[str, str]) -> None:
    with pytest.raises(DataError, match=f"Leave out {' '.join(option)}, or --form."):
        run_command("fit", "attack-scaling", run, "--form", "auto", *option)
