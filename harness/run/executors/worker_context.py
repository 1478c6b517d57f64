"""How workers are started: as forks of a process that has imported what all of them need, which takes seconds."""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.context import ForkServerContext, SpawnContext

IMPORTS = (
    "torch",
    "pyarrow.parquet",
    "harness.records.schema",
    "harness.run.executors.processes",
    "harness.registry.loader",
    "harness.spec.load",
)
"""What every worker imports. Nothing in it computes: threads of torch would not survive a fork. Those that libraries
start when they are imported (BLAS, the memory of Arrow) are looked after by these at a fork."""

MODELS = "harness.engine.torch.backend"
"""What nearly every worker imports; imported before where it then is once for several."""


def worker_context(workers: int) -> ForkServerContext | SpawnContext:
    """The context to make pipes and processes with. Where processes cannot be forked safely each imports for itself."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Counts until the first worker is started.
    context.set_forkserver_preload([*IMPORTS, MODELS] if workers > 1 else list(IMPORTS))
    return context
