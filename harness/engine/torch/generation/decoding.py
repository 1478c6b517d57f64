"""One batch through a Hugging Face model's own `generate`, and the check that its batches say what its forward says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from harness.api.model.backend import GenerateItem
from harness.engine.sampling import uniform
from harness.engine.torch.devices import input_device
from harness.engine.torch.heads import no_cache
from harness.engine.torch.scoring.copy_scorer import rotary_limit
from harness.engine.torch.scoring.head_reader import shortest_window
from harness.engine.torch.self_check.backend_check import relative_difference, switch_attention
from harness.engine.torch.self_check.tolerance import TOLERANCE
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats, Tokens

Way = Literal["padded", "equal lengths", "no cache"]
Row = NDArray[np.int64]  # ids, shape [L]
_CHECKED = 4  # new tokens of each row of the self-check
_WAYS: tuple[Way, ...] = ("padded", "equal lengths", "no cache")


@dataclass(frozen=True, slots=True)
class Decoding:
    """How rows are batched, found by `choose`.

    Attributes:
        way: ``padded`` on the left where that is right, else rows of ``equal lengths``, else those with ``no cache``.
        difference: largest difference of a logit from an eager full forward, relative to the largest logit where that
            is above 1; None where it was not checked.
        reason: why it is not ``padded``, or "".
    """

    way: Way
    difference: float | None
    reason: str = ""

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return asdict(self)


class Draws(LogitsProcessor):  # type: ignore[misc]
    """Leaves of each row's scores the token drawn at its temperature; rows of temperature 0 stay as they are.

    The number that decides belongs to the prompt's seed and the place in the answer: no batch has a say in it.

    Attributes:
        nan: whether a score was NaN.
    """

    def __init__(self, items: Sequence[GenerateItem], steps: int, device: torch.device) -> None:
        """For one batch of prompts and at most ``steps`` new tokens."""
        drawn = [i for i, item in enumerate(items) if item.temperature > 0]
        chances = [uniform(items[i].seed, np.zeros(1, dtype=np.int64), np.arange(steps)) for i in drawn]
        temperatures = [[items[i].temperature] for i in drawn]
        self._drawn = torch.as_tensor(drawn, dtype=torch.int64).to(device)
        self._chances = torch.as_tensor(np.asarray(chances)).to(device)
        self._temperatures = torch.as_tensor(temperatures, dtype=torch.float64).to(device)
        self._step = 0
        self.nan = torch.zeros((), dtype=torch.bool, device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Called once per new token."""
        self.nan |= scores.isnan().any()
        if len(self._drawn):
            own = scores[self._drawn].double()
            # The largest score becomes 0, so that a small temperature makes no infinity of it.
            sums = ((own - own.amax(-1, keepdim=True)) / self._temperatures).exp().cumsum(-1)
            at = torch.searchsorted(sums, self._chances[:, self._step, None] * sums[:, -1:], right=True)
            chosen = torch.full_like(own, -torch.inf, dtype=scores.dtype)
            chosen.scatter_(1, at.clamp_(max=own.shape[1] - 1), 0.0)
            scores = scores.index_copy(0, self._drawn, chosen)
        self._step += 1
        return scores


def decode(
    model: Any,
    rows: Sequence[Row],
    items: Sequence[GenerateItem],
    most: int,
    way: Way,
    endings: tuple[int, ...],
    *,
    logits: bool = False,
) -> tuple[NDArray[np.int64], Floats]:
    """Go on with some rows until each has said one of ``endings``.

    Args:
        rows: of equal length unless the way is ``padded``.
        items: how each is drawn.
        most: new tokens at most.
        logits: whether they are wanted.

    Returns:
        new ids [n, at most ``most``] (what follows an ending means nothing), and the logits [n, most, V] that they come
        from, or [n, 0, 0].

    Raises:
        VictimError: NaN.
    """
    device = input_device(model)
    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    seen = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, longest - len(row) :] = row
        seen[i, longest - len(row) :] = 1
    config = GenerationConfig(
        max_new_tokens=most,
        do_sample=False,  # `Draws` does that, row by row
        num_beams=1,
        use_cache=way != "no cache",
        eos_token_id=list(endings) or None,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=logits,
    )
    draws = Draws(items, most, device)
    with _generating_by(model, config):
        answer = model.generate(
            torch.as_tensor(ids).to(device),
            attention_mask=torch.as_tensor(seen).to(device),
            generation_config=config,
            logits_processor=LogitsProcessorList([draws]),
        )
    if bool(draws.nan):
        raise VictimError("the model answered NaN while generating; load it with dtype: float32")
    new: NDArray[np.int64] = answer.sequences[:, longest:].cpu().numpy()
    if not logits:
        return new, np.empty((len(rows), 0, 0))
    return new, torch.stack(answer.logits, 1).to("cpu", torch.float64).numpy()


def choose(model: Any, usable: Tokens, context: int) -> Decoding:
    """The first way whose logits are those of an eager full forward, on a few random rows.

    Args:
        usable: ids to draw rows from.
        context: longest row in tokens.

    Raises:
        VictimError: there is none.
    """
    rng = np.random.default_rng(0)
    window = shortest_window(model)
    longest = min(context, rotary_limit(model) or context)
    lengths = [3, 8, 17, *([window + 3] if window is not None and window < 256 else [])]
    rows = [rng.choice(usable, size=n).astype(np.int64) for n in lengths if n + _CHECKED <= longest]
    if not rows:
        return Decoding("no cache", None, f"rows of {longest} tokens are too short to check it")
    tolerance = TOLERANCE[model.dtype]
    reasons: list[str] = []
    for way in _WAYS:
        difference = _difference(model, rows, way)
        if difference <= tolerance:
            return Decoding(way, difference, "; ".join(reasons))
        reasons.append(f"{way}: differs from an eager forward by {difference:.2g} (tolerance {tolerance:g})")
    raise VictimError(f"the model generates other than its forward says ({'; '.join(reasons)}); try dtype: float32")


def _difference(model: Any, rows: list[Row], way: Way) -> float:
    worst = 0.0
    for batch in [rows] if way == "padded" else [[row] for row in rows]:
        greedily = [GenerateItem("", _CHECKED) for _ in batch]
        new, logits = decode(model, batch, greedily, _CHECKED, way, (), logits=True)
        for row, ids, found in zip(batch, new, logits, strict=True):
            reference = _eager(model, np.concatenate([row, ids[:-1]]))[len(row) - 1 :]
            worst = max(worst, relative_difference(found, reference))
    return worst


def _eager(model: Any, row: Row) -> Floats:
    """Logits [L, V] of a full forward."""
    device = input_device(model)
    asked = str(model.config._attn_implementation)
    switch_attention(model, "eager")  # where there is no eager attention, what is there must do
    try:
        with torch.inference_mode():
            answer = model(input_ids=torch.as_tensor(row[None]).to(device), **no_cache(model))
    finally:
        switch_attention(model, asked)
    logits: Floats = answer.logits[0].to("cpu", torch.float64).numpy()
    return logits


@contextmanager
def _generating_by(model: Any, config: GenerationConfig) -> Iterator[None]:
    """Within, nothing of the model's own generation settings (penalties, truncated sampling) has any effect."""
    before = model.generation_config
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = before
