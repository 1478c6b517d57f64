"""Texts that are learnt before any task: each term of the loss against plain numbers of single rows, and kills."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from harness.api.task import NO_LABEL
from harness.api.training import TrainConfig, TrainRow
from harness.errors import VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.training import loop
from harness.training.loop import train
from harness.training.objective import collate
from harness.training.text_loss import TextBatch, adversarial_loss, divergence, mixup_loss, text_batch_loss
from harness.training.text_views import TextLoss, TextView, TextViews
from tests.engine.hub_models import byte_bpe, random_model
from tests.training.test_views import KilledError, naive_divergence, silent

TOKENIZER = HFTokenizer(byte_bpe())
CPU = torch.device("cpu")
ALL = TextLoss(consistency=0.7, contrastive=0.3, mixup=0.5, adversarial=0.4)


def view(ids: Sequence[int], places: Sequence[int], tokens: Sequence[int], common: Sequence[int]) -> TextView:
    return TextView(TrainRow(tuple(ids), NO_LABEL, 1), tuple(places), tuple(tokens), tuple(common))


def groups(count: int = 3) -> list[tuple[TextView, ...]]:
    """A text of four tokens, and the same with others in between."""
    found = []
    for i in range(count):
        a, b, c, d = 10 + i, 20 + i, 30 + i, 40 + i
        whole = view([a, b, c, d], [1, 2, 3], [b, c, d], [0, 1, 2])
        noisy = view([a, 99, b, 98, 97, c, d], [2, 5, 6], [b, c, d], [0, 1, 2])
        found.append((whole, noisy))
    return found


def model(causal: bool) -> Any:
    if causal:
        return random_model("gpt_neox", "label_tokens", TOKENIZER.vocabulary, scale=2.0).eval()
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=TOKENIZER.vocabulary,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    return BertForMaskedLM(shape).eval()


def batch_of(made: Sequence[tuple[TextView, ...]], causal: bool) -> TextBatch:
    rows = [one.row for group in made for one in group]
    return TextBatch(collate(rows, None, 0, CPU), made, causal=causal)


def loss_of(of: Any, batch: TextBatch, **weights: float) -> float:
    return float(text_batch_loss(of, batch, TextLoss(**weights)).detach())


def log_probs(of: Any, one: TextView, causal: bool, embeddings: Any = None) -> np.ndarray:
    """What the row alone predicts at its places, [places, vocabulary]."""
    with torch.no_grad():
        given = {"input_ids": torch.tensor([one.row.ids])} if embeddings is None else {"inputs_embeds": embeddings}
        logits = of(**given).logits[0].double().log_softmax(-1).numpy()
    return np.asarray([logits[place - (1 if causal else 0)] for place in one.places])


@pytest.mark.parametrize("causal", [True, False])
def test_language_model_loss_is_the_mean_over_tokens_of_single_rows(causal: bool) -> None:
    made, of = groups(), model(causal)
    found = loss_of(of, batch_of(made, causal))
    losses = [
        -log_probs(of, one, causal)[i, token] for group in made for one in group for i, token in enumerate(one.tokens)
    ]
    assert found == pytest.approx(float(np.mean(losses)), abs=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_consistency_compares_the_same_tokens(causal: bool) -> None:
    made, of = groups(), model(causal)
    batch = batch_of(made, causal)
    plain = loss_of(of, batch)
    found = (loss_of(of, batch, consistency=2.0) - plain) / 2.0
    parts = []
    for group in made:
        chances = np.exp([log_probs(of, one, causal)[list(one.common)] for one in group])
        parts += [naive_divergence(chances[:, i]) for i in range(chances.shape[1])]
    assert found == pytest.approx(float(np.mean(parts)), abs=1e-5)
    assert found > 1e-4
    assert float(divergence(torch.zeros(2, 3, 5))) == pytest.approx(0, abs=1e-7)
    apart = torch.tensor([[[60.0, 0.0]], [[0.0, 60.0]]])
    assert float(divergence(apart)) == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("causal", [True, False])
def test_contrast_is_between_texts(causal: bool) -> None:
    made, of = groups(), model(causal)
    batch = batch_of(made, causal)
    plain = loss_of(of, batch)
    found = loss_of(of, batch, contrastive=1.0, temperature=0.3) - plain
    states = []
    for group in made:
        for one in group:
            with torch.no_grad():
                last = of(input_ids=torch.tensor([one.row.ids]), output_hidden_states=True).hidden_states[-1][0]
            states.append(last[-1 if causal else 0].double().numpy())
    unit = np.stack([state / np.linalg.norm(state) for state in states])
    losses = []
    for i in range(len(unit)):
        near = math.exp(unit[i] @ unit[i ^ 1] / 0.3)
        far = sum(math.exp(unit[i] @ unit[j] / 0.3) for j in range(len(unit)) if j // 2 != i // 2)
        losses.append(-math.log(near / (near + far)))
    assert found == pytest.approx(float(np.mean(losses)), abs=1e-4)


def test_mixup_is_the_loss_of_mixed_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of one length, so that no padding is mixed in."""
    made, of = [(group[0],) for group in groups(2)], model(True)
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda _: torch.tensor(0.75))
    with torch.no_grad():
        found = float(mixup_loss(of, batch_of(made, True), 0.2))
        (one,), (other,) = made
        embed = of.get_input_embeddings()
        a, b = embed(torch.tensor([one.row.ids])), embed(torch.tensor([other.row.ids]))
    own, others = [], []
    for first, second, mixed in ((one, other, 0.75 * a + 0.25 * b), (other, one, 0.75 * b + 0.25 * a)):
        chances = log_probs(of, first, True, mixed)
        own += [-chances[i, token] for i, token in enumerate(first.tokens)]
        others += [-chances[i, token] for i, token in enumerate(second.tokens)]
    assert found == pytest.approx(0.75 * float(np.mean(own)) + 0.25 * float(np.mean(others)), abs=1e-5)


