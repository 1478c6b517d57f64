"""Models in parts (on several devices, on the disk) and in half precision answer as they do whole and in float32."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import transformers as tf

from harness.api.model.backend import GenerateItem, GradientItem, ScoreItem
from harness.api.requests import GradientAnswer
from harness.engine.open_backend import open_folder
from harness.engine.torch.attention_switch import switch_attention
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.devices import SPREAD, device_names, input_device, resolve_device
from harness.engine.torch.loading import load_model
from harness.engine.torch.scoring.kv_copies import CopiedPrefixLayer
from harness.engine.torch.scoring.strategy_names import StrategyName
from harness.engine.torch.self_check.tolerance import (
    FIXED_TOLERANCES,
    _can_convert,
    allowed_difference,
    in_float32,
    measure_rounding,
    relative_difference,
)
from harness.errors import VictimError
from tests.engine.hub_models import byte_bpe
from tests.engine.torch.scoring.test_copied_prefix import all_outputs, long_items
from tests.engine.torch.scoring.test_packed import HEADS, items_for, model_of, scoring

HALVES = (torch.bfloat16, torch.float16)
PARTS: dict[str, dict[str, str]] = {
    "llama": {"model.embed_tokens": "cpu", "model.layers.0": "disk", "model.layers.1": "cpu", "model.norm": "disk"},
    "gpt_neox": {
        "gpt_neox.embed_in": "disk",
        "gpt_neox.layers.0": "cpu",
        "gpt_neox.layers.1": "disk",
        "gpt_neox.final_layer_norm": "cpu",
    },
}
ROTARY = {"llama": "model.rotary_emb", "gpt_neox": "gpt_neox.rotary_emb"}


def saved(kind: str, head: str, folder: Path) -> Path:
    model_of(kind, head)[0].save_pretrained(folder)
    byte_bpe().save(str(folder / "tokenizer.json"))
    return folder


def in_parts(kind: str, head: str, folder: Path) -> Any:
    """The model with some layers on the disk, under accelerate's own hooks."""
    name = "score" if head == "classification" else "lm_head"
    places = PARTS[kind] | {ROTARY[kind]: "cpu", name: "disk"}
    model, missing = load_model(saved(kind, head, folder), head, device_map=places)  # type: ignore[arg-type]
    assert not missing
    assert any(p.device.type == "meta" for p in model.parameters())
    return model


def labels_of(head: str) -> tuple[str, ...]:
    return ("a", "b") if head == "label_tokens" else ()


