"""One batch through a Hugging Face model's own `generate`, and the check that its batches say what its forward says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig, LogitsProcessorList

from harness.api.model.backend import GenerateItem
from harness.engine.torch.arrays import nan_error, to_numpy
from harness.engine.torch.attention_switch import EAGER, attention_switched
from harness.engine.torch.devices import input_device, precision_mend
from harness.engine.torch.generation.seeded_sampling import SeededBatchSampling
from harness.engine.torch.heads import no_cache
from harness.engine.torch.scoring.model_limits import rotary_limit, shortest_window
from harness.engine.torch.self_check.tolerance import FIXED_TOLERANCES, relative_difference
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats, Tokens

Batching = Literal["padded", "equal lengths", "no cache"]
_CHECKED = 4  # new tokens of each row of the self-check
_BATCHINGS: tuple[Batching, ...] = ("padded", "equal lengths", "no cache")


@dataclass(frozen=True, slots=True)
class Decoding:
    """How rows are batched, found by `choose_decoding`.

    Attributes:
        batching: ``padded`` on the left where that is right, else rows of ``equal lengths``, else those with
            ``no cache``.
        difference: largest difference of a logit from an eager full forward, relative to the largest logit where that
            is above 1; None where it was not checked.
        reason: why it is not ``padded``, or "".
    """

    batching: Batching
    difference: float | None
    reason: str = ""

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return {"way": self.batching, "difference": self.difference, "reason": self.reason}


def decode(
    model: Any,
    rows: Sequence[Tokens],
    items: Sequence[GenerateItem],
    max_new_tokens: int,
    batching: Batching,
    endings: tuple[int, ...],
    *,
    logits: bool = False,
) -> tuple[NDArray[np.int64], Floats]:
    """Go on with some rows until each has said one of ``endings``.

    Args:
        rows: ids of each, [L]; of equal length unless they are ``padded``.
        items: how each is drawn.
        max_new_tokens: of the longest answer.
        logits: whether they are wanted.

    Returns:
        new ids [n, at most ``max_new_tokens``] (what follows an ending means nothing), and the logits
        [n, max_new_tokens, vocabulary] that they come from, or [n, 0, 0].

    Raises:
        VictimError: NaN.
    """
    device = input_device(model)
    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, longest - len(row) :] = row
        mask[i, longest - len(row) :] = 1
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,  # `SeededBatchSampling` does that, row by row
        num_beams=1,
        use_cache=batching != "no cache",
        eos_token_id=list(endings) or None,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=logits,
    )
    sampling = SeededBatchSampling(items, max_new_tokens, device)
    with _generation_config(model, config):
        answer = model.generate(
            torch.as_tensor(ids).to(device),
            attention_mask=torch.as_tensor(mask).to(device),
            generation_config=config,
            logits_processor=LogitsProcessorList([sampling]),
        )
    if bool(sampling.nan):
        raise nan_error("the model, generating, answered NaN", model)
    new_ids: NDArray[np.int64] = answer.sequences[:, longest:].cpu().numpy()
    if not logits:
        return new_ids, np.empty((len(rows), 0, 0))
    return new_ids, to_numpy(torch.stack(answer.logits, 1))


def choose_decoding(model: Any, ordinary_ids: Tokens, context: int) -> Decoding:
    """The first way of batching whose logits are those of an eager full forward, on a few random rows.

    Args:
        ordinary_ids: to draw rows from.
        context: longest row in tokens.

    Raises:
        VictimError: there is none.
    """
    rng = np.random.default_rng(0)
    window = shortest_window(model)
    longest = min(context, rotary_limit(model) or context)
    lengths = [3, 8, 17, *([window + 3] if window is not None and window < 256 else [])]
    rows = [rng.choice(ordinary_ids, size=n).astype(np.int64) for n in lengths if n + _CHECKED <= longest]
    if not rows:
        return Decoding("no cache", None, f"rows of {longest} tokens are too short to check it")
    tolerance = FIXED_TOLERANCES[model.dtype]
    reasons: list[str] = []
    for batching in _BATCHINGS:
        difference = _difference(model, rows, batching)
        if difference <= tolerance:
            return Decoding(batching, difference, "; ".join(reasons))
        reasons.append(f"{batching}: differs from an eager forward by {difference:.2g} (tolerance {tolerance:g})")
    raise VictimError(
        f"the model generates something else than its forward says ({'; '.join(reasons)}); {precision_mend(model)}"
    )


def _difference(model: Any, rows: list[Tokens], batching: Batching) -> float:
    """Largest difference of a logit of greedy answers from an eager full forward."""
    worst = 0.0
    for batch in [rows] if batching == "padded" else [[row] for row in rows]:
        greedy = [GenerateItem("", _CHECKED) for _ in batch]
        new_ids, logits = decode(model, batch, greedy, _CHECKED, batching, (), logits=True)
        for row, ids, found in zip(batch, new_ids, logits, strict=True):
            reference = _eager_logits(model, np.concatenate([row, ids[:-1]]))[len(row) - 1 :]
            worst = max(worst, relative_difference(found, reference))
    return worst


def _eager_logits(model: Any, row: Tokens) -> Floats:
    """Logits [L, vocabulary] of a full forward."""
    ids = torch.as_tensor(row[None]).to(input_device(model))
    with attention_switched(model, EAGER), torch.inference_mode():
        answer = model(input_ids=ids, **no_cache(model))
    return to_numpy(answer.logits[0])


@contextmanager
def _generation_config(model: Any, config: GenerationConfig) -> Iterator[None]:
    """Within, nothing of the model's own generation settings (penalties, truncated sampling) has any effect."""
    before = model.generation_config
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = before
