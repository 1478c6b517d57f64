"""Training on rows whose activations are perturbed, and adversarial training against the latent attack."""

from __future__ import annotations

import hashlib
import json
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness.api.model.backend import LatentItem
from harness.api.problem.latent import Latent
from harness.api.threat import Threat
from harness.api.training import TrainRow
from harness.engine.losses import cross_entropy
from harness.engine.open_backend import open_folder
from harness.engine.torch.activations.hidden_layers import layer_perturbations, perturbed_layers
from harness.engine.torch.backend import TorchBackend
from harness.errors import VictimError
from harness.records.read import read_run
from harness.training import checkpoint, loop
from harness.training.loop import _perturbations, train
from harness.training.objective import collate
from harness.training.training_rows import reply_row, rows_hash
from plugins.defenses._training.adversarial_pool import PoolEntry, load_pool, save_pool, update_losses
from plugins.defenses._training.training_rows import TrainingRowBuilder
from tests.engine.hub_models import write_folder
from tests.plugins.defenses.test_adversarial_training import defense
from tests.plugins.defenses.test_rounds import DATA, LABELS, SMALL, Rounds
from tests.run.runs import run_spec
from tests.training.batches import batch_loss
from tests.training.test_training import CONFIG, fit, fresh, rows_to_learn, silent

WIDTH = 32


def perturbed(row: TrainRow, at: int = 1, layer: int = 0, size: float = 1.0, seed: int = 0) -> TrainRow:
    delta = size * np.random.default_rng(seed).normal(size=(2, WIDTH))
    return replace(row, latent=Latent.of(delta, layer), latent_at=at)


def loss_of(model: Any, reader: Any, rows: list[TrainRow]) -> float:
    batch = collate(rows, reader, 1, torch.device("cpu"))
    with torch.no_grad(), perturbed_layers(model, _perturbations(batch)):
        return float(batch_loss(model, reader, batch)[0])


@pytest.mark.parametrize(
    ("kind", "head"),
    [("gpt_neox", "classification"), ("qwen2", "label_tokens"), ("qwen2", "generation"), ("bert", "classification")],
)
def test_the_loss_of_a_batch_is_that_of_its_rows(kind: str, head: str) -> None:
    """Perturbed in different layers and places, or not at all; of different lengths."""
    model, tokenizer = fresh(kind, "classification" if head == "classification" else "label_tokens")
    labels = (" fox", " User password") if head == "label_tokens" else ()
    made = TorchBackend(model, tokenizer, head, labels, check_agreement=False)  # type: ignore[arg-type]
    plain = rows_to_learn(5)
    if head == "generation":
        plain = [reply_row(row.ids, (11, 12)) for row in plain]
    rows = [perturbed(row, i % 2, i % 3, seed=i) if i != 2 else row for i, row in enumerate(plain)]
    alone = [loss_of(model, made.head, [row]) for row in rows]
    assert loss_of(model, made.head, rows) == pytest.approx(float(np.mean(alone)), abs=1e-5)
    without = [loss_of(model, made.head, [row]) for row in plain]
    assert [abs(a - b) > 1e-6 for a, b in zip(alone, without, strict=True)] == [True, True, False, True, True]


def test_it_is_the_loss_that_the_judge_sees() -> None:
    model, tokenizer = fresh()
    made = TorchBackend(model, tokenizer)
    ids = tuple(tokenizer.encode(["The quick brown fox"])[0])
    row = perturbed(TrainRow(ids, 1), at=2, layer=1)
    assert row.latent is not None
    (answer,) = made.answer_perturbed([LatentItem("The quick brown fox", 2, row.latent, 1)])
    assert loss_of(model, made.head, [row]) == pytest.approx(float(cross_entropy(answer.logits, 1)), abs=1e-5)


