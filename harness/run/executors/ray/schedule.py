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
        needs: keys of what it is made with, in the order of their making.
        weights: key of the model that is attacked; a worker keeps it open.
        deaths: of workers on it.
        lost: of machines under it.
    """

    key: str
    cell: CellSpec
    place: int
    needs: tuple[str, ...]
    weights: str
    deaths: int = 0
    lost: int = 0

    @property
    def shape(self) -> Resources:
        """What its worker is given."""
        return self.cell.resources


@dataclass
class Schedule:
    """Tasks in the order in which they are wanted. Nothing is made by two workers at the same time.

    Args:
        exists: whether an artifact is there already; asked once for each.
    """

    tasks: Iterable[ScheduledCell]
    exists: Callable[[str], bool]
    waiting: list[ScheduledCell] = field(init=False)
    running: dict[str, ScheduledCell] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting = list(self.tasks)
        needed = dict.fromkeys(need for task in self.waiting for need in task.needs)
        self._missing = {need for need in needed if not self.exists(need)}
        self._makers: dict[str, str] = {}  # who makes an artifact: the key of a running task

    def _free(self, task: ScheduledCell) -> bool:
        return not any(need in self._makers for need in task.needs)

    def ready(self, shape: Resources) -> int:
        """How many could be begun at the same time by workers of that shape."""
        taken: set[str] = set()
        count = 0
        for task in self.waiting:
            wanted = {need for need in task.needs if need in self._missing}
            if task.shape == shape and self._free(task) and not wanted & taken:
                count += 1
                taken |= wanted
        return count

    def left(self, shape: Resources) -> bool:
        """Whether a worker of that shape may still be wanted."""
        return any(task.shape == shape for task in self.waiting)

    def next(self, shape: Resources, opened: str | None = None) -> ScheduledCell | None:
        """The next task for a worker of that shape, which has the model ``opened`` open; None: none at the moment."""
        ready = [task for task in self.waiting if task.shape == shape and self._free(task)]
        if not ready:
            return None
        task = next((task for task in ready if task.weights == opened), ready[0])
        self.waiting.remove(task)
        self.running[task.key] = task
        self._makers |= {need: task.key for need in task.needs if need in self._missing}
        return task

    def made(self, artifact: str) -> None:
        """An artifact is there now."""
        self._missing.discard(artifact)
        self._makers.pop(artifact, None)

    def ended(self, key: str) -> ScheduledCell:
        """A task is over, well or not: what it has not made may be made by another."""
        self._makers = {need: maker for need, maker in self._makers.items() if maker != key}
        return self.running.pop(key)

    def again(self, key: str) -> None:
        """A task was cut off: it comes next."""
        self.waiting.insert(0, self.ended(key))

    def shapes(self) -> list[Resources]:
        """Of all waiting tasks, those wanted first first."""
        return list(dict.fromkeys(task.shape for task in self.waiting))
