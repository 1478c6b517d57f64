"""What a worker is started with, and how it gets ready."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import RunError
from harness.run.layout import RunFolder
from harness.run.rejudge import Sources
from harness.run.work import RunSetup


@dataclass(frozen=True)
class Order:
    """Plain data, since plugin classes from files cannot be sent."""

    spec_path: Path
    spec_hash: str
    root: Path
    store: str
    plugin_files: tuple[Path, ...]
    sources: Sources
    threads: int | None  # None: all that torch takes; of cells whose victim names a number, that number counts


def get_ready(order: Order) -> RunSetup:
    """Load plugins and spec as the driver did.

    Raises:
        RunError: the spec is not what it was.
    """
    import torch  # before any cell: what is changed of it is put back after each

    from harness.registry.loader import load_plugins
    from harness.spec.load import load_spec

    if order.threads is not None:
        torch.set_num_threads(order.threads)
    registry = load_plugins(order.plugin_files).registry
    spec = load_spec(order.spec_path, registry)
    if spec.hash != order.spec_hash:
        raise RunError(f"{order.spec_path}: changed while the run was starting; start it again")
    return RunSetup(spec, registry, RunFolder(order.root), order.store, order.sources, ends_alone=True)
