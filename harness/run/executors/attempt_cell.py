"""One cell, whatever its plugins do: what fails is recorded, and the process is left as it was for the next."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

from harness.errors import error_text
from harness.isolation.process_state import (
    SavedSettings,
    interpreter_settings,
    random_generators,
    restored_after,
    torch_settings,
)
from harness.isolation.step_timeout import no_step_limit, pop_timeout_report, step_limit
from harness.records.untold import untold_text
from harness.run.cell.base_record import base_record
from harness.run.cell.rejudge import rejudge_cell
from harness.run.cell.run_cell import run_cell
from harness.run.cell_label import cell_label
from harness.run.executors.run_setup import RunSetup
from harness.run.prepare.preparer import Preparer
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.reporter import CellEnd, WorkReporter
from harness.run.run_folder import now
from harness.spec.cells import CellSpec
from harness.store.atomic import write_json
from harness.surrogates import replace_surrogates


def attempt_cell(
    key: str, cell: CellSpec, setup: RunSetup, preparer: Preparer, resolved: ResolvedCell | None = None
) -> str | None:
    """Run one cell, record and report it; what went wrong, or None. Never raises but for an interruption.

    Args:
        resolved: the cell worked out; None: not yet in this process, and what goes wrong then is the cell's as well.
    """
    pop_timeout_report(setup.folder.cell(key))  # of a start whose driver died before it was read
    seconds = setup.spec.spec.step_seconds
    limited = no_step_limit if seconds is None or not setup.ends_alone else step_limit(seconds, setup.folder.cell(key))
    try:
        with _threads(cell.resources.cpus), _left_as_it_was(cell, preparer.reporter):
            resolved = resolved or preparer.resolver.resolve(cell)
            source = setup.sources.find(resolved)
            if source is not None:
                result = rejudge_cell(resolved, setup.spec, source, preparer)
            else:
                result = run_cell(resolved, setup.spec, setup.folder, preparer, limited)
            result.write(setup.folder)
    except (Exception, SystemExit) as error:
        message = error_text(error)
        preparer.reporter.cell_done(CellEnd(cell_label(cell), error=message))
        record_failure(key, cell, setup, message, traceback.format_exc())
        return message
    record = result.record
    if record.status == "skipped":
        preparer.reporter.stage(f"skip {cell_label(cell)}: {record.error}")
        preparer.reporter.cell_done(CellEnd(cell_label(cell)))
        return None
    untold = untold_text(record.model_dump())
    preparer.reporter.cell_done(
        CellEnd(
            cell_label(cell),
            result.asr,
            record.clean_accuracy,
            untold=untold,
            answered=result.answered,
            clean_measure=result.clean_measure,
        )
    )
    return None


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """So many threads for the numbers of one cell."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _left_as_it_was(cell: CellSpec, reporter: WorkReporter) -> Iterator[None]:
    """The cells that follow must not see what the plugins of this one do to the process."""
    shared = SavedSettings(random_generators())  # libraries draw from it as well, which is nobody's mistake
    try:
        with restored_after(
            [*torch_settings(), *interpreter_settings()],
            lambda what: reporter.note(f"a plugin of {cell_label(cell)} changed {what}; this was undone"),
        ):
            yield
    finally:
        shared.put_back()


def record_failure(key: str, cell: CellSpec, setup: RunSetup, message: str, trace: str) -> None:
    """Leave the reason next to the journal, which stays: the next start tries again from there."""
    # A full disk cannot hold this either: exit status and terminal still say it, and the cell counts as missing.
    with contextlib.suppress(OSError):
        update = {"error": replace_surrogates(message.replace("\n", " "))[:2000], "started": now()}
        record = base_record(cell, setup.spec, key).model_copy(update=update)
        write_json(setup.folder.cell(key) / "cell.json", record.model_dump(mode="json"))
        (setup.folder.cell(key) / "error.txt").write_text(trace, encoding="utf-8", errors="backslashreplace")
