"""Which cell a worker does next: one whose models are there, or that makes them for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.spec.cells import CellSpec
from harness.spec.resources import Resources


@dataclass
class ScheduledCell:
    """A cell to be done.

    Attributes:
        place: of the cell in the spec.
        artifacts: keys of what it is made with, in the order of their making.
        weights: key of the model that is attacked; a worker keeps it open.
        deaths: of workers on it.
        lost: of machines under it.
    """

    key: str
    spec: CellSpec
    place: int
    artifacts: tuple[str, ...]
    weights: str
    deaths: int = 0
    lost: int = 0

    @property
    def shape(self) -> Resources:
        """CPUs, GPUs and memory that its worker is given."""
        return self.spec.resources


@dataclass
class Schedule:
    """Cells in the order in which they are wanted. Nothing is made by two workers at the same time.

    Args:
        exists: whether an artifact is there already; asked once for each.
    """

    cells: Iterable[ScheduledCell]
    exists: Callable[[str], bool]
    waiting: list[ScheduledCell] = field(init=False)
    running: dict[str, ScheduledCell] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting = list(self.cells)
        artifacts = dict.fromkeys(key for cell in self.waiting for key in cell.artifacts)
        self._missing = {key for key in artifacts if not self.exists(key)}
        self._makers: dict[str, str] = {}  # who makes an artifact: the key of a running cell

    def _is_free(self, cell: ScheduledCell) -> bool:
        """Whether nothing that it is made with is being made for another cell."""
        return not any(key in self._makers for key in cell.artifacts)

    def count_ready(self, shape: Resources) -> int:
        """How many could be begun at the same time by workers of that shape."""
        taken: set[str] = set()
        count = 0
        for cell in self.waiting:
            missing = {key for key in cell.artifacts if key in self._missing}
            if cell.shape == shape and self._is_free(cell) and not missing & taken:
                count += 1
                taken |= missing
        return count

    def has_waiting(self, shape: Resources) -> bool:
        """Whether a worker of that shape may still be wanted."""
        return any(cell.shape == shape for cell in self.waiting)

    def next(self, shape: Resources, open_weights: str | None = None) -> ScheduledCell | None:
        """The next cell for a worker of that shape, if there is one at the moment.

        Args:
            open_weights: key of the model that the worker has open; a cell of that model comes first.
        """
        ready = [cell for cell in self.waiting if cell.shape == shape and self._is_free(cell)]
        if not ready:
            return None
        cell = next((cell for cell in ready if cell.weights == open_weights), ready[0])
        self.waiting.remove(cell)
        self.running[cell.key] = cell
        self._makers |= {key: cell.key for key in cell.artifacts if key in self._missing}
        return cell

    def artifact_is_there(self, key: str) -> None:
        """An artifact was found or made."""
        self._missing.discard(key)
        self._makers.pop(key, None)

    def end(self, key: str) -> ScheduledCell:
        """A cell is over, well or not: what it has not made may be made by another."""
        self._makers = {artifact: maker for artifact, maker in self._makers.items() if maker != key}
        return self.running.pop(key)

    def requeue(self, key: str) -> None:
        """A cell was cut off: it comes next."""
        self.waiting.insert(0, self.end(key))

    def shapes(self) -> list[Resources]:
        """Of all waiting cells, those wanted first first."""
        return list(dict.fromkeys(cell.shape for cell in self.waiting))