def test_gradients_reach_the_weights_below_and_above() -> None:
    model, tokenizer = fresh("qwen2")
    reader = TorchBackend(model, tokenizer, check_agreement=False).head
    model.requires_grad_(True)
    batch = collate([perturbed(row, layer=1) for row in rows_to_learn(3)], reader, 1, torch.device("cpu"))
    with perturbed_layers(model, _perturbations(batch)):
        loss, _ = batch_loss(model, reader, batch)
    loss.backward()
    norms = [float(layer.mlp.down_proj.weight.grad.norm()) for layer in model.model.layers]
    assert min(norms) > 0
    weight = model.model.layers[0].mlp.down_proj.weight
    with torch.no_grad():
        way = weight.grad / weight.grad.norm()
        losses = []
        for step in (0.01, -0.01):
            weight += step * way
            with perturbed_layers(model, _perturbations(batch)):
                losses.append(float(batch_loss(model, reader, batch)[0]))
            weight -= step * way
    assert (losses[0] - losses[1]) / 0.02 == pytest.approx(float(weight.grad.norm()), rel=0.02)


def test_rows_without_a_perturbation_are_what_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_to_learn(12)
    before = hashlib.sha256()
    for row in rows:
        before.update(array("q", (len(row.ids), *row.ids, row.label)).tobytes())
    assert rows_hash(rows) == before.hexdigest()
    changed = [perturbed(rows[0]), *rows[1:]]
    hashes = {rows_hash(changed)}
    for other in (perturbed(rows[0], at=0), perturbed(rows[0], layer=1), perturbed(rows[0], seed=1)):
        hashes.add(rows_hash([other, *rows[1:]]))
    assert len(hashes | {before.hexdigest()}) == 5

    with_hooks, tokenizer = fresh()
    fit(with_hooks, tokenizer, rows, tmp_path / "a")
    bare, _ = fresh()
    monkeypatch.setattr(loop, "perturbed_layers", None)  # as it was before there was such a thing
    monkeypatch.setattr(loop, "_perturbations", None)
    monkeypatch.setattr(loop, "_update", _update_without)
    fit(bare, tokenizer, rows, tmp_path / "b")
    for name, weight in with_hooks.state_dict().items():
        assert torch.equal(weight, bare.state_dict()[name]), name


def _update_without(of: Any, optimizer: Any, rate: float, config: Any) -> int:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss, outputs = batch_loss(of.model, of.head, of.batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(of.model.parameters(), config.max_grad_norm)
    optimizer.step()
    return outputs


def test_it_learns_to_stand_a_perturbation(tmp_path: Path) -> None:
    model, tokenizer = fresh()
    config = CONFIG.model_copy(update={"epochs": 6, "learning_rate": 3e-3, "optimizer": "adamw"})
    rows = [perturbed(row, seed=i % 3, size=0.3) for i, row in enumerate(rows_to_learn(60))]
    reader = TorchBackend(model, tokenizer, check_agreement=False).head
    before = loss_of(model, reader, rows)
    fit(model, tokenizer, rows, tmp_path, config=config)
    assert loss_of(model.eval(), reader, rows) < 0.3 * before


class KilledError(Exception):
    """Stands for kill -9."""


def test_interrupted_training_ends_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [perturbed(row, layer=i % 2) if i % 3 else row for i, row in enumerate(rows_to_learn(12))]
    whole, tokenizer = fresh()
    fit(whole, tokenizer, rows, tmp_path / "a")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "_SAVE_SHARE", float("inf"))

    def killed(_what: str, done: float, _total: float) -> None:
        if done == 3:
            raise KilledError

    with pytest.raises(KilledError):
        fit(fresh()[0], tokenizer, rows, tmp_path / "b", progress=killed)
    resumed, _ = fresh()
    fit(resumed, tokenizer, rows, tmp_path / "b")
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    checkpoint.remove(tmp_path / "b")


def test_a_perturbation_that_does_not_fit_is_told(tmp_path: Path) -> None:
    model, tokenizer = fresh()
    (row,) = rows_to_learn(1)

    def learn(bad: TrainRow) -> None:
        train(model, tokenizer, [bad], CONFIG, seed=0, scratch=tmp_path, progress=silent)

    with pytest.raises(VictimError, match="a perturbation of places that it does not have"):
        learn(perturbed(row, at=len(row.ids) - 1))
    with pytest.raises(VictimError, match="layer 3: GPTNeoXForSequenceClassification has layers 1 to 2"):
        learn(perturbed(row, layer=3))
    with pytest.raises(VictimError, match=r"the perturbation is for \[rows, tokens, 5\]"):
        learn(replace(row, latent=Latent.of(np.zeros((2, 5)), 0)))
    assert layer_perturbations([], torch.device("cpu")) == []


# -- the defense ------------------------------------------------------------------------------------------------------


