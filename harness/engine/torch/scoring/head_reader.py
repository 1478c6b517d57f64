"""From a packed row to the answer for each candidate, with the model's own head on the tokens that matter only."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.api.model.backend import GradientItem, ScoreItem
from harness.engine.torch.flop_counter import FlopCount, measure
from harness.engine.torch.heads import ClassificationHead, GenerationHead, Head, LabelTokensHead, target_log_probs
from harness.engine.torch.memory.bounds import head_numbers
from harness.engine.torch.scoring.packed.packed_pass import UnfitError
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece


@dataclass(frozen=True, slots=True)
class End:
    """What is appended to rows of some items to read a part of the answer, in forwards that they share.

    Attributes:
        appended: ids by item, all of one length, which may be 0.
        keep: tokens that are read at the end of each row.
        columns: the part of the answer.
        targets: target ids by item, where the answer is about them.
    """

    appended: dict[int, tuple[int, ...]]
    keep: int
    columns: list[int]
    targets: dict[int, tuple[int, ...]] = field(default_factory=dict)


class HeadReader:
    """How a packed row of this model is read.

    Attributes:
        width: numbers that the head computes per token that is read.
        per_read: FLOPs of the head per token that is read.
        base: what is run below the head.
        takes_positions: whether the model can be told positions.
    """

    def __init__(self, model: Any, head: Head, *, packed: bool = True) -> None:
        """Find the parts.

        Args:
            packed: whether rows are to be packed, which asks more of a model.

        Raises:
            UnfitError: the model has other parts than expected.
        """
        self._model, self._head = model, head
        self._stems: list[tuple[tuple[int, ...], list[int]]] = []
        self.base: Any = getattr(model, "base_model", model)
        if self.base is model:
            raise UnfitError("the model's body cannot be told from its head")
        if isinstance(head, ClassificationHead):
            outer, output = self.base, getattr(model, "score", None)
            if not isinstance(output, nn.Linear):
                raise UnfitError("the model has no classification head on the last token")
            self._stems = [((), list(range(head.n_labels)))]
        elif isinstance(head, LabelTokensHead | GenerationHead):
            if packed and not head.trims:
                raise UnfitError("the model computes the whole vocabulary at every position")
            outer, output = model, model.get_output_embeddings()
            if isinstance(head, LabelTokensHead):
                self._stems = _stems(head)
        else:
            raise UnfitError(f"head {head.name} is not known here")
        self.takes_positions = "position_ids" in inspect.signature(outer.forward).parameters
        if packed and not self.takes_positions:
            raise UnfitError("the model does not take positions")
        self.width, self.per_read = int(output.weight.shape[0]), 2.0 * output.weight.numel()

    @property
    def labels(self) -> bool:
        """Whether answers are about labels, else about the target's ids."""
        return self._head.n_labels > 0

    def ends(self, items: Sequence[ScoreItem | GradientItem]) -> list[list[End]]:
        """How items are read: each inner list is for some of the items, and its parts make up their answers."""
        if self._head.n_labels:
            return [[End(dict.fromkeys(range(len(items)), ids), len(ids) + 1, at) for ids, at in self._stems]]
        lengths: defaultdict[int, dict[int, tuple[int, ...]]] = defaultdict(dict)
        for i, item in enumerate(items):
            assert isinstance(item.target, tuple)
            lengths[len(item.target)][i] = item.target
        return [
            [End({i: target[:-1] for i, target in own.items()}, size, list(range(size)), own)]
            for size, own in lengths.items()
        ]

    def answer_width(self, item: ScoreItem | GradientItem) -> int:
        """How many numbers the answer has per row."""
        return self._head.n_labels or len(item.target)  # type: ignore[arg-type]

    def read(self, end: End, pieces: Sequence[ReusePiece], ids: Tensor, positions: Tensor, read: Tensor) -> Tensor:
        """A part of the answer (float32), [n, columns of the end], of n rows that have the end appended.

        Args:
            pieces: whose rows these are.
            ids, positions: [1, N].
            read: the last ``end.keep`` tokens of each row, flat.
        """
        if isinstance(self._head, ClassificationHead):
            hidden = self.skim(ids, positions, read)
            return self.classes(hidden[0, read.to(hidden.device)])
        answer = self._model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=read)
        owners = np.repeat([piece.item for piece in pieces], [len(piece.rows) for piece in pieces])
        return self.answer(end, answer.logits[0].unflatten(0, (-1, end.keep)), owners)

    def classes(self, hidden: Tensor) -> Tensor:
        """Label logits [n, labels] (float32) from the last tokens' hidden states [n, width]."""
        assert isinstance(self._head, ClassificationHead)
        logits: Tensor = self._model.score(hidden).float()
        return logits if self._head.order is None else logits[:, self._head.order]

    def answer(self, end: End, logits: Tensor, owners: NDArray[np.int64]) -> Tensor:
        """A part of the answer, as `read`, of a language model's rows that belong to items ``owners`` [n].

        Args:
            logits: [n, end.keep, vocabulary].
        """
        head = self._head
        if isinstance(head, GenerationHead):
            targets = np.asarray([end.targets[int(i)] for i in owners])
            return target_log_probs(logits, torch.as_tensor(targets).to(logits.device))
        assert isinstance(head, LabelTokensHead)
        logits = logits.float()
        log_z = logits.logsumexp(-1)
        return torch.stack(
            [
                torch.stack([logits[:, j, token] - log_z[:, j] for j, token in enumerate(head.labels[at])]).sum(0)
                for at in end.columns
            ],
            1,
        )

    def skim(self, ids: Tensor, positions: Tensor, _read: Tensor) -> Tensor:
        """Run the body: [1, N, width]; prefixes need no more."""
        hidden: Tensor = self.base(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        return hidden

    def executed(self, ids: Tensor) -> FlopCount:
        """Coefficients of the body alone; ``ids`` as in `measure`."""
        return measure(self.base, lambda rows: self.base(input_ids=rows, use_cache=False), ids)


def _stems(head: LabelTokensHead) -> list[tuple[tuple[int, ...], list[int]]]:
    """Stems and the labels that are read behind each: every label behind the first one that begins like it."""
    found: list[tuple[tuple[int, ...], list[int]]] = []
    left = dict(enumerate(head.labels))
    for stem in head.stems:
        columns = [at for at, label in left.items() if stem[: len(label) - 1] == label[:-1]]
        left = {at: label for at, label in left.items() if at not in columns}
        found.append((stem, columns))
    return found


def refusal(model: Any) -> str:
    """Why rows of this model cannot be packed as far as its configuration tells, or ""."""
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    for entry in (rope, *(v for v in rope.values() if isinstance(v, dict))):
        kind = str(entry.get("rope_type", "default"))
        if "dynamic" in kind or kind == "longrope":
            return f"its rotary embedding ({kind}) depends on the length of the row"
    if getattr(config, "alibi", False):
        return "its attention depends on distances (ALiBi)"
    return carries_state(model)


def carries_state(model: Any) -> str:
    """Why later tokens need more of a model's earlier ones than keys and values, or ""."""
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    others = sorted({kind for kind in kinds if kind not in _ATTENTION})
    if others:
        return f"it has layers of kind {', '.join(others)}"
    return "it carries a state from token to token" if getattr(model, "_is_stateful", False) else ""


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
    return max(1, head_numbers(device.type == "cuda") // max(1, width))
