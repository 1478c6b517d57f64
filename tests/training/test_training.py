"""The training loop: it learns, it is deterministic, it goes on where it was killed, and it meters what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from harness.api.task import Chunk, Edit, Example
from harness.api.training import TrainConfig, TrainRow
from harness.engine.torch.backend import TorchBackend
from harness.errors import DataError, VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.training import checkpoint, loop
from harness.training.loop import epoch_batches, train
from harness.training.model_folder import saved_head
from harness.training.objective import collate
from harness.training.optimizers import learning_rate_at
from harness.training.retrain import retrain
from harness.training.training_rows import clean_rows, render
from tests.engine.hub_models import LABELS, byte_bpe, random_model, word_piece, write_folder
from tests.training.batches import batch_loss

CONFIG = TrainConfig(epochs=2, learning_rate=1e-3, optimizer="adafactor", batch_size=4)


def silent(_what: str, _done: float, _total: float) -> None:
    """No progress wanted."""


def rows_to_learn(number: int, seed: int = 0) -> list[TrainRow]:
    """The label says which of two tokens stands first."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(number):
        label = int(rng.integers(2))
        filler = rng.integers(20, 90, size=rng.integers(2, 9)).tolist()
        rows.append(TrainRow((10 + label, *filler), label))
    return rows


def fresh(kind: str = "gpt_neox", head: str = "classification") -> tuple[Any, HFTokenizer]:
    tokenizer = HFTokenizer(word_piece() if kind == "bert" else byte_bpe())
    return random_model(kind, head, tokenizer.vocabulary, scale=1.0), tokenizer


def fit(model: Any, tokenizer: HFTokenizer, rows: list[TrainRow], scratch: Path, **options: Any) -> Any:
    settings = {"config": CONFIG, "seed": 3, "progress": silent} | options
    return train(model, tokenizer, rows, settings.pop("config"), scratch=scratch, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "head", "optimizer"),
    [
        ("gpt_neox", "classification", "adafactor"),
        ("qwen2", "label_tokens", "adamw"),
        ("bert", "classification", "adamw"),
    ],
)
def test_it_learns(tmp_path: Path, kind: str, head: str, optimizer: str) -> None:
    model, tokenizer = fresh(kind, head)
    config = TrainConfig(epochs=10, learning_rate=3e-3, optimizer=optimizer, batch_size=8)  # type: ignore[arg-type]
    labels = LABELS if head == "label_tokens" else ()
    fit(model, tokenizer, rows_to_learn(160), tmp_path, config=config, head=head, labels=labels)
    test = rows_to_learn(60, seed=1)
    made = TorchBackend(model, tokenizer, head, labels)  # type: ignore[arg-type]
    logits, _ = made.classify([np.asarray(row.ids) for row in test])
    assert (logits.argmax(1) == [row.label for row in test]).mean() > 0.95


class KilledError(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("kind", ["gpt_neox", "bert"])  # bert has dropout
@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_interrupted_training_ends_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, optimizer: str
) -> None:
    config = CONFIG.model_copy(update={"optimizer": optimizer})
    rows = rows_to_learn(22)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    undisturbed, tokenizer = fresh(kind)
    spent = fit(undisturbed, tokenizer, rows, tmp_path / "a", config=config)
    assert torch.equal(before, torch.random.get_rng_state())

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "_SAVE_SHARE", float("inf"))
    for stop in (3, 7, 11):
        torch.manual_seed(stop)  # the world outside must not matter

        def killed(_what: str, done: float, _total: float, stop: int = stop) -> None:
            if done == stop:
                raise KilledError

        with pytest.raises(KilledError):
            fit(fresh(kind)[0], tokenizer, rows, tmp_path / "b", config=config, progress=killed)
    resumed, _ = fresh(kind)
    again = fit(resumed, tokenizer, rows, tmp_path / "b", config=config)
    assert again == spent
    for name, weight in undisturbed.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    model, tokenizer = fresh()
    fit(model, tokenizer, rows_to_learn(8), tmp_path)
    assert (tmp_path / "training.pt").is_file()
    assert not (tmp_path / "training.pt.new").exists()
    seen: list[float] = []
    fit(fresh()[0], tokenizer, rows_to_learn(8), tmp_path, seed=4, progress=lambda _, done, __: seen.append(done))
    assert seen[0] == 0
    checkpoint.remove(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_compute(tmp_path: Path) -> None:
    model, tokenizer = fresh()
    rows = rows_to_learn(10)
    spent = fit(model, tokenizer, rows, tmp_path)
    n_params = sum(p.numel() for p in model.parameters())
    assert spent.nominal == pytest.approx(6 * n_params * 2 * sum(len(row.ids) for row in rows))
    longest = TrainRow(tuple(range(20, 30)), 0)
    short = TrainRow((20, 21), 1)
    padded = fit(fresh()[0], tokenizer, [longest, short], tmp_path / "p", config=CONFIG.model_copy(update={"steps": 1}))
    whole = fit(fresh()[0], tokenizer, [longest] * 2, tmp_path / "w", config=CONFIG.model_copy(update={"steps": 1}))
    assert padded.executed == whole.executed  # padding is run
    assert padded.nominal < whole.nominal  # but is not in the convention


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("gpt_neox", "classification"),
        ("qwen2", "classification"),
        ("bert", "classification"),
        ("qwen2", "label_tokens"),
    ],
)
def test_padding_does_not_change_the_loss(kind: str, head: str) -> None:
    model, tokenizer = fresh(kind, head)
    labels = (" fox", " User password") if head == "label_tokens" else ()
    reader = TorchBackend(model, tokenizer, head, labels, check_agreement=False).head  # type: ignore[arg-type]
    # One row ends in the padding id itself: it must still count.
    rows = [*rows_to_learn(5), TrainRow((20, 21, 1), 1)]
    cpu = torch.device("cpu")
    with torch.no_grad():
        together, _ = batch_loss(model, reader, collate(rows, reader, 1, cpu))
        alone = [batch_loss(model, reader, collate([row], reader, 1, cpu))[0] for row in rows]
    assert float(together) == pytest.approx(float(torch.stack(alone).mean()), abs=1e-5)


