"""How much memory the engine gives to what. Imports no torch, so that a plan can state it."""

from __future__ import annotations

CPU_TOKENS = 2_048  # larger forwards are no faster on a CPU; their activations come in blocks that malloc does not keep
GPU_TOKENS = 65_536


def chunk_tokens(on_gpu: bool) -> int:
    """Tokens of the largest forward."""
    return GPU_TOKENS if on_gpu else CPU_TOKENS


def prefix_bytes(on_gpu: bool) -> int:
    """Keys and values of prefixes that are remembered; as much again may be in use."""
    return (2048 if on_gpu else 256) << 20


def copies_bytes(on_gpu: bool) -> int:
    """One layer's copies of prefixes on path B."""
    return (1024 if on_gpu else 128) << 20


def head_numbers(on_gpu: bool) -> int:
    """Numbers that a head computes in one forward."""
    return 1 << 29 if on_gpu else 1 << 22
