"""The job of docs/compare_versions.md does what the page says, with a spec that runs in a second."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.run.runs import FAST, FROM_FILES, harness_here

PAGE = (Path(__file__).parents[3] / "docs" / "compare_versions.md").read_text(encoding="utf-8")


def steps() -> list[dict[str, Any]]:
    """Of the job."""
    (text,) = re.findall(r"```yaml\n(name: robustness\n.*?)```", PAGE, re.DOTALL)
    (job,) = yaml.safe_load(text)["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def run_steps(folder: Path, released: str, candidate: str) -> list[int]:
    """Exit statuses of the steps that call the harness; the released version's spec is that of the candidate."""
    for name, spec in (("released", released), ("candidate", candidate)):
        (folder / name).mkdir()
        (folder / name / "robustness.yaml").write_text(spec, encoding="utf-8")
    statuses = []
    for command in (step["run"] for step in steps() if "run" in step):
        program, *words = shlex.split(command)
        if program == "cp":
            shutil.copy(folder / words[0], folder / words[1])
        elif program == "harness":
            line, _, out = " ".join(words).partition(" > ")
            done = harness_here(*(FROM_FILES if line.startswith("run") else []), *line.split(), cwd=folder)
            statuses.append(done.returncode)
            if out:
                (folder / out).write_text(done.stdout, encoding="utf-8")
        else:
            assert program == "pip"
    return statuses


@pytest.mark.slow
def test_the_job_passes_what_did_not_change_and_leaves_its_numbers(tmp_path: Path) -> None:
    assert run_steps(tmp_path, "name: of before\n", FAST) == [0, 0, 0, 0]
    found = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert [one["same"] for one in found["compared"]] == [True]
    kept = {path for step in steps() for path in step.get("with", {}).get("path", "").split()}
    assert {"runs/old", "runs/new", "comparison.json"} <= kept


def test_how_many_pairs_show_a_margin_is_as_the_page_says() -> None:
    from leaderboard.fit.compared.paired_difference import tango_interval

    def least(margin: float, discordant: float) -> int:
        pairs = 10
        while tango_interval(discordant / 2 * pairs, discordant / 2 * pairs, pairs, 1.959964)[1] > margin:
            pairs += 1
        return pairs

    assert "about 73 pairs are enough to show a margin of 0.05, and 380 for one of 0.01" in PAGE
    assert (least(0.05, 0), least(0.01, 0)) == (73, 381)
    assert "about 180 and 3,900" in PAGE
    assert least(0.05, 0.1) == pytest.approx(180, abs=2)
    assert least(0.01, 0.1) == pytest.approx(3900, abs=50)