def test_adversarial_steps_have_their_length_and_raise_the_loss() -> None:
    made, of = groups(), model(True)
    batch = batch_of(made, True)
    plain = loss_of(of, batch)
    assert float(adversarial_loss(of, batch, 0.05).detach()) > plain
    assert float(adversarial_loss(of, batch, 1e-9).detach()) == pytest.approx(plain, abs=1e-5)
    one = [(made[0][0],)]
    single = batch_of(one, True)
    embeddings = of.get_input_embeddings()(single.ids).detach().requires_grad_(True)
    tokens = torch.tensor(made[0][0].tokens)
    loss = torch.nn.functional.cross_entropy(of(inputs_embeds=embeddings).logits[0, :3], tokens)
    (gradient,) = torch.autograd.grad(loss, embeddings)
    size = 0.1 * embeddings.detach().norm(dim=-1).mean()
    moved = embeddings.detach() + size * torch.nn.functional.normalize(gradient, dim=-1, eps=1e-20)
    wanted = -np.mean([log_probs(of, made[0][0], True, moved)[i, token] for i, token in enumerate(made[0][0].tokens)])
    assert float(adversarial_loss(of, single, 0.1).detach()) == pytest.approx(float(wanted), abs=1e-5)


def fit(folder: Path, progress: Any = silent, loss: TextLoss = ALL) -> tuple[Any, Any]:
    torch.manual_seed(0)
    of = random_model("gpt_neox", "label_tokens", TOKENIZER.vocabulary, scale=1.0)
    config = TrainConfig(optimizer="adamw", learning_rate=1e-3, batch_size=4)
    views = TextViews(groups(12), loss, causal=True)
    spent = train(of, TOKENIZER, views, config, seed=1, scratch=folder, progress=progress, head="generation")
    return of.eval(), spent


def test_interrupted_pretraining_ends_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, spent = fit(tmp_path / "a")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "_SAVE_SHARE", float("inf"))

    def killed(_what: str, done: float, _total: float) -> None:
        if done == 2:
            raise KilledError

    with pytest.raises(KilledError):
        fit(tmp_path / "b", killed)
    begun: list[float] = []
    resumed, again = fit(tmp_path / "b", lambda _, done, __: begun.append(done))
    assert begun[0] > 0
    assert again == spent
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_further_passes_are_metered(tmp_path: Path) -> None:
    of, plain = fit(tmp_path / "plain", loss=TextLoss())
    _, all_terms = fit(tmp_path / "all")
    n = sum(p.numel() for p in of.parameters())
    assert plain.nominal == pytest.approx(6 * n * sum(len(one.row.ids) for group in groups(12) for one in group))
    assert all_terms.nominal == pytest.approx(plain.nominal * (1 + 1 + 5 / 3))
    assert all_terms.executed == pytest.approx(plain.executed * (1 + 1 + 5 / 3))


def test_what_cannot_be_learnt_is_refused(tmp_path: Path) -> None:
    whole, noisy = groups(1)[0]
    common = {"seed": 0, "scratch": tmp_path, "progress": silent, "head": "generation"}
    wrong = {
        "at least one text": [],
        "at least one token": [(view([1, 2], [], [], []),)],
        "cannot be predicted": [(view([1, 2], [0], [1], [0]),)],
        "equally many views": [(whole, noisy), (whole,)],
        "same common tokens": [(whole, view([1, 2], [1], [2], [0]))],
    }
    for message, made in wrong.items():
        with pytest.raises(VictimError, match=message):
            train(model(True), TOKENIZER, TextViews(made, TextLoss(), True), TrainConfig(), **common)  # type: ignore[arg-type]


def test_a_frozen_model_changes_in_its_head_alone(tmp_path: Path) -> None:
    of = random_model("gpt_neox", "classification", TOKENIZER.vocabulary)
    before = {name: weight.clone() for name, weight in of.state_dict().items()}
    rows = [TrainRow((5 + i, 6), i % 2) for i in range(8)]
    config = TrainConfig(optimizer="adamw", learning_rate=1e-2, batch_size=4, steps=3)
    spent = train(of, TOKENIZER, rows, config, seed=0, scratch=tmp_path, progress=silent, frozen=True)
    changed = {name for name, weight in of.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {"score.weight"}
    n, head = sum(p.numel() for p in of.parameters()), of.score.weight.numel()
    assert spent.nominal == pytest.approx((2 * n + 4 * head) * 3 * 4 * 2)
    with pytest.raises(VictimError, match="classification head"):
        loop.freeze_body(of, "generation")
