"""Training of language models: what they are to say, that the loss is of that alone, and that labelled rows stay."""

from __future__ import annotations

import hashlib
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.api.model.backend import GenerateItem
from harness.api.task import NO_LABEL, Chunk, Edit, Example
from harness.api.training import TrainConfig, TrainRow
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.heads import GenerationHead
from harness.errors import DataError, VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.training import loop
from harness.training.loop import train
from harness.training.model_folder import saved_head
from harness.training.objective import collate
from harness.training.retrain import retrain
from harness.training.training_rows import reply_ids, reply_row, reply_rows, rows_hash
from tests.engine.hub_models import LABELS, byte_bpe, random_model, write_folder
from tests.training.batches import batch_loss

END = 0
TOKENIZER = HFTokenizer(byte_bpe())
CPU = torch.device("cpu")
ASKED = ("The quick", "The lazy", "System password: apple", "User password", "good", "fine or bad")
CONFIG = TrainConfig(steps=12, learning_rate=3e-3, optimizer="adamw", batch_size=4)


def example(text: str, reply: str = "") -> Example:
    return Example(f"train-{text}", (Chunk(text, Edit.PERTURBABLE), Chunk("?")), reply=reply)


def taught() -> list[Example]:
    """The reply says which half of the list a prompt is of."""
    return [example(text, " fox" if i < 3 else " lazy dog") for i, text in enumerate(ASKED)]


def rows() -> list[TrainRow]:
    return reply_rows(taught(), TOKENIZER, 64, END).rows


def fresh(kind: str = "gpt_neox") -> Any:
    return random_model(kind, "label_tokens", TOKENIZER.vocabulary, scale=1.0)


def silent(_what: str, _done: float, _total: float) -> None:
    """No progress wanted."""


def fit(model: Any, learnt: list[TrainRow], scratch: Path, **options: Any) -> Any:
    settings = {"config": CONFIG, "seed": 3, "progress": silent, "head": "generation"} | options
    return train(model, TOKENIZER, learnt, settings.pop("config"), scratch=scratch, **settings)


# -- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bos", [False, True])
def test_the_reply_and_the_end_are_said(bos: bool) -> None:
    tokenizer = HFTokenizer(byte_bpe(bos=bos))
    (row,) = reply_rows([example("The quick", " brown fox")], tokenizer, 64, END).rows
    prompt = (*tokenizer.left, *tokenizer.encode(["The quick?"])[0])
    assert len(tokenizer.left) == bos
    assert row.ids == (*prompt, *tokenizer.encode([" brown fox"])[0], END)
    assert (row.label, row.start) == (NO_LABEL, len(prompt))
    assert [row.ids[at] for at in row.says] == [*tokenizer.encode([" brown fox"])[0], END]
    without = reply_rows([example("The quick", " brown fox")], tokenizer, 64, None).rows[0]
    assert without.ids == row.ids[:-1]
    assert reply_row(prompt, reply_ids(" brown fox", tokenizer, END)) == row


def test_a_text_is_said_from_its_second_token_on() -> None:
    (row,) = reply_rows([example("The quick brown fox")], TOKENIZER, 64, END).rows
    assert row.ids == tuple(TOKENIZER.encode(["The quick brown fox?"])[0])  # no end: prompts go on
    assert list(row.says) == list(range(1, len(row.ids)))
    assert reply_ids("", TOKENIZER, END) == ()
    with pytest.raises(DataError, match="train- has no reply, and no text of two tokens"):
        reply_rows([example("")], TOKENIZER, 64, END)


def test_rows_are_never_cut() -> None:
    few, many = example("The", " fox"), example("The", " fox" * 20)
    assert reply_rows([few, many], TOKENIZER, 64, END).dropped == 0
    kept = reply_rows([few, many], TOKENIZER, 12, END, "drop")
    assert ([row.ids[-2:] for row in kept.rows], kept.dropped) == ([(*TOKENIZER.encode([" fox"])[0], END)], 1)
    with pytest.raises(DataError, match=r"train-The has \d+ tokens, the model takes 12"):
        reply_rows([few, many], TOKENIZER, 12, END)
    with pytest.raises(DataError, match="all 1 examples"):
        reply_rows([many], TOKENIZER, 12, END, "drop")


def test_labelled_rows_hash_as_ever() -> None:
    """What is hashed of a row with a label is its length, its ids and the label: checkpoints depend on it."""
    labelled = [TrainRow((5, 6, 7), 1), TrainRow((8,), 0)]
    wanted = hashlib.sha256(array("q", (3, 5, 6, 7, 1, 1, 8, 0)).tobytes()).hexdigest()
    assert rows_hash(labelled) == wanted
    said = [TrainRow((5, 6, 7), NO_LABEL, start) for start in (1, 2)]
    assert len({rows_hash([row]) for row in (*said, TrainRow((5, 6, 7), NO_LABEL))}) == 3


