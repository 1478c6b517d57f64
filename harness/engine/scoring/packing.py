"""Answers `ScoreItem`s of many examples with packed rows: paths C (shared prefix) and D (and position-aware reuse)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.attack import Floats, Tokens
from harness.engine.agreement import switch_attention
from harness.engine.backend import ScoreItem
from harness.engine.chunks import Chunker
from harness.engine.executed import Executed
from harness.engine.heads import Head
from harness.engine.scoring.attention import NAME, Pass, UnfitError
from harness.engine.scoring.packed import batches, forward
from harness.engine.scoring.pieces import Piece, first_differences, plan
from harness.engine.scoring.prefix import Prefix, PrefixCache, cut_out
from harness.engine.scoring.reading import Reader, head_rows

Logits = tuple[Floats, float]  # label logits [K, labels] and executed FLOPs of one item


class Packing:
    """Packed scoring of one model.

    Attributes:
        reader: how the model is read.
        cache: keys and values of what stands before the attack strings.
    """

    def __init__(self, model: Any, head: Head, chunker: Chunker, usable: Tokens) -> None:
        """Look at the model; nothing is run.

        Args:
            chunker: tokens per forward, shared with the plain path.
            usable: ordinary ids, to find the cost of a forward with.

        Raises:
            UnfitError: no packed row of this model can be read.
        """
        self.model, self.reader = model, Reader(model, head)
        self._labels, self._chunker, self._usable = head.n_labels, chunker, usable
        self._device = model.get_input_embeddings().weight.device
        self._rows = head_rows(self.reader.width, self._device)
        limit = (2048 if self._device.type == "cuda" else 256) << 20
        self.cache = PrefixCache(limit)
        self._limit = limit
        self._weights: object = None

    def score(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> list[Logits]:
        """Label logits and executed FLOPs of each item; ``rows`` are its whole rows [K, P + S + T], checked.

        Raises:
            UnfitError: the model's attention asks for something that is not understood.
            VictimError: no memory for one row.
        """
        starts = [first_differences(item) for item in items]
        _ = self.executed  # is measured with the model's own attention
        with self._switched():
            self._forget_if_changed()
            answers: list[Logits] = []
            for wave in self._waves(rows):
                answers += self._wave(items[wave], rows[wave], starts[wave])
        return answers

    @cached_property
    def executed(self) -> Executed:
        """Compute of the model's body."""
        return self.reader.executed(torch.as_tensor(np.resize(self._usable, 8)).to(self._device))

    def _wave(
        self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]], starts: Sequence[NDArray[np.int64]]
    ) -> list[Logits]:
        logits = [np.empty((len(own), self._labels)) for own in rows]
        flops: Counter[int] = Counter()
        pieces = plan(items, rows, starts, self._overhead)
        prefixes = self._prefixes(items, pieces, flops)
        ready = [replace(piece, prefix=prefixes.get(piece.item)) for piece in pieces]
        for done, answer in batches(self._read, ready, self._chunker, self._rows):
            parts = np.split(answer, np.cumsum([len(piece.rows) for piece in done])[:-1])
            for piece, part in zip(done, parts, strict=True):
                logits[piece.item][piece.rows] = part
                flops[piece.item] += self._cost(piece) + len(piece.rows) * self.reader.per_row  # type: ignore[assignment]
        return [(own, float(flops[i])) for i, own in enumerate(logits)]

    def _prefixes(self, items: Sequence[ScoreItem], pieces: Sequence[Piece], flops: Counter[int]) -> dict[int, Prefix]:
        """Keys and values of each item up to its latest cut."""
        latest: dict[int, int] = {}
        for piece in pieces:
            latest[piece.item] = max(latest.get(piece.item, 0), piece.cut)
        found: dict[int, Prefix] = {}
        currents = []
        for i, cut in sorted(latest.items()):
            before = items[i].before[:cut]
            if len(before):
                found[i], cost = self._before(before)
                flops[i] += cost  # type: ignore[assignment]
            if cut > len(before):
                near = items[i].near
                assert near is not None  # nothing but reuse of the current string cuts behind ``before``
                ids = near[None, : cut - len(before)]
                currents.append(Piece(i, np.zeros(1, dtype=np.int64), len(before), ids, found.get(i)))
        currents.sort(key=lambda piece: (-piece.ids.shape[1], piece.item))
        for done, this in batches(self._skim, currents, self._chunker, 1 << 30):
            at = 0
            for piece in done:
                tokens = slice(at, at + piece.tokens)
                old = found.get(piece.item)
                found[piece.item] = old.then(this.kept, tokens) if old else cut_out(this.kept, tokens)
                flops[piece.item] += self._cost(piece)  # type: ignore[assignment]
                at = tokens.stop
        return found

    def _before(self, ids: Tokens) -> tuple[Prefix, float]:
        """Keys and values of an example's own beginning, and what they cost now.

        Always a forward of its own: the numbers are then the same, bit by bit, whether or not they were remembered.
        """
        key = ids.astype(np.int64, copy=False).tobytes()
        known = self.cache.get(key)
        if known is not None:
            return known, 0.0
        piece = Piece(0, np.zeros(1, dtype=np.int64), 0, ids[None])
        ((_, this),) = batches(self._skim, [piece], self._chunker, 1)
        prefix = cut_out(this.kept, slice(0, len(ids)))
        self.cache.put(key, prefix)
        return prefix, self._cost(piece)

    def _read(self, pieces: list[Piece]) -> Floats:
        logits, this = forward(self.reader.read, pieces, self._device)
        if not this.layer:
            raise UnfitError("the model computes attention in its own way")
        answer: Floats = logits.to("cpu", torch.float64).numpy()
        return answer

    def _skim(self, pieces: list[Piece]) -> Pass:
        return forward(self.reader.skim, pieces, self._device, capture=True)[1]

    def _cost(self, piece: Piece) -> float:
        """FLOPs of the body on one piece: linear layers, its own squares, and its rectangle with the prefix."""
        length = piece.ids.shape[1]
        return self.executed.per_token * piece.tokens + self.executed.per_pair * piece.tokens * (length + piece.cut)

    @cached_property
    def _overhead(self) -> float:
        """What the calls for one more piece cost, in tokens: constants, so that nothing depends on the clock."""
        layers = max(1, int(getattr(self.model.config.get_text_config(), "num_hidden_layers", 1)))
        call, rate, token = (40e-6, 1e14, 1e-8) if self._device.type == "cuda" else (30e-6, 6e10, 4e-7)
        return float(layers * call / (self.executed.per_token / rate + layers * token))

    def _waves(self, rows: Sequence[NDArray[np.int64]]) -> Iterator[slice]:
        """Stretches of items whose prefixes fit into the memory set aside for them."""
        config = self.model.config.get_text_config()
        layers = int(getattr(config, "num_hidden_layers", 1))
        per_token = 2 * layers * int(config.hidden_size) * self.model.dtype.itemsize
        first = used = 0
        for i, own in enumerate(rows):
            size = own.shape[1] * per_token
            if used and used + size > self._limit:
                yield slice(first, i)
                first, used = i, 0
            used += size
        yield slice(first, len(rows))

    def _forget_if_changed(self) -> None:
        weights = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in self.model.parameters())
        if weights != self._weights:
            self.cache.clear()
            self._weights = weights

    @contextmanager
    def _switched(self) -> Iterator[None]:
        asked = str(self.model.config._attn_implementation)
        if not switch_attention(self.model, NAME):
            raise UnfitError("the model's attention cannot be exchanged")
        try:
            yield
        finally:
            switch_attention(self.model, asked)
