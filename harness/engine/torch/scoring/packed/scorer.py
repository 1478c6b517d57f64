"""Answers `ScoreItem`s of many examples with packed rows: paths C (shared prefix) and D (and position-aware reuse)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.api.model.backend import ScoreItem
from harness.engine.torch.devices import input_device
from harness.engine.torch.heads import Head
from harness.engine.torch.memory.bounds import prefix_bytes
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.head_reader import End, HeadReader, head_rows
from harness.engine.torch.scoring.kv_cache import PrefixCache
from harness.engine.torch.scoring.packed.attention import NAME
from harness.engine.torch.scoring.packed.beam_groups import joined, parted
from harness.engine.torch.scoring.packed.flop_costs import ScoringFlops
from harness.engine.torch.scoring.packed.forward import batches, forward
from harness.engine.torch.scoring.packed.last_layer_trim import find
from harness.engine.torch.scoring.packed.packed_pass import PackedPass, UnfitError
from harness.engine.torch.scoring.packed.prefix_builder import Prefixes
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece, first_differences, plan
from harness.engine.torch.self_check.backend_check import switch_attention
from harness.tokens.tokenizer import Floats, Tokens

Logits = tuple[Floats, float]  # readings of a head [K, width] and executed FLOPs of one item


class PackedScorer:
    """Packed scoring of one model.

    Attributes:
        reader: how the model is read.
        device: where its inputs go.
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
        self.model, self.reader = model, HeadReader(model, head)
        self._chunker, self._usable = chunker, usable
        self.device = input_device(model)
        self._rows = head_rows(self.reader.width, self.device)
        self.cache = PrefixCache(prefix_bytes(self.device.type == "cuda"))
        self._weights: object = None

    def score(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> list[Logits]:
        """Readings of the head (see `Head.readings`) and executed FLOPs of each item.

        Args:
            rows: whole rows of each item [K, P + S + T], checked.

        Raises:
            UnfitError: the model's attention asks for something that is not understood.
            VictimError: no memory for one row.
        """
        with self.switched():
            parts = parted(items, self.costs.overhead)
            own, lines = [part.own for part in parts], [rows[part.item][part.rows] for part in parts]
            starts = [first_differences(item) for item in own]
            answers: list[Logits] = []
            for wave in self._waves(lines):
                answers += self._wave(own[wave], lines[wave], starts[wave])
        return joined(parts, answers, len(items))

    def remember(self, befores: Sequence[Tokens]) -> None:
        """Forget all prefixes but these, which are computed anew. Raises as `score`."""
        self.cache.clear()
        with self.switched():
            for ids in befores:
                if len(ids):
                    self.prefixes.compute(ids)

    @cached_property
    def costs(self) -> ScoringFlops:
        """What packed forwards of this model cost."""
        ids = np.resize(self._usable, 8)
        executed = self.reader.executed(torch.as_tensor(ids).to(self.device))
        piece = ReusePiece(0, np.zeros(1, dtype=np.int64), 0, ids[None, :3])
        with self._attention():
            tail = find(self.reader.base, lambda: self._skim([piece]).layer, piece.tokens)
        if not tail.layers:
            raise UnfitError("the model computes attention in its own way")
        return ScoringFlops(executed, tail, self.reader.per_read, self.device.type == "cuda")

    @cached_property
    def prefixes(self) -> Prefixes:
        """Computes what candidates share."""
        return Prefixes(self._skim, self.costs, self._chunker, self.cache)

    def _wave(
        self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]], starts: Sequence[NDArray[np.int64]]
    ) -> list[Logits]:
        logits = [np.empty((len(own), self.reader.answer_width(item))) for item, own in zip(items, rows, strict=True)]
        pieces = plan(items, rows, starts, self.costs.overhead)
        prefixes, flops = self.prefixes.of(items, pieces)
        pieces = [replace(piece, prefix=prefixes.get(piece.item)) for piece in pieces]
        for end in chain.from_iterable(self.reader.ends(items)):
            ready = [p.followed_by(end.appended[p.item]) for p in pieces if p.item in end.appended]
            with self.costs.tail.trimmed():
                for done, answer in batches(partial(self._read, end), ready, self._chunker, self._rows // end.keep):
                    parts = np.split(answer, np.cumsum([len(piece.rows) for piece in done])[:-1])
                    for piece, part in zip(done, parts, strict=True):
                        logits[piece.item][piece.rows[:, None], end.columns] = part
                        flops[piece.item] += self.costs.read(piece, end.keep)
        return [(own, flops[i]) for i, own in enumerate(logits)]

    def _read(self, end: End, pieces: list[ReusePiece]) -> Floats:
        read, final = partial(self.reader.read, end, pieces), self.costs.tail.layers - 1
        logits, _ = forward(read, pieces, self.device, final=final, keep=end.keep)
        answer: Floats = logits.to("cpu", torch.float64).numpy()
        return answer

    def _skim(self, pieces: list[ReusePiece]) -> PackedPass:
        return forward(self.reader.skim, pieces, self.device, capture=True)[1]

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
    def switched(self) -> Iterator[None]:
        """Within, the model attends as `packed_attention` does, and nothing is remembered of other weights."""
        _ = self.costs  # is measured with the model's own attention
        with self._attention():
            self._forget_if_changed()
            yield

    @contextmanager
    def _attention(self) -> Iterator[None]:
        asked = str(self.model.config._attn_implementation)
        if not switch_attention(self.model, NAME):
            raise UnfitError("the model's attention cannot be exchanged")
        try:
            yield
        finally:
            switch_attention(self.model, asked)
