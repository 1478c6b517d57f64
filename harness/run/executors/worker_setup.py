"""What a worker is started with, and how it gets ready."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import RunError
from harness.run.cell.rejudge import Sources
from harness.run.executors.run_setup import RunSetup
from harness.run.run_folder import RunFolder


@dataclass(frozen=True)
class WorkerSetup:
    """Plain data, since plugin classes from files cannot be sent.

    Attributes:
        threads: None: all that torch takes; of cells whose victim names a number, that number counts.
    """

    spec_text: str
    spec_path: Path
    spec_hash: str
    store: str
    plugin_files: tuple[Path, ...]
    sources: Sources
    threads: int | None

    @classmethod
    def of(cls, setup: RunSetup, plugin_files: tuple[Path, ...], threads: int | None) -> WorkerSetup:
        """For workers of a driver's run."""
        spec = setup.spec
        return cls(spec.text, spec.path.resolve(), spec.hash, setup.store, plugin_files, setup.sources, threads)


def get_ready(order: WorkerSetup, folder: RunFolder) -> RunSetup:
    """Load plugins and spec as the driver did; what is done goes to ``folder``.

    Raises:
        RunError: the spec does not mean here what it means to the driver.
    """
    import torch  # before any cell: what is changed of it is put back after each

    from harness.registry.loader import load_plugins
    from harness.spec.load import read_spec

    if order.threads is not None:
        torch.set_num_threads(order.threads)
    registry = load_plugins(order.plugin_files).registry
    spec = read_spec(order.spec_text, order.spec_path.name, order.spec_path.parent, registry)
    if spec.hash != order.spec_hash:
        raise RunError(
            f"{order.spec_path}: a worker reads it otherwise than the driver; have the same plugins, of the same "
            "versions, everywhere, and leave them alone while a run starts"
        )
    return RunSetup(spec, registry, folder, order.store, order.sources, ends_alone=True)
