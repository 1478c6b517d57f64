"""How many validation examples the tasks of a spec have."""

from __future__ import annotations

import contextlib

from harness.api.task import Task
from harness.errors import HarnessError
from harness.run.prepare.task_data import TaskDataCache
from harness.spec.load import LoadedSpec


def task_sizes(spec: LoadedSpec, *, load: bool) -> dict[str, int]:
    """Examples of each task by its label; of tasks whose parameters do not tell how many, and whose data cannot be had
    here, nothing.

    Args:
        load: whether data may be read: never those that a spec names which nobody here has read.
    """
    cache, found = TaskDataCache(), dict[str, int]()
    for task in {cell.task.label: cell.task for cell in spec.cells}.values():
        assert isinstance(task.plugin, Task)
        count = task.plugin.validation_count()
        if count is None and load:
            with contextlib.suppress(HarnessError):
                count = len(cache.data(task).validation)
        if count is not None:
            found[task.label] = count
    return found
