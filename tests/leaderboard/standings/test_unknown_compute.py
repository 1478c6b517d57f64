"""A model behind a URL: what it cost to attack it is unknown, and no number stands where none is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.records.read import read_run
from leaderboard.data.count_table_of_run import run_count_table
from leaderboard.fit.attack_scaling import fit_attack_scaling
from leaderboard.fit.offense_defense import fit_offense_defense
from leaderboard.site.build import build_site
from leaderboard.site.site_data import payload
from leaderboard.site.texts.standing_text import cost_to_break_text, defense_compute_text
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run

SERVED: dict[str, Any] = {"victim": "served", "n_params": None, "step_flops": None, "reference_flops": None}


def rows(tmp_path: Path, *cells: FakeCell) -> tuple[Standing, ...]:
    (table,) = standings([read_run(write_run(tmp_path / "run", cells))])
    return table.rows


def test_success_and_queries_stay_known(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, FakeCell(examples=4, steps=4, first_success=[1, 2, 3, 0], **SERVED))
    assert (row.n_params, row.reference_compute, row.defense_compute) == (None, None, 0.0)
    assert row.strongest is not None
    assert [point.asr.successes for point in row.strongest.points] == [1, 2, 3, 3]
    assert [point.compute for point in row.strongest.points] == [None] * 4
    assert [point.queries for point in row.strongest.points] == [128.0, 256.0, 384.0, 512.0]
    assert row.cost_to_break is not None
    assert (row.cost_to_break.reached, row.cost_to_break.compute, row.cost_to_break.budget) == (True, None, None)
    assert row.cost_to_break.queries == pytest.approx(256)  # half of four examples, at the second step
    assert cost_to_break_text(row) == ("compute unknown", "broken after 256 queries per example\ngcg")


def test_not_broken_is_told_in_queries(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, FakeCell(examples=4, steps=2, first_success=[0, 0, 0, 1], **SERVED))
    assert cost_to_break_text(row) == ("compute unknown", "not broken within 256 queries per example")


def test_the_cheapest_attack_is_the_one_of_fewest_queries(tmp_path: Path) -> None:
    quick = FakeCell(attack="quick", examples=4, steps=4, first_success=[1, 1, 0, 0], **SERVED)
    slow = FakeCell(attack="slow", examples=4, steps=4, first_success=[4, 4, 4, 0], **SERVED)
    (row,) = rows(tmp_path, quick, slow)
    assert row.cost_to_break is not None
    assert row.cost_to_break.attack == "quick"


def test_an_attack_of_known_compute_is_not_hidden_by_one_of_unknown(tmp_path: Path) -> None:
    known = FakeCell(attack="a", examples=4, steps=4, first_success=[2, 2, 0, 0], step_flops=1e9)
    unknown = FakeCell(attack="b", examples=4, steps=4, first_success=[1, 1, 1, 1], step_flops=None)
    (row,) = rows(tmp_path, known, unknown)
    assert row.cost_to_break is not None
    assert row.cost_to_break.attack == "a"
    assert row.cost_to_break.compute == pytest.approx(2e9)
    assert row.cost_to_break.low is not None


def test_unknown_rows_come_after_those_that_can_be_compared(tmp_path: Path) -> None:
    cells = [
        FakeCell(victim="nothing attacked", examples=0, wrong=3, first_success=[]),
        FakeCell(examples=4, first_success=[0, 0, 0, 0], **SERVED | {"victim": "served, unbroken"}),
        FakeCell(examples=4, first_success=[1, 1, 1, 0], **SERVED | {"victim": "served, broken"}),
        FakeCell(victim="easy", examples=4, first_success=[1, 1, 1, 1]),
        FakeCell(victim="hard", examples=4, first_success=[0, 0, 0, 0]),
    ]
    found = [row.victim for row in rows(tmp_path, *cells)]
    assert found == ["hard", "easy", "served, unbroken", "served, broken", "nothing attacked"]


def test_a_stated_size_without_a_reference_has_flops_and_no_fit(tmp_path: Path) -> None:
    cell = FakeCell(**SERVED | {"n_params": 8_000_000_000, "step_flops": 1e12})
    (row,) = rows(tmp_path, cell)
    assert row.cost_to_break is not None
    assert row.cost_to_break.compute is not None
    assert row.reference_compute is None
    (curve,) = row.curves
    assert curve.fit is not None
    assert curve.fit.line.note == "Compute unknown: nothing to fit."


def test_no_curve_is_fitted_to_unknown_compute(tmp_path: Path) -> None:
    cells = [FakeCell(seed=seed, **SERVED) for seed in (0, 1)] + [FakeCell(seed=seed) for seed in (0, 1)]
    known, unknown = fit_attack_scaling(run_count_table(read_run(write_run(tmp_path / "run", cells))))
    assert known.line.slope is not None
    assert (unknown.group["n_params"], unknown.line.slope, unknown.line.n) == (None, None, 0)
    assert unknown.dropped == 80  # examples
    assert unknown.line.note == "Compute unknown: nothing to fit."


def test_a_defense_of_an_unknown_victim_is_dropped_and_not_called_unbroken(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"n_params": 100, "step_flops": 1e9, "reference_flops": None, "defense": "at"}
    cells = [FakeCell(round=r, defense_flops=r * 1e13, first_success=[1] * 40, **facts) for r in (1, 2, 3)]
    (fit,) = fit_offense_defense(run_count_table(read_run(write_run(tmp_path / "run", cells))), 0.5)
    assert (fit.line.slope, fit.line.n, fit.censored, fit.dropped) == (None, 0, 0, 3)
    assert fit.line.note.startswith("Compute unknown")


def test_a_defense_of_unknown_compute(tmp_path: Path) -> None:
    spent = {"nominal": None, "executed": None}
    facts = {"round": 1, "search": spent, "training": {"nominal": 1.0, "executed": 1.0}}
    (row,) = rows(tmp_path, FakeCell(defense="at", round=1, more={"defense_facts": facts}))
    assert defense_compute_text(row) == ("compute unknown", "")


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_page_says_unknown_and_its_data_say_null(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", [FakeCell(), FakeCell(**SERVED)]))
    page = build_site([run], tmp_path / "site").read_text()
    data = strict((tmp_path / "site/data.json").read_text())
    served = data["sections"][0]["rows"][1]
    assert (served["victim"], served["n_params"], served["reference_compute"]) == ("served", None, None)
    assert served["breaking"]["compute"] is None
    assert set(served["curves"][0]["points"]["compute"]) == {None}
    assert min(served["curves"][0]["points"]["queries"]) > 0
    assert "compute unknown" in page
    entry = (tmp_path / "site" / "entries" / f"{served['entry']}.html").read_text()
    assert "Compute unknown: nothing to fit." in entry
    page += entry
    assert ">None<" not in page
    assert "nan" not in page.lower().replace("dominant", "").replace("provenance", "")


def test_the_terminal_says_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(write_run(tmp_path / "run", [FakeCell(), FakeCell(**SERVED)]))
    assert main(["leaderboard", "show", run]) == 0
    shown = capsys.readouterr().out
    assert "compute unknown" in shown
    assert "queries per example" in shown
    assert main(["fit", "attack-scaling", run]) == 0
    fitted = capsys.readouterr().out
    assert "Compute unknown" in fitted
    assert "None" not in shown + fitted
    assert "nan" not in (shown + fitted).lower()
    assert main(["fit", "attack-scaling", run, "--json"]) == 0
    assert [fit["n_params"] for fit in strict(capsys.readouterr().out)] == [100_000, None]


def test_a_zero_of_an_older_record_is_no_reference(tmp_path: Path) -> None:
    """Records of a model used as it is said 0 before they could say that nothing is known."""
    (row,) = rows(tmp_path, FakeCell(reference_flops=0.0))
    assert row.reference_compute is None
    assert row.cost_to_break is not None
    assert row.cost_to_break.compute is not None


def test_json_of_the_whole_payload(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / "run", [FakeCell(examples=0, first_success=[], **SERVED)]))]
    strict(json.dumps(payload(runs, standings(runs)), allow_nan=False))
