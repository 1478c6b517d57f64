"""Scores candidates of many examples on packed rows: strategies ``packed`` and ``packed_reuse``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.api.model.backend import ScoreItem, Target
from harness.engine.torch.arrays import to_numpy
from harness.engine.torch.attention_switch import attention_switched
from harness.engine.torch.devices import input_device
from harness.engine.torch.heads import Head
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.memory.fixed_limits import prefix_cache_bytes
from harness.engine.torch.scoring.head_reader import HeadForward, HeadReader, ItemOutputs
from harness.engine.torch.scoring.kv_cache import PrefixCache
from harness.engine.torch.scoring.model_limits import shortest_window
from harness.engine.torch.scoring.packed.attention import PACKED_ATTENTION
from harness.engine.torch.scoring.packed.beam_groups import merge_groups, split_by_string
from harness.engine.torch.scoring.packed.flop_costs import ScoringFlops
from harness.engine.torch.scoring.packed.last_layer_trim import find_last_layer_trim
from harness.engine.torch.scoring.packed.packed_forward import run_in_chunks, run_packed
from harness.engine.torch.scoring.packed.packed_pass import PackedPass
from harness.engine.torch.scoring.packed.prefix_builder import PrefixBuilder
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece, first_differences, plan_pieces
from harness.engine.torch.scoring.screening.bfloat16_products import bfloat16_products
from harness.engine.torch.scoring.unsupported import UnsupportedModelError
from harness.tokens.tokenizer import Floats, Tokens


class PackedScorer:
    """Packed scoring of one model.

    Attributes:
        reader: how the head's outputs are read.
        device: where the model takes its inputs.
        cache: keys and values of what stands before the attack strings.
        longest: tokens of the longest row that may be packed, appended ids included: what every attention layer looks
            back to; None: no limit.
    """

    def __init__(self, model: Any, head: Head, chunker: Chunker, ordinary_ids: Tokens) -> None:
        """Look at the model; nothing is run.

        Args:
            chunker: tokens per forward, shared with full forwards.
            ordinary_ids: to find the cost of a forward with.

        Raises:
            UnsupportedModelError: no packed row of this model can be read.
        """
        self.model, self.reader, self.longest = model, HeadReader(model, head), shortest_window(model)
        self._head, self._chunker, self._ordinary_ids = head, chunker, ordinary_ids
        self.device = input_device(model)
        self.cache = PrefixCache(prefix_cache_bytes(self.device.type == "cuda"))

    def fits(self, target: Target, length: int) -> bool:
        """Whether rows of ``length`` tokens with this target can be packed."""
        return self.longest is None or length + self.reader.appended_tokens(target) <= self.longest

    def score_fitting(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> dict[int, ItemOutputs]:
        """As `score`, by index, of the items that have rows and whose rows can be packed."""
        fitting = [
            i for i, item_rows in enumerate(rows) if len(item_rows) and self.fits(items[i].target, item_rows.shape[1])
        ]
        if not fitting:
            return {}
        return dict(zip(fitting, self.score([items[i] for i in fitting], [rows[i] for i in fitting]), strict=True))

    def score(
        self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]], *, reduced: bool = False
    ) -> list[ItemOutputs]:
        """Outputs of the head for each item's rows.

        Args:
            rows: whole rows of each item [K, P + S + T], checked.
            reduced: multiply by `bfloat16_products`; what is remembered stays exact.

        Raises:
            UnsupportedModelError: the model's attention asks for something that is not understood.
            VictimError: no memory for one row.
        """
        with self.prepared():
            groups = split_by_string(items, self.flops.piece_overhead)
            subitems = [group.subitem for group in groups]
            subrows = [rows[group.item][group.rows] for group in groups]
            starts = [first_differences(item) for item in subitems]
            answers: list[ItemOutputs] = []
            for batch in self._batches(subrows):
                answers += self._score_batch(subitems[batch], subrows[batch], starts[batch], reduced)
        return merge_groups(groups, answers, len(items))

    def warm(self, befores: Sequence[Tokens]) -> None:
        """Forget all prefixes but these, which are computed again. Raises as `score`."""
        self.cache.clear()
        with self.prepared():
            for ids in befores:
                if len(ids) and (self.longest is None or len(ids) + self._head.extra <= self.longest):
                    self.prefixes.compute(ids)

    @cached_property
    def flops(self) -> ScoringFlops:
        """What packed forwards of this model cost."""
        ids = np.resize(self._ordinary_ids, 8)
        flop_count = self.reader.measure_body(torch.as_tensor(ids).to(self.device))
        piece = ReusePiece(0, np.zeros(1, dtype=np.int64), 0, ids[None, :3])
        with self._packed_attention():
            trim = find_last_layer_trim(self.reader.body, lambda: self._run_body([piece]).layers_done, piece.tokens)
        if not trim.layers:
            raise UnsupportedModelError("the model computes attention in its own way")
        return ScoringFlops(flop_count, trim, self.reader.read_flops, self.device.type == "cuda")

    @cached_property
    def prefixes(self) -> PrefixBuilder:
        """Computes what candidates share."""
        return PrefixBuilder(self._run_body, self.flops, self._chunker, self.cache)

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Within, the model attends as `packed_attention` does, and nothing is remembered of other weights."""
        _ = self.flops  # are measured with the model's own attention
        with self._packed_attention():
            self.cache.clear_if_changed(self.model)
            yield

    def _score_batch(
        self,
        items: Sequence[ScoreItem],
        rows: Sequence[NDArray[np.int64]],
        starts: Sequence[NDArray[np.int64]],
        reduced: bool,
    ) -> list[ItemOutputs]:
        """As `score` of items with at most one string each, whose prefixes fit together into the cache's memory."""
        outputs = [
            np.empty((len(item_rows), self.reader.output_width(item)))
            for item, item_rows in zip(items, rows, strict=True)
        ]
        pieces = plan_pieces(items, rows, starts, self.flops.piece_overhead)
        prefixes, flops = self.prefixes.prefixes_for(items, pieces)
        pieces = [replace(piece, prefix=prefixes.get(piece.item)) for piece in pieces]
        for forward in chain.from_iterable(self.reader.forwards(items)):
            ready = [p.followed_by(forward.appended[p.item]) for p in pieces if p.item in forward.appended]
            with self.flops.trim.trimmed(), bfloat16_products(self.model) if reduced else nullcontext():
                for done, answer in run_in_chunks(partial(self._read, forward), ready, self._chunker):
                    parts = np.split(answer, np.cumsum([len(piece.rows) for piece in done])[:-1])
                    for piece, part in zip(done, parts, strict=True):
                        outputs[piece.item][piece.rows[:, None], forward.columns] = part
                        flops[piece.item] += self.flops.forward(piece, forward.read_last)
        return [ItemOutputs(values, flops[i]) for i, values in enumerate(outputs)]

    def _read(self, forward: HeadForward, pieces: list[ReusePiece]) -> Floats:
        """Columns of a forward, [rows, columns], of some pieces."""
        outputs, _ = run_packed(
            partial(self.reader.read, forward, pieces),
            pieces,
            self.device,
            last_layer=self.flops.trim.layers - 1,
            read_last=forward.read_last,
        )
        return to_numpy(outputs)

    def _run_body(self, pieces: list[ReusePiece]) -> PackedPass:
        return run_packed(self.reader.run_body, pieces, self.device, keep_kv=True)[1]

    def _batches(self, rows: Sequence[NDArray[np.int64]]) -> Iterator[slice]:
        """Stretches of items whose prefixes fit into the memory set aside for them."""
        config = self.model.config.get_text_config()
        layers = int(getattr(config, "num_hidden_layers", 1))
        per_token = 2 * layers * int(config.hidden_size) * self.model.dtype.itemsize
        first = used = 0
        for i, item_rows in enumerate(rows):
            size = item_rows.shape[1] * per_token
            if used and used + size > self.cache.limit:
                yield slice(first, i)
                first, used = i, 0
            used += size
        yield slice(first, len(rows))

    @contextmanager
    def _packed_attention(self) -> Iterator[None]:
        with attention_switched(self.model, PACKED_ATTENTION) as switched:
            if not switched:
                raise UnsupportedModelError("the model's attention cannot be replaced")
            yield
