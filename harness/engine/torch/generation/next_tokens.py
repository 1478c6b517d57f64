"""Next tokens of many strings behind shared beginnings: packed where that was found right, else by full forwards."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.api.model.backend import Sampled, SampleItem, ScoreItem
from harness.engine.sampling import draw_listed
from harness.engine.torch.arrays import to_numpy, without_nan
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.heads import Head, no_cache, trims_logits
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.candidate_scorer import CandidateScorer
from harness.engine.torch.scoring.head_reader import HeadForward, HeadReader, ItemOutputs
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece
from harness.engine.torch.scoring.packed.scorer import PackedScorer
from harness.engine.torch.scoring.unsupported import UnsupportedModelError
from harness.engine.torch.token_rows import group_by_key, whole_rows
from harness.tokens.tokenizer import Floats, Tokens


class NextTokens:
    """Draws next tokens from one language model.

    What leaves the device is as large as the tokens that are drawn among. Where candidates are scored on packed rows,
    strings are read on packed rows as well: what stands before them is computed once per example and remembered with
    what `Score` requests remember.
    """

    def __init__(
        self, model: Any, head: Head, scorer: CandidateScorer, chunker: Chunker, flop_count: FlopCount
    ) -> None:
        """Take what the backend has found out about ``model``; nothing is run.

        Args:
            scorer: of the same model; its prefixes are shared.
            chunker: tokens per full forward.
            flop_count: coefficients of a full forward.
        """
        self._model, self._chunker, self._flop_count = model, chunker, flop_count
        self._device = input_device(model)
        self._trims = trims_logits(model)
        self._reuse = scorer.strategy == "packed_reuse"
        self._packed: PackedScorer | None = None
        if scorer.packed is not None:
            try:
                packed = copy(scorer.packed)
                packed.reader = _NextTokenReader(model, head)
                self._packed = packed
            except UnsupportedModelError:
                pass

    @property
    def shares_prefixes(self) -> bool:
        """Whether what stands before the strings of an example is computed once."""
        return self._packed is not None

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Draw for each item; rows are to be checked before.

        Raises:
            VictimError: log-probabilities that are NaN, no memory for one row.
        """
        next_token_items = [_next_token_item(item, self._reuse) for item in items]
        rows = [whole_rows(item) for item in next_token_items]
        answers = self._read_packed(next_token_items, rows)
        rest = [i for i in range(len(items)) if i not in answers]
        keys = [(rows[i].shape[1], id(items[i].allowed), next_token_items[i].top) for i in rest]
        for (length, _, _), group in group_by_key(keys).items():
            members = [rest[at] for at in group]
            stacked = self._read_full(np.concatenate([rows[i] for i in members]), next_token_items[members[0]])
            ends = np.cumsum([len(rows[i]) for i in members])[:-1]
            flops = self._flop_count.forward(length, 1 if self._trims else length)
            for i, values in zip(members, np.split(stacked, ends), strict=True):
                answers[i] = ItemOutputs(values, len(values) * flops)
        return [_drawn(item, next_token_items[i].top, answers[i], self._model) for i, item in enumerate(items)]

    def _read_packed(
        self, items: Sequence[_NextTokenItem], rows: Sequence[NDArray[np.int64]]
    ) -> dict[int, ItemOutputs]:
        """What `_top_log_probs` gives, by index, of the items whose rows can be packed."""
        if self._packed is None:
            return {}
        try:
            return self._packed.score_fitting(items, rows)
        except UnsupportedModelError:
            self._packed = None
            return {}

    def _read_full(self, rows: NDArray[np.int64], item: _NextTokenItem) -> Floats:
        """What `_top_log_probs` gives for rows of equal length [n, L], by full forwards."""
        ids, allowed = torch.as_tensor(rows), torch.as_tensor(item.allowed)
        outputs = np.empty((len(rows), item.width))
        trim = {"logits_to_keep": 1} if self._trims else {}

        def run(part: slice) -> Tensor:
            with torch.inference_mode():
                answer = self._model(input_ids=ids[part].to(self._device), **trim, **no_cache(self._model))
                return _top_log_probs(answer.logits[:, -1], allowed, item.top)

        for part, values in self._chunker.map(run, *rows.shape):
            outputs[part] = to_numpy(values)
        return outputs


