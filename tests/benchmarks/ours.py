"""The worker in this project's environment."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from harness.api.model.backend import Scored
from harness.api.problem.problem import Problem
from harness.bench.attack_iteration import AttackIteration, choose_attack
from harness.bench.backends import BenchBackend, open_backends, parse_paths
from harness.bench.matmul_peak import LargeMatmuls, layer_matmul_rate
from harness.bench.model import BenchModel, open_bench_model, random_gpt_neox
from harness.bench.report import hardware_name
from harness.bench.scoring import measure_scoring
from harness.bench.sizes import find_size
from harness.bench.synthetic_text import END_OF_TEXT, synthetic_bpe
from harness.bench.workload import WorkloadShape, score_items
from harness.registry.loader import load_plugins
from plugins.victims._huggingface.gguf_files import in_hub_layout
from plugins.victims._huggingface.packaged import PACKAGED
from tests.benchmarks import until_half as half
from tests.benchmarks.environments import cpu_name
from tests.benchmarks.rows import TINY_CHAT
from tests.benchmarks.whole_cell import share_in_model
from tests.benchmarks.worker import serve

CPU = torch.device("cpu")
_models: dict[str, BenchModel] = {}
_backends: dict[tuple[str, str], BenchBackend] = {}
_iterations: dict[str, AttackIteration] = {}
_attacked: dict[str, list[Problem]] = {}
_matmuls: list[LargeMatmuls] = []


def facts() -> dict[str, Any]:
    """Versions and the machine."""
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "cpu": cpu_name(),
        "gpu": hardware_name(torch.device("cuda")) if torch.cuda.is_available() else None,
    }


def write(size: str, folder: str, store: str) -> int:
    """Write a model into a folder that both sides read; the number of its parameters.

    Args:
        size: of random weights, the name of a model in an installed package, or that of the trained victim.
        store: where a trained victim is kept for the next time.
    """
    if size == TINY_CHAT:
        half.write_tiny_chat(Path(folder), Path(store))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        end = str(AutoTokenizer.from_pretrained(folder).eos_token)
    elif size in PACKAGED:
        model, end = _write_packaged(size, folder)
    else:
        shape = find_size(size)
        model, end = random_gpt_neox(shape, CPU, torch.float32), END_OF_TEXT
        model.save_pretrained(folder)
        PreTrainedTokenizerFast(tokenizer_object=synthetic_bpe(shape.tokenizer_entries), eos_token=end).save_pretrained(
            folder
        )
    # Older versions of transformers read other names for the same.
    config = Path(folder) / "config.json"
    rope = model.config.rope_parameters
    older = {
        "rotary_pct": rope.get("partial_rotary_factor", 1.0),
        "rotary_emb_base": rope["rope_theta"],
        "rope_theta": rope["rope_theta"],
        "rope_scaling": None,
    }
    config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | older), encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": end,
        "clean_up_tokenization_spaces": False,
    }
    (Path(folder) / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return int(sum(p.numel() for p in model.parameters()))


def _write_packaged(name: str, folder: str) -> tuple[Any, str]:
    """Copy a model in a package in float32; it, and how its end of text is spelt."""
    path = PACKAGED[name].path()
    if path is None:
        raise RuntimeError(f"the package {PACKAGED[name].package} is not installed")
    source = in_hub_layout(path)
    shutil.copytree(source, folder)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    return model, str(AutoTokenizer.from_pretrained(source).eos_token)


def gemm() -> float:
    """FLOP/s of large matrix products."""
    if not _matmuls:
        _matmuls.append(LargeMatmuls(CPU, torch.float32))
    return _matmuls[0].rate()


def own_shapes(folder: str) -> float:
    """FLOP/s of products of the model's own shapes."""
    return layer_matmul_rate(_model(folder).model)


