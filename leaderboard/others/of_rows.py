"""All that others say of a board, and what of it concerns one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.records.read import Cell, Run
from leaderboard.others.claims import Claim
from leaderboard.others.errata import Erratum
from leaderboard.others.lowered import ClaimedRow, OwnCost, claimed_row
from leaderboard.others.reruns import CellAgain, Rerun, reruns_of

MAX_REGISTERED_BYTES = 2**20


@dataclass(frozen=True)
class Declared:
    """What a submitter says of how a run came about.

    Attributes:
        tries: how many runs of the spec they made; None where they do not say.
        registered: where the spec's hash was registered beforehand, and when; "" where they do not say.
        found: whether that is a file of the board's own repository which has the hash.
    """

    tries: int | None = None
    registered: str = ""
    found: bool = False


@dataclass(frozen=True)
class OfRow:
    """What others, and its submitters, say of a row.

    Attributes:
        claimed: the row with the claims against it; None where there are none.
        declared: a line for each submission behind the row that declares anything.
    """

    claimed: ClaimedRow | None = None
    reruns: tuple[Rerun, ...] = ()
    errata: tuple[Erratum, ...] = ()
    declared: tuple[Declared, ...] = ()

    @property
    def withdrawn(self) -> bool:
        """Whether the spec or an entry behind the row was withdrawn."""
        return any(erratum.withdrawn for erratum in self.errata)


NOTHING = OfRow()


@dataclass(frozen=True)
class Others:
    """What others say of all rows of a board.

    Attributes:
        again: cells that somebody ran again.
        declared: of submissions, by the path that their cells name.
    """

    claims: tuple[Claim, ...] = ()
    again: tuple[CellAgain, ...] = ()
    errata: tuple[Erratum, ...] = ()
    declared: Mapping[Path, Declared] = field(default_factory=dict)

    def of_row(self, cells: Sequence[Cell], strongest: str | None, own: OwnCost, target: float) -> OfRow:
        """What concerns the row of ``cells``; see `claimed_row`."""
        submissions = dict.fromkeys(cell.folder.parent for cell in cells if cell.checked)
        names = {path.stem for path in submissions}
        specs = {f"{cell.record.spec_name} {cell.record.spec_version}" for cell in cells}
        errata = [note for note in self.errata if note.entry in names or note.spec in specs]
        return OfRow(
            claimed_row(cells, strongest, own, target, self.claims) if self.claims else None,
            reruns_of(cells, self.again),
            tuple(errata),
            tuple(self.declared[path] for path in submissions if path in self.declared),
        )


def declared_of(runs: Sequence[Run], repository: Path) -> dict[Path, Declared]:
    """What submitters declare of their runs, by path, of those that declare anything.

    Args:
        repository: of the board, in which a file of registered hashes may lie.
    """
    found = {}
    for run in runs:
        tries, registered = run.info.get("tries"), str(run.info.get("registered") or "")
        if run.cells and all(cell.checked for cell in run.cells) and (tries is not None or registered):
            spec_hash = str(run.info.get("spec_hash"))
            found[run.path] = Declared(tries, registered, _is_registered(repository, registered, spec_hash))
    return found


def _is_registered(repository: Path, registered: str, spec_hash: str) -> bool:
    """Whether what is named is a file of the repository that has the spec's whole hash."""
    where = registered.rpartition(" ")[0]
    if not where or where.startswith("https://") or ".." in Path(where).parts:
        return False
    path = repository / where
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_REGISTERED_BYTES:
            return False
        return spec_hash in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