def slopes(made: TorchBackend) -> tuple[list[GradientAnswer], float]:
    rng = np.random.default_rng(4)
    allowed = np.sort(rng.choice(made._ordinary_ids, size=60, replace=False))
    shapes = [(9, 4, 3), (9, 4, 3), (0, 5, 2)]
    target: Any = 1 if made.n_labels else (int(allowed[0]), int(allowed[1]))
    items = [GradientItem(*(rng.choice(made._ordinary_ids, n) for n in shape), target, allowed, 7) for shape in shapes]
    found = made.gradient(items)
    return [answer.answer for answer in found], sum(answer.executed for answer in found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("head", HEADS)
def test_a_model_in_parts_answers_as_the_whole(kind: str, head: str, tmp_path: Path) -> None:
    split, (whole, tokenizer) = in_parts(kind, head, tmp_path), model_of(kind, head)
    assert input_device(split) == torch.device("cpu")
    for strategy in get_args(StrategyName):
        ours, plain = (
            TorchBackend(model, tokenizer, head, labels_of(head), strategy=strategy)  # type: ignore[arg-type]
            for model in (split, whole)
        )
        items = long_items(ours, 3)
        found, wanted = ours.score(items), plain.score(items)
        assert ours.scorer.strategy == strategy, scoring(ours)
        np.testing.assert_allclose(all_outputs(found), all_outputs(wanted), atol=1e-5)
        assert [a.executed for a in found] == [a.executed for a in wanted]
        if strategy in ("full", "packed_reuse"):
            (ours_answers, ours_flops), (answers, flops) = slopes(ours), slopes(plain)
            assert ours_flops == flops
            for one, other in zip(ours_answers, answers, strict=True):
                np.testing.assert_allclose(one.values, other.values, atol=1e-5)
                np.testing.assert_array_equal(one.tokens, other.tokens)
        assert (ours.n_params, ours.n_params_non_embedding) == (plain.n_params, plain.n_params_non_embedding)
    assert device_names(split) == "cpu+disk"
    if head == "generation":
        prompt = GenerateItem("The quick brown", 6)
        assert ours.generate([prompt])[0].text == plain.generate([prompt])[0].text


def test_spread_is_one_device_where_there_is_but_one(tmp_path: Path) -> None:
    folder = saved("llama", "classification", tmp_path)
    model, tokenizer = model_of("llama", "classification")
    made = open_folder(folder, device=SPREAD, dtype="float32")
    plain = TorchBackend(model, tokenizer)
    items = items_for(plain, 1)
    np.testing.assert_allclose(all_outputs(made.score(items)), all_outputs(plain.score(items)), atol=1e-5)
    assert resolve_device(SPREAD) == resolve_device("auto")
    with pytest.raises(VictimError, match="auto, cpu, cuda, cuda:1, or spread"):
        resolve_device("everywhere")


def test_an_impossible_placement_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(VictimError, match="cannot be loaded"):
        load_model(
            saved("llama", "classification", tmp_path),
            "classification",
            device_map={"model.norm": "cpu", "score": "disk"},
        )


# -- half precision ------------------------------------------------------------------------------------------------


@cache
def deep(head: str, family: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """A model deep and sharp enough that half precision shows, and its weights in float32."""
    _, tokenizer = model_of("llama", head)
    sizes = {"hidden_size": 64, "num_hidden_layers": 8, "num_attention_heads": 4, "intermediate_size": 128}
    make = {"llama": tf.LlamaConfig, "gpt_neox": tf.GPTNeoXConfig}[family]
    auto = tf.AutoModelForSequenceClassification if head == "classification" else tf.AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        config = make(
            vocab_size=tokenizer.vocabulary, num_labels=2, pad_token_id=1, max_position_embeddings=128, **sizes
        )
        model = auto.from_config(config).eval()
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(4)
    half = model.to(dtype)
    return half, copy.deepcopy(half).float()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "dtype"),
    [("llama", torch.bfloat16), ("gpt_neox", torch.bfloat16), ("llama", torch.float16)],
)
@pytest.mark.parametrize("head", HEADS)
def test_half_precision_loses_no_more_on_any_path_than_in_an_eager_forward(
    family: str, dtype: torch.dtype, head: str
) -> None:
    half, full = deep(head, family, dtype)
    _, tokenizer = model_of("llama", head)
    exact = TorchBackend(full, tokenizer, head, labels_of(head), strategy="full", check_agreement=False)  # type: ignore[arg-type]
    items = long_items(exact, 2) + long_items(exact, 3)
    switch_attention(full, "eager")
    wanted = all_outputs(exact.score(items))
    plain = TorchBackend(half, tokenizer, head, labels_of(head), strategy="full", check_agreement=False)  # type: ignore[arg-type]
    switch_attention(half, "eager")
    eager = all_outputs(plain.score(items))
    switch_attention(half, "sdpa")
    lost = relative_difference(eager, wanted)
    assert lost > 2e-5, "the model would show nothing"
    for strategy in ("copied_prefix", "packed", "packed_reuse"):
        made = TorchBackend(half, tokenizer, head, labels_of(head), strategy=strategy)  # type: ignore[arg-type]
        facts = scoring(made)
        assert made.scorer.strategy == strategy, facts
        assert facts["difference"] <= facts["tolerance"] < FIXED_TOLERANCES[dtype] * 2
        found = all_outputs(made.score(items))
        assert relative_difference(found, wanted) <= allowed_difference(dtype, lost)
        assert relative_difference(found, eager) <= allowed_difference(dtype, lost)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("head", HEADS)
