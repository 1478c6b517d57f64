"""Adversarial training against attacks that ask models of their own, and of victims that answer in text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.api.model.backend import ScoreItem
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.engine.open_backend import open_folder
from harness.errors import DataError
from harness.records.read import read_run
from harness.registry.loader import load_plugins
from harness.run.plan.estimate import make_plan
from harness.run.prepare.resolved_cell import CellResolver
from harness.run.reporter import Silent
from harness.run.run_folder import RunFolder
from harness.run.runner import run
from harness.spec.load import load_spec
from harness.store.artifacts import FolderStore
from plugins.defenses._training.adversarial_pool import load_pool
from plugins.defenses._training.training_rows import TrainingRowBuilder
from plugins.tasks.forbidden_topics import REFUSAL
from tests.run.runs import run_spec

WORDS = '{word_length: {instructions: "Which?", syllables: open, train_size: 300, validation_size: 64}}'
TOPICS = "{forbidden_topics: {train_size: 300, validation_size: 32, answer_tokens: 8}}"
SPEC = """
name: training-attacks
version: "1"
tasks: [%(task)s]
victims: [{tiny: {size: 7k, steps: 12, batch_size: 16}}]
defenses:
  - adversarial_training:
      {rounds: 1, attacked_per_round: 4, examples_per_round: 8, strength: {start: 2, end: 2, rounds: 1},
       attack: %(attack)s}
attacks: [{random_token: {steps: 1, draws: 2}}]
judge: %(judge)s
examples: 2
clean_examples: 4
"""
LABELS = {"task": WORDS, "judge": "wrong_label"}
TEXT = {"task": TOPICS, "judge": "refusal_match"}


def loaded(folder: Path, **values: str) -> Any:
    (folder / "spec.yaml").write_text(SPEC % values)
    return load_spec(folder / "spec.yaml", load_plugins().registry)


def done(folder: Path, **values: str) -> tuple[Any, Path]:
    """The one cell's record, and the folder of the round's artifact."""
    outcome = run(loaded(folder, **values), load_plugins().registry, folder / "run", Silent())
    assert not outcome.failed
    (cell,) = read_run(folder / "run")
    return cell.record, folder / "run/artifacts" / cell.record.defense_facts.artifact


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "role"),
    [
        ("{beast: {width: 2, branching: 2, sampler: {tiny: {size: 7k, steps: 6}}}}", "sampler"),
        ("{probe_gcg: {candidates: 8, topk: 8, probe: 4, draft: {tiny: {size: 7k, steps: 6}}}}", "draft"),
    ],
)
def test_a_training_attack_may_ask_models_of_its_own(tmp_path: Path, attack: str, role: str) -> None:
    record, artifact = done(tmp_path, attack=attack, **LABELS)
    assert record.defense_facts.search.nominal > 0
    assert len(load_pool(artifact / "pool.json")) == 4
    identity = json.loads((artifact / "manifest.json").read_text())["identity"]
    assert list(identity["models"]) == [role]  # another draft would find other strings
    assert identity["models"][role] in {path.parent.name for path in artifact.parent.glob("*/manifest.json")}


def test_its_models_are_planned_and_in_the_key(tmp_path: Path) -> None:
    def weights(steps: int) -> tuple[str, int]:
        attack = f"{{probe_gcg: {{candidates: 8, draft: {{tiny: {{size: 7k, steps: {steps}}}}}}}}}"
        (spec,) = loaded(tmp_path, attack=attack, **LABELS).cells
        resolver = CellResolver(load_plugins().registry)
        cell = resolver.resolve(spec)
        plan = make_plan([cell], resolver, FolderStore(tmp_path / "none"), RunFolder(tmp_path / "none"))
        return cell.keys.weights, sum(stage.what == "prepare" for stage in plan.stages)

    (one, prepared), (other, _) = weights(6), weights(7)
    assert one != other
    assert prepared == 2  # the victim and the draft


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The artifact of a round whose victim answers in text, and what was trained on."""
    seen: list[Any] = []
    real, folder = harness.retrain, tmp_path_factory.mktemp("text")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "retrain", lambda *a, **k: (seen.append(a[2]), real(*a, **k))[1])
        record, artifact = done(folder, attack="{gcg: {candidates: 8, topk: 8}}", **TEXT)
    assert record.defense_facts.notes["attack_loss"] > 0
    assert "attack_loss_below_ln2" not in record.defense_facts.notes  # says nothing where there are no two labels
    return artifact, seen[0]


@pytest.mark.slow
def test_good_replies_to_attacked_prompts_are_learnt(taught: tuple[Path, list[Any]]) -> None:
    artifact, rows = taught
    pool = load_pool(artifact / "pool.json")
    made = open_folder(artifact, "generation", dtype="float32", device="cpu")
    assert {entry.reply.strip() == REFUSAL or entry.reply.strip().startswith("Sure") for entry in pool} == {True}
    said = [made.tokenizer.decode([row.ids[row.start : -1]])[0] for row in rows]
    asked = [made.tokenizer.decode([row.ids[: row.start]])[0] for row in rows]
    assert {row.ids[-1] for row in rows} == {0}  # the token that ends an answer
    attacked = {(entry.text, entry.reply) for entry in pool}
    assert attacked <= set(zip(asked, said, strict=True))
    assert len(rows) == 8
    assert all(text.endswith("\nAnswer:") for text in asked)
    for entry in pool:  # the noted loss is the mean NLL of the reply and its end
        (row,) = [row for row, text in zip(rows, asked, strict=True) if text == entry.text]
        none = np.empty(0, dtype=np.int64)
        prompt, reply = np.asarray(row.ids[: row.start]), tuple(row.ids[row.start :])
        (scored,) = made.score([ScoreItem(none, prompt[None], none, reply)])
        assert entry.loss == pytest.approx(float(scored.losses[0]), abs=1e-5)


def test_a_task_without_replies_is_refused(tmp_path: Path) -> None:
    from harness.tokens.hf_tokenizer import HFTokenizer
    from tests.engine.hub_models import byte_bpe

    mute = Example("train-0", (Chunk("Hello", Edit.PERTURBABLE),), target=" Sure")
    with pytest.raises(DataError, match="no training example has a good reply"):
        TrainingRowBuilder(tmp_path, HFTokenizer(byte_bpe()), 64, TaskData((), [mute], [mute]), "adversarial_training")


def test_which_token_ends_an_answer(tmp_path: Path) -> None:
    assert harness.saved_ending(tmp_path) is None
    (tmp_path / "config.json").write_text('{"eos_token_id": 3}')
    assert harness.saved_ending(tmp_path) == 3
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    assert harness.saved_ending(tmp_path) == 7
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<end>"}')
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [{"content": "<end>", "id": 9}]}')
    assert harness.saved_ending(tmp_path) == 9


@pytest.mark.slow
def test_a_reply_is_learnt_under_a_perturbation(tmp_path: Path) -> None:
    """The latent attack as training attack of a victim that answers in text."""
    spec = SPEC.replace("attack: %(attack)s}", "attack: %(attack)s, threat: {access: latent, radius: 0.5}}")
    run_spec(spec % ({"attack": "{latent: {layer: 1}}"} | TEXT), tmp_path)
    (cell,) = read_run(tmp_path / "run")
    pool = load_pool(tmp_path / "run/artifacts" / cell.record.defense_facts.artifact / "pool.json")
    assert all(entry.latent is not None and entry.reply and (entry.loss or 0) > 0 for entry in pool)
