"""How many validation examples the tasks of a spec have."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.run.prepare.task_data import TaskDataCache
from harness.spec.load import LoadedSpec


def task_sizes(spec: LoadedSpec) -> dict[str, int]:
    """Examples of each task by its label; those whose data cannot be had here are left out.

    It reads what the spec names: never of a spec that nobody here has read.
    """
    cache, found = TaskDataCache(), dict[str, int]()
    for task in {cell.task.label: cell.task for cell in spec.cells}.values():
        try:
            found[task.label] = len(cache.data(task).validation)
        except HarnessError:
            continue
    return found
