"""The study's own slopes and intercepts come out of its published tables."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from tests.leaderboard.published_tables import expected, study_file
from tests.leaderboard.run_command import run_command

ATTACK = ["attack_scaling_pythia_gcg_imdb.csv", "attack_scaling_pythia_gcg_spam.csv"]
OFFENSE = "offense_defense_qwen_gcg_harmless.csv"


def same(found: list[dict[str, object]], name: str) -> None:
    assert len(found) == len(expected(name))
    for got, want in zip(found, expected(name), strict=True):
        assert (got["n_params"], got["n"]) == (want["n_params"], want["n"])
        assert got["slope"] == pytest.approx(want["slope"], abs=5e-5)
        assert got["intercept"] == pytest.approx(want["intercept"], abs=5e-5)
        low, high = got["slope_ci"]  # type: ignore[misc]
        assert low < got["slope"] < high
        assert {"task", "family", "attack"} <= set(got)


@pytest.mark.parametrize("name", ATTACK)
def test_attack_scaling(name: str) -> None:
    same(json.loads(run_command("fit", "attack-scaling", study_file(name), "--method", "ols", "--json")), name)


def test_offense_defense() -> None:
    out = run_command(
        "fit", "offense-defense", study_file(OFFENSE), "--target-asr", "0.02", "--method", "ols", "--json"
    )
    found = json.loads(out)
    same(found, OFFENSE)
    assert all(fit["target_asr"] == 0.02 and fit["n_censored"] == 0 for fit in found)


def test_runs_that_never_break_are_counted() -> None:
    found = json.loads(run_command("fit", "offense-defense", study_file(OFFENSE), "--target-asr", "0.3", "--json"))
    assert sum(fit["n_censored"] for fit in found) > 0
    assert all(fit["n"] + fit["n_censored"] + fit["n_dropped"] > 0 for fit in found)


@pytest.mark.parametrize("form", ["csv.gz", "tsv", "tsv.gz", "parquet", "parquet.gz", "noname"])
def test_all_forms_of_a_table_give_the_same(form: str, tmp_path: Path) -> None:
    source = study_file(ATTACK[0])
    path = tmp_path / f"table.{form}"
    content = source.read_bytes()
    if form.startswith("tsv"):
        content = content.replace(b",", b"\t")
    if form.startswith("parquet"):
        sink = pa.BufferOutputStream()
        pq.write_table(pacsv.read_csv(source), sink)
        content = sink.getvalue().to_pybytes()
    path.write_bytes(gzip.compress(content, mtime=0) if form.endswith("gz") else content)
    same(json.loads(run_command("fit", "attack-scaling", path, "--method", "ols", "--json")), ATTACK[0])


def test_as_a_table_for_people() -> None:
    out = run_command("fit", "attack-scaling", study_file(ATTACK[0]), "--method", "ols")
    assert "2.8264" in out
    assert "13.4519" in out


@pytest.mark.parametrize("name", ATTACK)
def test_counts_agree_with_the_study_where_its_points_are_many(name: str) -> None:
    """Where no seed has points at 0 or 1 and the curve is straight, both methods tell about the same slope."""
    found = json.loads(run_command("fit", "attack-scaling", study_file(name), "--json"))
    for got, want in zip(found[2:7], expected(name)[2:7], strict=True):
        assert got["slope"] == pytest.approx(want["slope"], rel=0.2)
        assert got["slope_low"] < got["slope"] < got["slope_high"]
        assert got["interval"].startswith("seeds and examples")


def test_a_curve_of_the_study_saturates() -> None:
    found = json.loads(run_command("fit", "attack-scaling", study_file(ATTACK[1]), "--json"))
    saturated = {fit["n_params"]: fit["asymptote"] for fit in found if fit["asymptote"] is not None}
    assert saturated == {2646435840: pytest.approx(0.7, abs=0.05)}
