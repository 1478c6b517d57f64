"""From a packed row to the label logits of each candidate, with the model's own head on the rows' last tokens only."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from harness.engine.executed import Executed, measure
from harness.engine.heads import ClassificationHead, Head, LabelTokensHead
from harness.engine.scoring.attention import UnfitError


class Reader:
    """How a packed row of this model is read.

    Attributes:
        read: label logits [n, labels] (float32) from ids [1, N], positions [1, N] and the last token of each row [n].
        skim: the same without a head, for prefixes.
        width: numbers that the head computes per row.
        base: what is run below the head.
        per_row: FLOPs of the head per row.
    """

    def __init__(self, model: Any, head: Head) -> None:
        """Find the parts.

        Raises:
            UnfitError: the model has other parts than expected, or the labels have several tokens.
        """
        self.base: Any = getattr(model, "base_model", model)
        if self.base is model:
            raise UnfitError("the model's body cannot be told from its head")
        self.read: Callable[[Tensor, Tensor, Tensor], Tensor]
        if isinstance(head, ClassificationHead):
            score = getattr(model, "score", None)
            if not isinstance(score, nn.Linear):
                raise UnfitError("the model has no classification head on the last token")
            self._require_positions(self.base)
            self.width, weight = score.weight.shape[0], score.weight

            def classes(ids: Tensor, positions: Tensor, last: Tensor) -> Tensor:
                hidden = self._hidden(ids, positions)
                logits: Tensor = score(hidden[0, last.to(hidden.device)]).float()
                return logits if head.order is None else logits[:, head.order]

            self.read = classes
        elif isinstance(head, LabelTokensHead):
            if head.stems != [()]:
                raise UnfitError("a label has several tokens")
            if not head.trims:
                raise UnfitError("the model computes the whole vocabulary at every position")
            self._require_positions(model)
            output = model.get_output_embeddings()
            self.width, weight = output.weight.shape[0], output.weight
            wanted = [label[0] for label in head.labels]

            def tokens(ids: Tensor, positions: Tensor, last: Tensor) -> Tensor:
                answer = model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=last)
                logits = answer.logits[0].float()
                log_probs: Tensor = logits[:, wanted] - logits.logsumexp(-1, keepdim=True)
                return log_probs

            self.read = tokens
        else:
            raise UnfitError(f"head {head.name} is not known here")
        self.per_row = 2.0 * weight.numel()

    def skim(self, ids: Tensor, positions: Tensor, last: Tensor) -> Tensor:
        """Run the body, for the keys and values that its attention leaves behind."""
        return self._hidden(ids, positions)

    def executed(self, ids: Tensor) -> Executed:
        """Coefficients of the body alone; ``ids`` as in `measure`."""
        return measure(self.base, lambda rows: self.base(input_ids=rows, use_cache=False), ids)

    def _hidden(self, ids: Tensor, positions: Tensor) -> Tensor:
        hidden: Tensor = self.base(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        return hidden

    @staticmethod
    def _require_positions(module: Any) -> None:
        if "position_ids" not in inspect.signature(module.forward).parameters:
            raise UnfitError("the model does not take positions")


def refusal(model: Any) -> str:
    """Why rows of this model cannot be packed as far as its configuration tells, or ""."""
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    for entry in (rope, *(v for v in rope.values() if isinstance(v, dict))):
        kind = str(entry.get("rope_type", "default"))
        if "dynamic" in kind or kind == "longrope":
            return f"its rotary embedding ({kind}) depends on the length of the row"
    kinds = sorted({k for k in getattr(config, "layer_types", None) or () if k not in _ATTENTION})
    if kinds:
        return f"it has layers of kind {', '.join(kinds)}"
    if getattr(model, "_is_stateful", False):
        return "it carries a state from token to token"
    if getattr(config, "alibi", False):
        return "its attention depends on distances (ALiBi)"
    return ""


_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention", "attention"}


def shortest_window(model: Any) -> int | None:
    """Tokens that an attention layer looks back at least; None where all look back to the beginning."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    found = []
    for name, kind in (("sliding_window", "sliding_attention"), ("attention_chunk_size", "chunked_attention")):
        size = getattr(config, name, None)
        if isinstance(size, int) and size > 0 and (kinds is None or kind in kinds):
            found.append(size)
    return min(found, default=None)


def head_rows(width: int, device: torch.device) -> int:
    """Rows per forward whose logits stay small beside the rest."""
    return max(1, (1 << 29 if device.type == "cuda" else 1 << 25) // max(1, width))
