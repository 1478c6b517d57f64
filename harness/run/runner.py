"""A run: every cell that is not done yet, one after another; what fails is recorded and the rest goes on."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.records.cell import CellRecord
from harness.registry.registry import Registry
from harness.run.cell import base_record, label, run_cell
from harness.run.estimate import make_plan
from harness.run.layout import RunFolder, now
from harness.run.prepare import Preparer
from harness.run.report import Forecast, Reporter
from harness.run.tasks import Tasks
from harness.spec.cells import Cell
from harness.spec.load import LoadedSpec
from harness.store.artifacts import Store
from harness.store.atomic import write_json


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        done: cells with records, those of earlier starts included.
        failed: label and reason of each cell that failed in this start.
    """

    done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def run(spec: LoadedSpec, registry: Registry, root: Path, reporter: Reporter, store: Path | None = None) -> Outcome:
    """Do what is missing of a spec, in ``root``.

    Raises:
        RunError: the folder belongs to another spec or another process.
        KeyboardInterrupt: stopped; everything finished so far is on disk.
    """
    from harness import __version__

    folder = RunFolder(root)
    with folder.locked():
        folder.begin(spec, __version__)
        preparer = Preparer(Store(store or folder.artifacts), registry, Tasks(), reporter)
        outcome = Outcome()
        cells: dict[str, Cell] = {}  # two cells that differ in nothing that counts (a device, say) are one
        for cell in spec.cells:
            key, problem = _key(preparer, cell)
            if key is None:
                outcome.failed.append((label(cell), problem))
                reporter.cell_done(label(cell), None, None, problem)
            else:
                cells.setdefault(key, cell)
        todo = {key: cell for key, cell in cells.items() if folder.cell_status(key) != "done"}
        outcome.done = len(cells) - len(todo)
        reporter.begin(len(cells), outcome.done, _forecast(todo, preparer, folder))
        for key, cell in _in_order(todo, folder, preparer):
            _one(key, cell, spec, folder, preparer, outcome)
        return outcome


def _forecast(todo: dict[str, Cell], preparer: Preparer, folder: RunFolder) -> Forecast | None:
    """What is left to do, or None when a plugin cannot say; that must not keep the run from starting."""
    try:
        plan = make_plan(list(todo.values()), preparer, folder)
        return Forecast(plan.remaining(), plan.remaining() / plan.rate)
    except Exception:
        return None


def _in_order(todo: dict[str, Cell], folder: RunFolder, preparer: Preparer) -> list[tuple[str, Cell]]:
    """Cells of one model together, so that it is loaded once, rounds in turn; those that were begun first."""
    begun = {key: folder.cell_status(key) == "begun" for key in todo}
    return sorted(todo.items(), key=lambda item: (not begun[item[0]], preparer.keys(item[1]).victim, item[1].round or 0))


def _key(preparer: Preparer, cell: Cell) -> tuple[str | None, str]:
    """The cell's key, or why it has none: its data or model cannot be found."""
    try:
        return preparer.keys(cell).cell, ""
    except HarnessError as error:
        return None, str(error)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _one(key: str, cell: Cell, spec: LoadedSpec, folder: RunFolder, preparer: Preparer, outcome: Outcome) -> None:
    try:
        record = run_cell(cell, spec, folder, preparer)
    except Exception as error:
        message = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        outcome.failed.append((label(cell), message))
        preparer.reporter.cell_done(label(cell), None, None, message)
        _record_failure(key, cell, spec, folder, message, traceback.format_exc())
    else:
        outcome.done += 1
        preparer.reporter.cell_done(label(cell), asr_so_far(folder, record), record.n_clean_correct / max(1, record.n_clean), None)


def _record_failure(key: str, cell: Cell, spec: LoadedSpec, folder: RunFolder, message: str, trace: str) -> None:
    """Leave the reason beside the journal, which stays: the next start tries again from there."""
    try:
        record = base_record(cell, spec, key).model_copy(update={"error": message.replace("\n", " ")[:2000], "started": now()})
        write_json(folder.cell(key) / "cell.json", record.model_dump(mode="json"))
        (folder.cell(key) / "error.txt").write_text(trace, encoding="utf-8")
    except OSError:
        pass  # a full disk: the exit status and the terminal still say it, and the cell counts as missing


def asr_so_far(folder: RunFolder, record: CellRecord) -> float | None:
    """Share of attacked examples broken at any step, from the records just written; None when none was attacked."""
    import pyarrow.parquet as pq

    if record.n_attacked == 0:
        return None
    table = pq.read_table(folder.cell(record.key) / "steps.parquet", columns=["example", "success"]).to_pylist()
    return len({row["example"] for row in table if row["success"]}) / record.n_attacked


