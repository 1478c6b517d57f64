"""What the processes of a run are doing, as `tests.crash.watch` writes it down."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

STARTING, LOADING, ANSWERING, IDLE = ENGINE_DOINGS = ("starting", "taking other weights", "answering", "idle")
OTHERWISE, TRAINING, ATTACKING = DOINGS = ("starting, loading or writing", "training", "attacking")
_STAGES = {"prepare": TRAINING, "adversarial_training": TRAINING, "attack": ATTACKING}
_CALLS = {"start": STARTING, "load": LOADING, "idle": IDLE}


class Watched:
    """The file of one run, read as it grows.

    Attributes:
        workers: by process id, one of `DOINGS`.
        engines: by process id, (process id of its worker, one of `ENGINE_DOINGS`).
        seconds: that each start and load of an engine took, in turn.
        times: of every line, on the monotonic clock.
        calls: how often an engine began to do each of `ENGINE_DOINGS`.
        stood: when the first engine stood; 0 before.
        begun: how often each step of each search began.
    """

    def __init__(self, path: Path) -> None:
        self.workers: dict[int, str] = {}
        self.engines: dict[int, tuple[int, str]] = {}
        self.seconds: dict[str, list[float]] = {STARTING: [], LOADING: []}
        self.times: list[float] = []
        self.calls: Counter[str] = Counter()
        self.stood = 0.0
        self.begun: Counter[tuple[str, int]] = Counter()
        self._path, self._at = path, 0
        self._since: dict[int, float] = {}

    def look(self) -> None:
        """Read what is new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.decode().splitlines():
            when, what, *words = line.split()
            self.times.append(float(when))
            getattr(self, f"_{what}")(float(when), *words)

    def _worker(self, _: float, pid: str, stage: str) -> None:
        self.workers[int(pid)] = _STAGES.get(stage, OTHERWISE)

    def _engine(self, when: float, pid: str, parent: str, call: str) -> None:
        doing = _CALLS.get(call, ANSWERING)
        before = self.engines.get(int(pid), (0, IDLE))[1]
        if doing == IDLE and before in self.seconds:
            self.seconds[before].append(when - self._since[int(pid)])
        if before == STARTING:
            self.stood = self.stood or when
        self.calls[doing] += 1
        self._since[int(pid)] = when
        self.engines[int(pid)] = int(parent), doing

    def _round(self, _: float, search: str, step: str) -> None:
        self.begun[search, int(step)] += 1

    def reach(self, lines: int) -> bool:
        """Whether so many are there by now."""
        self.look()
        return len(self.times) >= lines

    def again(self) -> int:
        """The most rounds that were done again in any cell: of the searches of a cell's examples, which go side by
        side, the one of which most steps began more than once.
        """
        found: Counter[str] = Counter()
        for (search, _), times in self.begun.items():
            found[search] += times - 1
        return max(found.values(), default=0)
