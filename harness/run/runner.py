"""A run: every cell that is not done yet, in this process or in several; what fails is recorded and the rest goes on."""

from __future__ import annotations

import contextlib
import shutil
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import in_words
from harness.records.cell import CellRecord
from harness.registry.registry import Registry
from harness.run.cell import base_record, label, run_cell
from harness.run.estimate import make_plan
from harness.run.keys import keyless
from harness.run.layout import RunFolder, now
from harness.run.prepare import Preparer
from harness.run.report import Forecast, Reporter, WorkReporter
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

    def add(self, label: str, error: str | None) -> None:
        """Count a cell that ended."""
        if error is None:
            self.done += 1
        else:
            self.failed.append((label, error))


@dataclass(frozen=True)
class RunSetup:
    """What a worker needs to do cells of a run."""

    spec: LoadedSpec
    registry: Registry
    folder: RunFolder
    store: Path

    def preparer(self, reporter: WorkReporter) -> Preparer:
        """A preparer of its own for each worker."""
        return Preparer(Store(self.store), self.registry, Tasks(), reporter)


def run(
    spec: LoadedSpec,
    registry: Registry,
    root: Path,
    reporter: Reporter,
    store: Path | None = None,
    jobs: int = 1,
    plugin_files: Sequence[Path] = (),
) -> Outcome:
    """Do what is missing of a spec, in ``root``.

    Args:
        jobs: how many processes share the work; models of one victim stay with one process.
        plugin_files: files given with ``--plugin``, which other processes have to load too.

    Raises:
        RunError: the folder belongs to another spec or another process.
        KeyboardInterrupt: stopped; everything finished so far is on disk.
    """
    from harness import __version__

    folder = RunFolder(root)
    setup = RunSetup(spec, registry, folder, store or folder.artifacts)
    with folder.locked():
        folder.check(spec)
        preparer = setup.preparer(reporter.worker(0))
        cells: dict[str, Cell] = {}  # two cells that differ in nothing that counts (a device, say) are one
        lost: dict[str, tuple[Cell, str]] = {}
        for cell in spec.cells:
            key, problem = _key(preparer, cell)
            if key is None:
                lost[keyless(cell)] = cell, problem
            else:
                cells.setdefault(key, cell)
                shutil.rmtree(folder.cell(keyless(cell)), ignore_errors=True)  # of a start that could not find its key
        if not lost:
            folder.check_cells(cells.keys())
        folder.begin(spec, __version__, len(cells) + len(lost))
        todo = {key: cell for key, cell in cells.items() if folder.cell_status(key) != "done"}
        outcome = Outcome(done=len(cells) - len(todo))
        jobs = max(1, min(jobs, len({preparer.keys(cell).victim for cell in cells.values()})))
        reporter.begin(len(cells) + len(lost), outcome.done, _forecast(todo, preparer, folder, jobs))
        for key, (cell, problem) in lost.items():
            record_failure(key, cell, setup, problem, problem)
            preparer.reporter.cell_done(label(cell), None, None, problem)
            outcome.add(label(cell), problem)
        groups = _groups(todo, folder, preparer)
        if jobs > 1:  # even for one group that is left: the threads of a worker must not change when a run is resumed
            from harness.run.pool import run_groups

            run_groups(setup, groups, jobs, reporter, outcome, plugin_files)
        else:
            for group in groups:
                for key, cell in group.items():
                    outcome.add(label(cell), do_cell(key, cell, setup, preparer))
        return outcome


def _key(preparer: Preparer, cell: Cell) -> tuple[str | None, str]:
    """The cell's key, or why it has none: its data or model cannot be found."""
    try:
        return preparer.keys(cell).cell, ""
    except Exception as error:
        return None, in_words(error)


def _forecast(todo: dict[str, Cell], preparer: Preparer, folder: RunFolder, jobs: int) -> Forecast | None:
    """What is left to do, or None when a plugin cannot say; that must not keep the run from starting."""
    try:
        plan = make_plan(list(todo.values()), preparer, folder)
        return Forecast(plan.remaining(), plan.remaining() / plan.rate / jobs)
    except Exception:
        return None


def _groups(todo: dict[str, Cell], folder: RunFolder, preparer: Preparer) -> list[dict[str, Cell]]:
    """Cells of one victim together, rounds in turn, so that it is made and loaded once; begun groups first, then large models."""
    found: dict[str, list[tuple[str, Cell]]] = {}
    for key, cell in todo.items():
        found.setdefault(preparer.keys(cell).victim, []).append((key, cell))
    groups = [dict(sorted(items, key=lambda item: item[1].round or 0)) for items in found.values()]

    def urgency(group: dict[str, Cell]) -> tuple[bool, int]:
        begun = any(folder.cell_status(key) == "begun" for key in group)
        cell = next(iter(group.values()))
        size = 0
        with contextlib.suppress(Exception):  # a plugin that cannot say fails when its turn comes
            size = cell.victim.plugin.card(preparer.tasks.data(cell.task)).n_params
        return (not begun, -size)

    return sorted(groups, key=urgency)


def do_cell(key: str, cell: Cell, setup: RunSetup, preparer: Preparer) -> str | None:
    """Run one cell and report it; what went wrong, or None. Never raises but for an interruption."""
    try:
        record = run_cell(cell, setup.spec, setup.folder, preparer)
    except (Exception, SystemExit) as error:
        message = in_words(error)
        preparer.reporter.cell_done(label(cell), None, None, message)
        record_failure(key, cell, setup, message, traceback.format_exc())
        return message
    clean = record.n_clean_correct / max(1, record.n_clean)
    preparer.reporter.cell_done(label(cell), asr_so_far(setup.folder, record), clean, None)
    return None


def record_failure(key: str, cell: Cell, setup: RunSetup, message: str, trace: str) -> None:
    """Leave the reason beside the journal, which stays: the next start tries again from there."""
    # A disk that is full cannot hold this either: the exit status and the terminal still say it, and the cell counts as missing.
    with contextlib.suppress(OSError):
        update = {"error": message.replace("\n", " ")[:2000], "started": now()}
        record = base_record(cell, setup.spec, key).model_copy(update=update)
        write_json(setup.folder.cell(key) / "cell.json", record.model_dump(mode="json"))
        (setup.folder.cell(key) / "error.txt").write_text(trace, encoding="utf-8", errors="backslashreplace")


def asr_so_far(folder: RunFolder, record: CellRecord) -> float | None:
    """Share of attacked examples broken at any step, from the records just written; None when none was attacked."""
    import pyarrow.parquet as pq

    if record.n_attacked == 0:
        return None
    table = pq.read_table(folder.cell(record.key) / "steps.parquet", columns=["example", "success"]).to_pylist()
    return len({row["example"] for row in table if row["success"]}) / record.n_attacked
