"""A prepared model behind the `Backend` protocol, answered by a vLLM engine in a process of its own.

Every row goes to the engine as it is, unpadded; the prefix cache shares what rows have in common. Log-probabilities
are vLLM's raw ones, before any processing of logits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import (
    Ability,
    Differentiated,
    Generated,
    GenerateItem,
    GradientItem,
    Sampled,
    SampleItem,
    Scored,
    ScoreItem,
    Target,
    prompt_ids,
    unsupported_request,
)
from harness.engine.losses import loss_of
from harness.engine.threads import threads_around
from harness.engine.torch.arrays import nan_error
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.generation.answer_text import answer_text
from harness.engine.torch.generation.generator import ending_ids
from harness.engine.torch.token_rows import (
    check_ids,
    check_length,
    check_room_for_answer,
    check_target,
    prompt_row,
    target_length,
    whole_rows,
)
from harness.engine.vllm.engine_options import engine_options, why_not_on_one_device
from harness.engine.vllm.engines import CallEngine, engine_for, why_unusable
from harness.engine.vllm.head_outputs import EngineHeadReader
from harness.engine.vllm.message_size import message_slices
from harness.engine.vllm.next_tokens import sample_next_tokens
from harness.engine.vllm.self_check import EngineSelfCheck, check_engine
from harness.errors import AccessError, VictimError
from harness.tokens.tokenizer import Floats, Tokens


class VLLMBackend:
    """The model of a folder, answered by vLLM; gradients are refused.

    The engine is started on first use; checkpoints of one shape take turns in it. Each time it takes these weights, it
    is compared with the torch backend on a few random rows.

    Attributes: as in `Backend`, and
        folder: in hub layout.
        torch: the same checkpoint in torch, which knows its tokenizer, its head and what a forward costs.
        longest: tokens of the longest row that the engine takes; below the model's context where its cache would
            take too much memory.
    """

    def __init__(
        self, folder: Path | str, torch: TorchBackend, *, threads: int | None = None, cache_bytes: int | None = None
    ) -> None:
        """Stand ready; nothing is started.

        Args:
            threads: of matrix products on a CPU; by default as many as torch uses.
            cache_bytes: for keys and values, see `engine_options`.

        Raises:
            VictimError: vLLM is not installed, or there is no model in the folder.
        """
        why = why_unusable() or why_not_on_one_device(torch.model)
        if why:
            raise VictimError(f"backend vllm: {why}")
        self.folder, self.torch = Path(folder), torch
        self.tokenizer, self.n_labels, self.context = torch.tokenizer, torch.n_labels, torch.context
        self.independent_labels = torch.independent_labels
        self.n_params, self.n_params_non_embedding = torch.n_params, torch.n_params_non_embedding
        self.abilities: frozenset[Ability] = torch.abilities - {"gradient", "perturb", "relaxed"}
        self.options = engine_options(self.folder, torch, threads or threads_around(), cache_bytes)
        self.longest = self.options.context
        self._engine = engine_for(self.options)
        self._reader = EngineHeadReader(torch, self._engine)
        self._endings = ending_ids(torch.model)
        self._embedding_rows = int(torch.model.get_input_embeddings().weight.shape[0])
        self._self_check: EngineSelfCheck | None = None

    # -- what the engine asks ------------------------------------------------------------------------------------------

    def begin(self, befores: Sequence[Tokens]) -> None:
        """Empty the prefix cache and compute these beginnings of prompts again; see `CachingBackend`."""
        self._engine.reset_deaths()
        if not self._engine.running and not befores:
            return  # one that is yet to be started has nothing in its cache
        self._call("reset")
        fitting = [np.asarray(row, dtype=np.int64) for row in befores if 0 < len(row) <= self.longest]
        if fitting:
            self._call("warm", rows=fitting)

    def begin_step(self) -> None:
        """Forget nothing: what the prefix cache holds is the same weights' and stays true; see `CachingBackend`."""

    def classify(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Floats, list[float]]:
        """Label logits [rows, labels] of whole rows of ids, and the executed FLOPs of each row.

        Raises:
            VictimError: a row that is empty or too long, an id without embedding, logits that are NaN; the engine
                cannot be started, disagrees with torch, or died twice.
            AccessError: the model answers in text.
        """
        if not self.n_labels:
            raise AccessError("this victim answers in text: there are no labels to choose from; use a generation task")
        valid = [self._valid(row, 0) for row in rows]
        outputs, flops = self._outputs(valid, [0] * len(valid))
        return np.asarray(outputs, dtype=np.float64).reshape(-1, self.n_labels), flops

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Losses of many examples' candidates, answered together. Raises as `classify`."""
        rows: list[Tokens] = []
        targets: list[Target] = []
        for item in items:
            rows += [self._valid(row, item.target) for row in whole_rows(item)]
            targets += [item.target] * len(item.candidates)
        outputs, flops = self._outputs(rows, targets) if rows else ([], [])
        answers, at = [], 0
        for item in items:
            part = slice(at, at + len(item.candidates))
            width = self.n_labels or target_length(item.target)
            values = np.asarray(outputs[part], dtype=np.float64).reshape(-1, width)
            losses = loss_of(values, item.target, item.over)
            answers.append(Scored(values[:, : self.n_labels], losses, sum(flops[part])))
            at = part.stop
        return answers

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """Refused: vLLM gives no gradients."""
        raise unsupported_request("gradient", self.abilities)

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Next tokens of many examples' strings. Raises as `classify`; AccessError for a classification head."""
        if "sample" not in self.abilities:
            raise unsupported_request("sample", self.abilities)
        answers = []
        for item in items:
            rows = [self._valid(np.concatenate([item.before, string]), None) for string in item.strings]
            vocabulary, dtype = self.tokenizer.vocabulary, self.options.dtype
            answers.append(sample_next_tokens(self._call, self._reader, item, rows, vocabulary, dtype))
        return answers

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """Answers in text, the same as torch's beyond rounding, drawn ones as well. Raises as `sample`."""
        if "generate" not in self.abilities:
            raise unsupported_request("generate", self.abilities)
        rows = [self._prompt(ids) for ids in prompt_ids(items, self.tokenizer)]
        answers: list[Generated] = []
        for part in message_slices(len(rows)):
            limits = [
                min(item.max_tokens, self.longest - len(row)) for item, row in zip(items[part], rows[part], strict=True)
            ]
            new_ids, cached = self._call(
                "generate",
                rows=rows[part],
                max_new_tokens=limits,
                draws=[
                    (item.seed, float(item.temperature), float(item.top_p)) if item.temperature > 0 else None
                    for item in items[part]
                ],
                endings=list(self._endings),
            )
            answers += itertools.starmap(self._generated, zip(rows[part], new_ids, cached.tolist(), strict=True))
        return answers

    def describe(self) -> dict[str, object]:
        """Facts for the manifest; engine facts only once it was used."""
        facts = self._engine.facts
        return {
            "backend": "vllm",
            "vllm": facts.get("vllm"),
            "platform": facts.get("platform"),
            "dtype": self.options.dtype,
            "device": self.options.device,
            "head": self.torch.head.name,
            "longest": self.longest,
            "cache_bytes": self.options.cache_bytes,
            "prefix_cache": facts.get("prefix_cache"),
            "agreement": self._self_check.to_json() if self._self_check else None,
            "engine": {
                "starts": self._engine.starts,
                "loads": self._engine.loads,
                "start_seconds": round(self._engine.start_seconds, 1),
            },
        }

    def verify(self, call: CallEngine) -> None:
        """Compare the engine, which has just taken these weights, with torch.

        Raises:
            DisagreementError: they do not agree.
        """
        self._self_check = check_engine(
            self.torch, lambda rows, targets: self._reader.read(call, rows, targets)[0], self.longest
        )

    # -- how it answers ------------------------------------------------------------------------------------------------

    def _call(self, name: str, **values: Any) -> Any:
        return self._engine.call(self, name, **values)

    def _outputs(self, rows: list[Tokens], targets: list[Target]) -> tuple[list[Floats], list[float]]:
        """Outputs of the head and executed FLOPs of each row, see `EngineHeadReader.read`."""
        outputs: list[Floats] = []
        flops: list[float] = []
        for part in message_slices(len(rows)):
            more_outputs, more_flops = self._reader.read(self._call, rows[part], targets[part])
            outputs += more_outputs
            flops += more_flops
        if any(np.isnan(values).any() for values in outputs):
            raise nan_error("vLLM answered NaN", self.options.dtype)
        return outputs, flops

    def _generated(self, row: Tokens, new_ids: list[int], cached: int) -> Generated:
        ended = bool(new_ids) and new_ids[-1] in self._endings
        text = answer_text(self.tokenizer, row, new_ids[:-1] if ended else new_ids)
        executed = self._reader.flops.answer(len(row), cached, len(new_ids))
        return Generated(text, ended, len(row), len(new_ids), executed)

    def _prompt(self, ids: list[int]) -> Tokens:
        row = prompt_row(ids, self.tokenizer)
        check_room_for_answer(len(row), self.longest, f"the {self.longest} tokens that the engine takes")
        return self._valid(row, None)

    def _valid(self, row: NDArray[np.int64], target: Target | None) -> Tokens:
        """A row that model and engine take, with its target if it has one; raises VictimError for others."""
        longest = min(self.context, self.longest)
        if target is not None:
            check_target(target, self.torch.head.name, self.n_labels)
        if isinstance(target, tuple):
            longest -= len(target) - 1
            check_ids(np.asarray(target), self._embedding_rows)
        check_length(len(row), longest)
        check_ids(row, self._embedding_rows)
        return np.asarray(row, dtype=np.int64)
