"""Which of two backends answers a kind of request sooner here: measured once per victim, and kept next to its artifact.

The times belong to a shape of model on a machine with its libraries, not to weights: the checkpoints of a victim share
them. They lie in ``STORE/.calibration/KEY.json``, outside the artifacts, whose files are hashed.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from pydantic import BaseModel, ConfigDict, PositiveFloat, ValidationError

from harness.api.model.backend import Backend, GenerateItem, SampleItem, ScoreItem, Target
from harness.engine.torch.scoring.random_candidates import one_position_redrawn
from harness.hashing import content_key
from harness.store.artifacts import MANIFEST
from harness.store.atomic import write_json
from harness.tokens.tokenizer import Tokens

RequestType = Literal["classify", "score", "sample", "generate"]
BackendName = Literal["torch", "vllm"]

_FOLDER = ".calibration"
_BEFORE, _STRING, _AFTER = 96, 20, 4  # tokens of a row
_COUNTS = (8, 64)  # rows; the second only where the first take less than a second
_NEW_TOKENS = 24
_TURNS = 2  # after one that is not counted


class Calibration(BaseModel):
    """Seconds that each backend took for the same requests, by sort of request.

    Attributes:
        of: what the times belong to, see `conditions`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    format: Literal[1] = 1
    of: dict[str, Any]
    seconds: dict[RequestType, dict[BackendName, PositiveFloat]]

    def route(self, request_type: RequestType) -> BackendName:
        """Who answers; torch where nothing was measured, and on a tie."""
        seconds = self.seconds.get(request_type)
        return "vllm" if seconds and seconds["vllm"] < seconds["torch"] else "torch"


def conditions(head: str, engine: dict[str, Any], vllm: str) -> dict[str, Any]:
    """What the times depend on.

    Args:
        head: name.
        engine: `EngineOptions`, as plain data.
        vllm: its version.
    """
    cuda = torch.cuda.get_device_name(engine["device"]) if str(engine["device"]).startswith("cuda") else None
    return {
        "head": head,
        "engine": engine,
        "device": cuda or platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "vllm": vllm,
    }


def calibration_file(folder: Path, of: dict[str, Any]) -> Path | None:
    """The file for a checkpoint's victim, or None for a folder that lies in no artifact store."""
    return folder.parent / _FOLDER / f"{content_key(of)}.json" if (folder / MANIFEST).is_file() else None


def read_calibration(path: Path, of: dict[str, Any], request_types: Sequence[RequestType]) -> Calibration | None:
    """What was measured before; None where nothing was, or where it is damaged or of other conditions."""
    try:
        found = Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError):
        return None
    whole = all(set(found.seconds.get(request_type, {})) == {"torch", "vllm"} for request_type in request_types)
    return found if found.of == of and whole else None


def write_calibration(path: Path, calibration: Calibration) -> bool:
    """Keep it; False where the store cannot be written to."""
    try:
        write_json(path, calibration.model_dump(mode="json"))
    except OSError:
        return False
    return True


def measure(
    backends: dict[BackendName, Backend], usable: Tokens, request_types: Sequence[RequestType]
) -> dict[RequestType, dict[BackendName, float]]:
    """Have both answer like requests in turn; the shorter time of each counts.

    Args:
        usable: ordinary ids, from which rows are drawn: fresh ones each time, since both remember.

    Raises:
        whatever a backend raises.
    """
    return {request_type: _measure(backends, usable, request_type) for request_type in request_types}


def _measure(
    backends: dict[BackendName, Backend], usable: Tokens, request_type: RequestType
) -> dict[BackendName, float]:
    rng = np.random.default_rng(0)
    best: dict[BackendName, float] = {}
    for count in _COUNTS:
        best = {}
        for turn in range(_TURNS + 1):
            for name, backend in backends.items():
                run = _request(backend, usable, request_type, count, rng)
                began = time.perf_counter()
                run()
                if turn:  # the first also starts engines and checks paths
                    best[name] = min(best.get(name, float("inf")), max(time.perf_counter() - began, 1e-9))
        if max(best.values()) > 1.0:
            break
    return best


def _request(
    backend: Backend, usable: Tokens, request_type: RequestType, count: int, rng: np.random.Generator
) -> Callable[[], object]:
    """A request of the usual shape, cut to the context."""
    room = max(1, backend.context - _STRING - _AFTER - 1)
    before = rng.choice(usable, size=min(_BEFORE, room)).astype(np.int64)
    string = rng.choice(usable, size=min(_STRING, max(1, backend.context - len(before) - _AFTER))).astype(np.int64)
    candidates = one_position_redrawn(string, count, usable, rng)
    after = rng.choice(usable, size=min(_AFTER, max(0, backend.context - len(before) - len(string)))).astype(np.int64)
    if request_type == "classify":
        rows = [np.concatenate([before, candidate, after]) for candidate in candidates]
        return lambda: backend.classify(rows)
    if request_type == "score":
        target: Target = 0 if backend.n_labels else (int(usable[0]),)
        return lambda: backend.score([ScoreItem(before, candidates, after, target, string)])
    if request_type == "sample":
        strings = candidates[:, : max(1, len(string) // 2)]
        return lambda: backend.sample([SampleItem(before, strings, usable, 4, 0, min(32, len(usable)))])
    most = max(1, min(_NEW_TOKENS, backend.context // 4))
    size = max(1, min(_BEFORE, backend.context // 4))
    prompts = backend.tokenizer.decode([rng.choice(usable, size=size).tolist() for _ in range(max(1, count // 4))])
    items = [GenerateItem(prompt, most) for prompt in prompts]
    return lambda: backend.generate(items)
