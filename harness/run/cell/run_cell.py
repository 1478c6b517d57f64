"""One cell measured: prepared, attacked, and put into the form of its records."""

from __future__ import annotations

import time

from harness.isolation.step_timeout import StepLimit, no_step_limit
from harness.run.cell.attack import attack_cell, check_access, check_inner_attacks
from harness.run.cell.manifest import finished_record, skipped_record
from harness.run.cell.result import CellResult
from harness.run.prepare.certificates import certificate_of
from harness.run.prepare.preparer import Preparer
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.prepare.training_rounds import why_not_trained
from harness.run.run_folder import RunFolder, now
from harness.spec.load import LoadedSpec


def run_cell(
    cell: ResolvedCell, spec: LoadedSpec, folder: RunFolder, preparer: Preparer, limited: StepLimit = no_step_limit
) -> CellResult:
    """Make everything that the cell takes, attack, and judge.

    Args:
        folder: where the cell's journal is, which the search goes on from.
        limited: what each step of the attack, and of attacks in training, runs under.
    """
    began, started = time.monotonic(), now()
    check_access(cell.spec, cell.data)  # before anything is trained for nothing
    check_inner_attacks(cell.spec, cell.data, preparer.resolver.attack)
    weights = preparer.weights(cell, limited)
    if reason := why_not_trained(cell.spec, weights):
        return CellResult(skipped_record(cell, spec, weights, reason))
    prepared = preparer.prepare(cell, weights)
    attacked = attack_cell(prepared, folder, preparer.reporter, limited)
    certificate = certificate_of(cell, prepared.victim, attacked.examples, preparer.artifacts)
    record = finished_record(prepared, attacked, certificate, spec)
    record = record.model_copy(update={"started": started, "seconds": time.monotonic() - began})
    return CellResult(record, attacked.example_rows, attacked.step_rows)