def items(folder: str, shape: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """The requests of a round, as ids."""
    return [
        {"before": item.before.tolist(), "candidates": item.candidates.tolist(), "target": list(item.target)}
        for item in score_items(WorkloadShape(**shape), _model(folder).allowed, False, number)
        if isinstance(item.target, tuple)
    ]


def score(
    folder: str, path: str, shape: dict[str, Any], number: int, losses: bool, best: int | None = None
) -> dict[str, Any]:
    """Seconds of one round of scoring."""
    drawn = score_items(WorkloadShape(**shape), _model(folder).allowed, False, number)
    items = [replace(item, best=best) for item in drawn]
    backend = _backend(folder, path).backend
    began = time.perf_counter()
    answers = backend.score(items)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "executed": sum(answer.executed for answer in answers),
        "losses": [_exact_losses(answer) for answer in answers] if losses else None,
    }


def iterate(folder: str, shape: dict[str, Any], number: int) -> dict[str, Any]:
    """Seconds of one GCG iteration, and what was scored in it."""
    if folder not in _iterations:
        attack = choose_attack(load_plugins().registry, "gcg", shape["candidates"])
        _iterations[folder] = AttackIteration(_model(folder), WorkloadShape(**shape), _backend(folder, "auto"), attack)
    _iterations[folder].run(number)
    clock = _iterations[folder].clock
    (item,), (answer,) = clock.items, clock.answers
    assert isinstance(item.target, tuple)
    return {
        "seconds": clock.total,
        "parts": clock.parts(("gradient", "sampling", "filter", "scoring", "other")),
        "executed": clock.executed,
        "item": {"before": item.before.tolist(), "candidates": item.candidates.tolist(), "target": list(item.target)},
        "losses": _exact_losses(answer),
    }


def _exact_losses(answer: Scored) -> list[float]:
    """Losses, NaN where a bound alone is known."""
    return np.where(True if answer.exact is None else answer.exact, answer.losses, np.nan).tolist()


def prompts(folder: str, tiny: bool, seed: int) -> list[dict[str, Any]]:
    """What `until_half` attacks, as ids."""
    return half.as_ids(_problems(folder, tiny), seed)


def until_half(folder: str, tiny: bool, seed: int, params: dict[str, int]) -> dict[str, Any]:
    """Seconds after which prompts are broken that are attacked side by side."""
    return half.until_half(_model(folder), _backend(folder, "auto").backend, _problems(folder, tiny), seed, **params)


def cell(store: str, rounds: int) -> dict[str, Any]:
    """Share of a whole cell's wall time in forwards and backwards of the model."""
    return share_in_model(Path(store), rounds)


def gpu(size: str, shape: dict[str, Any], rounds: int) -> dict[str, Any] | None:
    """``packed_reuse`` on a GPU against the rate of products there and against ``copied_prefix``; None where there is
    none.
    """
    if not torch.cuda.is_available():
        return None
    model = open_bench_model(None, size, "cuda", "bfloat16")
    backends, missing = open_backends(model, ("packed_reuse", "copied_prefix"))
    if missing:
        raise RuntimeError("; ".join(f"path {name}: {why}" for name, why in missing.items()))
    report = measure_scoring(model, WorkloadShape(**shape), backends, rounds)
    reuse, copied = report.paths
    return {"ratio": reuse.rate / copied.rate, "of_peak": reuse.of_peak, "error": reuse.difference, "peak": report.peak}


def _model(folder: str) -> BenchModel:
    if folder not in _models:
        _models[folder] = open_bench_model(folder, "", "cpu", "float32")
    return _models[folder]


def _problems(folder: str, tiny: bool) -> list[Problem]:
    if folder not in _attacked:
        _attacked[folder] = half.problems_of(_model(folder), tiny)
    return _attacked[folder]


def _backend(folder: str, path: str) -> BenchBackend:
    if (folder, path) not in _backends:
        opened, missing = open_backends(_model(folder), parse_paths((path,)))
        assert not missing
        _backends[(folder, path)] = opened[0]
    return _backends[(folder, path)]


if __name__ == "__main__":
    tasks = (facts, write, gemm, own_shapes, items, score, iterate, prompts, until_half, cell, gpu)
    serve({task.__name__: task for task in tasks})
