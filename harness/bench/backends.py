"""The ways to score that are compared: a backend for each, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from harness.api.model.backend import Backend
from harness.bench.model import BenchModel
from harness.bench.workload import WorkloadShape, score_items
from harness.engine.dispatch.backend import DispatchBackend
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.scoring.strategy import PathName
from harness.engine.vllm.engines import end_engines, why_unusable
from harness.errors import HarnessError, RunError

KNOWN = ("auto", "A", "B", "C", "D", "vllm")


@dataclass(frozen=True)
class BenchBackend:
    """A way that works.

    Attributes:
        asked: its name as asked for.
        path: what it came to: itself, or what ``auto`` chose.
        scratch: a folder that goes with it.
    """

    asked: str
    path: str
    backend: Backend
    scratch: TemporaryDirectory[str] | None = None


def check_names(asked: Sequence[str]) -> None:
    """Raise RunError for a path of another name."""
    unknown = [name for name in asked if name not in KNOWN]
    if unknown:
        raise RunError(f"--path {unknown[0]}: no such path; write one of {', '.join(KNOWN)}")


def routes(subject: BenchModel, asked: Sequence[str]) -> tuple[list[BenchBackend], dict[str, str]]:
    """Backends of the paths asked for, all that work by default; and of the others, by name, why they are left out.

    Raises:
        RunError: a path of another name, or none that works.
    """
    check_names(asked)
    found, missing = [], {}
    for name in dict.fromkeys(asked or KNOWN[1:]):
        try:
            route = _vllm(subject) if name == "vllm" else _torch(subject, name)
        except HarnessError as error:
            missing[name] = str(error)
            continue
        if isinstance(route, str):
            missing[name] = route
        else:
            found.append(route)
    if not found:
        raise RunError("; ".join(f"path {name} does not work here: {why}" for name, why in missing.items()))
    return found, missing


def _torch(subject: BenchModel, name: str) -> BenchBackend | str:
    if name not in get_args(PathName):
        return "this version of the engine has no such path"
    path: PathName = name  # type: ignore[assignment]
    backend = TorchBackend(subject.model, subject.tokenizer, subject.head, path=path)
    facts = backend.describe()["scoring"]
    assert isinstance(facts, dict)
    chosen = str(facts["path"])
    if name not in ("auto", chosen):
        return str(facts["reason"])
    return BenchBackend(name, chosen, backend)


def _vllm(subject: BenchModel) -> BenchBackend | str:
    why = why_unusable()
    if why:
        return why
    folder, scratch = _folder(subject)
    torch = TorchBackend(subject.model, subject.tokenizer, subject.head)
    route = BenchBackend("vllm", "vllm", DispatchBackend(folder, torch, "vllm"), scratch)
    (item,) = score_items(WorkloadShape(2, 2, 2, 1), subject.allowed, subject.head == "classification", 0)
    try:
        route.backend.score([item])  # starts the engine, and compares it with torch
    except HarnessError:
        close([route])
        raise
    return route


def _folder(subject: BenchModel) -> tuple[Path, TemporaryDirectory[str] | None]:
    """A folder that an engine can load the model from, and what it is deleted with."""
    if subject.source is not None and Path(subject.source).is_dir():
        return Path(subject.source), None
    scratch = TemporaryDirectory(prefix="bench-")
    subject.model.save_pretrained(scratch.name)
    return Path(scratch.name), scratch


def close(found: Sequence[BenchBackend]) -> None:
    """End the engines that run in processes of their own."""
    if any(route.path == "vllm" for route in found):
        end_engines()
    for route in found:
        if route.scratch is not None:
            route.scratch.cleanup()
