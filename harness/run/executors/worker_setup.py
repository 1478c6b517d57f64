"""What a worker process is started with, and how it makes of that a run to take part in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import RunError
from harness.records.judge_calibration import JudgeCalibration
from harness.run.cell.rejudge import Sources
from harness.run.executors.run_setup import RunSetup
from harness.run.run_folder import RunFolder


@dataclass(frozen=True)
class WorkerSetup:
    """A run as plain data, since plugin classes from files cannot be sent.

    Attributes:
        threads: None: all that torch takes; of cells whose victim names a number, that number counts.
        shared_by: how many workers share all that torch takes equally.
        calibration: of the spec's judge, whose file need not be where a worker is.
    """

    spec_text: str
    spec_path: Path
    spec_hash: str
    store: str
    plugin_files: tuple[Path, ...]
    sources: Sources
    threads: int | None = None
    shared_by: int = 1
    calibration: JudgeCalibration | None = None

    @classmethod
    def of(cls, run: RunSetup, plugin_files: tuple[Path, ...], shared_by: int = 1) -> WorkerSetup:
        """What workers need to take part in a driver's run."""
        spec = run.spec
        return cls(
            spec.text,
            spec.path.resolve(),
            spec.hash,
            run.store,
            plugin_files,
            run.sources,
            shared_by=shared_by,
            calibration=spec.calibration,
        )

    def load(self, folder: RunFolder) -> RunSetup:
        """Load plugins and spec as the driver did; what is done goes to ``folder``.

        Raises:
            RunError: the spec does not mean here what it means to the driver.
        """
        import torch  # before any cell: what is changed of it is put back after each

        from harness.registry.loader import load_plugins
        from harness.spec.load import read_spec

        if self.threads is not None or self.shared_by > 1:
            torch.set_num_threads(self.threads or max(1, torch.get_num_threads() // self.shared_by))
        registry = load_plugins(self.plugin_files).registry
        spec = read_spec(self.spec_text, self.spec_path.name, self.spec_path.parent, registry)
        if spec.hash != self.spec_hash:
            raise RunError(
                f"{self.spec_path}: a worker reads it differently from the driver; install the same plugins, in the "
                f"same versions, everywhere, and do not change them while a run starts"
            )
        spec = replace(spec, calibration=self.calibration)
        return RunSetup(spec, registry, folder, self.store, self.sources, ends_alone=True)
