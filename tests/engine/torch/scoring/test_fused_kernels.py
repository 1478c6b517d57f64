"""Attention to the shared prefix by a fused kernel, merged with the own tokens, against plain and exact attention."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from harness.engine.torch.scoring.kv_cache import PrefixKV
from harness.engine.torch.scoring.packed import attention_kernels, fused_kernels
from harness.engine.torch.scoring.packed.attention import packed_attention
from harness.engine.torch.scoring.packed.fused_kernels import KERNELS, fused_kernel, why_not
from harness.engine.torch.scoring.packed.packed_pass import PackedPass, PrefixGroup, RowGroup, running

CPU = torch.device("cpu")
ROUNDING = {torch.float64: 1e-12, torch.float32: 5e-6, torch.bfloat16: 2.0**-5, torch.float16: 2.0**-8}
on_cpu = KERNELS["cpu"]["flash for CPUs"]

groups = st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(0, 50))  # rows, tokens of each, of the prefix


@given(
    seed=st.integers(0, 2**31),
    drawn=st.lists(groups, min_size=1, max_size=4),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1)]),
    width=st.sampled_from([4, 8, 20]),
    dtype=st.sampled_from(list(ROUNDING)),
    trim=st.booleans(),
)
@settings(max_examples=40)
def test_merged_is_exact_attention(
    seed: int, drawn: list[Any], heads: tuple[int, int], width: int, dtype: torch.dtype, trim: bool
) -> None:
    made = torch.Generator().manual_seed(seed)

    def values(heads: int, tokens: int) -> Tensor:
        return torch.randn(1, heads, tokens, width, generator=made).to(dtype)

    tokens = sum(rows * length for rows, length, _ in drawn)
    query, key, value = values(heads[0], tokens), values(heads[1], tokens), values(heads[1], tokens)
    prefixes = [PrefixKV(n + 3, [(values(heads[1], n + 3), values(heads[1], n + 3))]) if n else None for *_, n in drawn]
    ends = torch.cat([torch.full((rows,), length) for rows, length, _ in drawn]).cumsum(0)
    packed = [
        PackedPass(
            [RowGroup(rows, length) for rows, length, _ in drawn],
            [PrefixGroup(*group[:2], prefix, group[2]) for group, prefix in zip(drawn, prefixes, strict=True)],
            ends - 1,
            longest_row=100,
            last_layer=0 if trim else None,
        )
        for _ in ("fused", "plain")
    ]
    found = []
    for one, kernel in zip(packed, (fused_kernel, lambda *_: None), strict=True):
        with patch.object(attention_kernels, "fused_kernel", kernel), running(one):
            found.append(packed_attention(SimpleNamespace(), query, key, value, None, width**-0.5)[0][0].double())
    wanted = exact(query, key, value, drawn, prefixes)
    read = ends - 1 if trim else slice(None)
    for out in found:
        torch.testing.assert_close(out[read], wanted[read], rtol=ROUNDING[dtype], atol=ROUNDING[dtype])


def exact(query: Tensor, key: Tensor, value: Tensor, drawn: list[Any], prefixes: list[PrefixKV | None]) -> Tensor:
    """Outputs [tokens, heads, width] in float64, row by row over the prefix and the own tokens side by side."""
    outs, at, times = [], 0, query.shape[1] // key.shape[1]
    for (rows, length, before), prefix in zip(drawn, prefixes, strict=True):
        for _ in range(rows):
            k, v = (x[0, :, at : at + length] for x in (key, value))
            if prefix is not None:
                k, v = (torch.cat([kv[0, :, :before], x], 1) for kv, x in zip(prefix.layers[0], (k, v), strict=True))
            k, v = (x.double().repeat_interleave(times, 0) for x in (k, v))
            scores = query[0, :, at : at + length].double() @ k.mT * k.shape[-1] ** -0.5
            hidden = torch.ones(length, before + length, dtype=torch.bool).triu(before + 1)
            outs.append((scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v).transpose(0, 1))
            at += length
    return torch.cat(outs)


@pytest.fixture
def choose_anew() -> Iterator[None]:
    fused_kernels._first_right.cache_clear()
    yield
    fused_kernels._first_right.cache_clear()


def refused(*_: Any) -> Any:
    raise RuntimeError("only for newer cards\nand more words")


def in_base_two(*values: Any) -> tuple[Tensor, Tensor]:
    out, total = on_cpu(*values)
    return out, total / 0.6931


@pytest.mark.usefixtures("choose_anew")
def test_a_kernel_that_is_refused_or_wrong_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    q = torch.ones(1, 2, 5, 8)
    assert fused_kernel(q, q) is on_cpu
    fused_kernels._first_right.cache_clear()
    monkeypatch.setitem(KERNELS, "cpu", {"refused": refused, "wrong": in_base_two, "right": on_cpu})  # type: ignore[misc]
    assert fused_kernel(q, q) is on_cpu
    assert why_not(refused, CPU, torch.float32, 8) == "RuntimeError: only for newer cards"
    assert "it is off by" in why_not(in_base_two, CPU, torch.bfloat16, 8)
    assert fused_kernel(q, q[..., :4]) is None, "values of another width"
    fused_kernels._first_right.cache_clear()
    monkeypatch.setitem(KERNELS, "cpu", {"refused": refused})  # type: ignore[misc]
    assert fused_kernel(q, q) is None
    plain = attention_kernels.attend(q, q, q, 1.0)
    torch.testing.assert_close(plain, on_cpu(q, q, q, 1.0, False))


@pytest.mark.usefixtures("choose_anew")
def test_want_of_memory_says_nothing_of_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    q = torch.ones(1, 2, 5, 8)
    with monkeypatch.context() as scarce:
        scarce.setitem(KERNELS, "cpu", {"right": full})  # type: ignore[arg-type]
        with pytest.raises(torch.OutOfMemoryError):
            fused_kernel(q, q)
    assert fused_kernel(q, q) is on_cpu, "it is tried again"


@pytest.mark.parametrize("name", KERNELS["cuda"])
@pytest.mark.parametrize("queries", [1, 37, 64])
def test_kernels_of_cards_are_called_as_pytorch_declares_them(name: str, queries: int) -> None:
    """Without a card: on tensors that have a shape and no values."""
    q, kv = (torch.empty(3, 2, n, 16, dtype=torch.float16, device="meta") for n in (queries, 70))
    out, total = KERNELS["cuda"][name](q, kv, kv, 0.25, False)
    assert out.shape == q.shape
    assert total.shape == q.shape[:3]
    assert total.dtype == torch.float32
