"""How fast the work of a plan goes: as given, as measured in a run, as cards are known, or guessed before there is one.

One rate of the CPU and one of the GPU: neither says anything of the other.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.errors import DataError, RunError
from harness.number_format import counted, format_flops
from harness.records.read import read_run
from harness.run.plan import matmul_probe
from harness.run.plan.cards import CARDS, UTILISATION, Card, card_here, find_card
from harness.run.run_folder import RunFolder
from harness.store.atomic import write_json
from harness.store.open_store import cache_folder

_GUESSED_SHARE = 0.2  # of the rate of matrix products, reached by models of this size
_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Rate:
    """Nominal FLOP/s of one sort of device, and where that is from, in words."""

    flops: float
    source: str


@dataclass(frozen=True)
class Rates:
    """What is expected of the devices.

    Attributes:
        cpu: of this machine's processor.
        gpu: of a GPU under attack; None where nothing tells.
        gpu_training: of a GPU in training, in float32.
        planned_gpu: whether the plan is for a machine with a GPU, whether or not this one has any.
    """

    cpu: Rate
    gpu: Rate | None = None
    gpu_training: Rate | None = None
    planned_gpu: bool = False

    def on_gpu(self, device: str) -> bool:
        """Whether work for ``device``, as a victim's parameters name it, goes to a GPU."""
        return device.startswith("cuda") or (device in ("auto", "spread") and (self.planned_gpu or has_gpu()))

    def of(self, device: str, *, training: bool) -> Rate | None:
        """The rate there; None where nothing tells."""
        if not self.on_gpu(device):
            return self.cpu
        return self.gpu_training if training else self.gpu


def has_gpu() -> bool:
    """Whether this machine has a GPU; torch, which knows, is not asked, since a plan must be quick."""
    return Path("/dev/nvidia0").exists()


def find_rates(folder: RunFolder | None, card: str | None = None, given: float | None = None) -> Rates:
    """The rates of a plan.

    Args:
        folder: of a run, whose finished cells tell; None: there is none.
        card: the GPU that the plan is for, by name.
        given: nominal FLOP/s of all that is computed, on whatever device.

    Raises:
        RunError: no such card, or no rate.
    """
    if given is not None:
        if card is not None:
            raise RunError("--rate and --card both say how fast the work goes; leave one out")
        if not (math.isfinite(given) and given > 0):
            raise RunError(f"--rate {given:g}: a rate is above 0, in FLOP/s, such as 2e13")
        rate = Rate(given, "as given")
        return Rates(rate, rate, rate, planned_gpu=True)
    measured = _measured(folder)
    cpu = measured.get("cpu") or _kept_guess()
    named = find_card(card) if card is not None else None
    if named is None and "gpu" in measured:
        return Rates(cpu, measured["gpu"], measured["gpu"])
    known = named or card_here()
    return Rates(cpu, *_of_card(known, here=named is None), planned_gpu=named is not None)


def _of_card(card: Card | None, *, here: bool) -> tuple[Rate | None, Rate | None]:
    """Rates of a card under attack and in training."""
    if card is None:
        return None, None
    where = f"{card.name} of this machine" if here else card.name
    return tuple(  # type: ignore[return-value]
        Rate(
            card.rate(training=training),
            f"assumed: {UTILISATION:.0%} of the {format_flops(card.single if training else card.half)}/s that {where} "
            f"reaches in {'float32' if training else 'half precision'} by its data sheet",
        )
        for training in (False, True)
    )


def unknown_gpu_text() -> str:
    """What to do where the rate of a GPU is not known."""
    return f"GPU: rate unknown; give --card ({', '.join(card.name for card in CARDS)}) or --rate FLOP/s"


def _measured(folder: RunFolder | None) -> dict[str, Rate]:
    """Nominal FLOP/s over the cells of this run that were computed here, by sort of device, as far as there are any."""
    if folder is None or not folder.manifest.exists():
        return {}
    sums: dict[str, tuple[float, float, int]] = {}
    with suppress(DataError):  # a damaged record is the run's affair; what is whole will do here
        for cell in read_run(folder.root):
            table = cell.steps(["attack_nominal", "judge_nominal", "attack_executed", "seconds"])
            if any(column.null_count for column in table.columns):
                continue  # of a model behind a URL
            steps = table.to_pydict()
            device = "gpu" if "cuda" in str(cell.record.agreement.get("device", "")) else "cpu"
            flops, seconds, count = sums.get(device, (0.0, 0.0, 0))
            flops += sum(steps["attack_nominal"]) + sum(steps["judge_nominal"])
            sums[device] = flops, seconds + sum(steps["seconds"]), count + 1
    return {
        device: Rate(flops / seconds, f"measured over {counted(count, 'cell')} of this run")
        for device, (flops, seconds, count) in sums.items()
        if flops and seconds
    }


def _kept_guess() -> Rate:
    """A share of what matrix products reach on this processor, measured once and kept in the user's cache."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    place, here = cache_folder() / "rates.json", f"{_processor()}, {counted(cpus, 'CPU')}"
    kept: dict[str, dict[str, str | float]] = {}
    with suppress(OSError, ValueError):
        kept = json.loads(place.read_text(encoding="utf-8"))
    try:
        peak = float(kept[here]["matmul_flops_per_second"])
        measured = datetime.fromisoformat(str(kept[here]["measured"]))
        fresh = peak > 0 and datetime.now(UTC) - measured < _KEPT
    except (KeyError, TypeError, ValueError):
        fresh = False
    if not fresh:
        peak, measured = cpus * rate_of_one_thread(), datetime.now(UTC)
        entry = {"matmul_flops_per_second": peak, "measured": measured.isoformat(timespec="seconds")}
        with suppress(OSError):  # then it is measured again next time
            place.parent.mkdir(parents=True, exist_ok=True)
            write_json(place, (kept if isinstance(kept, dict) else {}) | {here: entry})
    return Rate(
        _GUESSED_SHARE * peak,
        f"a guess: {_GUESSED_SHARE:.0%} of the {format_flops(peak)}/s of matrix products on {here}, measured "
        f"{measured:%Y-%m-%d} and kept in {place}",
    )


def rate_of_one_thread() -> float:
    """FLOP/s of matrix products on one thread, in a process of its own: see `harness.run.plan.matmul_probe`."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")
    command = [sys.executable, "-m", matmul_probe.__name__]
    try:
        told = subprocess.run(command, env=os.environ | one, capture_output=True, text=True, timeout=60, check=True)
        return float(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):  # no process can be started here
        return matmul_probe.thread_rate()


def _processor() -> str:
    """The processor's own name; its architecture where the system does not tell."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
