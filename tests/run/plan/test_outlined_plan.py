"""A plan without the data and commits of a hub: what names tell stands for them, and is said to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import DataError, VictimError
from plugins.tasks.label_sets.spam import Spam
from plugins.tasks.prompt_sets.jbb import JBB
from plugins.tasks.text_classification import TextClassification
from plugins.victims._huggingface import model_files as model_files
from plugins.victims._huggingface.published.presets import PRESETS

SPEC = """\
name: planned
version: "1"
tasks: [spam]
victims:
  - huggingface: {model: pythia-14m}
  - huggingface: {model: pythia-70m}
defenses:
  - none
  - classifier_guard: {model: {huggingface: {model: SOMEONE/guard, fine_tune: false}}, classes: [a, b], refuse: [b]}
attacks: [random_token: {steps: 2, draws: 10}]
examples: 20
clean_examples: 20
"""


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> Any:
        raise DataError("no hub here")

    def untold(model: str, revision: str | None, **_: Any) -> str:
        if revision is None:
            raise VictimError(f"{model}: the hub does not give its commit")
        return revision

    monkeypatch.setattr(TextClassification, "load", unreachable)
    monkeypatch.setattr(model_files, "commit_of", untold)
    monkeypatch.setattr(model_files, "read_config", lambda *_: untold("SOMEONE/guard", None))


def test_sizes_stand_for_what_is_not_here(no_hub: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "planned.yaml"
    path.write_text(SPEC)
    assert main(["plan", str(path), "--out", str(tmp_path / "out"), "--json"]) == 0
    told = capsys.readouterr()
    stages = json.loads(told.out)["stages"]
    assert "spam: planned with made-up texts of its published size (1240 characters a prompt" in told.err
    assert "pythia-14m" in told.err
    assert "planned without its files" in told.err
    assert "size is not known here" in told.err
    assert "pythia-70m" not in told.err  # its commit is known
    fine_tuned = {stage["label"]: stage["flops"] for stage in stages if stage["what"] == "prepare"}
    for size in ("14m", "70m"):
        n_params = PRESETS[f"pythia-{size}"].as_classifier(2)
        (flops,) = [flops for label, flops in fine_tuned.items() if size in label]
        assert flops == pytest.approx(6 * n_params * 3 * 20_000 * 1240 / 4, rel=0.01)
    attacks = [stage for stage in stages if stage["what"] == "attack"]
    assert [stage["flops"] is None for stage in attacks] == ["classifier_guard" in stage["label"] for stage in attacks]
    assert main(["validate", str(path)]) == 2  # a plan may go on without them, a run may not


def test_outlines_are_of_the_preset_dataset_alone(tmp_path: Path) -> None:
    found = Spam(Spam.Params(train_size=100)).outline()
    assert found is not None
    assert (len(found.train), len(found.validation), found.labels) == (100, 2000, (" HAM", " SPAM"))
    assert {len(example.text) for example in found.validation} == {1240}
    assert {example.label for example in found.train} == {0, 1}
    assert Spam(Spam.Params(path=tmp_path / "mine.csv")).outline() is None
    assert Spam(Spam.Params(dataset="SOMEONE/COPY")).outline() is None
    benign = JBB(JBB.Params.model_validate({"split": "benign", "answer_tokens": 7})).outline()
    assert benign is not None
    assert benign.answer_tokens == 7
    assert all(example.benign and example.target.strip() for example in benign.validation)