def test_what_half_precision_costs_is_measured_without_a_copy(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, head: str
) -> None:
    half, full = deep(head, "llama", dtype)
    ids = torch.arange(40).reshape(2, 20)
    switch_attention(full, str(half.config._attn_implementation))
    with torch.inference_mode():
        before = half(input_ids=ids, use_cache=False).logits
        with in_float32(half):
            inside = half(input_ids=ids, use_cache=False).logits
        wanted = full(input_ids=ids, use_cache=False).logits
        after = half(input_ids=ids, use_cache=False).logits
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert {p.dtype for p in half.parameters()} == {dtype}
    broken = half.get_input_embeddings()
    monkeypatch.setattr(broken, "forward", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError), in_float32(half):
        half(input_ids=ids)
    assert {p.dtype for p in half.parameters()} == {dtype}


def test_the_agreement_tells_what_half_precision_costs() -> None:
    model, tokenizer = model_of("qwen2", "label_tokens")
    found = {
        dtype: TorchBackend(copy.deepcopy(model).to(dtype), tokenizer, "label_tokens", ("a", "b")).self_check
        for dtype in (torch.float32, *HALVES)
    }
    assert found[torch.float32].rounding is None
    assert found[torch.float32].tolerance == 1e-4
    coarse, fine = (found[dtype] for dtype in HALVES)
    assert 0 < fine.rounding < coarse.rounding / 2 < 0.02
    assert allowed_difference(torch.bfloat16, coarse.rounding) == coarse.tolerance < FIXED_TOLERANCES[torch.bfloat16]
    assert coarse.difference <= coarse.tolerance


def test_a_small_mistake_is_found_in_half_precision_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a size that a fixed tolerance would let pass."""
    model, tokenizer = model_of("llama", "label_tokens")
    half = copy.deepcopy(model).to(torch.bfloat16)
    made = TorchBackend(half, tokenizer, "label_tokens", ("a", "b"), strategy="copied_prefix")
    assert made.scorer.strategy == "copied_prefix"
    original = CopiedPrefixLayer._after_copies
    monkeypatch.setattr(CopiedPrefixLayer, "_after_copies", lambda *a: original(*a) * 0.9)
    made = TorchBackend(half, tokenizer, "label_tokens", ("a", "b"), strategy="copied_prefix")
    facts = scoring(made)
    assert made.scorer.strategy == "full"
    assert "copied prefixes differ from an eager forward" in facts["reason"]
    difference = float(facts["reason"].split(" by ")[1].split()[0])
    assert difference < FIXED_TOLERANCES[torch.bfloat16] / 2


def test_where_rounding_cannot_be_measured_the_fixed_tolerance_remains() -> None:
    class Borrowing(torch.nn.Module):
        """Reads its part's weights without calling it."""

        def __init__(self) -> None:
            super().__init__()
            self.part = torch.nn.Linear(3, 3, dtype=torch.bfloat16)
            self.own = torch.nn.Linear(3, 3, dtype=torch.bfloat16)
            self.dtype = torch.bfloat16

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(self.own(x.to(self.own.weight.dtype)), self.part.weight)

    model = Borrowing()

    def run() -> np.ndarray[Any, Any]:
        return model(torch.ones(1, 3)).float().detach().numpy()

    assert measure_rounding(model, run, relative_difference) is None
    assert allowed_difference(torch.bfloat16, None) == FIXED_TOLERANCES[torch.bfloat16]
    assert model.own.weight.dtype == torch.bfloat16
    parts = torch.nn.Linear(2, 2, device="meta", dtype=torch.bfloat16)
    parts.dtype = torch.bfloat16  # type: ignore[assignment]
    assert measure_rounding(parts, run, relative_difference) is None
    assert not _can_convert(parts)


def test_scores_in_half_precision_do_not_depend_on_company() -> None:
    model, tokenizer = model_of("gpt_neox", "classification")
    made = TorchBackend(copy.deepcopy(model).to(torch.bfloat16), tokenizer)
    items: list[ScoreItem] = long_items(made, 1) + long_items(made, 2)
    together, alone = made.score(items), [made.score([item])[0] for item in items]
    allowed = scoring(made)["tolerance"]
    assert relative_difference(all_outputs(together), all_outputs(alone)) <= allowed
