"""What defenses add to each answer: as a multiple of an undefended one, in tables, on the page, and as a curve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.records.read import read_run
from leaderboard.data.count_table_of_run import run_count_table
from leaderboard.data.defense_cost import inference_compute, undefended_answer_flops
from leaderboard.fit.defense_efficiency import _without_settings, fit_efficiency
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.run_command import run_command

ANSWER = 1e6
SAMPLES = (1, 2, 4, 8, 16, 32)


def votes(samples: int, seed: int = 0, static: bool = False, **changes: object) -> FakeCell:
    """ASR falls by a decade of odds per decade of samples."""
    rate = 1 / (1 + 10 ** (np.log10(samples) - 0.5))
    broken = round(200 * rate)
    label = f"inference_compute(samples={samples})" + (" (static)" if static else "")
    first = [1] * broken + [0] * (200 - broken)
    given = {"per_query": (samples - 1) * ANSWER, "answer_flops": ANSWER, "examples": 200, "steps": 1}
    return FakeCell(defense=label, first_success=first, seed=seed, **(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("told", [True, False])
def test_a_run_tells_the_defenders_compute(told: bool, tmp_path: Path) -> None:
    """Whether the record has what the victim's own answer takes, or it follows from all that clean prompts took."""
    cells = [FakeCell(told=told), FakeCell(defense="adversarial_training", round=2, defense_flops=1e12, told=told)]
    found = run_count_table(read_run(write_run(tmp_path / "run", [*cells, votes(8, told=told)])))
    told_of = dict(zip(found["defense"], found["inference_compute"], strict=True))
    assert told_of == {
        "none": 1.0,
        "adversarial_training": 1.0,
        "inference_compute(samples=8)": pytest.approx(8.0),
    }


def test_the_undefended_victim_of_the_run_is_what_it_is_measured_by(tmp_path: Path) -> None:
    """Behind thoughts the victim's own answer reads more; another seed's victim does not count."""
    thinks = votes(1, per_query=2 * ANSWER, answer_flops=3 * ANSWER)
    cells = [cell.record for cell in read_run(write_run(tmp_path / "run", [FakeCell(answer_flops=ANSWER), thinks]))]
    both, other = (
        undefended_answer_flops(cells),
        undefended_answer_flops([r for r in cells if r.defense.name != "none"]),
    )
    (record,) = [r for r in cells if r.defense.name != "none"]
    assert inference_compute(record, both) == pytest.approx(5.0)
    assert inference_compute(record, other) == pytest.approx(5 / 3)
    assert inference_compute(record.model_copy(update={"seed": 1}), both) == pytest.approx(5 / 3)


def test_what_nobody_said_is_unknown(tmp_path: Path) -> None:
    """Of old records, where a judge's model has a part in what the clean prompts took."""
    judge = {"n_params": 5, "preparation": {}, "artifact": "a", "victim": FakeCell().more}
    judge["victim"] = {"name": "m", "label": "m", "params": {}, "distribution": "d", "version": "1"}
    cell = votes(4, told=False, more={"auxiliary": {"judge:model": judge}})
    table = run_count_table(read_run(write_run(tmp_path / "run", [cell])))
    assert np.isnan(table["inference_compute"]).all()


def test_a_row_says_it_as_a_multiple(tmp_path: Path) -> None:
    (one,) = standings([read_run(write_run(tmp_path / "run", [FakeCell(), votes(8)]))])
    over = {row.defense: row.overhead for row in one.rows}
    assert over["none"] is None
    added = over["inference_compute(samples=8)"]
    assert added is not None
    assert (added.flops, added.ratio) == (pytest.approx(7 * ANSWER), pytest.approx(7.0))


def test_asr_against_inference_compute_is_a_curve_of_a_run(tmp_path: Path) -> None:
    cells = [votes(n, seed) for n in SAMPLES for seed in (0, 1, 2)]
    path = write_run(tmp_path / "run", [*cells, FakeCell(), *(votes(n, static=True) for n in SAMPLES)])
    fits = {fit.group["defense"]: fit for fit in fit_efficiency(run_count_table(read_run(path)), "inference_compute")}
    assert set(fits) == {"inference_compute", "inference_compute (static)"}
    fit = fits["inference_compute"]
    assert (fit.line.n, fit.seeds) == (18, 3)
    assert fit.line.slope == pytest.approx(-1, abs=0.05)
    assert fit.line.intercept == pytest.approx(0.5, abs=0.05)
    assert np.log10(fit.at_target or 0) == pytest.approx(0.5 + np.log10(9), abs=0.1)

    told = json.loads(run_command("fit", "efficiency", path, "--x", "inference_compute", "--json"))
    assert [row["defense"] for row in told] == ["inference_compute", "inference_compute (static)"]
    assert told[0]["slope"] == pytest.approx(fit.line.slope)


def test_settings_that_cost_alike_are_both_counted(tmp_path: Path) -> None:
    cells = [votes(n) for n in SAMPLES]
    warm = [votes(n) for n in SAMPLES]
    warm = [FakeCell(**{**vars(c), "defense": c.defense.replace(")", ", temperature=2.0)")}) for c in warm]
    path = write_run(tmp_path / "run", cells + warm)
    (fit,) = fit_efficiency(run_count_table(read_run(path)), "inference_compute")
    assert fit.line.n == 2 * len(SAMPLES)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("none", "none"),
        ("a(x=1)", "a"),
        ("a(x=f(1), y=(2)) + b(z=3) (static)", "a + b (static)"),
        ("a (static)", "a (static)"),
    ],
)
def test_a_defense_without_its_settings(label: str, name: str) -> None:
    assert _without_settings(label) == name