@given(rows=st.integers(1, 120), size=st.integers(1, 9), seed=st.integers(0, 2**31), epoch=st.integers(0, 3))
def test_order_holds_every_row_once(rows: int, size: int, seed: int, epoch: int) -> None:
    batches = epoch_batches(rows, size, seed, epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(rows))
    assert len(batches) == -(-rows // size)
    assert batches == epoch_batches(rows, size, seed, epoch)


def test_learning_rate() -> None:
    linear = TrainConfig(learning_rate=1.0)
    assert [learning_rate_at(i, 4, linear) for i in range(4)] == [1.0, 0.75, 0.5, 0.25]
    warm = TrainConfig(learning_rate=1.0, warmup_steps=2, schedule="constant")
    assert [learning_rate_at(i, 4, warm) for i in range(4)] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])
    cosine = TrainConfig(learning_rate=1.0, schedule="cosine")
    assert learning_rate_at(2, 4, cosine) == pytest.approx(0.5)
    assert TrainConfig(epochs=3, batch_size=8).total_steps(20) == 9
    assert TrainConfig(steps=5).total_steps(20) == 5


def test_a_broken_training_says_how_to_mend_it(tmp_path: Path) -> None:
    model, tokenizer = fresh()
    with torch.no_grad():
        model.score.weight.fill_(float("inf"))
    with pytest.raises(VictimError, match="lower learning_rate"):
        fit(model, tokenizer, rows_to_learn(8), tmp_path)
    with pytest.raises(VictimError, match="at least one row"):
        fit(model, tokenizer, [], tmp_path)


def example(text: str, label: int = 0) -> Example:
    return Example("train-00001", (Chunk(text), Chunk("", Edit.OVERWRITABLE)), label, 1 - label)


def test_rows_are_never_cut() -> None:
    tokenizer = HFTokenizer(word_piece())
    ids = render("the quick fox", tokenizer)
    assert (ids[0], ids[-1]) == (*tokenizer.left, *tokenizer.right)
    examples = [example("the quick fox"), example("the quick brown fox jumps over the lazy dog", 1)]
    assert clean_rows(examples, tokenizer, 50).dropped == 0
    kept = clean_rows(examples, tokenizer, len(ids), "drop")
    assert (kept.rows, kept.dropped) == ([TrainRow(ids, 0)], 1)
    with pytest.raises(DataError, match=r"train-00001 has .* tokens"):
        clean_rows(examples, tokenizer, len(ids))
    with pytest.raises(DataError, match="all 2 examples"):
        clean_rows(examples, tokenizer, 2, "drop")


def test_retrain_from_folder_to_folder(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", "gpt_neox", scale=1.0)
    options: dict[str, Any] = {"labels": LABELS, "seed": 1, "progress": silent, "device": "cpu"}
    spent = retrain(source, tmp_path / "out", rows_to_learn(8), CONFIG, scratch=tmp_path / "s", **options)
    assert spent.nominal > 0
    assert saved_head(tmp_path / "out", ("a", "b")) == "classification"
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    with pytest.raises(VictimError, match=r"config\.json"):
        saved_head(tmp_path, ())
