"""A torch backend and a vLLM backend of one checkpoint as one backend; gradients are always torch's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import (
    ActivationAnswer,
    ActivationItem,
    Backend,
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
    prompt_ids,
)
from harness.engine.dispatch.speed_measurement import (
    BackendName,
    Calibration,
    RequestType,
    calibration_file,
    conditions,
    measure,
    read_calibration,
    write_calibration,
)
from harness.engine.torch.backend import TorchBackend
from harness.engine.vllm.backend import VLLMBackend
from harness.engine.vllm.engine_options import why_not_on_one_device
from harness.engine.vllm.engines import vllm_version, why_unusable
from harness.engine.vllm.self_check import DisagreementError
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats, Tokens


class DispatchBackend:
    """Answers each sort of request by torch or by vLLM.

    ``vllm``: everything by vLLM but gradients, perturbations and what defenses read off the model, which are torch's.
    ``auto``: each sort by whichever was found faster (see `harness.engine.dispatch.speed_measurement`); by torch alone
    where vLLM is missing or does not start, which `describe` tells.
    Rows that are longer than the engine's cache has room for go to torch.

    Attributes: as in `Backend`, and
        torch: answers gradients, and knows the model.
        note: why vLLM answers nothing, or "".
        reasoning: as in `ReasoningBackend`; the victim sets it.
    """

    reasoning: tuple[str, str] | None = None

    def __init__(self, folder: Path | str, torch: TorchBackend, backend: Literal["vllm", "auto"]) -> None:
        """Stand ready; no engine is started.

        Raises:
            VictimError: ``vllm``, and vLLM is not installed.
        """
        self.torch, self.requested, self.note = torch, backend, ""
        self._folder = Path(folder)
        self._vllm: VLLMBackend | None = None
        why = why_unusable() or why_not_on_one_device(torch.model)
        if backend == "auto" and why:
            self.note = f"torch answers everything: {why}"
        else:
            self._vllm = VLLMBackend(folder, torch)
        self.tokenizer, self.n_labels, self.context = torch.tokenizer, torch.n_labels, torch.context
        self.independent_labels = torch.independent_labels
        self.n_params, self.n_params_non_embedding = torch.n_params, torch.n_params_non_embedding
        self.abilities = torch.abilities

    # -- what the engine asks ------------------------------------------------------------------------------------------

    def begin(self, befores: Sequence[Tokens]) -> None:
        """See `CachingBackend`."""
        self.torch.begin(befores)
        if self._vllm is not None and "vllm" in self.routes.values():
            self._vllm.begin(befores)

    def begin_step(self) -> None:
        """See `CachingBackend`."""
        self.torch.begin_step()

    def classify(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Floats, list[float]]:
        """See `Backend`."""
        return self._backend_for("classify", map(len, rows)).classify(rows)

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """See `Backend`."""
        lengths = (len(i.before) + i.candidates.shape[1] + len(i.after) + _width(i) - 1 for i in items)
        return self._backend_for("score", lengths).score(items)

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """See `Backend`; torch's."""
        return self.torch.gradient(items)

    def perturb(self, items: Sequence[PerturbItem]) -> list[Perturbed]:
        """See `Perturbable`; torch's."""
        return self.torch.perturb(items)

    def relaxed(self, items: Sequence[RelaxedItem]) -> list[Relaxed]:
        """See `RelaxedBackend`; torch's."""
        return self.torch.relaxed(items)

    def answer_perturbed(self, items: Sequence[LatentItem]) -> list[LatentAnswer]:
        """See `Perturbable`; torch's."""
        return self.torch.answer_perturbed(items)

    def likelihood(self, items: Sequence[LikelihoodItem]) -> list[LikelihoodAnswer]:
        """See `LikelihoodBackend`; torch's."""
        return self.torch.likelihood(items)

    def activations(self, items: Sequence[ActivationItem]) -> list[ActivationAnswer]:
        """See `ActivationBackend`; torch's."""
        return self.torch.activations(items)

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """See `Backend`."""
        return self._backend_for("sample", (len(i.before) + i.strings.shape[1] for i in items)).sample(items)

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """See `Backend`."""
        if self._backend_for("generate", ()) is self.torch:
            return self.torch.generate(items)
        around = len(self.tokenizer.left) + len(self.tokenizer.right)
        prompts = prompt_ids(items, self.tokenizer)
        lengths = (len(ids) + around + item.max_tokens for ids, item in zip(prompts, items, strict=True))
        # An answer may be cut at the end of the context, but not at the end of the engine's cache.
        return self._backend_for("generate", (min(n, self.torch.context) for n in lengths)).generate(items)

    def describe(self) -> dict[str, object]:
        """Facts for the manifest: torch's, and under ``vllm`` the engine's, with who answers what."""
        facts = self.torch.describe() | {"backend": self.requested, "routes": {"gradient": "torch"} | self.routes}
        if self.note:
            facts["note"] = self.note
        if self.requested == "auto" and self._vllm is not None and not self.note:
            facts["calibration"] = {
                request_type: {name: round(value, 6) for name, value in seconds.items()}
                for request_type, seconds in self.calibration.seconds.items()
            }
        if self._vllm is not None:
            facts["vllm"] = self._vllm.describe()
        return facts

    # -- who answers ---------------------------------------------------------------------------------------------------

    @cached_property
    def routes(self) -> dict[RequestType, BackendName]:
        """Who answers each sort of request."""
        if self._vllm is None:
            return dict.fromkeys(self._request_types, "torch")
        if self.requested == "vllm":
            return dict.fromkeys(self._request_types, "vllm")
        try:
            return {request_type: self.calibration.route(request_type) for request_type in self._request_types}
        except DisagreementError:
            raise
        except VictimError as error:
            self.note = f"torch answers everything: {error}"
            return dict.fromkeys(self._request_types, "torch")

    @cached_property
    def calibration(self) -> Calibration:
        """Times of both, from the victim's file or measured now.

        Raises:
            VictimError: the engine cannot be used.
        """
        assert self._vllm is not None
        of = conditions(self.torch.head.name, asdict(self._vllm.options), vllm_version())
        place = calibration_file(self._folder, of)
        found = read_calibration(place, of, self._request_types) if place else None
        if found is None:
            special = self.tokenizer.special
            usable = np.asarray([i for i in range(self.tokenizer.vocabulary) if i not in special], dtype=np.int64)
            both: dict[BackendName, Backend] = {"torch": self.torch, "vllm": self._vllm}
            found = Calibration(of=of, seconds=measure(both, usable, self._request_types))
            if place:
                write_calibration(place, found)
        return found

    @property
    def _request_types(self) -> list[RequestType]:
        found: list[RequestType] = ["classify"] if self.n_labels else []
        wanted: tuple[RequestType, ...] = ("score", "sample", "generate")
        return found + [request_type for request_type in wanted if request_type in self.abilities]

    def _backend_for(self, request_type: RequestType, lengths: Iterable[int]) -> Backend:
        """Who answers rows of these lengths."""
        if self._vllm is None or self.routes.get(request_type) != "vllm":
            return self.torch
        return self._vllm if max(lengths, default=0) <= self._vllm.longest else self.torch


def _width(item: ScoreItem) -> int:
    return len(item.target) if isinstance(item.target, tuple) else 1
