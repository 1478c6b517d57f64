"""The ways to score that a benchmark compares: a backend for each, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast

from harness.api.model.backend import Backend
from harness.bench.model import BenchModel
from harness.bench.workload import WorkloadShape, score_items
from harness.engine.dispatch.backend import DispatchBackend
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.scoring.strategy_names import LETTERS, StrategyChoice, StrategyName, strategy_named
from harness.engine.vllm.engines import end_engines, why_unusable
from harness.errors import HarnessError, RunError

PathName = StrategyName | Literal["auto", "vllm"]


@dataclass(frozen=True)
class BenchBackend:
    """A way to score that works here.

    Attributes:
        requested: what was asked for: a strategy, ``auto`` or ``vllm``.
        path: what it came to: the same, or the strategy that ``auto`` chose.
        scratch: a folder that goes with it.
    """

    requested: PathName
    path: PathName
    backend: Backend
    scratch: TemporaryDirectory[str] | None = None


def parse_paths(texts: Sequence[str]) -> list[PathName]:
    """The ways to score of these names or letters, each once; all but ``auto`` where there are none.

    Raises:
        RunError: one that is not known.
    """
    paths: list[PathName] = []
    for text in texts:
        path = text if text in ("auto", "vllm") else strategy_named(text)
        if path is None:
            known = ", ".join(f"{name} ({letter})" for name, letter in LETTERS.items())
            raise RunError(f"--path {text}: no such path; write one of auto, {known}, vllm")
        paths.append(cast(PathName, path))
    return list(dict.fromkeys(paths)) or [*LETTERS, "vllm"]


def path_code(path: PathName) -> str:
    """What a path is called in JSON: a strategy by its letter, as in a run's records."""
    return LETTERS.get(cast(StrategyName, path), path)


def open_backends(model: BenchModel, paths: Sequence[PathName]) -> tuple[list[BenchBackend], dict[PathName, str]]:
    """Backends of these paths that work; and of the others, by name, why they are left out.

    Raises:
        RunError: none works.
    """
    backends: list[BenchBackend] = []
    missing: dict[PathName, str] = {}
    for path in paths:
        try:
            opened = _open_vllm(model) if path == "vllm" else _open_torch(model, path)
        except HarnessError as error:
            opened = str(error)
        if isinstance(opened, str):
            missing[path] = opened
        else:
            backends.append(opened)
    if not backends:
        raise RunError("; ".join(f"path {path} does not work here: {why}" for path, why in missing.items()))
    return backends, missing


def close_backends(backends: Sequence[BenchBackend]) -> None:
    """End the engines that run in processes of their own, and delete what was written for them."""
    if any(backend.path == "vllm" for backend in backends):
        end_engines()
    for backend in backends:
        if backend.scratch is not None:
            backend.scratch.cleanup()


def _open_torch(model: BenchModel, strategy: StrategyChoice) -> BenchBackend | str:
    """A torch backend that scores by this strategy, or why it does not."""
    backend = TorchBackend(model.model, model.tokenizer, model.head, strategy=strategy)
    backend.describe()  # everything is checked before anything is timed
    scorer = backend.scorer
    if strategy not in ("auto", scorer.strategy):
        return scorer.reason
    return BenchBackend(strategy, scorer.strategy, backend)


def _open_vllm(model: BenchModel) -> BenchBackend | str:
    why = why_unusable()
    if why:
        return why
    folder, scratch = _model_folder(model)
    torch = TorchBackend(model.model, model.tokenizer, model.head)
    opened = BenchBackend("vllm", "vllm", DispatchBackend(folder, torch, "vllm"), scratch)
    (item,) = score_items(WorkloadShape(2, 2, 2, 1), model.allowed, model.head == "classification", 0)
    try:
        opened.backend.score([item])  # starts the engine, and compares it with torch
    except HarnessError:
        close_backends([opened])
        raise
    return opened


def _model_folder(model: BenchModel) -> tuple[Path, TemporaryDirectory[str] | None]:
    """A folder that an engine can load the model from, and what it is deleted with."""
    if model.source is not None and Path(model.source).is_dir():
        return Path(model.source), None
    scratch = TemporaryDirectory(prefix="bench-")
    model.model.save_pretrained(scratch.name)
    return Path(scratch.name), scratch
