"""From a packed row to the label logits of each candidate, with the model's own head on the tokens that matter only."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.engine.executed import Executed, measure
from harness.engine.heads import ClassificationHead, Head, LabelTokensHead
from harness.engine.scoring.passes import UnfitError


@dataclass(frozen=True, slots=True)
class Stem:
    """What is appended to every row to read some labels.

    Attributes:
        ids: may be empty.
        columns: the labels that are read behind it.
    """

    ids: tuple[int, ...]
    columns: list[int]


class Reader:
    """How a packed row of this model is read.

    Attributes:
        n_labels: width of the answer.
        stems: the forwards that it takes.
        width: numbers that the head computes per token that is read.
        per_read: FLOPs of the head per token that is read.
        base: what is run below the head.
    """

    def __init__(self, model: Any, head: Head) -> None:
        """Find the parts.

        Raises:
            UnfitError: the model has other parts than expected.
        """
        self._model, self._head, self.n_labels = model, head, head.n_labels
        self.base: Any = getattr(model, "base_model", model)
        if self.base is model:
            raise UnfitError("the model's body cannot be told from its head")
        if isinstance(head, ClassificationHead):
            outer, output = self.base, getattr(model, "score", None)
            if not isinstance(output, nn.Linear):
                raise UnfitError("the model has no classification head on the last token")
            self.stems = [Stem((), list(range(head.n_labels)))]
        elif isinstance(head, LabelTokensHead):
            if not head.trims:
                raise UnfitError("the model computes the whole vocabulary at every position")
            outer, output = model, model.get_output_embeddings()
            self.stems = _stems(head)
        else:
            raise UnfitError(f"head {head.name} is not known here")
        if "position_ids" not in inspect.signature(outer.forward).parameters:
            raise UnfitError("the model does not take positions")
        self.width, self.per_read = int(output.weight.shape[0]), 2.0 * output.weight.numel()

    def read(self, stem: Stem, ids: Tensor, positions: Tensor, read: Tensor) -> Tensor:
        """Logits [n, columns of the stem] (float32) of rows that end in the stem.

        Args:
            ids, positions: [1, N].
            read: the last ``len(stem.ids) + 1`` tokens of each of n rows, flat.
        """
        head = self._head
        if isinstance(head, ClassificationHead):
            hidden = self.skim(ids, positions, read)
            logits: Tensor = self._model.score(hidden[0, read.to(hidden.device)]).float()
            return logits if head.order is None else logits[:, head.order]
        assert isinstance(head, LabelTokensHead)
        answer = self._model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=read)
        logits = answer.logits[0].float().unflatten(0, (-1, len(stem.ids) + 1))
        log_z = logits.logsumexp(-1)
        return torch.stack(
            [
                torch.stack([logits[:, j, token] - log_z[:, j] for j, token in enumerate(head.labels[at])]).sum(0)
                for at in stem.columns
            ],
            1,
        )

    def skim(self, ids: Tensor, positions: Tensor, _read: Tensor) -> Tensor:
        """Run the body: [1, N, width]; prefixes need no more."""
        hidden: Tensor = self.base(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        return hidden

    def executed(self, ids: Tensor) -> Executed:
        """Coefficients of the body alone; ``ids`` as in `measure`."""
        return measure(self.base, lambda rows: self.base(input_ids=rows, use_cache=False), ids)


def _stems(head: LabelTokensHead) -> list[Stem]:
    """Each label behind the first stem that begins like it."""
    found: list[Stem] = []
    left = dict(enumerate(head.labels))
    for stem in head.stems:
        columns = [at for at, label in left.items() if stem[: len(label) - 1] == label[:-1]]
        left = {at: label for at, label in left.items() if at not in columns}
        found.append(Stem(stem, columns))
    return found


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
