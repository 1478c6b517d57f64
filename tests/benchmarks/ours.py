"""The worker in this project's environment."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedTokenizerFast

from harness.bench.attack_iteration import Iterating, choose_attack
from harness.bench.backends import BenchBackend, routes
from harness.bench.matmul_peak import Gemm, own_rate
from harness.bench.model import BenchModel, open_model, random_model
from harness.bench.report import device_name
from harness.bench.scoring import measure_scoring
from harness.bench.sizes import find_size
from harness.bench.synthetic_text import END, train_bpe
from harness.bench.workload import WorkloadShape, score_items
from harness.registry.loader import load_plugins
from tests.benchmarks.whole_cell import share_in_model
from tests.benchmarks.worker import serve

CPU = torch.device("cpu")
_subjects: dict[str, BenchModel] = {}
_routes: dict[tuple[str, str], BenchBackend] = {}
_running: dict[str, Iterating] = {}
_gemm: list[Gemm] = []


def facts() -> dict[str, Any]:
    """Versions and the machine."""
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "cpu": _cpu_name(),
        "gpu": device_name(torch.device("cuda")) if torch.cuda.is_available() else None,
    }


def write(size: str, folder: str) -> int:
    """Write a random model into a folder that both sides read; the number of its parameters."""
    shape = find_size(size)
    model = random_model(shape, CPU, torch.float32)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=train_bpe(shape.entries), eos_token=END).save_pretrained(folder)
    # Older versions of transformers read other names for the same.
    config = Path(folder) / "config.json"
    rope = model.config.rope_parameters
    older = {"rotary_pct": rope["partial_rotary_factor"], "rotary_emb_base": rope["rope_theta"]}
    config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | older), encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "clean_up_tokenization_spaces": False}
    (Path(folder) / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return int(sum(p.numel() for p in model.parameters()))


def gemm() -> float:
    """FLOP/s of large matrix products."""
    if not _gemm:
        _gemm.append(Gemm(CPU, torch.float32))
    return _gemm[0].rate()


def own_shapes(folder: str) -> float:
    """FLOP/s of products of the model's own shapes."""
    return own_rate(_subject(folder).model)


def items(folder: str, shape: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """The requests of a round, as ids."""
    return [
        {"before": item.before.tolist(), "candidates": item.candidates.tolist(), "target": list(item.target)}
        for item in score_items(WorkloadShape(**shape), _subject(folder).allowed, False, number)
        if isinstance(item.target, tuple)
    ]


def score(folder: str, path: str, shape: dict[str, Any], number: int, losses: bool) -> dict[str, Any]:
    """Seconds of one round of scoring."""
    asked = score_items(WorkloadShape(**shape), _subject(folder).allowed, False, number)
    backend = _route(folder, path).backend
    began = time.perf_counter()
    answers = backend.score(asked)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "executed": sum(answer.executed for answer in answers),
        "losses": [answer.losses.tolist() for answer in answers] if losses else None,
    }


def iterate(folder: str, shape: dict[str, Any], number: int) -> dict[str, Any]:
    """Seconds of one GCG iteration, and what was scored in it."""
    if folder not in _running:
        attack = choose_attack(load_plugins().registry, "gcg", shape["candidates"])
        _running[folder] = Iterating(_subject(folder), WorkloadShape(**shape), _route(folder, "auto"), attack)
    _running[folder].turn(number)
    clock = _running[folder].clock
    (item,), (answer,) = clock.items, clock.answers
    assert isinstance(item.target, tuple)
    return {
        "seconds": clock.total,
        "parts": clock.parts(("gradient", "sampling", "filter", "scoring", "other")),
        "executed": clock.executed,
        "item": {"before": item.before.tolist(), "candidates": item.candidates.tolist(), "target": list(item.target)},
        "losses": answer.losses.tolist(),
    }


def cell(store: str, rounds: int) -> dict[str, Any]:
    """Share of a whole cell's wall time in forwards and backwards of the model."""
    return share_in_model(Path(store), rounds)


def gpu(size: str, shape: dict[str, Any], rounds: int) -> dict[str, Any] | None:
    """Path D on a GPU against the rate of products there and against path B; None where there is no GPU."""
    if not torch.cuda.is_available():
        return None
    subject = open_model(None, size, "cuda", "bfloat16")
    found, missing = routes(subject, ("D", "B"))
    if missing:
        raise RuntimeError("; ".join(f"path {name}: {why}" for name, why in missing.items()))
    report = measure_scoring(subject, WorkloadShape(**shape), found, rounds)
    d, b = report.paths
    return {"ratio": d.rate / b.rate, "of_peak": d.of_peak, "error": d.difference, "peak": report.peak}


def _subject(folder: str) -> BenchModel:
    if folder not in _subjects:
        _subjects[folder] = open_model(folder, "", "cpu", "float32")
    return _subjects[folder]


def _route(folder: str, path: str) -> BenchBackend:
    if (folder, path) not in _routes:
        found, missing = routes(_subject(folder), (path,))
        assert not missing
        _routes[(folder, path)] = found[0]
    return _routes[(folder, path)]


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


if __name__ == "__main__":
    serve({task.__name__: task for task in (facts, write, gemm, own_shapes, items, score, iterate, cell, gpu)})
