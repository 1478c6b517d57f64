"""All that preparing a defense took counts, each model once, and what nobody knows stays unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.records.cell_manifest import Compute, PretrainingFacts, VictimFacts
from harness.records.read import read_run
from leaderboard.data.record_facts import defense_preparation
from leaderboard.site.defended_victims import defended_victim_page, defended_victims
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings, standings
from tests.leaderboard.fake_run import FakeCell, write_run

PLUGIN = {"name": "filter", "label": "filter", "params": {}, "distribution": "x", "version": "1"}


def flops(nominal: float | None) -> dict[str, float | None]:
    return {"nominal": nominal, "executed": nominal}


def model(preparation: float | None, artifact: str) -> dict[str, Any]:
    return {"victim": PLUGIN, "n_params": 10, "preparation": flops(preparation), "artifact": artifact}


def table_of(tmp_path: Path, auxiliary: dict[str, Any], **facts: Any) -> Standings:
    parts = [{"defense": PLUGIN, "sort": "guard", "offers": "victim"}]
    more = {"auxiliary": auxiliary, "defense_facts": {"parts": parts, **facts}}
    (table,) = standings([read_run(write_run(tmp_path / "run", [FakeCell(defense="filter", more=more)]))])
    return table


def row_of(tmp_path: Path, auxiliary: dict[str, Any], **facts: Any) -> Standing:
    (row,) = table_of(tmp_path, auxiliary, **facts).rows
    return row


def test_fitting_and_the_models_that_a_guard_asks_count(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"defense:0:lm": model(2e14, "b" * 32)}, fit=flops(3e12), search=flops(1e12))
    (row,) = table.rows
    assert row.defense_compute == pytest.approx(2.04e14)
    (victim,) = defended_victims("s", table)
    costs = dict(defended_victim_page(victim).costs)
    assert costs["Fitting of the defense"] == "3.0 × 10¹² FLOPs"
    assert costs["Models that the defense asks"] == "2.0 × 10¹⁴ FLOPs"
    assert costs["Search of the defense"] == "1.0 × 10¹² FLOPs"
    assert "Training of the defense" not in costs


def test_a_model_counts_once_and_only_where_the_defense_asks_it(tmp_path: Path) -> None:
    shared = model(5e13, "b" * 32)
    asked = {
        "defense:0:lm": shared,
        "defense:1:judge": shared,
        "judge:reader": model(7e13, "c" * 32),
        "draft": model(8e13, "d" * 32),
        "defense:1:self": model(1e14, "a" * 32),  # the victim itself
    }
    row = row_of(tmp_path, asked, search_models={"b" * 32: flops(5e13), "e" * 32: flops(1e13)})
    assert row.defense_compute == pytest.approx(6e13)


@pytest.mark.parametrize(
    ("auxiliary", "facts"),
    [
        ({"defense:0:lm": model(None, "b" * 32)}, {}),
        ({}, {"fit": flops(None)}),
        ({}, {"search_models": {"b" * 32: flops(None)}}),
    ],
)
def test_what_nobody_knows_is_no_zero(tmp_path: Path, auxiliary: dict[str, Any], facts: dict[str, Any]) -> None:
    assert row_of(tmp_path, auxiliary, **facts).defense_compute is None


def test_what_hardens_in_pretraining_counts_in_every_row(tmp_path: Path) -> None:
    pretraining = PretrainingFacts(artifact="f" * 32, compute=Compute(nominal=4e13), robust=Compute(nominal=2e13))
    spent = Compute(nominal=1e14, executed=5e13)
    victim = VictimFacts(
        family="tiny",
        n_params=100_000,
        n_params_non_embedding=90_000,
        pretraining_flops=4e13,
        preparation=spent,
        reference_flops=4e13,
        artifact="a" * 32,
        pretraining=pretraining,
    )
    bare = victim.model_copy(update={"pretraining": None})
    assert "pretraining" not in bare.model_dump(mode="json"), "records of victims without one are as they were"
    found = {}
    for name, facts in (("pretrained", victim), ("bare", bare)):
        cell = FakeCell(examples=4, steps=2, more={"victim_facts": facts.model_dump(mode="json")})
        (read,) = read_run(write_run(tmp_path / name, [cell])).cells
        assert read.record.victim_facts == facts
        found[name] = defense_preparation(read.record)
    assert (found["pretrained"]["pretraining"], found["bare"]["pretraining"]) == (2e13, 0.0)
