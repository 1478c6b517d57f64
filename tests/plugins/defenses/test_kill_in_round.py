"""Kill -9 inside a round, in its search and in its training: what was done is not done again, and nothing changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import LONGEST
from tests.run.runs import ENVIRONMENT, harness_here, records, weights

pytestmark = pytest.mark.slow

SPEC = """
name: killed
version: "1"
tasks: [{word_length: {instructions: "Which word is longer?", syllables: open, train_size: 300, validation_size: 64}}]
victims: [{tiny: {size: 7k, steps: 12, batch_size: 16}}]
defenses:
  - adversarial_training:
      rounds: 2
      evaluate: last
      attacked_per_round: 12
      examples_per_round: 200
      strength: {start: 4, end: 6, rounds: 2}
      attack: {gcg: {candidates: 16, topk: 8}}
  - perturbation_training: {rounds: 2, evaluate: last, examples_per_round: 80}
attacks: [{random_token: {steps: 1, draws: 2}}]
examples: 4
clean_examples: 8
"""
# A checkpoint after every update, so that there is one to go on from; in this process, where it has been asked for.
RUN = """
import sys
from harness.training import loop
loop.CHECKPOINT_SECONDS, loop._SAVE_SHARE = 0.0, float("inf")
from harness.cli import main
sys.exit(main(["run", "spec.yaml", "--out", "out", "--quiet", "--jobs", "0"]))
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-c", RUN]
    return subprocess.Popen(command, cwd=folder, env=os.environ | ENVIRONMENT, start_new_session=True)


def kill_once(folder: Path, seen: Callable[[Path], bool]) -> None:
    """Start, and kill as soon as the scratch folder of a round in the making shows that."""
    process = start(folder)
    try:
        end = time.monotonic() + LONGEST
        while not any(seen(scratch) for scratch in (folder / "out/artifacts/.partial").glob("*/scratch")):
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < end
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(LONGEST) == -signal.SIGKILL


def in_search(scratch: Path) -> bool:
    journal = scratch / "search-1.jsonl"
    return journal.exists() and journal.read_bytes().count(b"\n") >= 2 and not (scratch / "training.pt").exists()


def in_training(searched: bool) -> Callable[[Path], bool]:
    """The training of a round that began with a search, or of one that did not."""

    def seen(scratch: Path) -> bool:
        done = not (scratch.parent / "out").exists()  # and its files are being removed
        return (scratch / "training.pt").exists() and (scratch / "search-1.jsonl").exists() == searched and not done

    return seen


def facts(out: Path) -> dict[str, Any]:
    found = [json.loads(path.read_text()) for path in (out / "artifacts").glob("[!.]*/manifest.json")]
    return {manifest["key"]: manifest["facts"] for manifest in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody kills."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "spec.yaml").write_text(SPEC)
    done = harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out"


def test_a_kill_inside_a_round_changes_nothing(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    out = tmp_path / "out"
    kill_once(tmp_path, in_search)
    kill_once(tmp_path, in_training(searched=True))
    made = facts(out)
    kill_once(tmp_path, in_training(searched=False))
    assert {key for key in facts(out) if key not in made}, "the rounds that were killed before are done"
    left = list((out / "artifacts/.partial").glob("*/scratch/*"))
    assert {path.name for path in left} >= {"training.pt"}
    again = harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert records(out) == records(whole)
    assert weights(out) == weights(whole)
    assert facts(out) == facts(whole)
    assert not list((out / "artifacts/.partial").iterdir())
