"""One row of the table: rounds in which both sides are timed once, one after the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.rows import TINY_CHAT, Row
from tests.benchmarks.worker import Worker

Side = Callable[[int], float]  # told the round, gives seconds


@dataclass
class Result:
    """What a row came to.

    Attributes:
        ratio: how many times faster ours is; median over the rounds of the ratio within one.
        of_peak: our FLOP/s over those of large matrix products in the same round, median; of a cell: the share of its
            wall time.
        error: largest difference of a loss between the sides, in nats.
        seconds: of each side in each round.
        notes: anything else worth knowing.
        missing: why it was not measured, or "".
    """

    id: str
    ratio: float | None = None
    of_peak: float | None = None
    error: float | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    missing: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Bench:
    """Both workers, where the models are written, and how often each side is timed."""

    ours: Worker
    theirs: Worker
    models: Path
    store: Path
    rounds: int

    def run(self, row: Row) -> Result:
        """Measure a row."""
        with busy_core() if row.busy else nullcontext():
            return getattr(self, f"_{row.kind}")(row)

    def _score(self, row: Row) -> Result:
        folder, executed, losses = self._model(row.model), [], {}

        def ours(number: int) -> float:
            asked = {"folder": folder, "path": "auto", "shape": row.shape, "best": row.best}
            answer = self.ours.ask("score", number=number, losses=number == 0, **asked)
            executed.append(answer["executed"])
            losses.setdefault("ours", answer["losses"])
            return answer["seconds"]

        def theirs(number: int) -> float:
            items = self.ours.ask("items", folder=folder, shape=row.shape, number=number)
            answer = self.theirs.ask("score", folder=folder, items=items, losses=number == 0)
            losses.setdefault("theirs", answer["losses"])
            return answer["seconds"]

        seconds = self._rounds({"ours": ours, "nanogcg": theirs})
        notes = {"of_peak_at_own_shapes": self.ours.ask("own_shapes", folder=folder) / _peak(seconds)}
        error = largest_difference(losses["ours"], losses["theirs"])
        return _result(row, seconds, "nanogcg", executed, error, notes)

    def _iterate(self, row: Row) -> Result:
        folder, answers, scored = self._model(row.model), [], []

        def ours(number: int) -> float:
            answers.append(self.ours.ask("iterate", folder=folder, shape=row.shape, number=number))
            return answers[-1]["seconds"]

        def theirs(_number: int) -> float:
            width = row.shape["candidates"]
            answer = self.theirs.ask("iterate", folder=folder, item=answers[-1]["item"], width=width)
            scored.append(answer["scored"])
            return answer["seconds"]

        seconds = self._rounds({"ours": ours, "nanogcg": theirs}, turns=False)
        again = self.theirs.ask("score", folder=folder, items=[answers[-1]["item"]], losses=True)
        error = largest_difference([answers[-1]["losses"]], again["losses"])
        parts = {name: median(answer["parts"][name] for answer in answers[1:]) for name in answers[0]["parts"]}
        counts = {"ours": len(answers[-1]["losses"]), "nanogcg": median(scored)}
        executed = [answer["executed"] for answer in answers]
        return _result(row, seconds, "nanogcg", executed, error, {"parts": parts, "scored": counts})

    def _paths(self, row: Row) -> Result:
        folder, executed, losses = self._model(row.model), {"packed_reuse": [], "copied_prefix": []}, {}

        def one(path: str) -> Side:
            def call(number: int) -> float:
                answer = self.ours.ask(
                    "score", folder=folder, path=path, shape=row.shape, number=number, losses=number == 0
                )
                executed[path].append(answer["executed"])
                losses.setdefault(path, answer["losses"])
                return answer["seconds"]

            return call

        seconds = self._rounds({"ours": one("packed_reuse"), "copied_prefix": one("copied_prefix")})
        error = largest_difference(losses["packed_reuse"], losses["copied_prefix"])
        return _result(row, seconds, "copied_prefix", executed["packed_reuse"], error, {})

    def _half(self, row: Row) -> Result:
        folder, tiny = self._model(row.model), row.model == TINY_CHAT
        ours: list[dict[str, Any]] = []
        theirs: list[dict[str, Any]] = []
        for seed in range(min(row.most_rounds, self.rounds)):
            ours.append(self.ours.ask("until_half", folder=folder, tiny=tiny, seed=seed, params=row.shape))
            prompts = self.ours.ask("prompts", folder=folder, tiny=tiny, seed=seed)
            theirs.append(self.theirs.ask("until_half", folder=folder, items=prompts, params=row.shape))
        notes = {"broken": {"ours": [len(a["broken"]) for a in ours], "nanogcg": [len(b["broken"]) for b in theirs]}}
        notes["of"] = len(prompts)
        wanted = len(prompts) // 2
        if any(len(one["broken"]) < wanted for one in (*ours, *theirs)):
            return Result(row.id, notes=notes, missing=f"not half broken in time: {notes['broken']}")
        seconds = {
            name: [one["broken"][wanted - 1] for one in side] for name, side in (("ours", ours), ("nanogcg", theirs))
        }
        whole = median(b["seconds"] / a["seconds"] for a, b in zip(ours, theirs, strict=True))
        ratio = median(b / a for a, b in zip(seconds["ours"], seconds["nanogcg"], strict=True))
        return Result(row.id, ratio, seconds=seconds, notes=notes | {"whole_runs": whole})

    def _cell(self, row: Row) -> Result:
        answer = self.ours.ask("cell", store=str(self.store), rounds=min(3, self.rounds))
        return Result(row.id, of_peak=answer["share"], notes=answer)

    def _gpu(self, row: Row) -> Result:
        answer = self.ours.ask("gpu", size=row.model, shape=row.shape, rounds=self.rounds)
        if answer is None:
            return Result(row.id, missing="no GPU here")
        return Result(row.id, answer["ratio"], answer["of_peak"], answer["error"], notes=answer)

    def _model(self, size: str) -> str:
        folder = self.models / size
        if not folder.exists():
            self.ours.ask("write", size=size, folder=str(folder), store=str(self.store))
        return str(folder)

    def _rounds(self, sides: dict[str, Side], turns: bool = True) -> dict[str, list[float]]:
        """Seconds of each side and of a FLOP of matrix products, by round; the first round does not count.

        Args:
            turns: whether who comes first changes from round to round; else it is the order given.
        """
        found: dict[str, list[float]] = {name: [] for name in ("product", *sides)}
        for number in range(self.rounds + 1):
            product = 1.0 / self.ours.ask("gemm")
            order = list(sides)[:: -1 if turns and number % 2 else 1]
            seconds = {name: sides[name](number) for name in order} | {"product": product}
            if number:
                for name, value in seconds.items():
                    found[name].append(value)
        return found


def _result(
    row: Row, seconds: dict[str, list[float]], other: str, executed: list[float], error: float, notes: dict[str, Any]
) -> Result:
    ratio = median(b / a for a, b in zip(seconds["ours"], seconds[other], strict=True))
    work = executed[-len(seconds["ours"]) :]
    shares = [flops * p / a for flops, p, a in zip(work, seconds["product"], seconds["ours"], strict=True)]
    notes |= {"peak_flops_per_second": _peak(seconds)}
    return Result(row.id, ratio, median(shares), error, seconds, notes)


def _peak(seconds: dict[str, list[float]]) -> float:
    return 1.0 / median(seconds["product"])


@contextmanager
def busy_core() -> Iterator[None]:
    """Within, another process computes without a pause."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def largest_difference(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """Over the losses of all candidates of all examples that are known exactly: the others are NaN."""
    pairs = [(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)]
    return max(abs(a - b) for a, b in pairs if not isnan(a))
