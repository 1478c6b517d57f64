"""The rate of large matrix products, and the share of it that each way to score reaches."""

from __future__ import annotations

from functools import partial

import torch

from harness.bench.backends import open_backends, parse_paths
from harness.bench.matmul_peak import LargeMatmuls
from harness.bench.report import scoring_json, setup_json
from harness.bench.scoring import measure_scoring
from harness.engine.torch.devices import dtype_name
from tests.gpu.models import build, configs, workload
from tests.gpu.parts import Measurements, Row, Setting


def measure(setting: Setting) -> Measurements:
    """One measurement for each precision, and one for each model."""
    for dtype in (torch.float32,) if setting.small else (torch.bfloat16, torch.float16, torch.float32):
        yield f"large products, {dtype_name(dtype)}", partial(_products, dtype, setting)
    for name in configs(setting):
        yield name, partial(_shares, name, setting)


def _products(dtype: torch.dtype, setting: Setting) -> Row:
    rate = LargeMatmuls(torch.device(setting.device), dtype).rate()
    return Row(f"{rate / 1e12:,.3g} TFLOP/s", {"flops_per_second": rate})


def _shares(name: str, setting: Setting) -> Row:
    """All ways in turns."""
    shape, model, rounds = workload(setting), build(name, configs(setting)[name], setting), 1 if setting.small else 5
    opened, missing = open_backends(model, [path for path in parse_paths(()) if path != "vllm"])
    report = measure_scoring(model, shape, opened, rounds)
    told = [
        f"{path.requested}: {path.of_peak:.1%} of the peak, {path.rate:,.4g} candidates/s, "
        f"{path.rate / report.paths[0].rate:.2f} x {report.paths[0].requested}, error {path.difference:.1e} nats"
        for path in report.paths
    ]
    told += [f"{path} left out: {why}" for path, why in missing.items()]
    own = (
        f"large products {report.peak / 1e12:,.3g} TFLOP/s, those of its layers' shapes {report.layer_rate / 1e12:,.3g}"
    )
    figures = setup_json(model, shape, rounds) | scoring_json(report) | {"left_out": dict(missing)}
    return Row("\n".join([*told, own]), figures, wrong=bool(report.wrong or missing))
