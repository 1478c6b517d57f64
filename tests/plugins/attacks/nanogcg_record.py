"""Records what nanogcg 0.3.0 does, step by step, into nanogcg_steps.json next to this file.

Run it from the repository's root in an environment of its own, without this project:

    python3.11 -m venv /tmp/nanogcg
    /tmp/nanogcg/bin/pip install nanogcg==0.3.0 transformers==4.47.1 torch
    /tmp/nanogcg/bin/python -m tests.plugins.attacks.nanogcg_record

The model is built from a seed (same_model.py). The loop is nanogcg's own `GCG.run`; what its functions are given and
return is written down on the way.
"""

from __future__ import annotations

import json
import logging
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nanogcg.gcg as source
import torch
from nanogcg import GCGConfig
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.plugins.attacks.same_model import write_folder

FILE = Path(__file__).with_name("nanogcg_steps.json")
BEFORE, AFTER, TARGET = "Pick one word.\n", "\nThe answer is", " yes, here it is"
INITIAL = "x x x x x x x x x x"
STEPS, WIDTH, TOPK = 14, 48, 24
RUNS = ((1, 0), (2, 1))  # n_replace, seed


class Recorded(source.GCG):
    """nanogcg's attack; its losses are kept."""

    losses: list[list[float]]

    def _compute_candidates_loss_original(self, search_batch_size: int, input_embeds: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = super()._compute_candidates_loss_original(search_batch_size, input_embeds)
        self.losses.append([round(loss, 7) for loss in found.tolist()])
        return found


def record(model: Any, tokenizer: Any, swaps: int, seed: int) -> dict[str, Any]:
    """One run of the attack."""
    steps: list[dict[str, Any]] = []
    sample, keep = source.sample_ids_from_grad, source.filter_ids

    def sampling(ids: torch.Tensor, grad: torch.Tensor, *args: Any, **given: Any) -> torch.Tensor:
        drawn = sample(ids, grad, *args, **given)  # the gradient of what is not allowed is infinite from here on
        best = (-grad).topk(TOPK, dim=1).indices.sort(dim=1).values
        steps.append({"ids": ids.tolist(), "top": best.tolist()})
        return drawn

    def filtering(ids: torch.Tensor, tokenizer: Any) -> torch.Tensor:
        kept: torch.Tensor = keep(ids, tokenizer)
        steps[-1]["candidates"] = kept.tolist()
        return kept

    settings = GCGConfig(
        num_steps=STEPS, optim_str_init=INITIAL, search_width=WIDTH, topk=TOPK, n_replace=swaps, seed=seed
    )
    run = Recorded(model, tokenizer, settings)
    run.losses = []
    source.sample_ids_from_grad, source.filter_ids = sampling, filtering
    try:
        result = run.run(BEFORE + "{optim_str}" + AFTER, TARGET)
    finally:
        source.sample_ids_from_grad, source.filter_ids = sample, keep
    (first,), *later = run.losses
    for step, losses, best in zip(steps, later, result.losses, strict=True):
        step |= {"losses": losses, "best": round(best, 7)}
    return {"swaps": swaps, "seed": seed, "first_loss": first, "strings": result.strings, "steps": steps}


def main() -> None:
    """Build the model, run, write."""
    torch.set_num_threads(1)
    source.logger.setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        weights = write_folder(Path(folder))
        model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
        runs = [record(model, AutoTokenizer.from_pretrained(folder), *run) for run in RUNS]
    facts = {
        "command": "python -m tests.plugins.attacks.nanogcg_record",
        "versions": {name: version(name) for name in ("nanogcg", "transformers", "torch", "tokenizers", "numpy")},
        "weights": weights,
        "prompt": {"before": BEFORE, "after": AFTER, "target": TARGET, "initial": INITIAL},
        "topk": TOPK,
    }
    lines = ",\n".join(json.dumps(run, separators=(",", ":")) for run in runs)
    FILE.write_text(f'{json.dumps(facts, indent=1)[:-2]},\n "runs": [\n{lines}\n]\n}}\n', encoding="utf-8")
    print(f"{FILE.name}: {FILE.stat().st_size} bytes, best losses", *(run["steps"][-1]["best"] for run in runs))


if __name__ == "__main__":
    main()
