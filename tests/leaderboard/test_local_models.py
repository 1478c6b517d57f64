"""Runs of models in local folders, from the spec to the standings and the page: each folder has rows of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.records.read import read_run
from leaderboard.standings.standings import Standings, standings
from tests.engine.hub_models import write_folder
from tests.run.runs import harness_here

pytestmark = pytest.mark.slow

SPEC = """
name: local
version: "1"
tasks: [{text_classification: {path: rows.csv, labels: [a, b]}}]
victims: [%s]
attacks: [{random_token: {steps: 2, draws: 2}}]
threats: [{tokens: 2}]
seeds: [0, 1]
examples: 8
clean_examples: 16
"""


def prepared(folder: Path, *victims: str) -> Path:
    """A folder with a spec of these models in it, each used as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"the {'quick fox' if i % 2 else 'lazy dog'} jumps {i} times,{'ab'[i % 2]}\n" for i in range(80))
    (folder / "rows.csv").write_text("text,label\n" + rows)
    listed = ", ".join(f"{{huggingface: {{model: {name}, fine_tune: false, device: cpu}}}}" for name in victims)
    (folder / "spec.yaml").write_text(SPEC % listed)
    return folder


def run(folder: Path, out: str = "out") -> Path:
    """Run the spec from elsewhere."""
    elsewhere = folder.parent
    done = harness_here("run", folder / "spec.yaml", "--out", folder / out, "--quiet", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    return folder / out


def victims_of(table: Standings) -> list[str]:
    return sorted(row.victim for row in table.rows)


def test_two_folders_in_one_run(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "spec", "./m1", "./x/m2")
    write_folder(folder / "m1", "gpt_neox")
    write_folder(folder / "x" / "m2", "gpt_neox", seed=5)
    plan = json.loads(harness_here("plan", folder / "spec.yaml", "--json", cwd=tmp_path).stdout)
    named = [stage["label"] for stage in plan["stages"]]
    assert all(("huggingface m1" in label) != ("huggingface m2" in label) for label in named)
    out = run(folder)
    (table,) = standings([read_run(out)])
    assert victims_of(table) == ["huggingface m1", "huggingface m2"]
    assert {len(row.cells) for row in table.rows} == {2}, "a cell for each seed"
    status = harness_here("status", out, cwd=tmp_path).stdout
    shown = harness_here("leaderboard", "show", out, cwd=tmp_path).stdout
    for name in ("m1", "m2"):
        assert f"huggingface {name}" in " ".join(status.split())
        assert f"huggingface {name}" in " ".join(shown.split())
    built = harness_here("leaderboard", "build", out, "--out", folder / "site", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    page = (folder / "site" / "index.html").read_text()
    assert "huggingface m1" in page
    assert "huggingface m2" in page
    assert str(tmp_path) not in page


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("m1", "m2"), [r"huggingface m1", r"huggingface m2"]),
        (("m", "m"), [r"huggingface m \(\w{6}\)", r"huggingface m \(\w{6}\)"]),
    ],
)
def test_two_runs_of_two_folders(tmp_path: Path, names: tuple[str, str], labels: list[str]) -> None:
    """The specs say the same but for a name at most, or it is one spec, and the folder holds another model."""
    runs = []
    for seed, name in enumerate(names):
        folder = prepared(tmp_path / f"spec{seed}", f"./{name}")
        write_folder(folder / name, "gpt_neox", seed=seed)
        runs.append(read_run(run(folder)))
    assert runs[0].info["spec_hash"] == runs[1].info["spec_hash"]
    (table,) = standings(runs)
    first, second = victims_of(table)
    assert first != second
    for found, expected in zip((first, second), labels, strict=True):
        assert re.fullmatch(expected, found), found
    assert {len(row.cells) for row in table.rows} == {2}
    (again,) = standings([runs[0], runs[0]])
    assert victims_of(again) == [f"huggingface {names[0]}"], "one model read twice needs no more than its name"
