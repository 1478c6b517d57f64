"""A prepared model behind the `Backend` protocol, answered by a vLLM engine in a process of its own.

Every row goes to the engine as it is, unpadded; the prefix cache shares what rows have in common. Log-probabilities
are vLLM's raw ones, before any processing of logits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
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
    refused,
)
from harness.api.requests import SampleAnswer
from harness.engine.losses import loss_of
from harness.engine.sampling import draw_listed
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.generation.generator import ending_ids
from harness.engine.torch.gradients.one_hot import target_width
from harness.engine.torch.heads import ClassificationHead, LabelTokensHead
from harness.engine.torch.scoring.scorer_check import whole_rows
from harness.engine.vllm.engine_options import not_on_one_device, options_of
from harness.engine.vllm.engines import Ask, engine_for, why_unusable
from harness.engine.vllm.flop_costs import EngineFlops
from harness.engine.vllm.self_check import EngineSelfCheck, compare
from harness.errors import AccessError, VictimError
from harness.tokens.tokenizer import Floats, Tokens

_CHOSEN = 128  # ids that vLLM tells the log-probabilities of, by name
_SPARE = 64  # tokens that are asked for beyond those needed, since some may not be drawn
_BATCH = 1024  # rows per message, so that none grows without bound


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
            cache_bytes: for keys and values, see `options_of`.

        Raises:
            VictimError: vLLM is not installed, or there is no model in the folder.
        """
        why = why_unusable() or not_on_one_device(torch.model)
        if why:
            raise VictimError(f"backend vllm: {why}")
        self.folder, self.torch = Path(folder), torch
        self.tokenizer, self.n_labels, self.context = torch.tokenizer, torch.n_labels, torch.context
        self.n_params, self.n_params_non_embedding = torch.n_params, torch.n_params_non_embedding
        self.abilities: frozenset[Ability] = torch.abilities - {"gradient", "perturb"}
        self.options = options_of(self.folder, torch, threads or _threads(), cache_bytes)
        self.longest = self.options.context
        self._engine = engine_for(self.options)
        self._endings = ending_ids(torch.model)
        self._agreed: EngineSelfCheck | None = None

    # -- what the engine asks ------------------------------------------------------------------------------------------

    def begin(self, befores: Sequence[Tokens]) -> None:
        """See `Remembering`: the prefix cache is emptied and the beginnings are computed anew."""
        self._engine.forgive()
        if not self._engine.running and not befores:
            return  # one that is yet to be started has nothing in its cache
        self._ask("reset")
        fitting = [np.asarray(row, dtype=np.int64) for row in befores if 0 < len(row) <= self.longest]
        if fitting:
            self._ask("warm", rows=fitting)

    def begin_step(self) -> None:
        """See `Remembering`: what the cache holds is the same weights' and stays true."""

    def classify(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Floats, list[float]]:
        """Label logits [rows, labels] of whole rows of ids, and the executed FLOPs of each row.

        Raises:
            VictimError: a row that is empty or too long, an id without embedding, logits that are NaN; the engine
                cannot be started, disagrees with torch, or died twice.
            AccessError: the model answers in text.
        """
        if not self.n_labels:
            raise AccessError("this victim answers in text: there are no labels to choose from; use a generation task")
        own = [self._valid(row, 0) for row in rows]
        readings, costs = self._readings(own, [0] * len(own))
        return readings, costs

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Losses of many examples' candidates, answered together. Raises as `classify`."""
        rows: list[Tokens] = []
        targets: list[Target] = []
        for item in items:
            rows += [self._valid(row, item.target) for row in whole_rows(item)]
            targets += [item.target] * len(item.candidates)
        found, costs = self._readings(rows, targets) if rows else (np.empty((0, self.n_labels)), [])
        answers, at = [], 0
        for item in items:
            part = slice(at, at + len(item.candidates))
            width = self.n_labels or target_width(item.target)
            own = np.asarray(found[part], dtype=np.float64).reshape(-1, width)
            answers.append(Scored(own[:, : self.n_labels], loss_of(own, item.target), sum(costs[part])))
            at = part.stop
        return answers

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """Refused: vLLM gives no gradients."""
        raise refused("gradient", self.abilities)

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Next tokens of many examples' strings. Raises as `classify`; AccessError for a classification head."""
        if "sample" not in self.abilities:
            raise refused("sample", self.abilities)
        return [self._sampled(item) for item in items]

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """Answers in text, the same as torch's beyond rounding, drawn ones as well. Raises as `sample`."""
        if "generate" not in self.abilities:
            raise refused("generate", self.abilities)
        rows = [self._prompt(ids) for ids in prompt_ids(items, self.tokenizer)]
        answers: list[Generated] = []
        for part in _batches(len(rows)):
            asked = {
                "rows": rows[part],
                "most": [
                    min(i.max_tokens, self.longest - len(r)) for i, r in zip(items[part], rows[part], strict=True)
                ],
                "temperatures": [item.temperature for item in items[part]],
                "seeds": [item.seed for item in items[part]],
                "endings": list(self._endings),
            }
            new, cached = self._ask("generate", **asked)
            answers += itertools.starmap(self._generated, zip(rows[part], new, cached.tolist(), strict=True))
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
            "agreement": self._agreed.to_json() if self._agreed else None,
            "engine": {
                "starts": self._engine.starts,
                "loads": self._engine.loads,
                "start_seconds": round(self._engine.start_seconds, 1),
            },
        }

    def verify(self, ask: Ask) -> None:
        """Compare the engine, which has just taken these weights, with torch.

        Raises:
            DisagreementError: they do not agree.
        """
        self._agreed = compare(self.torch, lambda rows, targets: self._read(ask, rows, targets)[0], self.longest)

    # -- how it answers ------------------------------------------------------------------------------------------------

    @cached_property
    def _costs(self) -> EngineFlops:
        widths = self._engine.facts.get("head_widths") or [1, 1]
        return EngineFlops(self.torch.executed, widths[1] / widths[0])

    def _ask(self, what: str, **values: Any) -> Any:
        return self._engine.ask(self, what, **values)

    def _readings(self, rows: list[Tokens], targets: list[Target]) -> tuple[Any, list[float]]:
        """What `loss_of` takes: an array [rows, labels], or a list of arrays where targets are texts; and costs."""
        parts = [self._read(self._ask, rows[part], targets[part]) for part in _batches(len(rows))]
        costs = [cost for _, own in parts for cost in own]
        readings: Any = list(itertools.chain.from_iterable(found for found, _ in parts))
        if self.n_labels:
            readings = np.asarray(readings).reshape(-1, self.n_labels)
        if any(np.isnan(own).any() for own in readings):
            raise VictimError(f"vLLM answered NaN in {self.options.dtype}; load the victim with dtype: float32")
        return readings, costs

    def _read(self, ask: Ask, rows: list[Tokens], targets: list[Target]) -> tuple[list[Floats], list[float]]:
        head = self.torch.head
        if isinstance(head, ClassificationHead):
            logits, cached = ask("classify", rows=rows)
            ordered = logits if head.order is None else logits[:, head.order]
            return list(ordered), self._row_costs(rows, cached, 0)
        if isinstance(head, LabelTokensHead):
            labels = head.labels
            if all(len(label) == 1 for label in labels) and len(labels) <= _CHOSEN:
                values, cached = ask("chosen", rows=rows, tokens=[label[0] for label in labels])
                return list(values), self._row_costs(rows, cached, 1)
            each = [row for row in rows for _ in labels]
            found, costs = self._continued(ask, each, labels * len(rows))
            sums = np.asarray([values.sum() for values in found]).reshape(-1, len(labels))
            return list(sums), np.asarray(costs).reshape(-1, len(labels)).sum(1).tolist()
        return self._continued(ask, rows, [t for t in targets if isinstance(t, tuple)])

    def _continued(
        self, ask: Ask, rows: list[Tokens], targets: list[tuple[int, ...]]
    ) -> tuple[list[Floats], list[float]]:
        found, cached = ask("continuation", rows=rows, targets=targets)
        costs = []
        for row, target, known in zip(rows, targets, cached.tolist(), strict=True):
            tokens = len(row) + len(target) - 1
            # Log-probabilities of a prompt are computed at every position that is computed at all.
            costs.append(self._costs.row(tokens, known, tokens - known if len(target) > 1 else 1))
        return found, costs

    def _row_costs(self, rows: list[Tokens], cached: NDArray[np.int64], outputs: int) -> list[float]:
        known = cached.tolist()
        return [self._costs.row(len(row), at, outputs) for row, at in zip(rows, known, strict=True)]

    def _sampled(self, item: SampleItem) -> Sampled:
        rows = [self._valid(np.concatenate([item.before, string]), None) for string in item.strings]
        top = len(item.allowed) if item.top is None else min(item.top, len(item.allowed))
        if not rows or not top:
            shape = (len(rows), min(item.k, top))
            return Sampled(SampleAnswer(np.empty(shape, dtype=np.int64), np.empty(shape)), 0.0)
        vocabulary = self.tokenizer.vocabulary
        count = vocabulary if top == len(item.allowed) else min(vocabulary, 2 * top + _SPARE)
        tokens, values = np.empty((len(rows), top), dtype=np.int64), np.empty((len(rows), top))
        left, spent = list(range(len(rows))), 0.0
        while left:
            short = []
            for part in _batches(len(left)):
                own = left[part]
                ids, log_probs, cached = self._ask("likely", rows=[rows[i] for i in own], top=count)
                spent += sum(self._row_costs([rows[i] for i in own], cached, 1))
                inside = np.isin(ids, item.allowed)
                for at, i in enumerate(own):
                    best = np.flatnonzero(inside[at])[:top]
                    if len(best) < top:
                        short.append(i)
                    else:
                        tokens[i], values[i] = ids[at, best], log_probs[at, best]
            if short and count >= vocabulary:
                raise VictimError("vLLM told no log-probability of some allowed tokens; use backend: torch")
            left, count = short, vocabulary
        if np.isnan(values).any():
            raise VictimError("the model's log-probabilities are NaN; load it with dtype: float32")
        return Sampled(draw_listed(tokens, values, item.k, item.seed), spent)

    def _prompt(self, ids: list[int]) -> Tokens:
        row = np.asarray([*self.tokenizer.left, *ids, *self.tokenizer.right], dtype=np.int64)
        if not len(row):
            raise VictimError("a prompt without tokens: there is nothing to go on from; write at least one character")
        if len(row) >= self.longest:
            raise VictimError(
                f"a prompt of {len(row)} tokens leaves no room for an answer in the {self.longest} tokens that the "
                "engine takes, and none is cut off; shorten the prompt"
            )
        return self._valid(row, None)

    def _generated(self, row: Tokens, new: list[int], cached: int) -> Generated:
        ended = bool(new) and new[-1] in self._endings
        said = new[:-1] if ended else new
        before = row[len(self.tokenizer.left) :].tolist()
        # In context: some decoders drop the space at the beginning of a text.
        whole, prompt = self.tokenizer.decode([[*before, *said], before])
        text = whole[len(prompt) :] if whole.startswith(prompt) else self.tokenizer.decode([said])[0]
        return Generated(text, ended, len(row), len(new), self._costs.answer(len(row), cached, len(new)))

    def _valid(self, row: NDArray[np.int64], target: Target | None) -> Tokens:
        if target is not None and (isinstance(target, int) == (self.n_labels == 0) or target == ()):
            wanted = "label indices" if self.n_labels else "ids of a text (at least one)"
            raise VictimError(f"target {target!r}: this victim (head {self.torch.head.name}) takes {wanted}")
        most = min(self.context, self.longest) - (len(target) - 1 if isinstance(target, tuple) else 0)
        if not 0 < len(row) <= most:
            raise VictimError(
                f"a row of {len(row)} tokens does not fit the model: 1 to {most} are possible, none is cut off; "
                "drop long examples or shorten the attack string"
            )
        ids = row if not isinstance(target, tuple) else np.concatenate([row, target])
        rows = int(self.torch.model.get_input_embeddings().weight.shape[0])
        if ids.min() < 0 or ids.max() >= rows:
            raise VictimError(f"token ids {ids.min()} to {ids.max()} exceed the model's embedding (0 to {rows - 1})")
        return np.asarray(row, dtype=np.int64)


def _batches(count: int) -> list[slice]:
    return [slice(at, min(at + _BATCH, count)) for at in range(0, count, _BATCH)]


def _threads() -> int:
    import torch

    return torch.get_num_threads()
