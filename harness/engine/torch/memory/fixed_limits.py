"""How much memory the torch backend gives to what. Imports no torch, so that a plan can state it."""

from __future__ import annotations

GPU_TOKENS = 65_536
_FEW, _MANY = 2_048, 8_192  # tokens of the largest forward on a CPU: fewer do not fill the cores, more are no faster
_BLOCK = 16 << 20  # bytes of an activation that malloc keeps when it is freed


def max_chunk_tokens(on_gpu: bool, widest: int = 0) -> int:
    """Tokens of the largest forward.

    Args:
        widest: bytes of a token's widest activation; 0 where that is unknown.
    """
    if on_gpu:
        return GPU_TOKENS
    fit = _BLOCK // widest if widest else _FEW
    return max(_FEW, min(_MANY, 1 << fit.bit_length() - 1 if fit else 0))


def prefix_cache_bytes(on_gpu: bool) -> int:
    """Bytes for the keys and values of prefixes that are remembered; as much again may be in use."""
    return (2048 if on_gpu else 256) << 20


def prefix_copy_bytes(on_gpu: bool) -> int:
    """Bytes for one layer's copies of prefixes, of the strategy ``copied_prefix``."""
    return (1024 if on_gpu else 128) << 20


def max_head_values(on_gpu: bool) -> int:
    """How many logits a head computes in one forward at most."""
    return 1 << 29 if on_gpu else 1 << 22
