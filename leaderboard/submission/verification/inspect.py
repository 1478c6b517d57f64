"""Everything that can be found out about a submission from itself: run in a process of its own by `guard`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.records.cell import CellRecord
from leaderboard.submission.as_run import as_run
from leaderboard.submission.file_format.errors import RefusedError, shown
from leaderboard.submission.file_format.limits import CELLS, GRID, SHOWN, VERDICTS
from leaderboard.submission.submission import Submission, open_submission
from leaderboard.submission.verification.checks.across import across_notes, across_problems
from leaderboard.submission.verification.checks.compute import compute_notes
from leaderboard.submission.verification.checks.manifests import manifest_problems
from leaderboard.submission.verification.checks.rows import SubmittedRows, rows_of_cells
from leaderboard.submission.verification.checks.steps import row_problems, verdicts_of

Seen = Callable[[int, int], None]


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        sha256: of the submission; ``hash``: of the file that was read.
        problems, notes: the first of each, ``where: what``; and how many there are in all.
        listed: how many examples each cell lists, by key.
        verdicts: right label, label said, whether that was a success, and the first cell that says so; each
            combination once.
        tables: of standings that were computed.
    """

    sha256: str
    hash: str
    cells: int
    rows: int
    problems: list[str] = field(default_factory=list)
    n_problems: int = 0
    notes: list[str] = field(default_factory=list)
    listed: dict[str, int] = field(default_factory=dict)
    verdicts: list[tuple[int, int, bool, str]] = field(default_factory=list)
    tables: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON data of which `Inspection(**data)` is the same."""
        return asdict(self)


def inspect(path: Path, seen: Seen = lambda _done, _total: None) -> Inspection:
    """Read a submission or an entry, check all that can be checked without a model, and compute its standings.

    Raises:
        RefusedError: it cannot be read as one at all.
    """
    submission = open_submission(path)
    found = _Found()
    problems = [*_problems(submission, found, seen)]
    tables = 0
    if not problems:
        try:
            tables = _standings(submission)
        except RefusedError:
            raise
        except Exception as error:
            problems.append(f"standings: cannot be computed from the records ({shown(error, 200)})")
    return Inspection(
        submission.sha256,
        submission.hash,
        len(submission.cells),
        submission.rows,
        problems[:SHOWN],
        len(problems),
        found.notes[:SHOWN],
        found.listed,
        [(*said, key) for said, key in found.verdicts.items()],
        tables,
    )


@dataclass
class _Found:
    notes: list[str] = field(default_factory=list)
    listed: dict[str, int] = field(default_factory=dict)
    verdicts: dict[tuple[int, int, bool], str] = field(default_factory=dict)

    def add(self, record: CellRecord, rows: SubmittedRows) -> None:
        clean = rows.where(rows["step"] == 0)
        steps = rows.where(rows["step"] > 0)
        self.listed[record.key] = len(clean)
        self.notes += (f"cell {shown(record.key)}: {what}" for what in compute_notes(record, steps))
        for said in verdicts_of(record, clean, steps):
            if len(self.verdicts) < VERDICTS:
                self.verdicts.setdefault(said, record.key)


def _problems(submission: Submission, found: _Found, seen: Seen) -> Iterator[str]:
    by_key = {record.key: record for record in submission.cells}
    total = len(by_key)
    for record in submission.cells:
        yield from (f"cell {shown(record.key)}: {what}" for what in manifest_problems(record, submission.run))
    yield from across_problems(submission.cells)
    found.notes += across_notes(submission.cells)
    grid = sum(max(record.n_attacked, 0) * max(record.attack_steps, 0) for record in submission.cells)
    if grid > GRID:
        yield f"its cells have {grid:,} examples × steps in all, more than {GRID:,}"
        return
    order: list[str] = []
    for key, rows in rows_of_cells(submission.table):
        if key not in by_key or key in order[-1:] or len(order) >= CELLS:
            yield f"the table has rows of cell {shown(key)}, which is not among its cells"
            return
        order.append(key)
        record = by_key[key]
        yield from (f"cell {shown(key)}: {what}" for what in row_problems(record, rows))
        found.add(record, rows)
        seen(len(order), total)
    yield from _order_problems(order, submission.cells)


def _order_problems(order: list[str], records: tuple[CellRecord, ...]) -> Iterator[str]:
    there = set(order)
    if order != [record.key for record in records if record.key in there]:
        yield "the rows of its cells do not lie together, in the order of the cells"
    without = [record for record in records if record.key not in there]
    yield from (f"cell {shown(record.key)}: has no rows" for record in without)


def _standings(submission: Submission) -> int:
    from leaderboard.site.payload import payload
    from leaderboard.standings.standings import standings

    run = as_run(submission)
    tables = standings([run])
    payload([run], tables)
    return len(tables)
