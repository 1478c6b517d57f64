"""Reads a head's outputs off rows that share prefixes, with the model's own head on the tokens that matter only."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.api.model.backend import GradientItem, ScoreItem, Target
from harness.engine.torch.flop_counter import FlopCount, measure_flops
from harness.engine.torch.heads import ClassificationHead, GenerationHead, Head, LabelTokensHead, target_log_probs
from harness.engine.torch.memory.fixed_limits import max_head_values
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece
from harness.engine.torch.scoring.unsupported import UnsupportedModelError
from harness.tokens.tokenizer import Floats


class ItemOutputs(NamedTuple):
    """What was computed for one item.

    Attributes:
        values: outputs of the head for each row [K, width], see `Head.outputs`.
        executed: FLOPs.
        bounds: what the loss of a row with inexact outputs is not below, NaN where they are exact, [K]; None: all are.
    """

    values: Floats
    executed: float
    bounds: Floats | None = None


@dataclass(frozen=True, slots=True)
class HeadForward:
    """One of the forwards through which the head's outputs are read, shared by the rows of some items.

    Attributes:
        appended: ids that are appended to the rows, by item; all of one length, which may be 0.
        read_last: how many tokens are read at the end of each row.
        columns: which columns of the outputs it gives.
        targets: target ids by item, where the outputs are about them.
    """

    appended: dict[int, tuple[int, ...]]
    read_last: int
    columns: list[int]
    targets: dict[int, tuple[int, ...]] = field(default_factory=dict)


class HeadReader:
    """How the outputs of one model's head are read off a packed row or off rows behind a cache.

    Attributes:
        body: what is run below the head.
        logit_width: logits that the head computes per token that is read.
        read_flops: FLOPs of the head per token that is read.
        takes_positions: whether the model can be given positions.
    """

    def __init__(self, model: Any, head: Head, *, packed: bool = True) -> None:
        """Find the model's parts; nothing is run.

        Args:
            packed: whether rows are to be packed, which asks more of a model.

        Raises:
            UnsupportedModelError: the model has other parts than expected.
        """
        self._model, self._head = model, head
        self._label_forwards: list[tuple[tuple[int, ...], list[int]]] = []  # ids that are appended, columns
        self.body: Any = getattr(model, "base_model", model)
        if self.body is model:
            raise UnsupportedModelError("the model's body cannot be told from its head")
        if isinstance(head, ClassificationHead):
            outer, output = self.body, getattr(model, "score", None)
            if not isinstance(output, nn.Linear):
                raise UnsupportedModelError("the model has no classification head on the last token")
            self._label_forwards = [((), list(range(head.n_labels)))]
        elif isinstance(head, LabelTokensHead | GenerationHead):
            if packed and not head.trims:
                raise UnsupportedModelError("the model computes the whole vocabulary at every position")
            outer, output = model, model.get_output_embeddings()
            if isinstance(head, LabelTokensHead):
                self._label_forwards = _label_forwards(head)
        else:
            raise UnsupportedModelError(f"head {head.name} is not known here")
        self.takes_positions = "position_ids" in inspect.signature(outer.forward).parameters
        if packed and not self.takes_positions:
            raise UnsupportedModelError("the model does not take positions")
        self.logit_width, self.read_flops = int(output.weight.shape[0]), 2.0 * output.weight.numel()

    @property
    def labels(self) -> bool:
        """Whether the outputs are about labels, else about the target's ids."""
        return self._head.n_labels > 0

    def appended_tokens(self, target: Target) -> int:
        """How many tokens are appended to a row at most to read the outputs for this target."""
        return len(target) - 1 if isinstance(target, tuple) else self._head.extra

    def output_width(self, item: ScoreItem | GradientItem) -> int:
        """How many outputs there are per row of this item."""
        return self._head.n_labels or len(item.target)  # type: ignore[arg-type]

    def forwards(self, items: Sequence[ScoreItem | GradientItem]) -> list[list[HeadForward]]:
        """How items are read: each inner list is for some of the items, and makes up all columns of their outputs."""
        if self._head.n_labels:
            forwards = self._label_forwards
            return [[HeadForward(dict.fromkeys(range(len(items)), ids), len(ids) + 1, at) for ids, at in forwards]]
        by_length: defaultdict[int, dict[int, tuple[int, ...]]] = defaultdict(dict)
        for i, item in enumerate(items):
            assert isinstance(item.target, tuple)
            by_length[len(item.target)][i] = item.target
        return [
            [HeadForward({i: ids[:-1] for i, ids in targets.items()}, length, list(range(length)), targets)]
            for length, targets in by_length.items()
        ]

    def read(
        self, forward: HeadForward, pieces: Sequence[ReusePiece], ids: Tensor, positions: Tensor, read_at: Tensor
    ) -> Tensor:
        """Run a packed row and read the columns of a forward off it.

        Args:
            pieces: whose rows these are; what the forward appends stands at their ends.
            ids, positions: [1, N].
            read_at: indices into N of the last ``forward.read_last`` tokens of each row, flat.

        Returns:
            outputs [n, columns] (float32) of the n rows.
        """
        if isinstance(self._head, ClassificationHead):
            hidden = self.run_body(ids, positions, read_at)
            return self.label_logits(hidden[0, read_at.to(hidden.device)])
        most = self.max_rows(read_at.device, forward.read_last)
        item_of_row = np.repeat([piece.item for piece in pieces], [len(piece.rows) for piece in pieces])
        items = np.split(item_of_row, range(most, len(item_of_row), most))
        with closing(self._logits(ids, positions, torch.split(read_at, most * forward.read_last))) as parts:
            outputs = [
                self.outputs_of(forward, logits.view(-1, forward.read_last, logits.shape[-1]), of_rows)
                for logits, of_rows in zip(parts, items, strict=True)
            ]
        return torch.cat(outputs)

    def _logits(self, ids: Tensor, positions: Tensor, parts: Sequence[Tensor]) -> Generator[Tensor]:
        """Logits [n, vocabulary] of a packed row at each part of the tokens that are read. The body is run once."""

        def run(read_at: Tensor) -> Tensor:
            answer = self._model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=read_at)
            logits: Tensor = answer.logits[0]
            return logits

        called: list[tuple[nn.Module, Any]] = []  # the outermost last; OPT's model, for one, calls its body's decoder
        with ExitStack() as hooks:
            for module in self._model.modules() if len(parts) > 1 else ():
                if isinstance(module, PreTrainedModel) and module is not self._model:
                    hooks.enter_context(module.register_forward_hook(lambda *call: called.append((call[0], call[2]))))
            logits = run(parts[0])
        yield logits
        if len(parts) == 1:
            return
        if not called:
            raise UnsupportedModelError("the model's head cannot be run by itself")
        with _answering(*called[-1]):
            yield from map(run, parts[1:])

    def label_logits(self, hidden: Tensor) -> Tensor:
        """Label logits [n, labels] (float32) from the last tokens' hidden states [n, H]."""
        assert isinstance(self._head, ClassificationHead)
        return self._head.of_labels(self._model.score(hidden).float())

    def outputs_of(self, forward: HeadForward, logits: Tensor, item_of_row: NDArray[np.int64]) -> Tensor:
        """Columns of a forward, [n, columns] (float32), from a language model's logits.

        Args:
            logits: [n, forward.read_last, vocabulary].
            item_of_row: index of the item that each row belongs to, [n].
        """
        head = self._head
        if isinstance(head, GenerationHead):
            targets = np.asarray([forward.targets[int(i)] for i in item_of_row])
            return target_log_probs(logits, torch.as_tensor(targets).to(logits.device))
        assert isinstance(head, LabelTokensHead)
        logits = logits.float()
        log_z = logits.logsumexp(-1)
        return torch.stack(
            [
                torch.stack([logits[:, j, token] - log_z[:, j] for j, token in enumerate(head.labels[column])]).sum(0)
                for column in forward.columns
            ],
            1,
        )

    def run_body(self, ids: Tensor, positions: Tensor, _read_at: Tensor) -> Tensor:
        """Hidden states [1, N, H] of a packed row [1, N]: all that prefixes need."""
        hidden: Tensor = self.body(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        return hidden

    def measure_body(self, ids: Tensor) -> FlopCount:
        """Coefficients of the body alone; ``ids`` as in `measure_flops`."""
        return measure_flops(self.body, lambda rows: self.body(input_ids=rows, use_cache=False), ids)

    def max_rows(self, device: torch.device, read_per_row: int) -> int:
        """Rows whose logits stay small compared with the rest, at least one."""
        return max(1, max_head_values(device.type == "cuda") // max(1, self.logit_width) // read_per_row)


@contextmanager
def _answering(module: nn.Module, outputs: Any) -> Iterator[None]:
    """Within, a module runs nothing and gives these outputs."""
    own = module.__dict__.get("forward")  # of something else that replaced it, as accelerate's hooks do
    module.forward = lambda *_, **__: outputs
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _label_forwards(head: LabelTokensHead) -> list[tuple[tuple[int, ...], list[int]]]:
    """What is appended in each forward, and the labels that are read there: every label in the first one that fits."""
    forwards: list[tuple[tuple[int, ...], list[int]]] = []
    left = dict(enumerate(head.labels))
    for prefix in head.label_prefixes:
        columns = [at for at, label in left.items() if prefix[: len(label) - 1] == label[:-1]]
        left = {at: label for at, label in left.items() if at not in columns}
        forwards.append((prefix, columns))
    return forwards
