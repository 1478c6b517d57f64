"""How many tokens the first forward gets: from what memory is free and what a token takes, measured on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import psutil
import torch

from harness.api.model.shape import ModelShape
from harness.engine.torch.heads import no_cache
from harness.engine.torch.memory.chunks import WorkKind
from harness.engine.torch.memory.fixed_limits import GPU_TOKENS, max_chunk_tokens

_LEAST = 64
_CPU_SHARE, _GPU_SHARE = 0.25, 0.5  # of what is free; prefixes, logits and other processes take theirs as well
_ROW = 32  # tokens per row of a probe: so few that attention's squares count little
_PROBES = (8, 40)  # rows


def first_chunk(model: Any, device: torch.device, kind: WorkKind) -> int:
    """Tokens of the first forward of this kind of work."""
    if device.type == "cuda":
        return _on_gpu(model, device, kind)
    shape = ModelShape.from_config(model.config.to_dict())
    if shape is None:
        return max_chunk_tokens(on_gpu=False)
    itemsize = model.dtype.itemsize
    each = shape.backward(_ROW, itemsize) if kind == "gradient" else shape.forward(_ROW, itemsize)
    each += shape.kept(itemsize) if kind == "generate" else 0
    most = max_chunk_tokens(False, shape.intermediate * itemsize)
    return tokens_that_fit(_CPU_SHARE * psutil.virtual_memory().available, each, most)


def tokens_that_fit(room: float, each: float, most: int) -> int:
    """How many tokens of ``each`` bytes fit into ``room`` bytes, as a power of two from 64 to ``most``.

    A power of two, so that a little more or less memory elsewhere does not change what is computed.
    """
    fit = min(most, int(room / max(each, 1.0)))
    return max(_LEAST, 1 << fit.bit_length() - 1 if fit else 0)


def _on_gpu(model: Any, device: torch.device, kind: WorkKind) -> int:
    ids = torch.arange(max(_PROBES), device=device)[:, None] % 2 + torch.zeros(_ROW, dtype=torch.long, device=device)
    run = partial(_probe, model, kind)
    gpus = {p.device for p in model.parameters() if p.device.type == "cuda"} | {device}
    fits = []
    for gpu in gpus:  # the layers of one model may lie on several
        each = bytes_per_token(partial(_peak, gpu), lambda rows: run(ids[:rows]), _ROW)
        unused = torch.cuda.memory_reserved(gpu) - torch.cuda.memory_allocated(gpu)
        room = torch.cuda.mem_get_info(gpu)[0] + unused
        fits.append(tokens_that_fit(_GPU_SHARE * room, each, GPU_TOKENS))
    return min(fits)


def bytes_per_token(peak: Callable[[Callable[[], object]], int], run: Callable[[int], object], row: int) -> float:
    """What one more token takes, from two small forwards.

    Args:
        peak: most bytes that were in use while a function ran.
        run: a forward of so many rows of ``row`` tokens.
    """
    run(_PROBES[0])  # the first call makes workspaces that stay
    small, large = (peak(partial(run, rows)) for rows in _PROBES)
    return max(1.0, (large - small) / ((_PROBES[1] - _PROBES[0]) * row))


def _peak(device: torch.device, run: Callable[[], object]) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - int(torch.cuda.memory_allocated(device))


def _probe(model: Any, kind: WorkKind, ids: torch.Tensor) -> object:
    """A forward of the body alone: heads have a limit of their own."""
    body = getattr(model, "base_model", model)
    if kind == "gradient":
        with torch.enable_grad():
            embedded = model.get_input_embeddings()(ids).detach().requires_grad_(True)
            hidden = body(inputs_embeds=embedded, **no_cache(model))[0]
            return torch.autograd.grad(hidden.float().sum(), embedded)
    with torch.inference_mode():
        return body(input_ids=ids, **({"use_cache": True} if kind == "generate" else no_cache(model)))