@dataclass(frozen=True, slots=True)
class _NextTokenItem(ScoreItem):
    """Strings as candidates with nothing behind them, whose next tokens are wanted.

    Attributes:
        allowed: ids, sorted, shape [A].
        top: how many of them are drawn among, at most A.
    """

    allowed: Tokens = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    top: int = 0

    @property
    def width(self) -> int:
        """Numbers per string: log-probabilities, and the tokens' ids where they are not simply the allowed ones."""
        return self.top if self.top == len(self.allowed) else 2 * self.top


def _next_token_item(item: SampleItem, reuse: bool) -> _NextTokenItem:
    top = len(item.allowed) if item.top is None else min(item.top, len(item.allowed))
    # Strings often begin alike: the beams of a search.
    current = item.strings[0] if reuse and len(item.strings) else None
    return _NextTokenItem(item.before, item.strings, item.before[:0], 0, current, allowed=item.allowed, top=top)


def _drawn(item: SampleItem, top: int, answer: ItemOutputs, model: Any) -> Sampled:
    """Draw from log-probabilities [n, top], followed by the tokens' ids [n, top] where not all are drawn among."""
    log_probs, tokens = answer.values[:, :top], np.broadcast_to(item.allowed, (len(answer.values), len(item.allowed)))
    without_nan(log_probs, "the model's log-probabilities are NaN", model)
    if top < len(item.allowed):
        tokens = answer.values[:, top:].astype(np.int64)
    return Sampled(draw_listed(tokens, log_probs, item.k, item.seed), answer.executed)


@dataclass(frozen=True, slots=True)
class _NextTokenForward(HeadForward):
    """The forward of items that draw among the same tokens; attributes as of `_NextTokenItem`."""

    allowed: Tokens = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    top: int = 0


class _NextTokenReader(HeadReader):
    """Reads the most likely allowed tokens at the end of each row."""

    def forwards(self, items: Sequence[Any]) -> list[list[HeadForward]]:
        """One forward, with nothing appended, for all `_NextTokenItem`s that draw among the same tokens."""
        forwards: list[list[HeadForward]] = []
        for members in group_by_key([(id(item.allowed), item.top) for item in items]).values():
            first: _NextTokenItem = items[members[0]]
            columns = list(range(first.width))
            forwards.append([_NextTokenForward(dict.fromkeys(members, ()), 1, columns, {}, first.allowed, first.top)])
        return forwards

    def output_width(self, item: Any) -> int:
        """How many numbers there are per string of a `_NextTokenItem`."""
        width: int = item.width
        return width

    def read(
        self, forward: HeadForward, pieces: Sequence[ReusePiece], ids: Tensor, positions: Tensor, read_at: Tensor
    ) -> Tensor:
        """Run a packed row, arguments as of `HeadReader.read`; what `_top_log_probs` gives, [n, width]."""
        assert isinstance(forward, _NextTokenForward)
        answer = self._model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=read_at)
        return _top_log_probs(answer.logits[0], torch.as_tensor(forward.allowed), forward.top)


def _top_log_probs(logits: Tensor, allowed: Tensor, top: int) -> Tensor:
    """Log-probabilities of the ``top`` most likely allowed tokens, and their ids, by id; of equally likely ones the
    lower ids. Ids are left out where all are taken.

    Args:
        logits: [n, vocabulary].
        allowed: ids, sorted, [A].

    Returns:
        float64, [n, 2 * top], or [n, A].
    """
    logits, allowed = logits.float(), allowed.to(logits.device)
    values = logits.index_select(1, allowed) - logits.logsumexp(-1, keepdim=True)
    if top == len(allowed):
        return values.double()
    least = values.topk(top).values[:, -1:]
    above, level = values > least, values == least
    taken = above | (level & (level.cumsum(1) <= top - above.sum(1, keepdim=True)))
    taken |= values.isnan().any(1, keepdim=True)
    at = taken.int().topk(top).indices.sort(1).values  # as many as there are, none of them left out
    return torch.cat([values.gather(1, at).double(), allowed[at].double()], 1)
