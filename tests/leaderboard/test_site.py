"""The site's files: what is written, and what is never overwritten."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.errors import DataError
from harness.records.read import Run, read_run
from leaderboard import harness_register_commands
from leaderboard.site import build_site
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.fake_study import study

HOSTILE = "x</script><script>alert(1)</script>&<!--"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return read_run(write_run(tmp_path / "run", [FakeCell(), FakeCell(defense="at", round=2, defense_flops=1e13)]))


def embedded(index: Path) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', index.read_text(), re.DOTALL)
    assert found is not None
    data: dict[str, object] = json.loads(found[1])
    return data


def test_the_page_holds_the_data(run: Run, tmp_path: Path) -> None:
    index = build_site([run], tmp_path / "site")
    assert embedded(index) == json.loads((tmp_path / "site" / "data.json").read_text())
    assert "NaN" not in (tmp_path / "site" / "data.json").read_text()
    for address in re.findall(r'(?:src|href)="([^"#]+)"', index.read_text()):
        assert address.startswith(("data:", "https://vega.github.io")) or (index.parent / address).is_file()


def test_the_same_records_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    one, two = build_site([run], tmp_path / "one"), build_site([run], tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()


def test_names_with_markup_are_text(tmp_path: Path) -> None:
    cells = [
        FakeCell(task=HOSTILE, victim=HOSTILE, defense=HOSTILE, attack=HOSTILE, threat=HOSTILE, judge=HOSTILE),
        FakeCell(task=HOSTILE, attack=HOSTILE, threat=HOSTILE, judge=HOSTILE, status="failed"),
    ]
    index = build_site([read_run(write_run(tmp_path / "run", cells, spec_name=HOSTILE))], tmp_path / "site")
    assert "<script>alert" not in index.read_text()
    assert embedded(index)["sections"][0]["task"] == HOSTILE  # type: ignore[index]


def test_attack_strings_are_not_on_the_site(run: Run, tmp_path: Path) -> None:
    build_site([run], tmp_path / "site")
    assert "aa bb" not in (tmp_path / "site" / "data.json").read_text()


def test_a_site_is_replaced_and_nothing_else_is(run: Run, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    build_site([run], site)  # an empty folder will do
    (site / "index.html").write_text("old")
    assert "Robustness" in build_site([run], site).read_text()
    (site / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds 'notes\.txt'"):
        build_site([run], site)
    assert (site / "notes.txt").read_text() == "mine"
    with pytest.raises(DataError, match="not empty and not a leaderboard site"):
        build_site([run], tmp_path / "run")
    with pytest.raises(DataError, match="is a file"):
        build_site([run], site / "notes.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "site"]  # no leftovers


def test_a_build_that_fails_leaves_the_old_site(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = build_site([run], tmp_path / "site")
    before = index.read_bytes()

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("leaderboard.site._plotting", fail)
    with pytest.raises(DataError, match="No space left"):
        build_site([run], tmp_path / "site")
    assert index.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "site"]


def test_nothing_finished_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Not enough data"):
        build_site([read_run(write_run(tmp_path / "run", [], unfinished=1))], tmp_path / "site")


def test_a_wrong_target_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"target ASR 1\.5"):
        build_site([run], tmp_path / "site", 1.5)


def test_the_commands(tmp_path: Path) -> None:
    app = typer.Typer()
    harness_register_commands(app)
    run = write_run(tmp_path / "run", study(seeds=1, tasks=["word_length"]))
    call = ["leaderboard", "build", str(run), "--out", str(tmp_path / "site"), "--target-asr", "0.2"]
    result = CliRunner().invoke(app, call, catch_exceptions=False)
    assert result.exit_code == 0
    assert "index.html" in result.output
    assert "Compute to ASR 20%" in (tmp_path / "site" / "index.html").read_text()
    result = CliRunner().invoke(app, ["leaderboard", "show", str(run)], catch_exceptions=False)
    assert "adversarial_training, round 4" in result.output
    result = CliRunner().invoke(app, ["fit", "attack-scaling", str(run), "--json"], catch_exceptions=False)
    assert len(json.loads(result.stdout)) == 18
    call = ["fit", "offense-defense", str(run), "--target-asr", "0.2", "--json"]
    fits = json.loads(CliRunner().invoke(app, call, catch_exceptions=False).stdout)
    assert {fit["defense"] for fit in fits} == {"adversarial_training"}
    assert all("Not enough data" in fit["note"] for fit in fits)  # two rounds, one seed
