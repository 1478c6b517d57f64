"""The torch backend against plain, slow references: single rows, eager attention, autograd on a one-hot matrix."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from tokenizers import processors

from harness.api.model.backend import GenerateItem, GradientItem, ScoreItem
from harness.engine.losses import cross_entropy
from harness.engine.open_backend import open_folder
from harness.engine.top_substitutions import best_substitutions
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.devices import resolve_device
from harness.engine.torch.loading import load_model
from harness.errors import VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.tokenizer import Tokens
from tests.engine.hub_models import KINDS, LABELS, byte_bpe, random_model, word_piece, write_folder

MODELS = [(kind, head) for kind in KINDS for head in ("classification", "label_tokens")][:-1]
LONG_LABELS = (" fox", " dog", " User password")  # of one token and of several


@cache
def backend(kind: str, head: str) -> TorchBackend:
    tokenizer = HFTokenizer(word_piece() if kind == "bert" else byte_bpe())
    labels = LONG_LABELS if head == "label_tokens" else ()
    return TorchBackend(random_model(kind, head, tokenizer.vocabulary), tokenizer, head, labels)  # type: ignore[arg-type]


def ids(rng: np.random.Generator, *shape: int) -> Tokens:
    return rng.integers(10, 90, size=shape)


def reference(made: TorchBackend, row: Tokens) -> np.ndarray[Any, Any]:
    """Label logits by a forward of one row, all logits, eager attention."""
    model = made.model
    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            if made.head.name == "classification":
                return model(torch.as_tensor(row)[None]).logits[0].double().numpy()
            scores = []
            for label in made.head.labels:  # type: ignore[attr-defined]
                whole = torch.as_tensor([*row.tolist(), *label])
                log_probs = model(whole[None]).logits[0].double().log_softmax(-1)
                scores.append(sum(float(log_probs[len(row) - 1 + j, t]) for j, t in enumerate(label)))
            return np.asarray(scores)
    finally:
        model.set_attn_implementation(attention)


@pytest.mark.parametrize(("kind", "head"), MODELS)
@given(seed=st.integers(0, 2**32 - 1), before=st.integers(0, 9), after=st.integers(0, 4), width=st.integers(1, 5))
@settings(max_examples=8, deadline=None)
def test_scores_are_those_of_single_rows(kind: str, head: str, seed: int, before: int, after: int, width: int) -> None:
    made = backend(kind, head)
    rng = np.random.default_rng(seed)
    items = [
        ScoreItem(ids(rng, before), ids(rng, 3, width), ids(rng, after), target=0),
        ScoreItem(ids(rng, before + 2), ids(rng, 2, width), ids(rng, after), target=made.n_labels - 1),
        ScoreItem(ids(rng, before), ids(rng, 0, width), ids(rng, after), target=1),
    ]
    scored = made.score(items)
    for item, answer in zip(items, scored, strict=True):
        rows = [np.concatenate([item.before, row, item.after]) for row in item.candidates]
        assert answer.losses.dtype == np.float64
        assert answer.logits.shape == (len(rows), made.n_labels)
        if not rows:
            assert answer.executed == 0.0
            continue
        logits, executed = made.classify(rows)
        assert answer.executed <= sum(executed) * (1 + 1e-9)
        np.testing.assert_allclose(answer.logits, logits, atol=2e-5)
        np.testing.assert_allclose(answer.logits, [reference(made, row) for row in rows], atol=1e-4)
        np.testing.assert_allclose(answer.losses, cross_entropy(answer.logits, item.target))


@pytest.mark.parametrize(("kind", "head"), MODELS)
def test_results_do_not_depend_on_grouping(kind: str, head: str) -> None:
    made = backend(kind, head)
    rng = np.random.default_rng(3)
    rows = [ids(rng, n) for n in (5, 9, 5, 31, 9, 5)]
    together, _ = made.classify(rows)
    alone = np.concatenate([made.classify([row])[0] for row in rows])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    small = TorchBackend(
        made.model, made.tokenizer, made.head.name, LONG_LABELS if head == "label_tokens" else (), chunk_tokens=12
    )
    np.testing.assert_allclose(small.classify(rows)[0], together, atol=1e-5)


def one_hot_gradient(made: TorchBackend, item: GradientItem) -> tuple[float, torch.Tensor]:
    """Loss and its gradient [S, A] by autograd on a one-hot matrix, through inputs_embeds."""
    embed = made.model.get_input_embeddings()
    table = embed.weight.detach()
    start, stop = len(item.before), len(item.before) + len(item.tokens)
    row = torch.as_tensor(np.concatenate([item.before, item.tokens, item.after]))
    hot = torch.nn.functional.one_hot(row[start:stop], len(table)).float().requires_grad_(True)
    embeds = torch.cat([table[row[:start]], hot @ table, table[row[stop:]]])
    if made.head.name == "classification":
        logits = made.model(inputs_embeds=embeds[None]).logits
    else:
        scores = []
        for label in made.head.labels:  # type: ignore[attr-defined]
            whole = torch.cat([embeds, table[list(label)]])
            log_probs = made.model(inputs_embeds=whole[None]).logits[0].log_softmax(-1)
            scores.append(sum(log_probs[len(row) - 1 + j, t] for j, t in enumerate(label)))
        logits = torch.stack(scores)[None]  # type: ignore[arg-type]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([item.target]))
    (grad,) = torch.autograd.grad(loss, hot)
    return float(loss.detach()), grad[:, torch.as_tensor(item.allowed)]


@pytest.mark.parametrize(("kind", "head"), MODELS)
def test_gradient_is_the_one_hot_gradient(kind: str, head: str) -> None:
    made = backend(kind, head)
    rng = np.random.default_rng(5)
    allowed = np.arange(12, 80)
    items = [
        GradientItem(ids(rng, p), ids(rng, s), ids(rng, a), target, allowed, top=6)
        for p, s, a, target in ((4, 3, 2, 0), (7, 3, 2, 1), (4, 3, 2, 1), (0, 4, 0, 0))
    ]
    for item, answer in zip(items, made.gradient(items), strict=True):
        loss, grad = one_hot_gradient(made, item)
        assert answer.answer.loss == pytest.approx(loss, abs=1e-4)
        values = grad.double().numpy()
        scale = np.abs(values).max()
        wanted, _ = best_substitutions(values, allowed, 6)
        assert answer.answer.tokens.shape == (len(item.tokens), 6)
        np.testing.assert_allclose(answer.answer.values, np.sort(values, axis=1)[:, :6], atol=2e-5 * scale)
        assert (answer.answer.tokens == wanted).mean() > 0.9  # near-ties may swap within rounding
        alone = made.gradient([item])[0].answer
        np.testing.assert_allclose(alone.values, answer.answer.values, atol=2e-5 * scale)


def test_gradient_predicts_finite_differences() -> None:
    tokenizer = HFTokenizer(byte_bpe())
    model = random_model("gpt_neox", "classification", tokenizer.vocabulary).double()
    made = TorchBackend(model, tokenizer, check_agreement=False)
    rng = np.random.default_rng(0)
    item = GradientItem(ids(rng, 5), ids(rng, 2), ids(rng, 3), 1, np.arange(10, 90), top=80)
    found = made.gradient([item])[0].answer
    value = dict(zip(found.tokens[0].tolist(), found.values[0].tolist(), strict=True))
    table = model.get_input_embeddings().weight
    row = torch.as_tensor(np.concatenate([item.before, item.tokens, item.after]))
    for token in (11, 40, 77):
        losses = []
        for step in (1e-4, -1e-4):
            embeds = table[row].clone()
            embeds[5] += step * (table[token] - table[row[5]])
            with torch.no_grad():
                logits = model(inputs_embeds=embeds[None]).logits.double().numpy()
            losses.append(cross_entropy(logits, 1)[0])
        slope = (losses[0] - losses[1]) / 2e-4
        assert slope == pytest.approx(value[token] - value[int(row[5])], rel=1e-3, abs=1e-5)


@given(
    st.lists(
        st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, float("nan"), float("-inf")]), min_size=6, max_size=6),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 8),
)
def test_best_substitutions_sorts_by_value_then_id(rows: list[list[float]], top: int) -> None:
    values, allowed = np.asarray(rows), np.asarray([3, 4, 7, 9, 20, 21])
    tokens, chosen = best_substitutions(values, allowed, top)
    for row, picked, told in zip(rows, tokens, chosen, strict=True):
        order = sorted(range(6), key=lambda i: (float("inf") if row[i] != row[i] else row[i], allowed[i]))
        assert picked.tolist() == [int(allowed[i]) for i in order[:top]]
        np.testing.assert_array_equal(told, [row[i] for i in order[:top]])


def test_every_token_counts_even_the_padding_token() -> None:
    made = backend("gpt_neox", "classification")
    row = np.asarray([20, 21, 22])
    plain, _ = made.classify([row])
    ends_in_padding, _ = made.classify([np.append(row, made.model.config.pad_token_id)])
    assert np.abs(plain - ends_in_padding).max() > 1e-3
    assert made.model.config.pad_token_id == 1


def test_out_of_memory_halves_the_chunk_and_remembers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = HFTokenizer(byte_bpe())
    made = TorchBackend(random_model("gpt_neox", "classification", tokenizer.vocabulary), tokenizer)
    rng = np.random.default_rng(0)
    rows = [ids(rng, 10) for _ in range(40)]
    expected, _ = made.classify(rows)
    original, tried = made.head.outputs, []

    def scarce(model: Any, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        tried.append(len(batch))
        if len(batch) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(model, batch, targets)

    monkeypatch.setattr(made.head, "outputs", scarce)
    np.testing.assert_allclose(made.classify(rows)[0], expected, atol=1e-5)
    assert tried[:4] == [40, 20, 10, 5]
    tried.clear()
    made.classify(rows)
    assert max(tried) == 5
    monkeypatch.setattr(made.head, "outputs", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(VictimError, match="out of memory on one row of 10 tokens"):
        made.classify(rows)


def test_bad_rows_are_named() -> None:
    made = backend("gpt_neox", "classification")
    with pytest.raises(VictimError, match=r"129 tokens.*1 to 128"):
        made.classify([np.full(129, 20)])
    with pytest.raises(VictimError, match="0 tokens"):
        made.classify([np.asarray([], dtype=np.int64)])
    with pytest.raises(VictimError, match="exceed the model's embedding"):
        made.classify([np.asarray([20, 100_000])])
    longest = max(len(stem) for stem in backend("gpt_neox", "label_tokens").head.label_prefixes)  # type: ignore[attr-defined]
    assert backend("gpt_neox", "label_tokens").context == 128 - longest


def test_wrong_attention_falls_back_to_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AttentionInterface

    def half(module: Any, query: Any, key: Any, value: Any, mask: Any, **_: Any) -> tuple[Any, None]:
        return value.transpose(1, 2).contiguous() * 0.5, None

    AttentionInterface.register("half_for_tests", half)
    tokenizer = HFTokenizer(byte_bpe())
    model = random_model("gpt_neox", "classification", tokenizer.vocabulary)
    expected = TorchBackend(model, tokenizer).classify([np.arange(20, 30)])[0]
    model.set_attn_implementation("half_for_tests")
    made = TorchBackend(model, tokenizer)
    np.testing.assert_allclose(made.classify([np.arange(20, 30)])[0], expected, atol=1e-4)
    assert "using eager attention" in str(made.describe()["agreement"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_is_an_error_with_a_mend_for_the_precision(dtype: torch.dtype) -> None:
    tokenizer = HFTokenizer(byte_bpe())
    model = random_model("gpt_neox", "classification", tokenizer.vocabulary).to(dtype)
    with torch.no_grad():
        model.score.weight.fill_(float("nan"))
    low = dtype == torch.bfloat16
    mend = (
        "load it with dtype: float32" if low else "already full precision: look for NaN and huge numbers in its weights"
    )
    with pytest.raises(VictimError, match=f"in {str(dtype)[6:]}; .*{mend}"):
        TorchBackend(model, tokenizer).classify([np.arange(20, 30)])


@pytest.mark.parametrize(("kind", "head"), MODELS)
def test_open_folder(tmp_path: Path, kind: str, head: str) -> None:
    folder = write_folder(tmp_path, kind, head)
    made = open_folder(folder, head, LABELS, device="cpu", dtype="float32")  # type: ignore[arg-type]
    facts = made.describe()
    agreement = facts["agreement"]
    assert isinstance(agreement, dict)
    assert agreement["difference"] < 1e-4
    assert (facts["dtype"], facts["device"], facts["head"]) == ("float32", "cpu", head)
    assert made.n_params == sum(p.numel() for p in made.model.parameters())
    assert made.n_params > made.n_params_non_embedding > 0
    assert made.tokenizer.vocabulary == made.model.get_input_embeddings().weight.shape[0]


def test_bfloat16(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "qwen2", scale=1.0)
    row = [np.arange(20, 40)]
    exact = open_folder(folder, device="cpu", dtype="float32").classify(row)[0]
    rough = open_folder(folder, device="cpu", dtype="bfloat16")
    np.testing.assert_allclose(rough.classify(row)[0], exact, atol=0.05)
    item = GradientItem(row[0][:4], row[0][4:8], row[0][8:], 0, np.arange(20, 60), 3)
    assert rough.gradient([item])[0].answer.values.dtype == np.float64


def test_labels_are_matched_by_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "gpt_neox")
    row = [np.arange(20, 40)]
    plain = open_folder(folder, labels=LABELS, device="cpu").classify(row)[0]
    model, missing = load_model(folder, "classification")
    assert missing == []
    model.config.id2label = {0: "positive", 1: "Negative"}
    model.save_pretrained(str(folder))
    swapped = open_folder(folder, labels=LABELS, device="cpu").classify(row)[0]
    np.testing.assert_allclose(swapped, plain[:, ::-1])
    with pytest.raises(VictimError, match="2 classes, the task 3 labels"):
        open_folder(folder, labels=("a", "b", "c"), device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_output_is_two_labels_on_every_road(tmp_path: Path, kind: str) -> None:
    """Its logits are 0 and z, whichever way candidates are scored and prompts classified."""
    folder = write_folder(tmp_path, kind, labels=1)
    made = open_folder(folder, "classification", (" no", " yes"), dtype="float32", device="cpu")
    rng = np.random.default_rng(5)
    item = ScoreItem(ids(rng, 6), ids(rng, 5, 4), ids(rng, 3), 1)
    (scored,) = made.score([item])
    rows = [np.concatenate([item.before, candidate, item.after]) for candidate in item.candidates]
    with torch.inference_mode():
        own = [made.model(input_ids=torch.from_numpy(row)[None]).logits[0, 0].item() for row in rows]
    expected = np.stack([np.zeros(5), own], 1)
    np.testing.assert_allclose(scored.logits, expected, atol=1e-4)
    np.testing.assert_allclose(scored.losses, np.logaddexp(0, -np.asarray(own)), atol=1e-4)
    np.testing.assert_allclose(made.classify(rows)[0], expected, atol=1e-4)
    assert made.n_params == sum(parameter.numel() for parameter in made.model.parameters())


def test_nothing_stands_between_a_prompt_and_its_answer(tmp_path: Path) -> None:
    """Where the tokenizer ends every text with a token: a classifier reads it, a language model answers before it."""
    rust = byte_bpe()
    ends = processors.TemplateProcessing(single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)])
    rust.post_processor = ends
    for head, behind in (("label_tokens", ()), ("generation", ()), ("classification", (0,))):
        folder = write_folder(tmp_path / head, "gpt_neox", "classification" if behind else "label_tokens")
        rust.save(str(folder / "tokenizer.json"))
        labels = () if head == "generation" else (" yes", " no")
        made = open_folder(folder, head, labels, dtype="float32", device="cpu")  # type: ignore[arg-type]
        assert made.tokenizer.right == behind
    made = open_folder(tmp_path / "generation", "generation", dtype="float32", device="cpu")
    (said,) = made.generate([GenerateItem("The quick", 6)])
    row = torch.tensor(rust.encode("The quick", add_special_tokens=False).ids)[None]
    own = made.model.generate(row, attention_mask=torch.ones_like(row), max_new_tokens=6, do_sample=False)
    new = [i for i in own[0, row.shape[1] :].tolist() if i != 0]
    assert said.prompt_tokens == row.shape[1]
    assert said.text == made.tokenizer.decode([new])[0]


def test_an_encoder_has_no_label_tokens() -> None:
    tokenizer = HFTokenizer(word_piece())
    model = random_model("bert", "label_tokens", tokenizer.vocabulary)
    with pytest.raises(VictimError, match="looks at later tokens"):
        TorchBackend(model, tokenizer, "label_tokens", LONG_LABELS)


def test_loading_errors(tmp_path: Path) -> None:
    with pytest.raises(VictimError, match="cannot be loaded"):
        load_model(tmp_path, "classification")
    folder = write_folder(tmp_path / "lm", "qwen2", "label_tokens")
    with pytest.raises(VictimError, match=r"lacks weights.*score\.weight"):
        open_folder(folder, "classification", device="cpu")
    first, missing = load_model(folder, "classification", n_labels=3, seed=1)
    state = torch.random.get_rng_state()
    again, _ = load_model(folder, "classification", n_labels=3, seed=1)
    assert missing == ["score.weight"]
    assert torch.equal(first.score.weight, again.score.weight)
    assert torch.equal(state, torch.random.get_rng_state())
    with pytest.raises(VictimError, match="each with different tokens"):
        open_folder(folder, "label_tokens", (" fox", " fox"), device="cpu")


@pytest.mark.parametrize(
    ("device", "dtype", "words"),
    [("tpu", "auto", "write auto"), ("meta", "auto", "only cpu and cuda"), ("cpu", "int8", "dtype 'int8'")],
)
def test_devices(device: str, dtype: str, words: str) -> None:
    with pytest.raises(VictimError, match=words):
        resolve_device(device, dtype)
    assert resolve_device("cpu") == (torch.device("cpu"), torch.float32)
    if not torch.cuda.is_available():
        with pytest.raises(VictimError, match="write device: cpu"):
            resolve_device("cuda:1")
