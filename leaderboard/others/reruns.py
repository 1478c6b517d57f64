"""The same cells run again by somebody else: two submissions of one spec by two submitters, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.records.compare import difference
from harness.records.read import Cell, Run


@dataclass(frozen=True)
class CellAgain:
    """A cell that somebody else submitted first.

    Attributes:
        first: the cell that stands in the table.
        by, date: who ran it again, and when, as they say.
        differs: the first field or column in which the two differ; "" where all is the same, but for when and where it
            was measured.
    """

    first: Cell
    by: str
    date: str
    differs: str


@dataclass(frozen=True)
class Rerun:
    """What somebody else's run says of a row.

    Attributes:
        cells: of the row, how many they ran again, of ``of``.
        same: of these, how many came out the same.
        differs: in what the first of the others differs; "" where none does.
    """

    by: str
    date: str
    cells: int
    of: int
    same: int
    differs: str


def separate_reruns(runs: Sequence[Run]) -> tuple[list[Run], list[CellAgain]]:
    """Runs without the cells that another submitter has submitted before, and these cells.

    A cell is run again where both are of checked submissions, by submitters who both give a name, and not the same one.
    First is the one whose run says that it began earlier. All other cells that come twice are left where they are, and
    a run of which none is left is left out.

    Raises:
        DataError: a table cannot be read.
    """
    order = sorted(range(len(runs)), key=lambda index: str(runs[index].info.get("created", "")))
    first: dict[tuple[str, str], tuple[str, Cell]] = {}
    kept, again = list(runs), []
    for index in order:
        run = runs[index]
        by, stays = str(run.info.get("by") or ""), []
        for cell in run.cells:
            known_by, known = first.setdefault((cell.record.spec_hash, cell.record.key), (by, cell))
            if known is cell or not (cell.checked and known.checked and _are_two(by, known_by)):
                stays.append(cell)
            else:
                again.append(CellAgain(known, by, str(run.info.get("created", "")), difference(known, cell) or ""))
        kept[index] = replace(run, cells=tuple(stays))
    return [run for run, before in zip(kept, runs, strict=True) if run.cells or not before.cells], again


def reruns_of(cells: Sequence[Cell], again: Sequence[CellAgain]) -> tuple[Rerun, ...]:
    """Who ran cells of a row again, and what came of it; by name."""
    folders = {cell.folder for cell in cells}
    found: dict[tuple[str, str], list[CellAgain]] = {}
    for one in again:
        if one.first.folder in folders:
            found.setdefault((one.by, one.date), []).append(one)
    return tuple(
        Rerun(
            by,
            date,
            cells=len(ones),
            of=len(cells),
            same=sum(not one.differs for one in ones),
            differs=next((one.differs for one in ones if one.differs), ""),
        )
        for (by, date), ones in sorted(found.items())
    )


def _are_two(one: str, other: str) -> bool:
    """Whether two names are given, and differ in more than case and spaces."""
    names = [" ".join(name.casefold().split()) for name in (one, other)]
    return all(names) and names[0] != names[1]
