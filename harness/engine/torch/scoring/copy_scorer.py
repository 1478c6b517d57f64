"""Answers `ScoreItem`s with the prefix run once and its keys and values copied for each candidate: path B.

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

from harness.api.model.backend import ScoreItem
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.heads import Head
from harness.engine.torch.memory.bounds import copies_bytes, prefix_bytes
from harness.engine.torch.memory.chunks import Chunker, no_room
from harness.engine.torch.scoring.head_reader import End, HeadReader, carries_state, head_rows
from harness.engine.torch.scoring.kv_cache import Prefix, PrefixCache
from harness.engine.torch.scoring.kv_copies import behind, taken_from
from harness.engine.torch.scoring.packed.packed_pass import UnfitError
from harness.engine.torch.scoring.packed.scorer import Logits
from harness.tokens.tokenizer import Floats, Tokens


class CopyScorer:
    """Scoring of one model behind copies of prefixes.

    Attributes:
        reader: how the model is read.
        cache: keys and values of what stands before the attack strings.
        longest: tokens of the longest row for which this is right, appended ids included; None: no limit.
    """

    def __init__(self, model: Any, head: Head, chunker: Chunker, usable: Tokens) -> None:
        """Look at the model; nothing is run. Arguments as in `PackedScorer`.

        Raises:
            UnfitError: keys and values of earlier tokens are not all that later ones need.
        """
        why = carries_state(model)
        if why:
            raise UnfitError(why)
        self.model, self.reader, self.longest = model, HeadReader(model, head, packed=False), rotary_limit(model)
        self._head, self._chunker, self._usable = head, chunker, usable
        self._device = input_device(model)
        on_gpu = self._device.type == "cuda"
        self.cache = PrefixCache(prefix_bytes(on_gpu))
        self._copies = copies_bytes(on_gpu)
        self._weights: object = None

    def fits(self, item: ScoreItem, length: int) -> bool:
        """Whether rows of ``length`` tokens of this item can be scored."""
        appended = len(item.target) - 1 if isinstance(item.target, tuple) else self._head.extra
        return self.longest is None or length + appended <= self.longest

    def score(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> list[Logits]:
        """See `PackedScorer.score`.

        Raises:
            UnfitError: the model keeps something else than keys and values.
            VictimError: no memory for one row.
        """
        self._forget_if_changed()
        found = [np.empty((len(own), self.reader.answer_width(item))) for item, own in zip(items, rows, strict=True)]
        flops = [0.0] * len(items)
        for end in chain.from_iterable(self.reader.ends(items)):
            shapes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
            for i in end.appended:
                if len(rows[i]):
                    shapes[(len(items[i].before), rows[i].shape[1])].append(i)
            for (cut, length), members in shapes.items():
                cut = min(cut, length - 1)  # the last token of a row is always computed
                for wave in self._waves(members, cut):
                    held = {}
                    for i in wave:
                        held[i], cost = self._prefix(rows[i][0, :cut])
                        flops[i] += cost
                    self._wave(end, held, rows, found)
                    for i in wave:
                        flops[i] += len(rows[i]) * self._row_flops(end, cut, length - cut + len(end.appended[i]))
        return list(zip(found, flops, strict=True))

    def remember(self, befores: Sequence[Tokens]) -> None:
        """Forget all prefixes but these, which are computed anew. Raises as `score`."""
        self.cache.clear()
        self._forget_if_changed()
        for ids in befores:
            if len(ids) and (self.longest is None or len(ids) < self.longest):
                self._prefix(ids)

    # -- forwards ------------------------------------------------------------------------------------------------------

    def _wave(
        self, end: End, held: dict[int, Prefix | None], rows: Sequence[NDArray[np.int64]], found: list[Floats]
    ) -> None:
        """Fill in a part of the answers of items whose prefixes, of one length, are at hand."""
        cut = next((prefix.length for prefix in held.values() if prefix), 0)
        owners = np.concatenate([np.full(len(rows[i]), i) for i in held])
        places = np.concatenate([np.arange(len(rows[i])) for i in held])
        ids = np.concatenate(
            [
                np.concatenate([rows[i][:, cut:], np.tile(np.asarray(end.appended[i], np.int64), (len(rows[i]), 1))], 1)
                for i in held
            ]
        )
        most = self._most_rows(end, held, cut, ids.shape[1])
        for start in range(0, len(ids), most):
            block = slice(start, start + most)
            run = partial(self._forward, end, held, owners[block], ids[block], cut)
            for part, answer in self._chunker.map(run, len(ids[block]), ids.shape[1]):
                values = answer.to("cpu", torch.float64).numpy()
                for i, at, value in zip(owners[block][part], places[block][part], values, strict=True):
                    found[i][at, end.columns] = value

    def _forward(
        self,
        end: End,
        held: dict[int, Prefix | None],
        owners: NDArray[np.int64],
        ids: NDArray[np.int64],
        cut: int,
        part: slice,
    ) -> Tensor:
        owners = owners[part]
        rows = torch.as_tensor(ids[part]).to(self._device)
        inputs: dict[str, Any] = {"input_ids": rows, "use_cache": cut > 0}
        if cut:
            stretches = [(held[i], len(list(run))) for i, run in groupby(owners.tolist())]
            inputs[self._cache_name] = behind([(prefix, n) for prefix, n in stretches if prefix], cut)
        if self.reader.takes_positions:
            inputs["position_ids"] = torch.arange(cut, cut + rows.shape[1], device=self._device)[None]
        with torch.inference_mode():
            if self._head.name == "classification":
                return self.reader.classes(self.reader.base(**inputs).last_hidden_state[:, -1])
            if self._trims:
                inputs["logits_to_keep"] = end.keep
            return self.reader.answer(end, self.model(**inputs).logits[:, -end.keep :], owners)

    def _prefix(self, ids: Tokens) -> tuple[Prefix | None, float]:
        """Keys and values of an example's own beginning, and what they cost now."""
        if not len(ids):
            return None, 0.0
        key = ids.astype(np.int64, copy=False).tobytes()
        known = self.cache.get(key)
        if known is not None:
            return known, 0.0
        answer = self._chunker.attempt(partial(self._run_prefix, ids))
        if answer is None:
            raise no_room(len(ids))
        self.cache.put(key, answer[0])
        return answer[0], self._executed.forward(len(ids))

    def _run_prefix(self, ids: Tokens) -> Prefix:
        cache = DynamicCache()  # without the configuration, so that no sliding window crops it
        rows = torch.as_tensor(ids[None]).to(self._device)
        inputs: dict[str, Any] = {"input_ids": rows, "use_cache": True, self._cache_name: cache}
        if self.reader.takes_positions:
            inputs["position_ids"] = torch.arange(len(ids), device=self._device)[None]
        with torch.inference_mode():
            self.reader.base(**inputs)
        return taken_from(cache, len(ids))

    # -- sizes and costs -----------------------------------------------------------------------------------------------

    @cached_property
    def _cache_name(self) -> str:
        """What the model calls its cache; transformers has renamed it on the way through version 5."""
        names = inspect.signature(self.reader.base.forward).parameters
        return "cache" if "cache" in names else "past_key_values"

    @property
    def _trims(self) -> bool:
        return bool(getattr(self._head, "trims", False))

    @cached_property
    def _executed(self) -> FlopCount:
        return self.reader.executed(torch.as_tensor(np.resize(self._usable, 8)).to(self._device))

    def _row_flops(self, end: End, cut: int, length: int) -> float:
        """FLOPs of one row of ``length`` tokens behind ``cut``."""
        read = end.keep if self._trims or self._head.name == "classification" else length
        body = self._executed.forward(length) + self._executed.per_pair * length * cut
        return body + self.reader.per_read * read

    def _most_rows(self, end: End, held: dict[int, Prefix | None], cut: int, length: int) -> int:
        """Rows per forward whose copies and logits stay small."""
        most = head_rows(self.reader.width, self._device) // (end.keep if self._trims else length)
        sizes = [prefix.size / len(prefix.layers) / cut for prefix in held.values() if prefix]
        copies = int(self._copies / (max(sizes) * (cut + length))) if sizes else most
        return max(1, min(most, copies))

    def _waves(self, members: list[int], cut: int) -> list[list[int]]:
        """Items whose prefixes fit into the memory set aside for them."""
        config = self.model.config.get_text_config()
        size = 2 * int(config.num_hidden_layers) * int(config.hidden_size) * self.model.dtype.itemsize * cut
        most = max(1, self.cache.limit // size) if size else len(members)
        return [members[at : at + most] for at in range(0, len(members), most)]

    def _forget_if_changed(self) -> None:
        weights = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in self.model.parameters())
        if weights != self._weights:
            self.cache.clear()
            self._weights = weights


def rotary_limit(model: Any) -> int | None:
    """Longest row in tokens up to which a token's rotary embedding does not depend on the row's length; None: any."""
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    found = []
    for entry in (rope, *(v for v in rope.values() if isinstance(v, dict))):
        kind = str(entry.get("rope_type", "default"))
        if "dynamic" in kind or kind == "longrope":
            stated = (entry.get("original_max_position_embeddings"), getattr(config, "max_position_embeddings", None))
            found += [int(n) for n in stated if n]
    return min(found, default=None)
