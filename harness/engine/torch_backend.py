"""Hugging Face models behind the `Backend` protocol: rows of equal length or packed rows, never padded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from harness.attack import GradientAnswer
from harness.engine.agreement import Agreement, check
from harness.engine.backend import Differentiated, GradientItem, Scored, ScoreItem
from harness.engine.chunks import Chunker
from harness.engine.devices import default_chunk, dtype_name
from harness.engine.executed import Executed, count_parameters, measure
from harness.engine.heads import HeadName, make_head
from harness.engine.limits import context_length
from harness.engine.loss import cross_entropy
from harness.engine.onehot import EmbeddingTable, best_substitutions, embedding_gradient
from harness.engine.scoring.check import whole_rows
from harness.engine.scoring.paths import PathName, Paths, choose
from harness.errors import VictimError
from harness.tokens.text import Floats, Tokenizer, Tokens


class TorchBackend:
    """A Hugging Face model with a classification head or label tokens.

    On first use it compares itself with an eager forward (`describe` tells the outcome). The model's parameters are
    frozen and it is put into evaluation mode.

    Attributes: as in `Backend`, and
        model: the wrapped model, on its device.
        executed: coefficients of the executed-compute formula.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        head: HeadName = "classification",
        labels: Sequence[str] = (),
        *,
        chunk_tokens: int | None = None,
        check_agreement: bool = True,
        path: PathName = "auto",
    ) -> None:
        """Wrap ``model``.

        Args:
            model: `AutoModelForSequenceClassification` or `AutoModelForCausalLM`, loaded on one device.
            tokenizer: of the model.
            head: ``classification`` or ``label_tokens``.
            labels: label texts in index order, with their leading space; needed for ``label_tokens``.
            chunk_tokens: tokens per forward to begin with; 4,096 on a CPU and 65,536 on a GPU by default.
            check_agreement: compare with an eager forward on first use.
            path: how candidates are scored: ``A`` full forward, ``C`` shared prefix, ``D`` and reuse up to the first
                change; ``auto`` is D where a self-check on first use finds it right, else A.

        Raises:
            VictimError: labels and model do not fit together.
        """
        self.model = model.eval()
        model.requires_grad_(False)
        self.tokenizer = tokenizer
        self.head = make_head(head, model, tokenizer, labels)
        self.n_labels: int = self.head.n_labels
        self.n_params, self.n_params_non_embedding = count_parameters(model)
        self.context: int = context_length(model) - self.head.extra
        self._rows = int(model.get_input_embeddings().weight.shape[0])
        self._device = model.get_input_embeddings().weight.device
        start = chunk_tokens or default_chunk(self._device)
        # A gradient keeps activations, so it runs out of memory at another size than a score.
        self._chunks = {"score": Chunker(start), "gradient": Chunker(start)}
        self._table = EmbeddingTable(model)
        self._check_agreement = check_agreement
        self._path: PathName = path

    # -- what the engine asks ------------------------------------------------------------------------------------------

    def classify(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Floats, list[float]]:
        """Label logits [rows, labels] of whole rows of ids, and the executed FLOPs of each row.

        Raises:
            VictimError: a row that is empty or longer than the context, an id without embedding, logits that are NaN,
                no memory for one row.
        """
        _ = self.agreement
        return self._classify(rows), [self._forward_flops(len(row)) for row in rows]

    def begin(self, befores: Sequence[Tokens]) -> None:
        """See `Remembering`. Raises as `classify`."""
        self.paths.begin(befores)

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Losses of many examples' candidates, packed into shared forwards. Raises as `classify`.

        What an item's losses are does not depend on the other items beyond rounding.
        """
        rows = [self._valid(whole_rows(item)) for item in items]
        answers = self.paths.packed(items, rows)
        rest = [i for i in range(len(items)) if i not in answers]
        for group in _groups(rest, lambda i: rows[i].shape[1]):
            members = [rest[at] for at in group]
            stacked = self._logits(np.concatenate([rows[i] for i in members]))
            ends = np.cumsum([len(rows[i]) for i in members])[:-1]
            for i, own in zip(members, np.split(stacked, ends), strict=True):
                answers[i] = own, len(own) * self._forward_flops(rows[i].shape[1])
        scored = []
        for i, item in enumerate(items):
            logits = self._without_nan(answers[i][0])
            scored.append(Scored(logits, cross_entropy(logits, item.target), answers[i][1]))
        return scored

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """Exact one-hot gradients of many examples; items of equal shape share forwards. Raises as `classify`."""
        _ = self.agreement
        rows = [np.concatenate([item.before, item.tokens, item.after]) for item in items]
        answers: dict[int, Differentiated] = {}
        for group in _groups(items, lambda item: (len(item.before), len(item.tokens), len(item.after))):
            start = len(items[group[0]].before)
            stop = start + len(items[group[0]].tokens)
            stacked = torch.as_tensor(self._valid(np.stack([rows[i] for i in group])))
            targets = torch.as_tensor([items[i].target for i in group])

            def run(
                part: slice,
                ids: torch.Tensor = stacked,
                wanted: torch.Tensor = targets,
                at: int = start,
                to: int = stop,
            ) -> tuple[torch.Tensor, torch.Tensor]:
                inputs = ids[part].to(self._device)
                return embedding_gradient(self.model, self.head, inputs, wanted[part].to(self._device), at, to)

            for part, (logits, grads) in self._chunks["gradient"].map(run, *stacked.shape):
                own = self._finite(logits)
                for offset, i in enumerate(group[part]):
                    answers[i] = self._differentiated(items[i], own[offset : offset + 1], grads[offset], len(rows[i]))
        return [answers[i] for i in range(len(items))]

    def describe(self) -> dict[str, object]:
        """Facts for the manifest: dtype, device, head, agreement with an eager forward, library versions."""
        agreement = self.agreement
        return {
            "backend": "torch",
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "architecture": type(self.model).__name__,
            "dtype": dtype_name(self.model.dtype),
            "device": str(self._device),
            "head": self.head.name,
            "attention": str(self.model.config._attn_implementation),
            "agreement": agreement.to_json() if agreement else None,
            "scoring": self.paths.to_json(),
            "chunk_tokens": {name: chunker.tokens for name, chunker in self._chunks.items()},
            "executed_unseen_share": self.executed.unseen,
        }

    # -- how it answers ------------------------------------------------------------------------------------------------

    @cached_property
    def agreement(self) -> Agreement | None:
        """Outcome of the self-check, run on first use; None when it was not asked for."""
        if not self._check_agreement:
            return None
        return check(self.model, self._classify, self._usable, self.context)

    @cached_property
    def paths(self) -> Paths:
        """How candidates are scored, checked on first use."""
        _ = self.agreement  # may change the attention implementation
        chunker = self._chunks["score"]
        return choose(self.model, self.head, self._logits, chunker, self._usable, self.context, self._path)

    @cached_property
    def executed(self) -> Executed:
        """Coefficients of the executed-compute formula, found once by two tiny forwards."""
        _ = self.agreement  # may change the attention implementation
        ids = torch.as_tensor(np.resize(self._usable, 8)).to(self._device)
        return measure(self.model, lambda rows: self.model(input_ids=rows), ids)

    @cached_property
    def _usable(self) -> Tokens:
        ids = [i for i in range(min(self._rows, self.tokenizer.vocabulary)) if i not in self.tokenizer.special]
        if not ids:
            raise VictimError("the tokenizer has no ordinary token that the model has an embedding for")
        return np.asarray(ids, dtype=np.int64)

    def _classify(self, rows: Sequence[NDArray[np.int64]]) -> Floats:
        logits = np.empty((len(rows), self.n_labels))
        for group in _groups(rows, len):
            logits[group] = self._logits(np.stack([rows[i] for i in group]))
        return logits

    def _logits(self, rows: NDArray[np.int64]) -> Floats:
        """Label logits [n, labels] of rows of equal length [n, L]."""
        ids = torch.as_tensor(self._valid(rows))
        logits = np.empty((len(rows), self.n_labels))

        def run(part: slice) -> torch.Tensor:
            with torch.inference_mode():
                return self.head.logits(self.model, ids[part].to(self._device))

        for part, answer in self._chunks["score"].map(run, len(rows), rows.shape[1]):
            logits[part] = self._finite(answer)
        return logits

    def _valid(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        length = rows.shape[1]
        if not 0 < length <= self.context:
            raise VictimError(
                f"a row of {length} tokens does not fit the model: 1 to {self.context} are possible, none is cut off; "
                "drop long examples or shorten the attack string"
            )
        if rows.size and (rows.min() < 0 or rows.max() >= self._rows):
            raise VictimError(
                f"token ids {rows.min()} to {rows.max()} exceed the model's embedding (0 to {self._rows - 1})"
            )
        return rows.astype(np.int64, copy=False)

    def _finite(self, logits: torch.Tensor) -> Floats:
        return self._without_nan(logits.to("cpu", torch.float64).numpy())

    def _without_nan(self, answer: Floats) -> Floats:
        if np.isnan(answer).any():
            raise VictimError(f"the model answered NaN in {dtype_name(self.model.dtype)}; load it with dtype: float32")
        return answer

    def _differentiated(self, item: GradientItem, logits: Floats, grad: torch.Tensor, length: int) -> Differentiated:
        table = self._table.of(item.allowed)
        values = (grad @ table.T).to("cpu", torch.float64).numpy()
        tokens, chosen = best_substitutions(values, item.allowed, item.top)
        loss = float(cross_entropy(logits[0], item.target))
        passes = sum(self.executed.gradient(*run) for run in self.head.forwards(length))
        return Differentiated(GradientAnswer(loss, tokens, chosen), passes + 2.0 * grad.numel() * len(table))

    def _forward_flops(self, length: int) -> float:
        return sum(self.executed.forward(*run) for run in self.head.forwards(length))


def _groups(things: Sequence[Any], key: Callable[[Any], Hashable]) -> list[list[int]]:
    """Indices of things with equal key, in order of first appearance."""
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for i, thing in enumerate(things):
        groups[key(thing)].append(i)
    return list(groups.values())
