"""Answers `ScoreItem`s of many examples with packed rows: paths C (shared prefix) and D (and position-aware reuse)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.engine.agreement import switch_attention
from harness.engine.backend import ScoreItem
from harness.engine.chunks import Chunker
from harness.engine.heads import Head
from harness.engine.scoring.attention import NAME
from harness.engine.scoring.costs import Costs
from harness.engine.scoring.packed import batches, forward
from harness.engine.scoring.passes import Pass, UnfitError
from harness.engine.scoring.pieces import Piece, first_differences, plan
from harness.engine.scoring.prefix import PrefixCache
from harness.engine.scoring.prefixes import Prefixes
from harness.engine.scoring.reading import Reader, Stem, head_rows
from harness.engine.scoring.tail import find
from harness.tokens.text import Floats, Tokens

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
        self._chunker, self._usable = chunker, usable
        self._device = model.get_input_embeddings().weight.device
        self._rows = head_rows(self.reader.width, self._device)
        self.cache = PrefixCache((2048 if self._device.type == "cuda" else 256) << 20)
        self._weights: object = None

    def score(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> list[Logits]:
        """Label logits and executed FLOPs of each item; ``rows`` are its whole rows [K, P + S + T], checked.

        Raises:
            UnfitError: the model's attention asks for something that is not understood.
            VictimError: no memory for one row.
        """
        starts = [first_differences(item) for item in items]
        _ = self._costs  # is measured with the model's own attention
        with self._switched():
            self._forget_if_changed()
            answers: list[Logits] = []
            for wave in self._waves(rows):
                answers += self._wave(items[wave], rows[wave], starts[wave])
        return answers

    def remember(self, befores: Sequence[Tokens]) -> None:
        """Forget all prefixes but these, which are computed anew. Raises as `score`."""
        self.cache.clear()
        _ = self._costs  # is measured with the model's own attention
        with self._switched():
            self._forget_if_changed()
            for ids in befores:
                if len(ids):
                    self._prefixes.compute(ids)

    @cached_property
    def _costs(self) -> Costs:
        ids = np.resize(self._usable, 8)
        executed = self.reader.executed(torch.as_tensor(ids).to(self._device))
        piece = Piece(0, np.zeros(1, dtype=np.int64), 0, ids[None, :3])
        with self._switched():
            tail = find(self.reader.base, lambda: self._skim([piece]).layer, piece.tokens)
        if not tail.layers:
            raise UnfitError("the model computes attention in its own way")
        return Costs(executed, tail, self.reader.per_read, self._device.type == "cuda")

    @cached_property
    def _prefixes(self) -> Prefixes:
        return Prefixes(self._skim, self._costs, self._chunker, self.cache)

    def _wave(
        self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]], starts: Sequence[NDArray[np.int64]]
    ) -> list[Logits]:
        logits = [np.empty((len(own), self.reader.n_labels)) for own in rows]
        pieces = plan(items, rows, starts, self._costs.overhead)
        prefixes, flops = self._prefixes.of(items, pieces)
        pieces = [replace(piece, prefix=prefixes.get(piece.item)) for piece in pieces]
        for stem in self.reader.stems:
            keep = len(stem.ids) + 1
            ready = [piece.followed_by(stem.ids) for piece in pieces]
            with self._costs.tail.trimmed():
                for done, answer in batches(partial(self._read, stem), ready, self._chunker, self._rows // keep):
                    parts = np.split(answer, np.cumsum([len(piece.rows) for piece in done])[:-1])
                    for piece, part in zip(done, parts, strict=True):
                        logits[piece.item][piece.rows[:, None], stem.columns] = part
                        flops[piece.item] += self._costs.read(piece, keep)
        return [(own, flops[i]) for i, own in enumerate(logits)]

    def _read(self, stem: Stem, pieces: list[Piece]) -> Floats:
        read, final = partial(self.reader.read, stem), self._costs.tail.layers - 1
        logits, _ = forward(read, pieces, self._device, final=final, keep=len(stem.ids) + 1)
        answer: Floats = logits.to("cpu", torch.float64).numpy()
        return answer

    def _skim(self, pieces: list[Piece]) -> Pass:
        return forward(self.reader.skim, pieces, self._device, capture=True)[1]

    def _waves(self, rows: Sequence[NDArray[np.int64]]) -> Iterator[slice]:
        """Stretches of items whose prefixes fit into the memory set aside for them."""
        config = self.model.config.get_text_config()
        layers = int(getattr(config, "num_hidden_layers", 1))
        per_token = 2 * layers * int(config.hidden_size) * self.model.dtype.itemsize
        first = used = 0
        for i, own in enumerate(rows):
            size = own.shape[1] * per_token
            if used and used + size > self.cache.limit:
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
