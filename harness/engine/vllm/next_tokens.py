"""Next tokens of strings by a vLLM engine: its most likely ones, of which the allowed ones are drawn among."""

from __future__ import annotations

import numpy as np

from harness.api.model.backend import Sampled, SampleItem
from harness.api.requests import SampleAnswer
from harness.engine.sampling import draw_listed
from harness.engine.torch.arrays import without_nan
from harness.engine.vllm.engines import CallEngine
from harness.engine.vllm.head_outputs import EngineHeadReader
from harness.engine.vllm.message_size import message_slices
from harness.errors import VictimError
from harness.tokens.tokenizer import Tokens

_SPARE = 64  # tokens that are asked for beyond those needed, since some may not be drawn


def sample_next_tokens(
    call: CallEngine, reader: EngineHeadReader, item: SampleItem, rows: list[Tokens], vocabulary: int, dtype: str
) -> Sampled:
    """Draw next tokens of an item's strings, the same as torch draws beyond rounding.

    Args:
        call: of the engine.
        rows: ``before + string`` of each string, checked.
        vocabulary: how many ids the tokenizer has.
        dtype: that the engine computes in.

    Raises:
        VictimError: log-probabilities that are NaN or not given.
    """
    top = len(item.allowed) if item.top is None else min(item.top, len(item.allowed))
    if not rows or not top:
        shape = (len(rows), min(item.k, top))
        return Sampled(SampleAnswer(np.empty(shape, dtype=np.int64), np.empty(shape)), 0.0)
    count = vocabulary if top == len(item.allowed) else min(vocabulary, 2 * top + _SPARE)
    tokens, log_probs = np.empty((len(rows), top), dtype=np.int64), np.empty((len(rows), top))
    left, flops = list(range(len(rows))), 0.0
    while left:
        short = []
        for part in message_slices(len(left)):
            members = left[part]
            ids, values, cached = call("top_next_tokens", rows=[rows[i] for i in members], top=count)
            flops += sum(reader.row_flops([rows[i] for i in members], cached, 1))
            allowed = np.isin(ids, item.allowed)
            for at, i in enumerate(members):
                best = np.flatnonzero(allowed[at])[:top]
                if len(best) < top:
                    short.append(i)
                else:
                    tokens[i], log_probs[i] = ids[at, best], values[at, best]
        if short and count >= vocabulary:
            raise VictimError("vLLM gave no log-probability for some allowed tokens; use backend: torch")
        left, count = short, vocabulary
    without_nan(log_probs, "the model's log-probabilities are NaN", dtype)
    return Sampled(draw_listed(tokens, log_probs, item.k, item.seed), flops)
