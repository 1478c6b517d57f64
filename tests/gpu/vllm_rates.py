"""How fast vLLM scores and answers beside torch, where it is installed."""

from __future__ import annotations

import time

from harness.api.model.backend import GenerateItem
from harness.bench.backends import close_backends, open_backends
from harness.bench.report import scoring_json, setup_json
from harness.bench.scoring import measure_scoring
from harness.bench.synthetic_text import synthetic_text
from harness.engine.vllm.engines import why_unusable
from tests.gpu.models import build, configs, workload
from tests.gpu.parts import Measurements, Row, Setting, SkippedError

_PROMPTS, _TOKENS = 32, 64


def measure(setting: Setting) -> Measurements:
    """One measurement, with the first of the models."""
    yield next(iter(configs(setting))), lambda: _rates(setting)


def _rates(setting: Setting) -> Row:
    why = why_unusable()
    if why:
        raise SkippedError(why)
    name, make = next(iter(configs(setting).items()))
    shape, model, rounds = workload(setting), build(name, make, setting), 3
    opened, missing = open_backends(model, ("packed_reuse", "vllm"))
    if missing:
        raise RuntimeError("; ".join(missing.values()))
    try:
        report = measure_scoring(model, shape, opened, rounds)
        prompts = [GenerateItem(synthetic_text(40, seed), _TOKENS) for seed in range(_PROMPTS)]
        tokens = {}
        for backend in opened:
            backend.backend.generate(prompts[:2])
            began = time.perf_counter()
            answers = backend.backend.generate(prompts)
            tokens[str(backend.requested)] = sum(answer.new_tokens for answer in answers) / (
                time.perf_counter() - began
            )
    finally:
        close_backends(opened)
    told = [
        f"{path.requested}: {path.rate:,.4g} candidates/s, {tokens[path.requested]:,.4g} tokens/s"
        for path in report.paths
    ]
    figures = setup_json(model, shape, rounds) | scoring_json(report) | {"tokens_per_second": tokens}
    return Row("\n".join(told), figures, wrong=bool(report.wrong))
