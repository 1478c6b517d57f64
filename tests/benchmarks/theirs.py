"""The worker in nanogcg's environment: its own functions, called as its `GCG.run` calls them; none of ours."""

from __future__ import annotations

import time
from typing import Any

import nanogcg.gcg as source
import torch
import transformers
from nanogcg import GCGConfig
from nanogcg.utils import find_executable_batch_size
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.benchmarks.worker import serve

_loaded: dict[str, tuple[Any, Any]] = {}
_ready: dict[tuple[str, int], source.GCG] = {}


def facts() -> dict[str, Any]:
    """Versions."""
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
    }


def score(folder: str, items: list[dict[str, Any]], losses: bool) -> dict[str, Any]:
    """Seconds for the candidates of all items, one item after another, each in one batch."""
    runs = [_prepared(folder, place, item) for place, item in enumerate(items)]
    candidates = [torch.tensor(item["candidates"]) for item in items]
    found = []
    began = time.perf_counter()
    for run, ids in zip(runs, candidates, strict=True):
        found.append(_losses(run, ids))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "losses": [loss.tolist() for loss in found] if losses else None}


def iterate(folder: str, item: dict[str, Any], width: int) -> dict[str, Any]:
    """Seconds of one iteration: gradient, sampling, filter, scoring, as in the loop of `GCG.run`."""
    run = _prepared(folder, 0, item, width)
    current = torch.tensor(item["candidates"][:1])
    began = time.perf_counter()
    sampled = _sampled(run, current)
    loss = _losses(run, sampled)
    best = int(loss.argmin())
    return {"seconds": time.perf_counter() - began, "scored": len(sampled), "best": best}


def until_half(folder: str, items: list[dict[str, Any]], params: dict[str, int]) -> dict[str, Any]:
    """Seconds after which prompts are broken that are attacked one after another, each until its target is said: the
    loop of `GCG.run` with ``early_stop``.
    """
    broken: list[float] = []
    began = time.perf_counter()
    for place, item in enumerate(items):
        run = _prepared(folder, place, item, params["candidates"], topk=params["topk"], early_stop=True)
        run.stop_flag = False
        current = torch.tensor(item["candidates"])
        for _ in range(params["steps"]):
            sampled = _sampled(run, current)
            current = sampled[_losses(run, sampled).argmin()][None]
            if run.stop_flag:
                broken.append(time.perf_counter() - began)
                break
    return {"broken": broken, "seconds": time.perf_counter() - began}


def _sampled(run: source.GCG, current: torch.Tensor) -> torch.Tensor:
    """Candidates of one iteration, as in the loop of `GCG.run`."""
    gradient = run.compute_token_gradient(current)
    with torch.no_grad():
        sampled = source.sample_ids_from_grad(
            current.squeeze(0),
            gradient.squeeze(0),
            run.config.search_width,
            run.config.topk,
            run.config.n_replace,
            not_allowed_ids=run.not_allowed_ids,
        )
        return source.filter_ids(sampled, run.tokenizer)


def _losses(run: source.GCG, ids: torch.Tensor) -> torch.Tensor:
    """Losses of candidates, all in one batch, as in the loop of `GCG.run`."""
    count = len(ids)
    with torch.no_grad():
        embedded = torch.cat(
            [
                run.embedding_layer(ids),
                run.after_embeds.repeat(count, 1, 1),
                run.target_embeds.repeat(count, 1, 1),
            ],
            dim=1,
        )
        losses: torch.Tensor = find_executable_batch_size(run._compute_candidates_loss_original, count)(embedded)
    return losses


def _prepared(folder: str, place: int, item: dict[str, Any], width: int = 512, **config: Any) -> source.GCG:
    """A `GCG` as `GCG.run` has it when its loop begins: embeddings, prefix cache."""
    if folder not in _loaded:
        model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
        _loaded[folder] = model, AutoTokenizer.from_pretrained(folder)
    model, tokenizer = _loaded[folder]
    known = _ready.get((folder, place))
    if known is not None and (known.item, known.config.search_width) == ((item["before"], item["target"]), width):
        return known
    run = source.GCG(model, tokenizer, GCGConfig(search_width=width, batch_size=width, verbosity="ERROR", **config))
    parts = (item["before"], item.get("after", []), item["target"])
    before, after, target = (torch.tensor([ids], dtype=torch.int64) for ids in parts)
    with torch.no_grad():
        run.before_embeds, run.after_embeds, run.target_embeds = map(run.embedding_layer, (before, after, target))
        run.prefix_cache = model(inputs_embeds=run.before_embeds, use_cache=True).past_key_values
    run.target_ids = target
    run.item = (item["before"], item["target"])
    _ready[(folder, place)] = run
    return run


if __name__ == "__main__":
    serve({task.__name__: task for task in (facts, score, iterate, until_half)})
