"""Transfer: defenses under attacks they were not trained against, strings on victims they were not found on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.records.read import read_run
from leaderboard.site.build import build_site
from leaderboard.standings.transfer import TransferMatrix, transfer_matrices
from tests.leaderboard.fake_run import FakeCell, write_run

SUFFIX, PREFIX = FakeCell.threat, "prefix, 10 tokens, gradient"
AGAINST = {"attack": "gcg(steps=8)", "threat": SUFFIX}
TRAINED = FakeCell(defense="at", round=2, defense_flops=1e13, against=AGAINST, examples=4, first_success=[1, 0, 0, 0])
PLAIN = FakeCell(examples=4, first_success=[1, 1, 1, 0])
SOURCE = {"attack": "gcg", "victim": "big", "defense": "at", "round": 2, "threat": SUFFIX, "seed": 0}
REPLAY = FakeCell(attack="transfer", examples=4, first_success=[1, 0, 0, 1], steps=1, step_flops=0.0, source=SOURCE)


def matrices(tmp_path: Path, *cells: FakeCell) -> list[TransferMatrix]:
    return transfer_matrices([read_run(write_run(tmp_path / "run", cells))])


def test_a_checkpoint_under_other_attacks_and_positions(tmp_path: Path) -> None:
    tested = [TRAINED, replace(TRAINED, attack="beast"), replace(TRAINED, threat=PREFIX, first_success=[1, 1, 0, 0])]
    (found,) = matrices(tmp_path, *tested, PLAIN, replace(PLAIN, threat=PREFIX))
    assert found.kind == "trained"
    assert [(c.main, c.fine) for c in found.columns] == [("beast", SUFFIX), ("gcg", PREFIX), ("gcg", SUFFIX)]
    assert [(r.main, r.fine) for r in found.rows] == [
        ("no attack", "tiny(size=small) · none"),
        (f"gcg(steps=8) · {SUFFIX}", "tiny(size=small) · at · round 2"),
    ]
    values = [[None if e is None else e.asr.value for e in row] for row in found.entries]
    assert values == [[None, 0.75, 0.75], [0.25, 0.5, 0.25]]
    assert [[e is not None and e.matched for e in row] for row in found.entries] == [[False] * 3, [False, False, True]]


def test_seeds_are_pooled(tmp_path: Path) -> None:
    cells = [replace(TRAINED, attack=a, seed=seed) for a in ("gcg", "beast") for seed in (0, 1, 2)]
    (found,) = matrices(tmp_path, *cells)
    assert all(entry is not None and (entry.asr.trials, entry.seeds) == (12, 3) for entry in found.entries[0])


def test_limits_of_the_test_do_not_make_another_threat_model(tmp_path: Path) -> None:
    limited = replace(TRAINED, threat=f"{SUFFIX}, 500 queries, 1e+12 FLOPs")
    (found,) = matrices(tmp_path, limited, replace(TRAINED, threat=f"{SUFFIX}, printable ascii"))
    told = {c.fine: e.matched for c, e in zip(found.columns, found.entries[0], strict=True) if e is not None}
    assert told == {limited.threat: True, f"{SUFFIX}, printable ascii": False}


@pytest.mark.parametrize(
    "cells",
    [
        [PLAIN, replace(PLAIN, attack="beast")],  # nothing was trained
        [TRAINED, PLAIN],  # tested under what it was trained against alone
        [replace(TRAINED, against={"threat": SUFFIX}, attack=a) for a in ("gcg", "beast")],  # trained without an attack
        [TRAINED, replace(TRAINED, attack="beast", spec_hash="6" * 64)],  # not comparable
        [TRAINED, replace(TRAINED, attack="beast", space="latent")],
        [replace(TRAINED, attack=a, examples=0, first_success=[]) for a in ("gcg", "beast")][:1],
    ],
)
def test_nothing_to_show(cells: list[FakeCell], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert matrices(tmp_path, *cells) == []
    assert main(["leaderboard", "transfer", str(tmp_path / "run")]) == 0
    assert "Nothing to show" in capsys.readouterr().out
    assert 'class="transfer"' not in build_site([read_run(tmp_path / "run")], tmp_path / "site").read_text()


def test_each_training_threat_is_a_row(tmp_path: Path) -> None:
    """A defense that trains under the threat model tested makes a checkpoint per threat model."""
    other = replace(TRAINED, threat=PREFIX, against=AGAINST | {"threat": PREFIX})
    both = [replace(cell, attack=a) for cell in (TRAINED, other) for a in ("gcg", "beast")]
    (found,) = matrices(tmp_path, *both)
    assert [row.main for row in found.rows] == [f"gcg(steps=8) · {PREFIX}", f"gcg(steps=8) · {SUFFIX}"]
    assert sum(e is not None for row in found.entries for e in row) == 4


def test_replayed_strings(tmp_path: Path) -> None:
    own = replace(REPLAY, victim="big", defense="at", round=2, defense_flops=1.0)
    (found,) = matrices(tmp_path, REPLAY, own, PLAIN)
    assert found.kind == "replayed"
    (source,) = found.rows
    assert (source.main, source.fine) == ("big · at · round 2 · gcg", f"{SUFFIX}; tried by transfer")
    assert [c.main for c in found.columns] == ["big · at · round 2", "tiny(size=small) · none"]
    assert [entry and (entry.asr.value, entry.matched) for entry in found.entries[0]] == [(0.5, True), (0.5, False)]


def test_latent_attacks_have_a_matrix_of_their_own(tmp_path: Path) -> None:
    text = [replace(TRAINED, attack=a) for a in ("gcg", "beast")]
    latent = [replace(TRAINED, attack=a, space="latent") for a in ("pgd", "pgd(steps=9)")]
    found = matrices(tmp_path, *latent, *text)
    assert [(m.scope.space, [c.main for c in m.columns]) for m in found] == [
        ("text", ["beast", "gcg"]),
        ("latent", ["pgd", "pgd(steps=9)"]),
    ]
    assert [m.scope.notice[:12] for m in found] == ["", "Latent space"]


def test_json_terminal_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [TRAINED, replace(TRAINED, attack="beast"), PLAIN, REPLAY])
    assert main(["leaderboard", "transfer", str(run), "--json"]) == 0
    trained, replayed = json.loads(capsys.readouterr().out)
    assert (trained["kind"], replayed["kind"]) == ("trained", "replayed")
    cell: dict[str, Any] = trained["cells"][1][1]
    assert (cell["value"], cell["successes"], cell["trials"], cell["seeds"], cell["own"]) == (0.25, 1, 4, 1, True)
    assert cell["low"] < 0.25 < cell["high"]
    assert trained["cells"][0][0] is None
    assert main(["leaderboard", "transfer", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "of 4, as trained" in shown
    assert "tried by transfer" in shown
    page = build_site([read_run(run)], tmp_path / "site").read_text()
    assert page.count('class="transfer"') == 2
    data = json.loads((tmp_path / "site" / "data.json").read_text())
    assert [{key: value for key, value in matrix.items() if key != "id"} for matrix in data["transfer"]] == [
        trained,
        replayed,
    ]