# -- loss -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt_neox", "qwen2"])
@pytest.mark.parametrize("trims", [True, False])
def test_the_loss_is_that_of_the_tokens_to_be_said(kind: str, trims: bool) -> None:
    """Against the loss that transformers computes where all other tokens are left out."""
    model = random_model(kind, "label_tokens", TOKENIZER.vocabulary)
    head = GenerationHead(model)
    head.trims = trims
    learnt = [*rows(), *reply_rows([example("is the dog lazy or is the fox")], TOKENIZER, 64, END).rows]
    longest = max(len(row.ids) for row in learnt)
    ids = torch.full((len(learnt), longest), 1)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, row in enumerate(learnt):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        mask[i, : len(row.ids)] = 1
        start = row.start or 0
        labels[i, start : len(row.ids)] = torch.tensor(row.ids[start:])
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        found, positions = batch_loss(model, head, collate(learnt, head, 1, CPU))
        alone = [batch_loss(model, head, collate([row], head, 1, CPU)) for row in learnt]
    assert float(found) == pytest.approx(float(wanted), abs=1e-5)
    counts = [len(row.says) for row in learnt]  # every token counts the same, whatever the length of its row
    assert float(found) == pytest.approx(np.average([float(loss) for loss, _ in alone], weights=counts), abs=1e-5)
    if trims:
        assert positions < longest
        assert [read for _, read in alone] == counts
    else:
        assert positions == longest


# -- training ---------------------------------------------------------------------------------------------------------


def test_it_learns_what_to_say_and_to_stop(tmp_path: Path) -> None:
    model = fresh()
    fit(model, rows(), tmp_path, config=CONFIG.model_copy(update={"steps": 60}))
    made = TorchBackend(model, TOKENIZER, "generation")
    said = made.generate([GenerateItem(e.text, 8) for e in taught()])
    assert [(answer.text, answer.finished) for answer in said] == [(e.reply, True) for e in taught()]


def test_compute(tmp_path: Path) -> None:
    model = fresh()
    learnt = rows()
    spent = fit(model, learnt, tmp_path, config=TrainConfig(epochs=2, batch_size=3))
    tokens = 2 * sum(len(row.ids) for row in learnt)  # prompts cost as much as replies
    assert spent.nominal == pytest.approx(6 * sum(p.numel() for p in model.parameters()) * tokens)
    assert spent.executed > 0


class KilledError(Exception):
    """Stands for kill -9."""


def test_interrupted_training_ends_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = fresh()
    spent = fit(undisturbed, rows(), tmp_path / "a")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "_SAVE_SHARE", float("inf"))

    def killed(_what: str, done: float, _total: float) -> None:
        if done == 5:
            raise KilledError

    with pytest.raises(KilledError):
        fit(fresh(), rows(), tmp_path / "b", progress=killed)
    seen: list[float] = []
    resumed = fresh()
    assert fit(resumed, rows(), tmp_path / "b", progress=lambda _, done, __: seen.append(done)) == spent
    assert seen[0] > 0
    for name, weight in undisturbed.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_rows_of_another_sort_are_refused(tmp_path: Path) -> None:
    labelled = [TrainRow((5, 6, 7), 1)]
    with pytest.raises(VictimError, match="a row without an answer; give rows of `reply_rows`"):
        fit(fresh(), labelled, tmp_path)
    with pytest.raises(VictimError, match="a row without an answer"):
        fit(fresh(), [reply_row((5,))], tmp_path)
    with pytest.raises(VictimError, match="row without label; give rows of `clean_rows`"):
        fit(fresh(), rows(), tmp_path, head="label_tokens", labels=LABELS)


def test_retrain_a_model_that_answers_in_text(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", "gpt_neox", "label_tokens", scale=1.0)
    assert saved_head(source, ()) == "generation"
    assert saved_head(source, LABELS) == "label_tokens"
    assert saved_head(write_folder(tmp_path / "classifier", "gpt_neox"), ()) == "classification"
    config = CONFIG.model_copy(update={"steps": 60})
    options: dict[str, Any] = {"labels": (), "seed": 1, "scratch": tmp_path / "s", "progress": silent, "device": "cpu"}
    assert retrain(source, tmp_path / "out", rows(), config, **options).nominal > 0
    from harness.engine.open_backend import open_folder

    made = open_folder(tmp_path / "out", saved_head(tmp_path / "out", ()), dtype="float32", device="cpu")
    (said,) = made.generate([GenerateItem(taught()[0].text, 8)])
    assert (said.text, said.finished) == (" fox", True)
