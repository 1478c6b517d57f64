"""Answers in text from a Hugging Face language model: batched, with a cache, stopped at its own ending tokens.

What is said depends on a prompt and its seed, not on the prompts that share the batch, beyond the rounding of
differently shaped matrix products (which can decide between tokens that are equally likely to within it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import Generated, GenerateItem, prompt_ids
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.generation.answer_text import answer_text
from harness.engine.torch.generation.decoding import Batching, Decoding, choose_decoding, decode
from harness.engine.torch.heads import trims_logits
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.model_limits import rotary_limit
from harness.engine.torch.token_rows import check_ids, check_room_for_answer, group_by_key, prompt_row
from harness.errors import VictimError
from harness.tokens.tokenizer import Tokenizer, Tokens

BatchContext = Callable[[list[int], bool], AbstractContextManager[object]]
"""Called with the indices of a batch's items and whether a cache is kept; what it returns is entered while it decodes.
"""


class Generator:
    """Text generation with one language model.

    Attributes:
        endings: ids that end an answer; may be empty.
        context: longest row in tokens, answer included.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        chunker: Chunker,
        flop_count: FlopCount,
        ordinary_ids: Tokens,
        context: int,
    ) -> None:
        """Wrap ``model``; nothing is run.

        Args:
            chunker: tokens per batch, those to come included.
            flop_count: coefficients of a plain pass.
            ordinary_ids: to draw the rows of the self-check from.

        Raises:
            VictimError: transformers cannot generate with this model.
        """
        if not (hasattr(model, "can_generate") and model.can_generate()):
            raise VictimError(
                f"{type(model).__name__} has no `generate`; use a causal language model from transformers"
            )
        self.model, self.tokenizer, self.endings, self.context = model, tokenizer, ending_ids(model), context
        self._chunker, self._flop_count, self._ordinary_ids = chunker, flop_count, ordinary_ids
        self._embedding_rows = int(model.get_input_embeddings().weight.shape[0])
        self._trims = trims_logits(model)

    def generate(self, items: Sequence[GenerateItem], batch_context: BatchContext | None = None) -> list[Generated]:
        """Answer each prompt, batched.

        Args:
            batch_context: is entered while a batch is decoded, whose rows are then not padded.

        The executed FLOPs are those of an answer by itself: no padding, nothing after its end.

        Raises:
            VictimError: a prompt without tokens, or one that leaves no room in the context; NaN; no memory for one row.
        """
        rows = [self._row(ids) for ids in prompt_ids(items, self.tokenizer)]
        keys: list[tuple[int, Batching, int]] = []  # new tokens, how rows are batched, their length where that counts
        for row, item in zip(rows, items, strict=True):
            # Rows of a batch go on to its end, so all must have room for it.
            max_new_tokens = min(item.max_tokens, self.context - len(row))
            batching = self._batching(len(row) + max_new_tokens)
            if batch_context is not None and batching == "padded":
                batching = "equal lengths"  # the same, and places in a row are where they seem
            keys.append((max_new_tokens, batching, 0 if batching == "padded" else len(row)))
        answers: dict[int, Generated] = {}
        for (max_new_tokens, batching, _), members in group_by_key(keys).items():
            members.sort(key=lambda i: len(rows[i]))
            longest = len(rows[members[-1]])
            run = partial(self._decode, items, rows, max_new_tokens, batching, batch_context)
            for i, new_ids in self._chunker.map_members(run, members, longest + max_new_tokens):
                answers[i] = self._generated(rows[i], new_ids, batching)
        return [answers[i] for i in range(len(items))]

    def _decode(
        self,
        items: Sequence[GenerateItem],
        rows: Sequence[Tokens],
        max_new_tokens: int,
        batching: Batching,
        batch_context: BatchContext | None,
        members: list[int],
    ) -> NDArray[np.int64]:
        """New ids [n, at most ``max_new_tokens``] of one batch."""
        chosen, prompts = [items[i] for i in members], [rows[i] for i in members]
        with batch_context(members, batching != "no cache") if batch_context else nullcontext():
            return decode(self.model, prompts, chosen, max_new_tokens, batching, self.endings)[0]

    @cached_property
    def decoding(self) -> Decoding:
        """How rows are batched, checked on first use. Raises VictimError: no way is right."""
        return choose_decoding(self.model, self._ordinary_ids, self.context)

    def _batching(self, length: int) -> Batching:
        """How a row that grows to ``length`` tokens is decoded."""
        limit = rotary_limit(self.model)
        # Beyond it, keys computed for a shorter row are not those of the longer one.
        return "no cache" if limit is not None and length > limit else self.decoding.batching

    def _row(self, ids: list[int]) -> Tokens:
        """A prompt's whole row, checked."""
        row = prompt_row(ids, self.tokenizer)
        check_room_for_answer(len(row), self.context, f"the context of {self.context} tokens")
        check_ids(row, self._embedding_rows)
        return row

    def _generated(self, row: Tokens, new_ids: NDArray[np.int64], batching: Batching) -> Generated:
        ends = np.flatnonzero(np.isin(new_ids, self.endings))
        count = int(ends[0]) + 1 if len(ends) else len(new_ids)
        text = answer_text(self.tokenizer, row, new_ids[: count - 1 if len(ends) else count].tolist())
        return Generated(text, bool(len(ends)), len(row), count, self._flops(len(row), count, batching))

    def _flops(self, prompt: int, new: int, batching: Batching) -> float:
        """FLOPs of an answer of ``new`` tokens; with a cache each token is computed once and attends to all before, and
        the last new one is not computed.
        """
        flops = self._flop_count
        if batching == "no cache":
            return sum(flops.forward(n, 1 if self._trims else n) for n in range(prompt, prompt + new))
        keys = range(prompt + 1, prompt + new)  # for each token computed after the prompt, itself included
        later = (flops.per_token + flops.per_logit_position) * len(keys) + flops.per_pair * sum(keys)
        return flops.forward(prompt, 1 if self._trims else prompt) + later


def ending_ids(model: Any) -> tuple[int, ...]:
    """Ids that end an answer: of the generation configuration, or else of the configuration."""
    for config in (getattr(model, "generation_config", None), model.config.get_text_config()):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return tuple(sorted({int(i) for i in (found if isinstance(found, list | tuple) else [found])}))
    return ()
