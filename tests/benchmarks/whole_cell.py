"""How much of a whole cell's wall time is spent inside forwards and backwards of the model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import PreTrainedModel

from harness.registry.loader import load_plugins
from harness.run.cell.run_cell import run_cell
from harness.run.prepare.preparer import Preparer
from harness.run.reporter import Silent
from harness.run.run_folder import RunFolder
from harness.spec.load import load_spec
from harness.store.artifacts import FolderStore

SPEC = """
name: whole-cell
version: "1"
tasks: [{word_length: {instructions: "Which word is longer?", syllables: open, min_letters: 4, max_letters: 8}}]
victims: [{tiny: {size: 150k}}]
attacks: [{gcg: {steps: 10}}]
threats: [{tokens: 10}]
examples: 64
clean_examples: 64
stop_on_success: false
"""


class Meter:
    """Adds up time inside; calls within calls count once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - began

        return timed


@contextmanager
def watched() -> Iterator[Meter]:
    """Within, forwards of every transformers model and all differentiation are timed."""
    meter, plain, grad = Meter(), PreTrainedModel.__call__, torch.autograd.grad
    timed = meter.around(plain)
    PreTrainedModel.__call__ = lambda self, *args, **kwargs: timed(self, *args, **kwargs)
    torch.autograd.grad = meter.around(grad)
    try:
        yield meter
    finally:
        del PreTrainedModel.__call__  # what it inherits comes back
        torch.autograd.grad = grad


def share_in_model(store: Path, rounds: int) -> dict[str, Any]:
    """Run the cell some times, from loading its victim to writing its records; the victim is trained before.

    Args:
        store: where the trained victim is kept for the next time.
    """
    registry = load_plugins().registry
    shares, seconds, attacked = [], [], 0
    with tempfile.TemporaryDirectory() as name:
        spec = Path(name) / "spec.yaml"
        spec.write_text(SPEC, encoding="utf-8")
        chosen = load_spec(spec, registry)
        (cell,) = chosen.cells
        for number in range(rounds + 1):  # the first does not count
            preparer = Preparer(FolderStore(store), registry, Silent())
            resolved = preparer.resolver.resolve(cell)
            preparer.artifacts.victim(resolved)
            folder = RunFolder(Path(name) / str(number))
            with watched() as meter:
                began = time.perf_counter()
                result = run_cell(resolved, chosen, folder, preparer)
                result.write(folder)
                whole = time.perf_counter() - began
            attacked = result.record.n_attacked or 0
            if number:
                shares.append(meter.seconds / whole)
                seconds.append(whole)
    return {"share": median(shares), "seconds": median(seconds), "attacked": attacked}
