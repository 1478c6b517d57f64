"""Hugging Face models behind the `Backend` protocol: rows of equal length or packed rows, never padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from harness.api.model.backend import (
    Ability,
    ActivationAnswer,
    ActivationItem,
    Differentiated,
    Generated,
    GenerateItem,
    GradientItem,
    LatentAnswer,
    LatentItem,
    LikelihoodAnswer,
    LikelihoodItem,
    Perturbed,
    PerturbItem,
    Relaxed,
    RelaxedItem,
    Sampled,
    SampleItem,
    Scored,
    ScoreItem,
    Target,
    unsupported_request,
)
from harness.api.requests import GradientAnswer
from harness.engine.losses import loss_of
from harness.engine.relaxed_strings import relaxed_answers
from harness.engine.top_substitutions import best_substitutions
from harness.engine.torch.activations.perturbations import Perturbations
from harness.engine.torch.activations.readouts import Readouts
from harness.engine.torch.arrays import to_numpy
from harness.engine.torch.devices import device_names, dtype_name, input_device
from harness.engine.torch.flop_counter import FlopCount, count_parameters
from harness.engine.torch.generation.generator import Generator
from harness.engine.torch.generation.next_tokens import NextTokens
from harness.engine.torch.gradients.embeddings import EmbeddingTable
from harness.engine.torch.gradients.one_hot import OneHotGradients
from harness.engine.torch.gradients.packed import EmbeddingGradient
from harness.engine.torch.heads import ClassificationHead, HeadName, make_head
from harness.engine.torch.loading import context_length
from harness.engine.torch.memory.allocator import keep_freed_memory
from harness.engine.torch.memory.chunks import chunkers
from harness.engine.torch.memory.tokens_from_free_memory import first_chunk
from harness.engine.torch.scoring.candidate_scorer import CandidateScorer
from harness.engine.torch.scoring.full_scorer import FullScorer
from harness.engine.torch.scoring.strategy_names import StrategyChoice
from harness.engine.torch.self_check.backend_check import SelfCheck, check_backend
from harness.engine.torch.token_rows import (
    check_ids,
    check_length,
    check_target,
    group_by_key,
    prompt_row,
    target_length,
    whole_row,
    whole_rows,
)
from harness.errors import AccessError, VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.prompts import chat_of, encode_prompts
from harness.tokens.tokenizer import Floats, Tokenizer, Tokens

_LABELS: frozenset[Ability] = frozenset({"score", "gradient", "perturb", "relaxed", "activations"})
_TEXT: frozenset[Ability] = _LABELS | {"mellowmax", "sample", "generate", "likelihood"}


class TorchBackend:
    """A Hugging Face model with a classification head, label tokens, or answers in text.

    On first use it compares itself with an eager forward (`describe` tells the outcome). The model's parameters are
    frozen and it is put into evaluation mode.

    Attributes: as in `Backend`, and
        model: the wrapped model, on its device.
        executed: coefficients of the executed-compute formula.
        reasoning: as in `ReasoningBackend`; the victim sets it.
    """

    reasoning: tuple[str, str] | None = None

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        head: HeadName = "classification",
        labels: Sequence[str] = (),
        *,
        chunk_tokens: int | None = None,
        check_agreement: bool = True,
        strategy: StrategyChoice = "auto",
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
            strategy: how candidates are scored: by a ``full`` forward; behind a ``copied_prefix``; ``packed`` behind a
                shared prefix; ``packed_reuse``, which shares the current string up to a candidate's first change as
                well; ``auto`` is the first of ``packed_reuse``, ``copied_prefix`` and ``full`` that a self-check on
                first use finds right.

        Raises:
            VictimError: labels and model do not fit together.
        """
        self.model = model.eval()
        model.requires_grad_(False)
        answers = head != "classification"
        self.tokenizer = tokenizer.open_ended() if answers and isinstance(tokenizer, HFTokenizer) else tokenizer
        self.head = make_head(head, model, tokenizer, labels)
        self.n_labels: int = self.head.n_labels
        self.independent_labels = isinstance(self.head, ClassificationHead) and self.head.independent
        self.n_params: int | None
        self.n_params_non_embedding: int | None
        self.n_params, self.n_params_non_embedding = count_parameters(model)
        self.context: int = context_length(model) - self.head.extra
        self.abilities: frozenset[Ability] = _TEXT if head != "classification" else _LABELS
        self._embedding_rows = int(model.get_input_embeddings().weight.shape[0])
        self._device = input_device(model)
        if self._device.type == "cpu":
            keep_freed_memory()
        self._chunkers = chunkers(model, self._device, chunk_tokens or partial(first_chunk, model, self._device))
        self._embedding_table = EmbeddingTable(model)
        self._check_agreement = check_agreement
        self._strategy: StrategyChoice = strategy

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
        _ = self.self_check
        return self._outputs(rows), [self._full_scorer.row_flops(len(row)) for row in rows]

    def begin(self, befores: Sequence[Tokens]) -> None:
        """Remember keys and values of these beginnings of prompts alone; see `CachingBackend`. Raises as `classify`."""
        self.scorer.warm(befores)

    def begin_step(self) -> None:
        """Forget the attack strings that gradients were computed of; see `CachingBackend`."""
        self.scorer.forget_strings()

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Losses of many examples' candidates, packed into shared forwards. Raises as `classify`. Of items that want
        their best alone, others may be screened out by losses in lower precision.

        What an item's losses are does not depend on the other items beyond rounding.
        """
        rows = [self._valid(whole_rows(item), item.target) for item in items]
        scored = []
        for item, (values, executed, bounds) in zip(items, self.scorer.score(items, rows), strict=True):
            outputs = self._full_scorer.without_nan(values)
            logits, losses = outputs[:, : self.n_labels], loss_of(outputs, item.target, item.over)
            if bounds is None:
                scored.append(Scored(logits, losses, executed))
            else:
                exact = np.isnan(bounds)
                scored.append(Scored(logits, np.where(exact, losses, bounds), executed, exact))
        return scored

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """Exact one-hot gradients of many examples, answered together. Raises as `classify`."""
        for item in items:
            self._valid(whole_row(item)[None], item.target)
        gradients = self.gradients.compute(items)
        return [self._substitutions(item, gradient) for item, gradient in zip(items, gradients, strict=True)]

    def perturb(self, items: Sequence[PerturbItem]) -> list[Perturbed]:
        """Losses and gradients of attack strings whose activations are perturbed, answered together. Raises as
        `classify`, and VictimError where a perturbation does not fit the model.
        """
        for item in items:
            self._valid(whole_row(item)[None], item.target)
        return self.perturbations.perturb(items)

    def relaxed(self, items: Sequence[RelaxedItem]) -> list[Relaxed]:
        """Losses and gradients of relaxed strings, answered together. Raises as `perturb`."""
        table = self._embedding_table
        return relaxed_answers(items, self.perturb, table.mixed, table.entries)

    def answer_perturbed(self, items: Sequence[LatentItem]) -> list[LatentAnswer]:
        """Label logits of whole prompts whose activations are perturbed, or loss and answer in text. Raises as
        `perturb`, and as `generate` where the model answers in text.
        """
        rows = [
            prompt_row(ids, self.tokenizer) for ids in encode_prompts(self.tokenizer, [item.asked for item in items])
        ]
        rows = [self._valid(row[None], item.target)[0] for row, item in zip(rows, items, strict=True)]
        answers = self.perturbations.read(items, rows)
        if self.n_labels:
            return answers
        within = [i for i, answer in enumerate(answers) if not answer.beyond]
        texts = self.perturbations.generate([items[i] for i in within], self.generator)
        for i, text in zip(within, texts, strict=True):
            answers[i] = replace(answers[i], said=text, executed=answers[i].executed + text.executed)
        return answers

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Next tokens of many examples' strings, packed into shared forwards. Raises as `classify`.

        Raises:
            AccessError: the model has a classification head.
        """
        self._require("sample")
        for item in items:
            if len(item.strings):
                check_length(len(item.before) + item.strings.shape[1], self.context)
                check_ids(np.concatenate([item.before, item.strings.ravel()]), self._embedding_rows)
                check_ids(item.allowed, self._embedding_rows)
        return self.next_tokens.sample(items)

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """Answers in text; see `Generator.generate`. Raises as `sample`."""
        self._require("generate")
        return self.generator.generate(items)

    def likelihood(self, items: Sequence[LikelihoodItem]) -> list[LikelihoodAnswer]:
        """NLL of each token of whole texts, and gradients where weights are given. Raises as `sample`."""
        self._require("likelihood")
        self._check_rows(items)
        return self.readouts.likelihood(items)

    def activations(self, items: Sequence[ActivationItem]) -> list[ActivationAnswer]:
        """Activations of a layer, and gradients where a direction is given. Raises as `classify`, and VictimError where
        there is no such layer.
        """
        self._check_rows(items)
        return self.readouts.activations(items)

    def describe(self) -> dict[str, object]:
        """Facts for the manifest: dtype, device, head, agreement with an eager forward, library versions."""
        self_check = self.self_check
        return {
            "backend": "torch",
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "architecture": type(self.model).__name__,
            "dtype": dtype_name(self.model.dtype),
            "device": device_names(self.model),
            "head": self.head.name,
            "chat": None if (chat := chat_of(self.tokenizer)) is None else chat.format.facts(),
            "attention": str(self.model.config._attn_implementation),
            "agreement": self_check.to_json() if self_check else None,
            "scoring": self.scorer.to_json(),
            "gradients": self.gradients.to_json(),
            "perturbations": self.perturbations.to_json(),
            "generation": None if self.n_labels else self.generator.decoding.to_json(),
            "chunk_tokens": {kind: chunker.limited for kind, chunker in self._chunkers.items() if chunker.limited},
            "executed_unseen_share": self.executed.unseen_share,
        }

    # -- how it answers: each part is made and checked on first use ----------------------------------------------------

    @cached_property
    def self_check(self) -> SelfCheck | None:
        """Outcome of the comparison with an eager forward, which may change the attention implementation; None when it
        was not asked for.
        """
        if not self._check_agreement:
            return None
        # Without labels, `_outputs` appends a token to each row.
        return check_backend(self.model, self._outputs, self._ordinary_ids, self.context - (not self.n_labels))

    @cached_property
    def scorer(self) -> CandidateScorer:
        """How candidates are scored."""
        _ = self.self_check
        chunker, ordinary_ids = self._chunkers["score"], self._ordinary_ids
        return CandidateScorer(
            self.model, self.head, self._full_scorer, chunker, ordinary_ids, self.context, self._strategy
        )

    @cached_property
    def gradients(self) -> OneHotGradients:
        """How gradients are computed."""
        scorer, chunker = self.scorer, self._chunkers["gradient"]
        return OneHotGradients(self.model, self.head, scorer, chunker, self.executed, self._ordinary_ids, self.context)

    @cached_property
    def perturbations(self) -> Perturbations:
        """How answers to perturbed prompts are computed."""
        executed = self.executed
        return Perturbations(self.model, self.head, self._chunkers, executed, self._ordinary_ids, self.context)

    @cached_property
    def next_tokens(self) -> NextTokens:
        """How next tokens are found."""
        return NextTokens(self.model, self.head, self.scorer, self._chunkers["score"], self.executed)

    @cached_property
    def generator(self) -> Generator:
        """How text is generated."""
        executed, context = self.executed, context_length(self.model)
        return Generator(self.model, self.tokenizer, self._chunkers["generate"], executed, self._ordinary_ids, context)

    @cached_property
    def readouts(self) -> Readouts:
        """How likelihoods and activations are read."""
        return Readouts(self.model, self._chunkers, self.executed, self._embedding_table)

    @property
    def executed(self) -> FlopCount:
        """Coefficients of the executed-compute formula."""
        _ = self.self_check  # may change the attention implementation
        return self._full_scorer.flop_count

    @cached_property
    def _full_scorer(self) -> FullScorer:
        return FullScorer(self.model, self.head, self._chunkers["score"], self._ordinary_ids)

    @cached_property
    def _ordinary_ids(self) -> Tokens:
        """Ids that are not special and have an embedding, sorted."""
        known = min(self._embedding_rows, self.tokenizer.vocabulary)
        ids = [i for i in range(known) if i not in self.tokenizer.special]
        if not ids:
            raise VictimError("the tokenizer has no ordinary token that the model has an embedding for")
        return np.asarray(ids, dtype=np.int64)

    def _outputs(self, rows: Sequence[NDArray[np.int64]]) -> Floats:
        """Outputs of the head [rows, width]; of a backend that answers in text for a target that means nothing."""
        target: Target = 0 if self.n_labels else tuple(self._ordinary_ids[:2].tolist())
        outputs = np.empty((len(rows), self.n_labels or target_length(target)))
        for members in group_by_key([len(row) for row in rows]).values():
            stacked = self._valid(np.stack([rows[i] for i in members]), target)
            outputs[members] = self._full_scorer.outputs(stacked, [target] * len(members))
        return outputs

    def _substitutions(self, item: GradientItem, gradient: EmbeddingGradient) -> Differentiated:
        embeddings = self._embedding_table.embeddings(item.allowed)
        values = (gradient.gradient @ embeddings.T).float().cpu().numpy()
        tokens, chosen = best_substitutions(values, item.allowed, item.top)
        outputs = self._full_scorer.without_nan(to_numpy(gradient.outputs))
        loss = float(loss_of(outputs, item.target, item.over))
        flops = gradient.executed + 2.0 * gradient.gradient.numel() * len(embeddings)
        return Differentiated(GradientAnswer(loss, tokens, chosen), flops)

    # -- what it refuses -----------------------------------------------------------------------------------------------

    def _require(self, ability: Ability) -> None:
        if ability not in self.abilities:
            raise unsupported_request(ability, self.abilities)

    def _valid(self, rows: NDArray[np.int64], target: Target) -> NDArray[np.int64]:
        """Rows of equal length [n, L] that the model takes with this target; raises VictimError for others."""
        check_target(target, self.head.name, self.n_labels)
        if isinstance(target, tuple):
            check_ids(np.asarray(target), self._embedding_rows)
        check_length(rows.shape[1], self.context - (target_length(target) - 1))
        check_ids(rows, self._embedding_rows)
        return rows.astype(np.int64, copy=False)

    def _check_rows(self, items: Sequence[LikelihoodItem | ActivationItem]) -> None:
        for item in items:
            check_length(len(item.row), self.context)
            check_ids(item.row, self._embedding_rows)
