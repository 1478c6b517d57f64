"""Hugging Face models behind the `Backend` protocol: rows of equal length or packed rows, never padded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from harness.api.model.backend import (
    Ability,
    ActivationItem,
    Activity,
    Differentiated,
    Generated,
    GenerateItem,
    GradientItem,
    LatentAnswer,
    LatentItem,
    LikelihoodItem,
    Likelihoods,
    Perturbed,
    PerturbItem,
    Sampled,
    SampleItem,
    Scored,
    ScoreItem,
    Target,
    refused,
)
from harness.api.requests import GradientAnswer
from harness.engine.losses import loss_of
from harness.engine.top_substitutions import best_substitutions
from harness.engine.torch.activations.perturbations import Perturbations
from harness.engine.torch.activations.readouts import Readouts
from harness.engine.torch.devices import dtype_name, input_device, place_names
from harness.engine.torch.flop_counter import FlopCount, count_parameters, measure
from harness.engine.torch.generation.generator import Generator
from harness.engine.torch.generation.next_tokens import NextTokens
from harness.engine.torch.gradients.embeddings import EmbeddingTable
from harness.engine.torch.gradients.one_hot import Gradients, target_width, whole_row
from harness.engine.torch.gradients.packed import PackedGradient
from harness.engine.torch.heads import HeadName, make_head
from harness.engine.torch.loading import context_length
from harness.engine.torch.memory.allocator import keep_freed_memory
from harness.engine.torch.memory.chunks import chunkers
from harness.engine.torch.memory.first_chunk import first_chunk
from harness.engine.torch.scoring.scorer_check import whole_rows
from harness.engine.torch.scoring.strategy import PathName, Strategies, choose
from harness.engine.torch.self_check.backend_check import SelfCheck, check
from harness.errors import AccessError, VictimError
from harness.tokens.tokenizer import Floats, Tokenizer, Tokens

_LABELS: frozenset[Ability] = frozenset({"score", "gradient", "perturb", "activations"})
_TEXT: frozenset[Ability] = _LABELS | {"sample", "generate", "likelihood"}


class TorchBackend:
    """A Hugging Face model with a classification head, label tokens, or answers in text.

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
            head: ``classification``, ``label_tokens`` or ``generation``.
            labels: label texts in index order, with their leading space; needed for ``label_tokens``.
            chunk_tokens: tokens per forward to begin with; by default what fits into free memory, at most 2,048 to
                8,192 on a CPU and 65,536 on a GPU.
            check_agreement: compare with an eager forward on first use.
            path: how candidates are scored: ``A`` full forward, ``C`` shared prefix, ``D`` and reuse up to the first
                change, ``B`` copied prefix; ``auto`` is the first of D, B and A that a self-check on first use finds
                right.

        Raises:
            VictimError: labels and model do not fit together.
        """
        self.model = model.eval()
        model.requires_grad_(False)
        self.tokenizer = tokenizer
        self.head = make_head(head, model, tokenizer, labels)
        self.n_labels: int = self.head.n_labels
        self.n_params: int | None
        self.n_params_non_embedding: int | None
        self.n_params, self.n_params_non_embedding = count_parameters(model)
        self.context: int = context_length(model) - self.head.extra
        self.abilities: frozenset[Ability] = _TEXT if head != "classification" else _LABELS
        self._rows = int(model.get_input_embeddings().weight.shape[0])
        self._device = input_device(model)
        if self._device.type == "cpu":
            keep_freed_memory()
        self._chunks = chunkers(model, self._device, chunk_tokens or partial(first_chunk, model, self._device))
        self._table = EmbeddingTable(model)
        self._check_agreement = check_agreement
        self._path: PathName = path

    # -- what the engine asks ------------------------------------------------------------------------------------------

    def classify(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Floats, list[float]]:
        """Label logits [rows, labels] of whole rows of ids, and the executed FLOPs of each row.

        Raises:
            VictimError: a row that is empty or longer than the context, an id without embedding, logits that are NaN,
                no memory for one row.
            AccessError: the model answers in text.
        """
        if not self.n_labels:
            raise AccessError("this victim answers in text: there are no labels to choose from; use a generation task")
        _ = self.agreement
        return self._read(rows), [self._forward_flops(len(row)) for row in rows]

    def begin(self, befores: Sequence[Tokens]) -> None:
        """See `Remembering`. Raises as `classify`."""
        self.paths.begin(befores)

    def begin_step(self) -> None:
        """See `Remembering`."""
        self.paths.begin_step()

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Losses of many examples' candidates, packed into shared forwards. Raises as `classify`.

        What an item's losses are does not depend on the other items beyond rounding.
        """
        rows = [self._valid(whole_rows(item), item.target) for item in items]
        answers = self.paths.shared(items, rows)
        rest = [i for i in range(len(items)) if i not in answers]
        for group in _groups(rest, lambda i: (rows[i].shape[1], target_width(items[i].target))):
            members = [rest[at] for at in group]
            stacked = np.concatenate([rows[i] for i in members])
            readings = self._readings(stacked, [items[i].target for i in members for _ in rows[i]])
            ends = np.cumsum([len(rows[i]) for i in members])[:-1]
            for i, own in zip(members, np.split(readings, ends), strict=True):
                answers[i] = own, len(own) * self._forward_flops(rows[i].shape[1], items[i].target)
        scored = []
        for i, item in enumerate(items):
            readings = self._without_nan(answers[i][0])
            scored.append(Scored(readings[:, : self.n_labels], loss_of(readings, item.target), answers[i][1]))
        return scored

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """Exact one-hot gradients of many examples, answered together. Raises as `classify`."""
        for item in items:
            self._valid(whole_row(item)[None], item.target)
        slopes = self.gradients.of(items)
        return [self._substitutions(item, slope) for item, slope in zip(items, slopes, strict=True)]

    def perturb(self, items: Sequence[PerturbItem]) -> list[Perturbed]:
        """See `Perturbable`. Raises as `classify`, and VictimError where a perturbation does not fit the model."""
        for item in items:
            self._valid(whole_row(item)[None], item.target)
        return self.perturbations.perturb(items)

    def answer_perturbed(self, items: Sequence[LatentItem]) -> list[LatentAnswer]:
        """See `Perturbable`. Raises as `perturb`, and as `generate` where the model answers in text."""
        around = self.tokenizer.left, self.tokenizer.right
        rows = [
            np.asarray([*around[0], *ids, *around[1]], dtype=np.int64)
            for ids in self.tokenizer.encode([item.prompt for item in items])
        ]
        rows = [self._valid(row[None], item.target)[0] for row, item in zip(rows, items, strict=True)]
        answers = self.perturbations.read(items, rows)
        if self.n_labels:
            return answers
        within = [i for i, answer in enumerate(answers) if not answer.beyond]
        for i, said in zip(within, self.perturbations.say([items[i] for i in within], self.generator), strict=True):
            answers[i] = replace(answers[i], said=said, executed=answers[i].executed + said.executed)
        return answers

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Next tokens of many examples' strings, packed into shared forwards. Raises as `classify`.

        Raises:
            AccessError: the model has a classification head.
        """
        if "sample" not in self.abilities:
            raise refused("sample", self.abilities)
        for item in items:
            if len(item.strings):
                self._valid_length(len(item.before) + item.strings.shape[1], self.context)
                self._valid_ids(np.concatenate([item.before, item.strings.ravel()]))
                self._valid_ids(item.allowed)
        return self.next_tokens.sample(items)

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """Answers in text; see `Generator.generate`. Raises as `sample`."""
        if "generate" not in self.abilities:
            raise refused("generate", self.abilities)
        return self.generator.generate(items)

    def likelihood(self, items: Sequence[LikelihoodItem]) -> list[Likelihoods]:
        """See `Likely`. Raises as `sample`."""
        if "likelihood" not in self.abilities:
            raise refused("likelihood", self.abilities)
        for item in items:
            self._valid_length(len(item.row), self.context)
            self._valid_ids(item.row)
        return self.probes.likelihood(items)

    def activations(self, items: Sequence[ActivationItem]) -> list[Activity]:
        """See `Activated`. Raises as `classify`, and VictimError where there is no such layer."""
        for item in items:
            self._valid_length(len(item.row), self.context)
            self._valid_ids(item.row)
        return self.probes.activations(items)

    def describe(self) -> dict[str, object]:
        """Facts for the manifest: dtype, device, head, agreement with an eager forward, library versions."""
        agreement = self.agreement
        return {
            "backend": "torch",
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "architecture": type(self.model).__name__,
            "dtype": dtype_name(self.model.dtype),
            "device": place_names(self.model),
            "head": self.head.name,
            "attention": str(self.model.config._attn_implementation),
            "agreement": agreement.to_json() if agreement else None,
            "scoring": self.paths.to_json(),
            "gradients": self.gradients.to_json(),
            "perturbations": self.perturbations.to_json(),
            "generation": None if self.n_labels else self.generator.decoding.to_json(),
            "chunk_tokens": {kind: chunker.halved for kind, chunker in self._chunks.items() if chunker.halved},
            "executed_unseen_share": self.executed.unseen,
        }

    # -- how it answers ------------------------------------------------------------------------------------------------

    @cached_property
    def agreement(self) -> SelfCheck | None:
        """Outcome of the self-check, run on first use; None when it was not asked for."""
        if not self._check_agreement:
            return None
        # Without labels, `_read` appends a token to each row.
        return check(self.model, self._read, self._usable, self.context - (not self.n_labels))

    @cached_property
    def paths(self) -> Strategies:
        """How candidates are scored, checked on first use."""
        _ = self.agreement  # may change the attention implementation
        chunker = self._chunks["score"]
        return choose(self.model, self.head, self._plain, chunker, self._usable, self.context, self._path)

    @cached_property
    def gradients(self) -> Gradients:
        """How gradients are computed, checked on first use."""
        paths, chunker = self.paths, self._chunks["gradient"]
        return Gradients(self.model, self.head, paths, chunker, self.executed, self._usable, self.context)

    @cached_property
    def perturbations(self) -> Perturbations:
        """How answers to perturbed prompts are computed, checked on first use."""
        executed = self.executed  # may change the attention implementation
        return Perturbations(self.model, self.head, self._chunks, executed, self._usable, self.context)

    @cached_property
    def next_tokens(self) -> NextTokens:
        """How next tokens are found."""
        return NextTokens(self.model, self.head, self.paths, self._chunks["score"], self.executed)

    @cached_property
    def generator(self) -> Generator:
        """How text is generated, checked on first use."""
        executed = self.executed  # may change the attention implementation
        return Generator(
            self.model, self.tokenizer, self._chunks["generate"], executed, self._usable, context_length(self.model)
        )

    @cached_property
    def probes(self) -> Readouts:
        """How likelihoods and activations are read."""
        return Readouts(self.model, self._chunks, self.executed, self._table)

    @cached_property
    def executed(self) -> FlopCount:
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

    def _read(self, rows: Sequence[NDArray[np.int64]]) -> Floats:
        """Readings of whole rows, [rows, width]; of a backend that answers in text for a target that means nothing."""
        target: Target = 0 if self.n_labels else tuple(self._usable[:2].tolist())
        readings = np.empty((len(rows), self.n_labels or target_width(target)))
        for group in _groups(rows, len):
            readings[group] = self._plain(np.stack([rows[i] for i in group]), target)
        return readings

    def _plain(self, rows: NDArray[np.int64], target: Target) -> Floats:
        """Readings [n, width] of rows of equal length [n, L] by full forwards."""
        return self._readings(self._valid(rows, target), [target] * len(rows))

    def _readings(self, rows: NDArray[np.int64], targets: Sequence[Target]) -> Floats:
        """The same for valid rows with a target each, all of one width."""
        ids, wanted = torch.as_tensor(rows), torch.as_tensor(targets)
        readings = np.empty((len(rows), self.n_labels or (target_width(targets[0]) if targets else 1)))

        def run(part: slice) -> torch.Tensor:
            with torch.inference_mode():
                return self.head.readings(self.model, ids[part].to(self._device), wanted[part].to(self._device))

        for part, answer in self._chunks["score"].map(run, len(rows), rows.shape[1]):
            readings[part] = self._finite(answer)
        return readings

    def _valid(self, rows: NDArray[np.int64], target: Target) -> NDArray[np.int64]:
        if isinstance(target, int) == (self.n_labels == 0) or target == ():
            wanted = "label indices" if self.n_labels else "ids of a text (at least one)"
            raise VictimError(f"target {target!r}: this victim (head {self.head.name}) takes {wanted}")
        if isinstance(target, tuple):
            self._valid_ids(np.asarray(target))
        length, most = rows.shape[1], self.context - (target_width(target) - 1)
        self._valid_length(length, most)
        self._valid_ids(rows)
        return rows.astype(np.int64, copy=False)

    @staticmethod
    def _valid_length(length: int, most: int) -> None:
        if not 0 < length <= most:
            raise VictimError(
                f"a row of {length} tokens does not fit the model: 1 to {most} are possible, none is cut off; "
                "drop long examples or shorten the attack string"
            )

    def _valid_ids(self, rows: NDArray[np.int64]) -> None:
        if rows.size and (rows.min() < 0 or rows.max() >= self._rows):
            raise VictimError(
                f"token ids {rows.min()} to {rows.max()} exceed the model's embedding (0 to {self._rows - 1})"
            )

    def _finite(self, logits: torch.Tensor) -> Floats:
        return self._without_nan(logits.to("cpu", torch.float64).numpy())

    def _without_nan(self, answer: Floats) -> Floats:
        if np.isnan(answer).any():
            raise VictimError(f"the model answered NaN in {dtype_name(self.model.dtype)}; load it with dtype: float32")
        return answer

    def _substitutions(self, item: GradientItem, slope: PackedGradient) -> Differentiated:
        table = self._table.of(item.allowed)
        values = (slope.gradient @ table.T).float().cpu().numpy()
        tokens, chosen = best_substitutions(values, item.allowed, item.top)
        loss = float(loss_of(self._finite(slope.readings), item.target))
        flops = slope.executed + 2.0 * slope.gradient.numel() * len(table)
        return Differentiated(GradientAnswer(loss, tokens, chosen), flops)

    def _forward_flops(self, length: int, target: Target = 0) -> float:
        return sum(self.executed.forward(*run) for run in self.head.forwards(length, target))


def _groups(things: Sequence[Any], key: Callable[[Any], Hashable]) -> list[list[int]]:
    """Indices of things with equal key, in order of first appearance."""
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for i, thing in enumerate(things):
        groups[key(thing)].append(i)
    return list(groups.values())
