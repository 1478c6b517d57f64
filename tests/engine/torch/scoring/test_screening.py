"""Screening by losses in lower precision, against exact scoring, on random decoders wide enough for it.

On a processor without a matrix unit for bfloat16 the products may be exact: then the tests are about the way alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from harness.api.model.backend import Scored, ScoreItem
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.scoring.random_candidates import one_position_redrawn
from harness.engine.torch.scoring.screening import bfloat16_products, screener
from harness.tokens.hf_tokenizer import HFTokenizer
from tests.engine.hub_models import byte_bpe, scaled_model
from tests.engine.torch.scoring.test_packed import HEADS, common_settings

WIDE: dict[str, Any] = {"hidden_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8, "intermediate_size": 1024}
CONFIGS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "gpt_neox": (tf.GPTNeoXConfig, WIDE),
    "gpt2": (tf.GPT2Config, {"n_embd": 512, "n_layer": 2, "n_head": 8}),
    "llama": (tf.LlamaConfig, WIDE),
}


@cache
def model_of(kind: str, head: str) -> tuple[Any, HFTokenizer]:
    tokenizer = HFTokenizer(byte_bpe())
    make, sizes = CONFIGS[kind]
    return scaled_model(make(**common_settings(tokenizer), **sizes), head != "classification"), tokenizer


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens a backend that takes its processor to have a matrix unit, and screens whatever it may save."""
    monkeypatch.setattr(bfloat16_products, "has_matrix_unit", lambda: True)
    monkeypatch.setattr(screener, "_MOST_SHARE", 1.0)

    def open_backend(kind: str = "gpt_neox", head: str = "generation") -> TorchBackend:
        model, tokenizer = model_of(kind, head)
        labels = ("a", "b") if head == "label_tokens" else ()
        return TorchBackend(model, tokenizer, head, labels)  # type: ignore[arg-type]

    return open_backend


def items_for(made: TorchBackend, count: int = 64, best: int | None = 1, seed: int = 0) -> list[ScoreItem]:
    """Two requests of different prompts."""
    rng, ids = np.random.default_rng(seed), made._ordinary_ids
    items = []
    for before in (30, 11):
        string = rng.choice(ids, size=8)
        candidates = one_position_redrawn(string, count, ids, rng)
        after, target = (rng.choice(ids, size=3), 0) if made.n_labels else (ids[:0], tuple(rng.choice(ids, 3).tolist()))
        items.append(ScoreItem(rng.choice(ids, size=before), candidates, after, target, string, best=best))
    return items


def exactly(made: TorchBackend, items: list[ScoreItem]) -> list[Scored]:
    return made.score([replace(item, best=None) for item in items])


@pytest.mark.parametrize(("kind", "head"), [(kind, head) for kind in CONFIGS for head in HEADS])
@pytest.mark.parametrize("best", [1, 3])
def test_the_best_are_those_of_exact_scoring(kind: str, head: str, best: int, backend: Any) -> None:
    made = backend(kind, head)
    items = items_for(made, best=best)
    found, wanted = made.score(items), exactly(made, items)
    for got, want in zip(found, wanted, strict=True):
        assert want.exact is None
        assert got.exact is not None
        order, right = np.argsort(got.losses, kind="stable")[:best], np.argsort(want.losses, kind="stable")[:best]
        np.testing.assert_array_equal(order, right)
        assert got.exact[order].all()
        assert not got.exact.all()
        np.testing.assert_allclose(got.losses[got.exact], want.losses[got.exact], atol=1e-5)
        assert (got.losses[~got.exact] > got.losses[order].max()).all()
        assert got.executed > want.executed * 1.1  # what was run in lower precision counts as well


def test_keys_and_values_that_are_remembered_stay_exact(backend: Any) -> None:
    made, again = backend(), backend()
    items = items_for(made)
    made.score(items)  # the first to compute the prompts and strings
    after = [replace(item, best=None) for item in items]
    for got, want in zip(made.score(after), again.score(after), strict=True):
        np.testing.assert_allclose(got.losses, want.losses, atol=1e-6)


def test_the_trial_is_not_metered_and_forgets_nothing(backend: Any) -> None:
    """Where a run is stopped must not be seen in the FLOPs of the next request."""
    made = backend()
    items = items_for(made)
    spent = []
    for _ in range(2):  # the first begins with the trial
        made.begin([item.before for item in items])
        made.begin_step()
        spent.append([answer.executed for answer in made.score(items)])
    assert spent[0] == spent[1]


def test_products_are_exact_again_afterwards(backend: Any) -> None:
    made = backend()
    before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    made.score(items_for(made))
    assert torch.backends.mkldnn.matmul.fp32_precision == before  # type: ignore[attr-defined]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.model.modules())
    with pytest.raises(RuntimeError), bfloat16_products.bfloat16_products(made.model):
        made.model(input_ids=torch.zeros(1, 3, 3, dtype=torch.long))
    assert torch.backends.mkldnn.matmul.fp32_precision == before  # type: ignore[attr-defined]


