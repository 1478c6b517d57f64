"""Scores with the prefix run once and its keys and values copied for each candidate: strategy ``copied_prefix``.

For decoders whose rows cannot be packed: the model's own attention is used as it is, with a cache as in generation.
Rows of equal shape share forwards, whichever example they belong to.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property, partial
from itertools import chain, groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from harness.api.model.backend import ScoreItem, Target
from harness.engine.torch.arrays import to_numpy
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.heads import Head
from harness.engine.torch.memory.chunks import Chunker, out_of_memory
from harness.engine.torch.memory.fixed_limits import prefix_cache_bytes, prefix_copy_bytes
from harness.engine.torch.scoring.head_reader import HeadForward, HeadReader, ItemOutputs
from harness.engine.torch.scoring.kv_cache import PrefixCache, PrefixKV, cache_key
from harness.engine.torch.scoring.kv_copies import cache_of_copies, prefix_from_cache
from harness.engine.torch.scoring.model_limits import rotary_limit, why_not_cacheable
from harness.engine.torch.scoring.unsupported import UnsupportedModelError
from harness.tokens.tokenizer import Floats, Tokens


class CopyScorer:
    """Scoring of one model behind copies of prefixes.

    Attributes:
        reader: how the head's outputs are read.
        cache: keys and values of what stands before the attack strings.
        longest: tokens of the longest row for which this is right, appended ids included; None: no limit.
    """

    def __init__(self, model: Any, head: Head, chunker: Chunker, ordinary_ids: Tokens) -> None:
        """Look at the model; nothing is run. Arguments as of `PackedScorer`.

        Raises:
            UnsupportedModelError: keys and values of earlier tokens are not all that later ones need.
        """
        why = why_not_cacheable(model)
        if why:
            raise UnsupportedModelError(why)
        self.model, self.reader, self.longest = model, HeadReader(model, head, packed=False), rotary_limit(model)
        self._head, self._chunker, self._ordinary_ids = head, chunker, ordinary_ids
        self._device = input_device(model)
        on_gpu = self._device.type == "cuda"
        self.cache = PrefixCache(prefix_cache_bytes(on_gpu))
        self._copy_bytes = prefix_copy_bytes(on_gpu)

    def fits(self, target: Target, length: int) -> bool:
        """Whether rows of ``length`` tokens with this target can be scored."""
        return self.longest is None or length + self.reader.appended_tokens(target) <= self.longest

    def score(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> list[ItemOutputs]:
        """Outputs of the head for each item's rows, see `PackedScorer.score`.

        Raises:
            UnsupportedModelError: the model keeps something else than keys and values.
            VictimError: no memory for one row.
        """
        self.cache.clear_if_changed(self.model)
        outputs = [
            np.empty((len(item_rows), self.reader.output_width(item)))
            for item, item_rows in zip(items, rows, strict=True)
        ]
        flops = [0.0] * len(items)
        for forward in chain.from_iterable(self.reader.forwards(items)):
            shapes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
            for i in forward.appended:
                if len(rows[i]):
                    shapes[(len(items[i].before), rows[i].shape[1])].append(i)
            for (cut, length), members in shapes.items():
                cut = min(cut, length - 1)  # the last token of a row is always computed
                for batch in self._batches(members, cut):
                    prefixes = {}
                    for i in batch:
                        prefixes[i], cost = self._prefix(rows[i][0, :cut])
                        flops[i] += cost
                    self._score_batch(forward, prefixes, rows, outputs)
                    for i in batch:
                        new = length - cut + len(forward.appended[i])
                        flops[i] += len(rows[i]) * self._row_flops(forward, cut, new)
        return [ItemOutputs(*answer) for answer in zip(outputs, flops, strict=True)]

    def warm(self, befores: Sequence[Tokens]) -> None:
        """Forget all prefixes but these, which are computed again. Raises as `score`."""
        self.cache.clear()
        self.cache.clear_if_changed(self.model)
        for ids in befores:
            if len(ids) and (self.longest is None or len(ids) < self.longest):
                self._prefix(ids)

    # -- forwards ------------------------------------------------------------------------------------------------------

    def _score_batch(
        self,
        forward: HeadForward,
        prefixes: dict[int, PrefixKV | None],
        rows: Sequence[NDArray[np.int64]],
        outputs: list[Floats],
    ) -> None:
        """Fill in a forward's columns of the ``outputs`` of items whose prefixes, of one length, are at hand."""
        cut = next((prefix.length for prefix in prefixes.values() if prefix), 0)
        item_of_row = np.concatenate([np.full(len(rows[i]), i) for i in prefixes])
        row_in_item = np.concatenate([np.arange(len(rows[i])) for i in prefixes])
        ids = np.concatenate(
            [
                np.concatenate(
                    [rows[i][:, cut:], np.tile(np.asarray(forward.appended[i], np.int64), (len(rows[i]), 1))], 1
                )
                for i in prefixes
            ]
        )
        most = self._max_rows(forward, prefixes, cut, ids.shape[1])
        for start in range(0, len(ids), most):
            block = slice(start, start + most)
            run = partial(self._forward, forward, prefixes, item_of_row[block], ids[block], cut)
            for part, answer in self._chunker.map(run, len(ids[block]), ids.shape[1]):
                for i, row, values in zip(
                    item_of_row[block][part], row_in_item[block][part], to_numpy(answer), strict=True
                ):
                    outputs[i][row, forward.columns] = values

    def _forward(
        self,
        forward: HeadForward,
        prefixes: dict[int, PrefixKV | None],
        item_of_row: NDArray[np.int64],
        ids: NDArray[np.int64],
        cut: int,
        part: slice,
    ) -> Tensor:
        """Columns of a forward, [n, columns], for some rows of new ids [n, L] that follow their items' prefixes."""
        item_of_row = item_of_row[part]
        rows = torch.as_tensor(ids[part]).to(self._device)
        inputs: dict[str, Any] = {"input_ids": rows, "use_cache": cut > 0}
        if cut:
            counts = [(prefixes[i], len(list(run))) for i, run in groupby(item_of_row.tolist())]
            inputs[self._cache_name] = cache_of_copies([(prefix, n) for prefix, n in counts if prefix], cut)
        if self.reader.takes_positions:
            inputs["position_ids"] = torch.arange(cut, cut + rows.shape[1], device=self._device)[None]
        with torch.inference_mode():
            if self._head.name == "classification":
                return self.reader.label_logits(self.reader.body(**inputs).last_hidden_state[:, -1])
            if self._trims:
                inputs["logits_to_keep"] = forward.read_last
            logits = self.model(**inputs).logits[:, -forward.read_last :]
            return self.reader.outputs_of(forward, logits, item_of_row)

    def _prefix(self, ids: Tokens) -> tuple[PrefixKV | None, float]:
        """Keys and values of an example's own beginning, and the FLOPs they cost now."""
        if not len(ids):
            return None, 0.0
        key = cache_key(ids)
        known = self.cache.get(key)
        if known is not None:
            return known, 0.0
        answer = self._chunker.attempt(partial(self._run_prefix, ids))
        if answer is None:
            raise out_of_memory(len(ids))
        self.cache.put(key, answer[0])
        return answer[0], self._body_flops.forward(len(ids))

    def _run_prefix(self, ids: Tokens) -> PrefixKV:
        cache = DynamicCache()  # without the configuration, so that no sliding window crops it
        rows = torch.as_tensor(ids[None]).to(self._device)
        inputs: dict[str, Any] = {"input_ids": rows, "use_cache": True, self._cache_name: cache}
        if self.reader.takes_positions:
            inputs["position_ids"] = torch.arange(len(ids), device=self._device)[None]
        with torch.inference_mode():
            self.reader.body(**inputs)
        return prefix_from_cache(cache, len(ids))

    # -- sizes and costs -----------------------------------------------------------------------------------------------

    @cached_property
    def _cache_name(self) -> str:
        """What the model calls its cache; transformers has renamed it on the way through version 5."""
        names = inspect.signature(self.reader.body.forward).parameters
        return "cache" if "cache" in names else "past_key_values"

    @property
    def _trims(self) -> bool:
        return bool(getattr(self._head, "trims", False))

    @cached_property
    def _body_flops(self) -> FlopCount:
        return self.reader.measure_body(torch.as_tensor(np.resize(self._ordinary_ids, 8)).to(self._device))

    def _row_flops(self, forward: HeadForward, cut: int, new: int) -> float:
        """FLOPs of one row of ``new`` tokens that follow a prefix of ``cut`` tokens."""
        read = forward.read_last if self._trims or self._head.name == "classification" else new
        body = self._body_flops.forward(new) + self._body_flops.per_pair * new * cut
        return body + self.reader.read_flops * read

    def _max_rows(self, forward: HeadForward, prefixes: dict[int, PrefixKV | None], cut: int, new: int) -> int:
        """Rows per forward whose copies and logits stay small."""
        most = self.reader.max_rows(self._device, forward.read_last if self._trims else new)
        layer_bytes_per_token = [prefix.size / len(prefix.layers) / cut for prefix in prefixes.values() if prefix]
        if not layer_bytes_per_token:
            return most
        return max(1, min(most, int(self._copy_bytes / (max(layer_bytes_per_token) * (cut + new)))))

    def _batches(self, members: list[int], cut: int) -> list[list[int]]:
        """Items whose prefixes fit together into the memory set aside for them."""
        config = self.model.config.get_text_config()
        size = 2 * int(config.num_hidden_layers) * int(config.hidden_size) * self.model.dtype.itemsize * cut
        most = max(1, self.cache.limit // size) if size else len(members)
        return [members[at : at + most] for at in range(0, len(members), most)]
