"""Task data, loaded once per run."""

from __future__ import annotations

from harness.errors import DataError, HarnessError, in_words
from harness.identity import canonical_json
from harness.registry.chosen import Chosen
from harness.task import Task, TaskData


class Tasks:
    """Loads each distinct task once and keeps it."""

    def __init__(self) -> None:
        self._loaded: dict[str, TaskData] = {}
        self._failed: dict[str, str] = {}  # what failed once is not tried again for every cell

    def data(self, chosen: Chosen) -> TaskData:
        """The data of a task.

        Raises:
            DataError: it cannot be read; errors that are not ours are named with the task.
        """
        key = canonical_json([chosen.identity(), chosen.plugin.params.model_dump(mode="json")])
        if key in self._failed:
            raise DataError(self._failed[key])
        if key not in self._loaded:
            assert isinstance(chosen.plugin, Task)
            try:
                data = chosen.plugin.load()
                if not isinstance(data, TaskData):
                    raise TypeError(f"load() returned {type(data).__name__}, not TaskData")
                _check(data)
            except HarnessError as error:
                self._failed[key] = str(error)
                raise
            except Exception as error:
                self._failed[key] = f"task {chosen.name} ({chosen.distribution}): {in_words(error)}"
                raise DataError(self._failed[key]) from error
            self._loaded[key] = data
        return self._loaded[key]


def _check(data: TaskData) -> None:
    for split, examples in (("train", data.train), ("validation", data.validation)):
        if not examples:
            raise DataError(f"the {split} split is empty")
        ids = {example.id for example in examples}
        if len(ids) != len(examples):
            raise DataError(f"the {split} split has two examples with one id")
        for example in examples:
            if not (0 <= example.label < len(data.labels) and 0 <= example.proxy_label < len(data.labels)):
                raise DataError(
                    f"example {example.id}: label {example.label} or proxy_label {example.proxy_label} is none of the "
                    f"{len(data.labels)} labels"
                )