@pytest.mark.skipif(not bfloat16_products.has_matrix_unit(), reason="this processor has no matrix unit for bfloat16")
def test_products_are_rounded_meanwhile_and_positions_are_not(backend: Any) -> None:
    made = backend()
    rows = torch.as_tensor(np.random.default_rng(0).choice(made._ordinary_ids, size=(4, 60)))
    with torch.no_grad():
        exact = made.model(rows).logits
        with bfloat16_products.bfloat16_products(made.model):
            rounded = made.model(rows).logits
    error = (exact - rounded).abs().max() / exact.std()
    assert 1e-4 < error < 0.1, error


def test_several_strings_and_none(backend: Any) -> None:
    made = backend()
    (item, other) = items_for(made, best=4)
    strings = np.stack([item.near, other.near])
    candidates = np.concatenate([item.candidates, other.candidates])
    for near in (strings, None):
        both = replace(item, candidates=candidates, near=near)
        (got,), (want,) = made.score([both]), exactly(made, [both])
        assert got.exact is not None
        assert not got.exact.all()
        np.testing.assert_array_equal(np.argsort(got.losses)[:4], np.argsort(want.losses)[:4])


@pytest.mark.parametrize("change", [{"count": 20}, {"count": 0}, {"best": 40}, {"best": 10**9}])
def test_requests_with_nothing_to_leave_out_are_exact(change: dict[str, Any], backend: Any) -> None:
    made = backend()
    items = items_for(made, **change)
    for got, want in zip(made.score(items), exactly(made, items), strict=True):
        assert got.exact is None
        assert len(got.losses) == len(want.losses)
        np.testing.assert_allclose(got.losses, want.losses, atol=1e-5)
    assert facts(made) == {"screened": False, "reason": "", "share": None}, "nothing is tried for them"


def test_a_request_that_is_screened_does_not_depend_on_the_others(backend: Any) -> None:
    made = backend()
    first, second = items_for(made)
    plain = replace(second, best=None)
    together, alone = made.score([first, plain])[0], made.score([first])[0]
    np.testing.assert_array_equal(together.exact, alone.exact)
    np.testing.assert_allclose(together.losses, alone.losses, atol=1e-5)


def facts(made: TorchBackend) -> dict[str, Any]:
    scoring = made.describe()["scoring"]
    assert isinstance(scoring, dict)
    return scoring["screening"]  # type: ignore[no-any-return]


def test_what_is_not_screened_says_why(monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    made = backend()
    assert facts(made) == {"screened": False, "reason": "", "share": None}
    made.score(items_for(made))
    assert facts(made)["screened"]
    assert 0 < facts(made)["share"] <= 1

    for where, name, value, word in (
        (screener, "_MOST_SHARE", 0.0, "error"),
        (bfloat16_products, "_LEAST_ENTRIES", 1 << 30, "small"),
        (bfloat16_products, "has_matrix_unit", lambda: False, "no matrix unit"),
    ):
        monkeypatch.setattr(where, name, value)
        made = backend()
        before = facts(made)
        assert all(answer.exact is None for answer in made.score(items_for(made)))
        assert word in facts(made)["reason"]
        assert word == "error" or facts(made) == before, "known without scoring, as of a cell resumed at its end"
        assert not facts(made)["screened"]


@pytest.mark.parametrize("share", [0.4, 0.7, 2.0])
def test_the_prefixes_that_are_remembered_are_those_of_exact_scoring(share: float, backend: Any) -> None:
    """What the next request costs depends on them, so a run that is resumed must not tell another story."""
    held = []
    for best in (None, 1):
        made = backend()
        items = [item for seed in range(4) for item in items_for(made, best=best, seed=seed)]
        made.score(items[:1])  # finds out how to score
        cache = made.scorer.packed.cache
        cache.clear()
        made.begin([item.before for item in items])
        cache.limit = int(share * cache.used)
        made.begin([item.before for item in items])
        spent = []
        for _ in range(2):
            made.begin_step()
            made.score(items[::-1])
            spent.append(sum(answer.executed for answer in made.score([replace(item, best=None) for item in items])))
        held.append((list(cache._held), spent))
    assert held[0] == held[1]


def test_ctrl_c_in_a_layer_leaves_products_exact(backend: Any) -> None:
    made = backend()
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    layer = next(module for module in made.model.modules() if isinstance(module, torch.nn.Linear))
    products_in_bfloat16 = bfloat16_products.bfloat16_products(made.model)
    with pytest.raises(KeyboardInterrupt), products_in_bfloat16, layer.register_forward_hook(interrupt):
        made.model(torch.zeros(1, 3, dtype=torch.long))
    assert products.fp32_precision == before


def test_equal_candidates_are_one(backend: Any) -> None:
    made = backend()
    rng = np.random.default_rng(0)
    for seed in range(6):
        (item, _) = items_for(made, count=40, seed=seed)
        some = replace(item, candidates=item.candidates[rng.integers(40, size=300)])
        (got,), (want,) = made.score([some]), exactly(made, [some])
        assert got.exact is not None
        assert got.losses.argmin() == want.losses.argmin()
        for string in np.unique(some.candidates, axis=0):
            assert len(np.unique(got.losses[(some.candidates == string).all(1)])) == 1
        few = replace(item, candidates=item.candidates[rng.integers(10, size=300)])
        assert made.score([few])[0].exact is None, "ten strings are not worth screening"
