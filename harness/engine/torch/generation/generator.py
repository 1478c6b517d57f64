"""Answers in text from a Hugging Face language model: batched, with a cache, stopped at its own ending tokens.

What is said depends on a prompt and its seed, not on the prompts that share the batch, beyond the rounding of
differently shaped matrix products (which can decide between tokens that are equally likely to within it).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import Generated, GenerateItem, prompt_ids
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.generation.decoding import Decoding, Row, Way, choose, decode
from harness.engine.torch.heads import trims_logits
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.copy_scorer import rotary_limit
from harness.errors import VictimError
from harness.tokens.tokenizer import Tokenizer, Tokens

Around = Callable[[list[int], bool], AbstractContextManager[object]]
"""Called with the places of a batch's items and whether a cache is kept; what it returns is held while it decodes."""


class Generator:
    """Of one language model.

    Attributes:
        endings: ids that end an answer; may be empty.
        context: longest row in tokens, answer included.
    """

    def __init__(
        self, model: Any, tokenizer: Tokenizer, chunker: Chunker, executed: FlopCount, usable: Tokens, context: int
    ) -> None:
        """Wrap ``model``; nothing is run.

        Args:
            chunker: tokens per batch, those to come included.
            usable: ordinary ids, for the self-check.

        Raises:
            VictimError: transformers cannot generate with this model.
        """
        if not (hasattr(model, "can_generate") and model.can_generate()):
            raise VictimError(f"{type(model).__name__} has no `generate`; use a causal language model of transformers")
        self.model, self.tokenizer, self.endings, self.context = model, tokenizer, ending_ids(model), context
        self._chunker, self._executed, self._usable = chunker, executed, usable
        self._rows = int(model.get_input_embeddings().weight.shape[0])
        self._trims = trims_logits(model)

    def generate(self, items: Sequence[GenerateItem], around: Around | None = None) -> list[Generated]:
        """Answer each prompt, batched.

        Args:
            around: something to be done while a batch is decoded; its rows are then not padded.

        The executed FLOPs are those of an answer by itself: no padding, nothing after its end.

        Raises:
            VictimError: a prompt without tokens, or one that leaves no room in the context; NaN; no memory for one row.
        """
        rows = [self._row(ids) for ids in prompt_ids(items, self.tokenizer)]
        groups: defaultdict[tuple[int, Way, int], list[int]] = defaultdict(list)
        for i, (row, item) in enumerate(zip(rows, items, strict=True)):
            # Rows of a batch go on to its end, so all must have room for it.
            most = min(item.max_tokens, self.context - len(row))
            way = self._way(len(row) + most)
            if around is not None and way == "padded":
                way = "equal lengths"  # the same, and places in a row are where they seem
            groups[(most, way, 0 if way == "padded" else len(row))].append(i)
        answers: dict[int, Generated] = {}
        for (most, way, _), group in groups.items():
            group.sort(key=lambda i: len(rows[i]))
            longest = len(rows[group[-1]])

            def run(part: slice, own: list[int] = group, most: int = most, way: Way = way) -> NDArray[np.int64]:
                these = own[part]
                chosen = [items[i] for i in these]
                with around(these, way != "no cache") if around else nullcontext():
                    return decode(self.model, [rows[i] for i in these], chosen, most, way, self.endings)[0]

            for part, new in self._chunker.map(run, len(group), longest + most):
                for i, ids in zip(group[part], new, strict=True):
                    answers[i] = self._generated(rows[i], ids, way)
        return [answers[i] for i in range(len(items))]

    @cached_property
    def decoding(self) -> Decoding:
        """How rows are batched, checked on first use. Raises VictimError: no way is right."""
        return choose(self.model, self._usable, self.context)

    def _way(self, length: int) -> Way:
        """How a row that grows to ``length`` tokens is decoded."""
        limit = rotary_limit(self.model)
        # Beyond it, keys computed for a shorter row are not those of the longer one.
        return "no cache" if limit is not None and length > limit else self.decoding.way

    def _row(self, ids: list[int]) -> Row:
        row = np.asarray([*self.tokenizer.left, *ids, *self.tokenizer.right], dtype=np.int64)
        if not len(row):
            raise VictimError("a prompt without tokens: there is nothing to go on from; write at least one character")
        if len(row) >= self.context:
            raise VictimError(
                f"a prompt of {len(row)} tokens leaves no room for an answer in the context of {self.context} tokens, "
                "and none is cut off; shorten the prompt"
            )
        if row.min() < 0 or row.max() >= self._rows:
            raise VictimError(
                f"token ids {row.min()} to {row.max()} exceed the model's embedding (0 to {self._rows - 1})"
            )
        return row

    def _generated(self, row: Row, new: NDArray[np.int64], way: Way) -> Generated:
        ends = np.flatnonzero(np.isin(new, self.endings))
        count = int(ends[0]) + 1 if len(ends) else len(new)
        said = new[: count - 1 if len(ends) else count].tolist()
        before = row[len(self.tokenizer.left) :].tolist()
        # In context: some decoders drop the space at the beginning of a text.
        whole, prompt = self.tokenizer.decode([[*before, *said], before])
        text = whole[len(prompt) :] if whole.startswith(prompt) else self.tokenizer.decode([said])[0]
        return Generated(text, bool(len(ends)), len(row), count, self._flops(len(row), count, way))

    def _flops(self, prompt: int, new: int, way: Way) -> float:
        """With a cache each token is computed once and attends to all before; the last new one is not computed."""
        cost = self._executed
        if way == "no cache":
            return sum(cost.forward(n, 1 if self._trims else n) for n in range(prompt, prompt + new))
        keys = range(prompt + 1, prompt + new)  # for each token computed after the prompt, itself included
        later = (cost.per_token + cost.per_output) * len(keys) + cost.per_pair * sum(keys)
        return cost.forward(prompt, 1 if self._trims else prompt) + later


def ending_ids(model: Any) -> tuple[int, ...]:
    """Ids that end an answer: of the generation configuration, or else of the configuration."""
    for config in (getattr(model, "generation_config", None), model.config.get_text_config()):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return tuple(sorted({int(i) for i in (found if isinstance(found, list | tuple) else [found])}))
    return ()
