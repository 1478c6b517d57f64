"""What a run is, for whoever does its cells, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.registry.registry import Registry
from harness.run.cell.rejudge import NO_SOURCES, Sources
from harness.run.prepare.preparer import Preparer
from harness.run.reporter import WorkReporter
from harness.run.run_folder import RunFolder
from harness.spec.load import LoadedSpec
from harness.store.open_store import open_store


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        done: cells with records, those of earlier starts included.
        failed: label and reason of each cell that failed in this start.
        untold: label of each cell that has answers without a verdict, and how many, in words; of earlier starts too.
    """

    done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    untold: list[tuple[str, str]] = field(default_factory=list)

    def add(self, label: str, error: str | None) -> None:
        """Count a cell that ended."""
        if error is None:
            self.done += 1
        else:
            self.failed.append((label, error))


@dataclass(frozen=True)
class RunSetup:
    """What a worker needs to do cells of a run.

    Attributes:
        store: a folder or a URL.
        ends_alone: whether this process may end without ending the run, when a step takes too long.
    """

    spec: LoadedSpec
    registry: Registry
    folder: RunFolder
    store: str
    sources: Sources = NO_SOURCES
    ends_alone: bool = False

    def preparer(self, reporter: WorkReporter, on_artifact: Callable[[str], object] = lambda _: None) -> Preparer:
        """A preparer of its own for each worker; see there."""
        return Preparer(open_store(self.store), self.registry, reporter, on_artifact)
