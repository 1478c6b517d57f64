"""One cell, from what the spec says of it to its records."""

from __future__ import annotations

import time

from harness.isolation.step_timeout import Limit, no_limit
from harness.records.cell import CellRecord
from harness.records.write import write_cell
from harness.registry.defense_stack import is_randomised
from harness.run.cell.access_check import check_access
from harness.run.cell.attack import attack_cell
from harness.run.cell.manifest import finished_record, skipped_record
from harness.run.cell.rejudge import NO_SOURCES, Sources, rejudge_cell
from harness.run.prepare.certificates import certificate_of
from harness.run.prepare.preparer import Preparer
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.prepare.rounds import why_not_trained
from harness.run.run_folder import RunFolder, now
from harness.spec.load import LoadedSpec
from harness.store.atomic import write_json


def run_cell(
    cell: ResolvedCell,
    spec: LoadedSpec,
    folder: RunFolder,
    preparer: Preparer,
    sources: Sources = NO_SOURCES,
    limited: Limit = no_limit,
) -> CellRecord:
    """Prepare, attack, write the records; where one of the ``sources`` has done the attack, only judge it.

    Args:
        limited: what each step of the attack, and of attacks in training, runs under.
    """
    began, started, key = time.monotonic(), now(), cell.keys.cell
    # Of a randomised defense one answer of several is recorded, which is not what another judge would be given.
    source = None if is_randomised(cell.spec.defense) else sources.find(cell.keys.search)
    if source is not None:
        record, examples, steps = rejudge_cell(cell, spec, source, preparer)
        write_cell(folder.cell(key), record, examples, steps)
    else:
        check_access(cell.spec, cell.data)  # before anything is trained for nothing
        weights = preparer.weights(cell, limited)
        if reason := why_not_trained(cell.spec, weights):
            record = skipped_record(cell, spec, weights, reason)
            write_json(folder.cell(key) / "cell.json", record.model_dump(mode="json"))  # there are no tables
        else:
            prepared = preparer.prepare(cell, weights)
            attacked = attack_cell(prepared, lambda: folder.journal(key), preparer.reporter, limited)
            certificate = certificate_of(cell, prepared.victim, attacked.examples, preparer.artifacts)
            record = finished_record(prepared, attacked, certificate, spec)
            record = record.model_copy(update={"started": started, "seconds": time.monotonic() - began})
            write_cell(folder.cell(key), record, attacked.example_rows, attacked.step_rows)
            folder.drop_journal(key)
    (folder.cell(key) / "error.txt").unlink(missing_ok=True)  # of an earlier start
    return record
