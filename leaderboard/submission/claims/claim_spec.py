"""The spec that a claim is a run of: the entry's, with the given strings as its attack, and the cells of one row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError
from harness.records.cell_manifest import CellRecord
from leaderboard.submission.file_format.manifest import ClaimInfo

if TYPE_CHECKING:
    from harness.replay.other_attack import RowLabels
    from harness.spec.load import LoadedSpec

ATTACK = "given_strings"
"""The attack that tries strings of a file."""
KINDS = ("task", "threat", "victim", "defense", "round")


def spec_of_claim(standard: LoadedSpec, claim: ClaimInfo, registry: Any, strings: Path | None = None) -> LoadedSpec:
    """The spec of a claim, made of its entry's spec.

    Args:
        strings: the file with the strings, to run it; left out, the spec has their hash alone.

    Raises:
        HarnessError: the entry's spec makes no such row, or the attack cannot be run in it.
    """
    from harness.replay.other_attack import RowLabels, with_other_attack

    row = RowLabels(claim.task, claim.threat, claim.victim, claim.defense, claim.round)
    params: dict[str, Any] = {"steps": claim.steps, "sha256": claim.sha256}
    if strings is not None:
        params["path"] = str(strings)
    return with_other_attack(standard, ATTACK, params, row, registry)


def row_labels(record: CellRecord) -> RowLabels:
    """The row of the standings that a cell stands in."""
    from harness.replay.other_attack import RowLabels

    round_ = None if record.defense_facts is None else record.defense_facts.round
    return RowLabels(record.task.label, record.threat_label, record.victim.label, record.defense.label, round_)


def find_row(records: Sequence[CellRecord], wanted: Sequence[str], entry: Path) -> RowLabels:
    """The one row of an entry that fits all of ``wanted``, each ``KIND=LABEL``.

    Raises:
        DataError: it is no such text, or no row or several rows fit.
    """
    rows = sorted({row_labels(record) for record in records if record.space == "text"}, key=str)
    left = rows
    for text in wanted:
        kind, _, label = text.partition("=")
        if kind not in KINDS or not label:
            raise DataError(f"--row {text}: write KIND=LABEL, KIND one of {', '.join(KINDS)}.")
        left = [row for row in left if str(getattr(row, kind)) == label]
    if len(left) == 1:
        return left[0]
    named = "; ".join(str(row) for row in (left or rows)[:8])
    if not rows:
        raise DataError(f"{entry}: all of its attacks change activations, which no string does. Give another entry.")
    if not left:
        raise DataError(f"{entry}: has no row with {' and '.join(wanted)}. Its rows (task · threat · …): {named}")
    raise DataError(f"{entry}: {len(left)} rows fit. Say which with --row victim=… --row defense=…: {named}")
