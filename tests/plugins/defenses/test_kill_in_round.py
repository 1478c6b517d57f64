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

from tests.run.runs import ENVIRONMENT, records, weights

pytestmark = pytest.mark.slow

SPEC = """
name: killed
version: "1"
tasks: [{word_length: {instructions: "Which word is longer?", syllables: open, train_size: 300, validation_size: 64}}]
victims: [{tiny: {size: 7k, steps: 12, batch_size: 16}}]
defenses: [{%s}]
attacks: [{random_token: {steps: 1, draws: 2}}]
examples: 4
clean_examples: 8
"""
DEFENSES = {
    "adversarial": "adversarial_training: {rounds: 2, evaluate: last, attacked_per_round: 12, examples_per_round: 400, "
    "strength: {start: 4, end: 6, rounds: 2}, attack: {gcg: {candidates: 16, topk: 8}}}",
    "perturbation": "perturbation_training: {rounds: 2, evaluate: last, examples_per_round: 120}",
}
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
        end = time.monotonic() + 300
        while not any(seen(scratch) for scratch in (folder / "out/artifacts/.partial").glob("*/scratch")):
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < end
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL


def in_search(scratch: Path) -> bool:
    journal = scratch / "search-1.jsonl"
    return journal.exists() and journal.read_bytes().count(b"\n") >= 2 and not (scratch / "training.pt").exists()


def in_training_of(round_file: str) -> Callable[[Path], bool]:
    """The training of a round (the victim's own has no such file beside its checkpoint)."""
    return lambda scratch: (scratch / "training.pt").exists() and (not round_file or (scratch / round_file).exists())


def facts(out: Path) -> dict[str, Any]:
    found = [json.loads(path.read_text()) for path in (out / "artifacts").glob("[!.]*/manifest.json")]
    return {manifest["key"]: manifest["facts"] for manifest in found}


@pytest.mark.parametrize("sort", list(DEFENSES))
def test_a_kill_inside_a_round_changes_nothing(tmp_path: Path, sort: str) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.yaml").write_text(SPEC % DEFENSES[sort])
    assert start(tmp_path / "whole").wait(300) == 0
    killed = tmp_path / "killed"
    if sort == "adversarial":
        kill_once(killed, in_search)
        kill_once(killed, in_training_of("search-1.jsonl"))
    else:
        kill_once(killed, in_training_of(""))
    left = list((killed / "out/artifacts/.partial").glob("*/scratch/*"))
    assert {path.name for path in left} >= {"training.pt"}
    assert start(killed).wait(300) == 0
    assert records(killed / "out") == records(tmp_path / "whole" / "out")
    assert weights(killed / "out") == weights(tmp_path / "whole" / "out")
    assert facts(killed / "out") == facts(tmp_path / "whole" / "out")
    assert not list((killed / "out/artifacts/.partial").iterdir())
