"""How long a run still takes: what its plan expects of the work left, scaled by how long the work done so far took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

_TRUST = 0.04
"""The share of a plan's time for which it is believed before measured time outweighs it."""


class TimeLeft:
    """Follows the work of a run. Until the first piece of work is known to have moved, the plan's word is all there is.

    Args:
        cells: to be done.
        expected: the pieces of work by what they are called when they begin; seconds that each is expected to take on
            one worker, None where that is unknown. Empty: nothing is known, and cells count alike.
        workers: that work at a time.
        clock: seconds.
    """

    def __init__(
        self,
        cells: int,
        expected: Mapping[str, float | None],
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        known = [seconds for seconds in expected.values() if seconds]
        usual = sum(known) / len(known) if known else 1.0
        self._left = {what: usual if seconds is None else seconds for what, seconds in expected.items()}
        self._planned = bool(expected)
        self._cells, self._cells_done, self._workers = cells, 0, workers
        self._ended = 0.0
        self._trusted = _TRUST * sum(self._left.values()) if known else 0.0
        self._doing: dict[int, tuple[str, float]] = {}
        self._clock = clock
        # When the first planned piece of work begins: the start of workers is no measure of it.
        self._began = None if self._planned else clock()

    def stage(self, worker: int, what: str) -> None:
        """A worker begins a piece of work; the one before it is done."""
        self._end(self._doing.pop(worker, ("", 0.0))[0])
        self._doing[worker] = what, 0.0
        if self._began is None and what in self._left:
            self._began = self._clock()

    def progress(self, worker: int, share: float) -> None:
        """How much of its piece of work a worker has done, 0 to 1."""
        if worker in self._doing:
            self._doing[worker] = self._doing[worker][0], min(1.0, share)

    def cell_done(self, worker: int, label: str) -> None:
        """A cell ended, attacked or not."""
        self._end(self._doing.pop(worker, ("", 0.0))[0])
        self._end(f"attack {label}")
        self._cells_done += 1

    def seconds(self) -> float | None:
        """Seconds that are left; None where nothing tells, 0 where nothing is left."""
        if self._cells_done >= self._cells:
            return 0.0
        if self._planned:
            current = sum(share * self._left.get(what, 0.0) for what, share in self._doing.values())
            left, done = sum(self._left.values()) - current, self._ended + current
        else:
            left, done = self._cells - self._cells_done, self._cells_done
        if not done + self._trusted:
            return None
        elapsed = 0.0 if self._began is None else self._clock() - self._began
        slower = (elapsed * self._workers + self._trusted) / (done + self._trusted)
        return slower * left / self._workers

    def _end(self, what: str) -> None:
        self._ended += self._left.pop(what, 0.0)
