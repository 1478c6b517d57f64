"""Losses by every way to score, in every precision, against an eager float32 forward on the processor."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.api.model.backend import ScoreItem
from harness.engine.torch.attention_switch import EAGER, attention_switched
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.devices import dtype_name
from harness.engine.torch.scoring.strategy_names import LETTERS
from harness.engine.torch.self_check.tolerance import allowed_difference, relative_difference
from harness.tokens.tokenizer import Floats
from tests.engine.torch.scoring.test_copied_prefix import long_items
from tests.engine.torch.scoring.test_packed import CONFIGS, PACKED, model_of
from tests.gpu.parts import Measurements, Row, Setting

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_FEW = ("gpt_neox", "qwen2", "bert")  # on a processor, where the tests themselves go through all
_NEVER_COPIED = ("mamba", "bert")
_PACKED = {kind for kind, _ in PACKED}


def measure(setting: Setting) -> Measurements:
    """One measurement for each architecture and precision."""
    for dtype in _DTYPES:
        for kind in _FEW if setting.small else CONFIGS:
            yield f"{kind}, {dtype_name(dtype)}", partial(_compare, kind, dtype, torch.device(setting.device))


def _compare(kind: str, dtype: torch.dtype, device: torch.device) -> Row:
    head: Any = "classification" if kind == "bert" else "generation"
    model, tokenizer = model_of(kind, head)
    exact = copy.deepcopy(model).to(dtype).float()
    there = copy.deepcopy(model).to(device, dtype)
    full = partial(TorchBackend, tokenizer=tokenizer, head=head, strategy="full", check_agreement=False)
    reference = full(exact)
    items = long_items(reference, 5)
    with attention_switched(exact, EAGER):
        wanted = _losses(reference, items)
    with attention_switched(there, EAGER):
        lost = relative_difference(_losses(full(there), items), wanted)
    allowed = allowed_difference(dtype, None if dtype == torch.float32 else lost) * max(1.0, float(wanted.max()))
    errors: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for strategy, letter in LETTERS.items():
        backend = TorchBackend(there, tokenizer, head, strategy=strategy)
        if backend.scorer.strategy == strategy:
            errors[letter] = float(np.abs(_losses(backend, items) - wanted).max())
        else:
            reasons[letter] = backend.scorer.reason
    missing = _expected(kind) - errors.keys()
    wrong = [letter for letter, error in errors.items() if not error <= allowed]
    told = ", ".join(f"{letter} {error:.1e}" for letter, error in errors.items())
    told += f" nats (allowed {allowed:.1e})" + "".join(f"; {letter}: {reasons[letter]}" for letter in sorted(missing))
    figures = {"errors": errors, "allowed": allowed, "eager": lost, "reasons": reasons}
    return Row(told, figures, wrong=bool(wrong or missing))


def _losses(backend: TorchBackend, items: Sequence[ScoreItem]) -> Floats:
    return np.concatenate([answer.losses for answer in backend.score(items)])


def _expected(kind: str) -> set[str]:
    """Letters of the ways to score that must work for an architecture."""
    return {"A"} | ({"B"} if kind not in _NEVER_COPIED else set()) | ({"C", "D"} if kind in _PACKED else set())
