"""Where the time of one iteration of GCG goes."""

from __future__ import annotations

from functools import partial
from statistics import median

from harness.bench.attack_iteration import PARTS, choose_attack, measure_iterations
from harness.bench.backends import open_backends
from harness.bench.report import iteration_json, setup_json
from harness.registry.loader import load_plugins
from tests.gpu.models import build, configs, workload
from tests.gpu.parts import Measurements, Row, Setting


def measure(setting: Setting) -> Measurements:
    """One measurement for each model."""
    for name in configs(setting):
        yield name, partial(_iterations, name, setting)


def _iterations(name: str, setting: Setting) -> Row:
    shape, model, rounds = workload(setting), build(name, configs(setting)[name], setting), 1 if setting.small else 5
    opened, missing = open_backends(model, ("packed_reuse", "copied_prefix"))
    attack = choose_attack(load_plugins().registry, "gcg", shape.candidates)
    report = measure_iterations(model, shape, opened, attack, rounds)
    told = []
    for path in report.paths:
        parts = ", ".join(f"{part} {1e3 * median(path.parts[part]):.1f}" for part in PARTS)
        told.append(f"{path.requested}: {1e3 * path.median_seconds:.1f} ms ({parts}), {path.of_peak:.1%} of the peak")
    told += [f"{path} left out: {why}" for path, why in missing.items()]
    figures = setup_json(model, shape, rounds) | iteration_json(report) | {"left_out": dict(missing)}
    return Row("\n".join(told), figures, wrong=bool(missing))
