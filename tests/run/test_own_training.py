"""Adversarial training of a victim that is no Hugging Face model, by the training that it brings along."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.records.read import read_run
from harness.registry.loader import load_plugins
from harness.testing import check_plugin
from tests.run.runs import FAST, FROM_FILES, KIT, harness_here

GCG = {"gcg": {"steps": 4, "candidates": 16, "topk": 16}}
SMALL = {"attacked_per_round": 16, "examples_per_round": 40, "strength": {"start": 3, "end": 3, "rounds": 2}}
TRAINED = {"adversarial_training": {"rounds": 2, "attack": {"gcg": {"candidates": 16, "topk": 16}}, **SMALL}}


def run(folder: Path, **changes: object) -> tuple[int, str]:
    (folder / "spec.yaml").write_text(yaml.safe_dump(yaml.safe_load(FAST) | changes))
    done = harness_here(*FROM_FILES, "run", "spec.yaml", "--out", "run", "--quiet", "--jobs", "0", cwd=folder)
    return done.returncode, " ".join(done.stderr.split())


@pytest.mark.slow
def test_it_is_trained_round_by_round_and_costs_more_to_break(tmp_path: Path) -> None:
    code, said = run(tmp_path, defenses=["none", TRAINED], attacks=[GCG], examples=20)
    assert code == 0, said
    losses = {}
    for cell in read_run(tmp_path / "run"):
        facts = cell.record.defense_facts
        assert facts is not None
        steps = cell.steps().to_pylist()
        losses[facts.round or 0] = sum(row["loss"] for row in steps) / len(steps)
        assert (facts.training.nominal or 0) > 0 or facts.round is None
    assert losses[2] > losses[1] > losses[0]  # the same attack gets less far with every round


def test_views_are_refused_in_words(tmp_path: Path) -> None:
    code, said = run(tmp_path, defenses=["perturbation_training"])
    assert code == 1
    assert "perturbation_training: trains on several views" in said
    assert "Traceback" not in said


def test_the_check_of_a_training_that_learns_nothing(tmp_path: Path) -> None:
    source = (KIT / "victim.py").read_text()
    assert "labels, 20, job)" in source
    for text, status in ((source, "ok"), (source.replace("labels, 20, job)", "labels, 0, job)"), "failed")):
        (tmp_path / "victim.py").write_text(text)
        registry = load_plugins([tmp_path / "victim.py"]).registry
        findings = {finding.check: finding for finding in check_plugin("victim/counts", registry=registry)}
        assert findings["retrains"].status == status, findings["retrains"]
