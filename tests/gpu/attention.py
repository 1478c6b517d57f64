"""Attention of candidates to their shared prefix and their own tokens: plain products, fused kernels, FlexAttention."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch import Tensor

from harness.bench.alternation import TimedCall, alternate, median_ratio
from harness.bench.matmul_peak import synchronise
from harness.engine.torch.devices import dtype_name
from harness.engine.torch.scoring.packed import attention_kernels
from harness.engine.torch.scoring.packed.attention import packed_attention
from harness.engine.torch.scoring.packed.attention_kernels import attend_within_rows, plain_attention, repeat_heads
from harness.engine.torch.scoring.packed.fused_kernels import KERNELS, fused_kernel, why_not
from harness.engine.torch.scoring.packed.packed_pass import running
from harness.errors import first_line
from tests.gpu.attention_inputs import Inputs, inputs
from tests.gpu.flex import flex_attended
from tests.gpu.models import configs, dtype_of
from tests.gpu.parts import Measurements, Row, Setting, SkippedError

Attended = Callable[[], Tensor]


def measure(setting: Setting) -> Measurements:
    """For each model's heads and precision: the prefix alone, the own tokens alone, both merged, FlexAttention."""
    dtypes = (torch.float32,) if setting.small else (torch.bfloat16, torch.float16, torch.float32)
    for dtype in dtypes:
        for name, make in configs(setting).items():
            made = partial(inputs, make(), dtype, setting)
            label = f"{name}, {dtype_name(dtype)}"
            yield f"{label}: prefix", partial(_prefix, made)
            yield f"{label}: own tokens", partial(_own, made)
            yield f"{label}: merged", partial(_merged, made)
            if dtype == dtype_of(setting):
                yield f"{label}: FlexAttention", partial(_flex, made, setting)


def _prefix(made: Callable[[], Inputs]) -> Row:
    """All queries to the whole prefix, which all see alike."""
    x = made()
    key, value = repeat_heads(*x.prefix.layers[0], x.query.shape[1])
    ways: dict[str, Attended] = {"plain": lambda: plain_attention(x.query[0], key[0], value[0], x.scale)[0][None]}
    missing = {}
    for name, kernel in KERNELS[x.query.device.type].items():
        why = why_not(kernel, x.query.device, x.query.dtype, x.query.shape[-1])
        if why:
            missing[name] = why
        else:
            ways[name] = lambda kernel=kernel: kernel(x.query, key, value, x.scale, False)[0]
    exact = plain_attention(*(tensor[0].float() for tensor in (x.query, key, value)), x.scale)[0][None]
    row = _compared(ways, exact, x)
    return Row(row.told + "".join(f"; {name}: {why}" for name, why in missing.items()), row.figures, row.wrong)


def _own(made: Callable[[], Inputs]) -> Row:
    """Causal attention within rows of one length, as long as rows are on average."""
    x = made()
    length = x.own.tokens // sum(group.rows for group in x.own.row_groups)
    rows, heads = x.own.tokens // length, x.query.shape[1]
    key, value = repeat_heads(x.key, x.value, heads)
    q, k, v = (y[0, :, : rows * length].unflatten(1, (rows, length)) for y in (x.query, key, value))
    mask = torch.full((length, length), -torch.inf, device=q.device).triu_(1)
    plain = partial(plain_attention, scale=x.scale, mask=mask)

    def by_products() -> Tensor:
        return plain(*(y.flatten(0, 1) for y in (q, k, v)))[0].view(q.shape)

    ways: dict[str, Attended] = {"plain": by_products, "today": lambda: attend_within_rows(q, k, v, x.scale, mask)[0]}
    kernel = fused_kernel(q, v)
    if kernel is not None:
        ways["fused"] = lambda: kernel(q, k, v, x.scale, True)[0]
    return _compared(ways, plain(*(y.flatten(0, 1).float() for y in (q, k, v)))[0].view(q.shape), x)


def _merged(made: Callable[[], Inputs]) -> Row:
    """A whole attention layer of a packed forward, with and without the fused kernel."""
    x = made()
    ways: dict[str, Attended] = {"plain": partial(_packed, x, fused=False)}
    if fused_kernel(x.query, x.value) is not None:
        ways["fused"] = partial(_packed, x, fused=True)
    return _compared(ways, _packed(x.float(), fused=False), x)


@torch.inference_mode()
def _flex(made: Callable[[], Inputs], setting: Setting) -> Row:
    """The same in one call of FlexAttention, compiled on a card; on a processor its result alone is compared."""
    x = made()
    began = time.perf_counter()
    flex = flex_attended(x, compiled=not setting.small)
    try:
        flex()
        synchronise(x.query.device)
    except Exception as error:  # whatever the compiler raises
        raise SkippedError(f"it does not compile: {first_line(error)}") from error
    first = time.perf_counter() - began
    row = _compared({"merged": partial(_packed, x, fused=True), "flex": flex}, _packed(x.float(), fused=False), x)
    told = f"{row.told}; first call {first:.1f} s" if not setting.small else f"{row.told}; not compiled here"
    return Row(told, row.figures | {"first_call_seconds": first}, row.wrong)


def _packed(x: Inputs, fused: bool) -> Tensor:
    """A layer's outputs [1, heads, tokens, width]."""
    x.own.layers_done = 0
    with _kernels(fused), running(x.own):
        out, _ = packed_attention(SimpleNamespace(), x.query, x.key, x.value, None, x.scale)
    return out.transpose(1, 2)


@contextmanager
def _kernels(fused: bool) -> Iterator[None]:
    """Within, attention takes the fused kernel, or plain products."""
    if fused:
        yield
        return
    with patch.object(attention_kernels, "fused_kernel", lambda *_: None):
        yield


@torch.inference_mode()
def _compared(ways: dict[str, Attended], exact: Tensor, x: Inputs) -> Row:
    """Seconds of each way in turns, what it takes of memory, and how far it is from attention in float32."""
    errors = {name: float((way().float() - exact).abs().max()) for name, way in ways.items()}
    memory = {name: _peak(way, x.query.device) for name, way in ways.items()}

    def timed(way: Attended) -> TimedCall:
        def call(_number: int) -> float:
            synchronise(x.query.device)
            began = time.perf_counter()
            for _ in range(x.repeats):
                way()
            synchronise(x.query.device)
            return (time.perf_counter() - began) / x.repeats

        return call

    seconds = alternate({name: timed(way) for name, way in ways.items()}, x.rounds)
    base = next(iter(ways))
    told = [
        f"{name} {1e6 * median(seconds[name]):,.0f} us"
        + ("" if name == base else f" ({median_ratio(seconds[base], seconds[name]):.2f} x as fast)")
        + ("" if memory[name] is None else f", {memory[name] / 2**20:,.0f} MiB")
        + f", error {errors[name]:.1e}"
        for name in ways
    ]
    wrong = not all(error <= x.rounding for error in errors.values())
    figures = {"seconds": seconds, "bytes": memory, "errors": errors, "tokens": x.own.tokens, "rounding": x.rounding}
    return Row("; ".join(told), figures, wrong)


def _peak(way: Attended, device: torch.device) -> int | None:
    """Most bytes in use beyond what is there anyway; None where that is not known."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    way()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - int(before)
