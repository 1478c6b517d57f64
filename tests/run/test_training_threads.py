"""Weights depend on a number of threads that the spec names, and not on how many processes share a machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.engine.threads import threads_around
from harness.errors import VictimError
from harness.records.read import read_run
from harness.run.prepare.artifacts import Artifacts
from harness.run.prepare.keys import ArtifactSpec
from harness.run.reporter import Silent
from harness.store.artifacts import FolderStore
from tests.run.runs import FAST, FROM_FILES, WORDS, harness, harness_here

SPEC = f"""
name: threads
version: "1"
tasks: [{WORDS}]
victims: [{{tiny: {{size: 57k, steps: 8}}}}, {{tiny: {{size: 26k, steps: 8}}}}]
defenses:
  - none
  - adversarial_training:
      rounds: 1
      attacked_per_round: 4
      examples_per_round: 32
      strength: {{start: 1, end: 1, rounds: 1}}
      attack: {{gcg: {{candidates: 8, topk: 8}}}}
  - activation_detector: {{method: mahalanobis, fit_examples: 20}}
attacks: [{{random_token: {{steps: 1, draws: 2}}}}]
threats: [{{tokens: 4}}]
examples: 4
clean_examples: 8
"""


def made(store: Path) -> dict[str, Any]:
    """Files and facts of each artifact, by key."""
    found = {}
    for path in store.glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        found[path.parent.name] = (manifest["files"], manifest["facts"])
    return found


@pytest.mark.slow
def test_weights_and_fits_are_the_same_for_one_process_of_two_threads_and_for_two_of_one(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    for jobs in ("1", "2"):
        places = ("--out", f"out{jobs}", "--store", f"store{jobs}", "--jobs", jobs)
        done = harness("run", "spec.yaml", *places, cwd=tmp_path, env={"OMP_NUM_THREADS": "2"})
        assert done.returncode == 0, done.stderr
    threads = {cell.record.host["threads"] for jobs in "12" for cell in read_run(tmp_path / f"out{jobs}").cells}
    assert threads == {1, 2}  # of the attacks
    one, two = made(tmp_path / "store1"), made(tmp_path / "store2")
    assert len(one) == 6  # two victims, two rounds, two fits
    assert one == two
    assert all(facts["threads"] == 1 for _, facts in one.values())


def test_what_is_made_takes_the_threads_that_are_asked_for_and_leaves_those_of_before(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen = []

    def make(_out: Path, _scratch: Path) -> dict[str, Any]:
        seen.append((torch.get_num_threads(), threads_around()))
        return {}

    artifacts = Artifacts(FolderStore(tmp_path), Silent())
    for threads in (1, 3):
        spec = ArtifactSpec.of(lambda threads=threads: {"what": threads})
        assert artifacts.find_or_make(spec, make, threads).facts == {"threads": threads}
    assert seen == [(1, before), (3, before)]
    assert (torch.get_num_threads(), threads_around()) == (before, before)

    def fails(_out: Path, _scratch: Path) -> dict[str, Any]:
        raise VictimError("not to be had")

    with pytest.raises(VictimError, match="not to be had"):
        artifacts.find_or_make(ArtifactSpec.of(lambda: {"what": "failure"}), fails, 3)
    assert torch.get_num_threads() == before


def test_the_number_is_part_of_keys_and_records_where_it_is_not_one(tmp_path: Path) -> None:
    keys, hashes = [], []
    for name, more in (("plain", ""), ("one", "training_threads: 1\n"), ("two", "training_threads: 2\n")):
        (tmp_path / f"{name}.yaml").write_text(FAST + more)
        assert harness_here("run", f"{name}.yaml", "--out", name, *FROM_FILES, cwd=tmp_path).returncode == 0
        run = read_run(tmp_path / name)
        keys.append({cell.record.key for cell in run.cells})
        hashes.append(run.info["spec_hash"])
        assert {cell.record.host["training_threads"] for cell in run.cells} == {2 if name == "two" else 1}
    assert keys[0] == keys[1]
    assert not keys[0] & keys[2]
    assert hashes[0] == hashes[1] != hashes[2]
