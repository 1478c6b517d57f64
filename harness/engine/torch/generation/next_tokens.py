"""Next tokens of many strings behind shared beginnings: packed where that was found right, else by full forwards."""

from __future__ import annotations

from collections import defaultdict
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
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.heads import Head, no_cache, trims_logits
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.head_reader import End, HeadReader
from harness.engine.torch.scoring.packed.packed_pass import UnfitError
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece
from harness.engine.torch.scoring.scorer_check import whole_rows
from harness.engine.torch.scoring.strategy import Strategies
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats, Tokens


class NextTokens:
    """Of one language model.

    What leaves the device is as large as the tokens that are drawn among. Where candidates are scored on packed rows,
    strings are read on packed rows as well: what stands before them is computed once per example and remembered with
    what `Score` requests remember.
    """

    def __init__(self, model: Any, head: Head, paths: Strategies, chunker: Chunker, executed: FlopCount) -> None:
        """Take what the backend has found out about ``model``."""
        self._model, self._chunker, self._executed = model, chunker, executed
        self._device = input_device(model)
        self._trims = trims_logits(model)
        self._paths = Strategies("A")
        if paths.packing is not None:
            try:
                packing = copy(paths.packing)
                packing.reader = _NextTokenReader(model, head)
                self._paths = Strategies(paths.path, packing, paths.window)
            except UnfitError:
                pass

    @property
    def shares(self) -> bool:
        """Whether what stands before the strings of an example is computed once."""
        return self._paths.packing is not None

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Draw for each item; rows are to be checked before.

        Raises:
            VictimError: log-probabilities that are NaN, no memory for one row.
        """
        asked = [_asked(item) for item in items]
        rows = [whole_rows(item) for item in asked]
        answers = self._paths.packed(asked, rows)
        groups: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
        for i, item in enumerate(asked):
            if i not in answers:
                groups[(rows[i].shape[1], id(item.allowed), item.top)].append(i)
        for (length, _, _), group in groups.items():
            stacked = self._plain(np.concatenate([rows[i] for i in group]), asked[group[0]])
            ends = np.cumsum([len(rows[i]) for i in group])[:-1]
            outputs = 1 if self._trims else length
            for i, own in zip(group, np.split(stacked, ends), strict=True):
                answers[i] = own, len(own) * self._executed.forward(length, outputs)
        return [self._drawn(item, own, *answers[i]) for i, (item, own) in enumerate(zip(items, asked, strict=True))]

    def _plain(self, rows: NDArray[np.int64], item: _Asked) -> Floats:
        """What `_listed` gives for rows of equal length [n, L] by full forwards."""
        ids = torch.as_tensor(rows)
        found = np.empty((len(rows), item.width))
        trim = {"logits_to_keep": 1} if self._trims else {}

        def run(part: slice) -> Tensor:
            with torch.inference_mode():
                answer = self._model(input_ids=ids[part].to(self._device), **trim, **no_cache(self._model))
                return _listed(answer.logits[:, -1], torch.as_tensor(item.allowed), item.top)

        for part, listed in self._chunker.map(run, *rows.shape):
            found[part] = listed.cpu().numpy()
        return found

    def _drawn(self, item: SampleItem, asked: _Asked, listed: Floats, executed: float) -> Sampled:
        log_probs, tokens = listed[:, : asked.top], np.broadcast_to(item.allowed, (len(listed), len(item.allowed)))
        if np.isnan(log_probs).any():
            raise VictimError("the model's log-probabilities are NaN; load it with dtype: float32")
        if asked.top < len(item.allowed):
            tokens = listed[:, asked.top :].astype(np.int64)
        return Sampled(draw_listed(tokens, log_probs, item.k, item.seed), executed)


@dataclass(frozen=True, slots=True)
class _Asked(ScoreItem):
    """Strings as candidates with nothing behind them.

    Attributes:
        allowed: ids, shape [A].
        top: how many of them are drawn among, at most A.
    """

    allowed: Tokens = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    top: int = 0

    @property
    def width(self) -> int:
        """Numbers per string: log-probabilities, and the tokens' ids where they are not simply the allowed ones."""
        return self.top if self.top == len(self.allowed) else 2 * self.top


def _asked(item: SampleItem) -> _Asked:
    top = len(item.allowed) if item.top is None else min(item.top, len(item.allowed))
    near = item.strings[0] if len(item.strings) else None  # strings often begin alike: the beams of a search
    return _Asked(item.before, item.strings, item.before[:0], 0, near, item.allowed, top)


@dataclass(frozen=True, slots=True)
class _Among(End):
    """Rows of items that draw among the same tokens."""

    allowed: Tokens = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    top: int = 0


class _NextTokenReader(HeadReader):
    """Reads the most likely allowed tokens at the end of each row."""

    def ends(self, items: Sequence[Any]) -> list[list[End]]:
        """See `HeadReader`; ``items`` are `_Asked`."""
        groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for i, item in enumerate(items):
            groups[(id(item.allowed), item.top)].append(i)
        ends: list[list[End]] = []
        for group in groups.values():
            one: _Asked = items[group[0]]
            columns = list(range(one.width))
            ends.append([_Among(dict.fromkeys(group, ()), 1, columns, {}, one.allowed, one.top)])
        return ends

    def answer_width(self, item: Any) -> int:
        """See `HeadReader`."""
        width: int = item.width
        return width

    def read(self, end: End, pieces: Sequence[ReusePiece], ids: Tensor, positions: Tensor, read: Tensor) -> Tensor:
        """See `HeadReader`; what `_listed` gives, [n, width]."""
        assert isinstance(end, _Among)
        answer = self._model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=read)
        return _listed(answer.logits[0], torch.as_tensor(end.allowed), end.top)


def _listed(logits: Tensor, allowed: Tensor, top: int) -> Tensor:
    """Log-probabilities of the ``top`` most likely allowed tokens, and their ids, by id; of equally likely ones the
    lower ids. Ids are left out where all are taken.

    Args:
        logits: [n, V].
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