def test_a_pool_keeps_perturbations(tmp_path: Path) -> None:
    latent = Latent.of(np.random.default_rng(0).normal(size=(2, 3)), 1)
    pool = [PoolEntry("a", 0, 1), PoolEntry("b", 1, 2, 0.5, latent, 7)]
    save_pool(tmp_path / "pool.json", pool)
    assert load_pool(tmp_path / "pool.json") == pool
    assert json.loads((tmp_path / "pool.json").read_text())[0] == {"text": "a", "label": 0, "round": 1, "loss": None}


def test_rounds_train_on_what_the_latent_attack_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = harness.retrain, []
    monkeypatch.setattr(harness, "retrain", lambda *a, **k: (seen.append(a[2]), real(*a, **k))[1])
    victim = write_folder(tmp_path / "victim", "gpt_neox", scale=2.0)
    rounds = Rounds(tmp_path, victim, threat=Threat(tokens=4, access="latent", radius=0.5))
    cost = rounds.run(defense(**SMALL | {"attack": {"latent": {"layer": 1}}}), 1)
    rows = seen[0]
    assert [row.latent is not None for row in rows] == [True] * 6 + [False] * 4
    pool = load_pool(tmp_path / "round-1" / "pool.json")
    made = open_folder(tmp_path / "round-1", labels=LABELS, dtype="float32", device="cpu")
    for row in rows[:6]:
        (entry,) = [e for e in pool if e.latent == row.latent]
        assert row.latent.shape == (4, WIDTH)
        assert (row.latent.layer, row.latent_at) == (1, entry.latent_at)
        assert tuple(made.tokenizer.encode([entry.text])[0]) == row.ids
        assert tuple(row.ids[row.latent_at + 4 :]) == tuple(made.tokenizer.encode([" Answer:"])[0])
        (answer,) = made.answer_perturbed([LatentItem(entry.text, entry.latent_at, entry.latent, 0)])
        assert entry.loss == pytest.approx(float(cross_entropy(answer.logits, entry.label)), abs=1e-5)
    assert cost.search.nominal > 0
    n, tokens = made.n_params, sum(len(row.ids) for row in rows)
    forward = sum(len(row.ids) for row in rows[:6])
    assert cost.training.nominal == pytest.approx(6.0 * n * tokens + 2.0 * n * forward)
    # both sorts of entries side by side
    mixed = [pool[0], PoolEntry(pool[1].text, pool[1].label, 1)]
    builder = TrainingRowBuilder(victim, made.tokenizer, made.context, DATA, "test")
    update_losses(mixed, 0, builder, made)
    (plain,), _ = made.classify([np.asarray(builder.row(mixed[1].training_example).ids)])
    assert mixed[1].loss == pytest.approx(float(cross_entropy(plain, mixed[1].label)), abs=1e-5)


SPEC = """
name: latent-training
version: "1"
tasks: [{word_length: {instructions: "Which word is longer?", syllables: open, min_letters: 4, max_letters: 8, train_size: 4000, validation_size: 256}}]
victims: [{tiny: {size: 26k, steps: 500, filler: 0.2}}]
defenses: [none, {adversarial_training: {rounds: 3, evaluate: last, attacked_per_round: 64, examples_per_round: 400, epochs: 2, optimizer: adamw, learning_rate: 1.0e-3, batch_size: 16, strength: {start: 8, end: 8, rounds: 3}, attack: latent}}]
attacks: [{latent: {steps: 8}}]
threats: [{access: latent, radius: 0.5}]
examples: 48
clean_examples: 256
"""  # noqa: E501


@pytest.mark.slow
def test_training_against_the_latent_attack_makes_it_harder(tmp_path: Path) -> None:
    run_spec(SPEC, tmp_path)
    found = {}
    for cell in read_run(tmp_path / "run"):
        steps = cell.steps(["example", "success"]).to_pylist()
        asr = len({row["example"] for row in steps if row["success"]}) / cell.record.n_attacked
        found[cell.record.defense.name] = asr, cell.record.n_clean_correct / cell.record.n_clean
        assert cell.record.space == "latent"
    print(found)
    (undefended, clean), (defended, still_clean) = found["none"], found["adversarial_training"]
    assert undefended > 0.4
    assert defended < undefended - 0.3
    assert still_clean > clean - 0.1
