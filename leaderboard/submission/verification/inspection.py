"""Everything that can be found out about a submission from itself: run in a process of its own by `sandbox`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.records.cell_manifest import CellRecord
from leaderboard.submission.file_format.errors import RefusedError, escaped
from leaderboard.submission.file_format.limits import MAX_CELLS, MAX_EXAMPLE_STEPS, MAX_LISTED, MAX_VERDICTS
from leaderboard.submission.file_format.manifest import ClaimInfo
from leaderboard.submission.run_of_submission import as_run
from leaderboard.submission.submission import ENTRY_SUFFIX, Submission, open_submission
from leaderboard.submission.verification.checks.across_cells import (
    across_cells_problems,
    clean_answer_notes,
    clean_answer_problems,
    clean_digest,
)
from leaderboard.submission.verification.checks.answer_order import AnswerOrder
from leaderboard.submission.verification.checks.cell_rows import row_problems, verdicts_of
from leaderboard.submission.verification.checks.compute import attack_costs
from leaderboard.submission.verification.checks.hidden_bytes import hidden_bytes
from leaderboard.submission.verification.checks.manifests import manifest_problems
from leaderboard.submission.verification.submitted_rows import SubmittedRows, rows_of_cells

Progress = Callable[[int, int], None]
"""Told how many cells have been checked, of how many."""


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        sha256: of the submission; ``read_sha256``: of the file that was read.
        problems, notes: the first of each, ``where: what``; and how many there are in all.
        examples: how many examples each cell lists, by key.
        verdicts: right label, predicted label, whether that was a success, and the first cell that says so; each
            combination once.
        costs: what the attack of each cell took, by key.
        tables: of standings that were computed.
        hidden: of an entry without problems, why its files are not as they should be, byte for byte; and
            ``unknown_form`` why that cannot be told here.
    """

    sha256: str
    read_sha256: str
    cells: int
    rows: int
    problems: list[str] = field(default_factory=list)
    n_problems: int = 0
    notes: list[str] = field(default_factory=list)
    examples: dict[str, int] = field(default_factory=dict)
    verdicts: list[tuple[int, int, bool, str]] = field(default_factory=list)
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: int = 0
    hidden: str = ""
    unknown_form: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON data of which `Inspection(**data)` is the same."""
        return asdict(self)


def inspect_submission(path: Path, progress: Progress = lambda _done, _total: None) -> Inspection:
    """Read a submission or an entry, check all that can be checked without a model, and compute its standings.

    Raises:
        RefusedError: it cannot be read as one at all.
    """
    submission = open_submission(path)
    findings = _Findings()
    problems = [*_problems(submission, findings, progress)]
    hidden = unknown_form = ""
    if not problems and path.suffix == ENTRY_SUFFIX:
        hidden, unknown_form = hidden_bytes(submission)
    tables = 0
    if not problems:
        try:
            tables = _count_standings(submission)
        except RefusedError:
            raise
        except Exception as error:
            problems.append(f"standings: cannot be computed from the records ({escaped(error, 200)})")
    return Inspection(
        sha256=submission.sha256,
        read_sha256=submission.read_sha256,
        cells=len(submission.cells),
        rows=submission.rows,
        problems=problems[:MAX_LISTED],
        n_problems=len(problems),
        notes=findings.notes[:MAX_LISTED],
        examples=findings.examples,
        costs=findings.costs,
        verdicts=[(*verdict, key) for verdict, key in findings.verdicts.items()],
        tables=tables,
        hidden=hidden,
        unknown_form=unknown_form,
    )


@dataclass
class _Findings:
    """What is noted down as the rows of the cells go by."""

    notes: list[str] = field(default_factory=list)
    examples: dict[str, int] = field(default_factory=dict)
    verdicts: dict[tuple[int, int, bool], str] = field(default_factory=dict)
    clean_digests: dict[str, str] = field(default_factory=dict)
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)
    order: AnswerOrder = field(default_factory=AnswerOrder)
    attacked: set[str] = field(default_factory=set)

    def add_cell(self, record: CellRecord, rows: SubmittedRows) -> None:
        clean = rows.where(rows["step"] == 0)
        steps = rows.where(rows["step"] > 0)
        self.examples[record.key] = len(clean)
        self.attacked.update(clean.names[at] for at in clean.example[clean.booleans("attacked")].tolist())
        self.clean_digests[record.key] = clean_digest(clean)
        self.costs[record.key] = attack_costs(record, steps)
        self.order.add_cell(record, steps)
        for verdict in verdicts_of(record, clean, steps):
            if len(self.verdicts) < MAX_VERDICTS:
                self.verdicts.setdefault(verdict, record.key)


def _problems(submission: Submission, findings: _Findings, progress: Progress) -> Iterator[str]:
    record_of = {record.key: record for record in submission.cells}
    for record in submission.cells:
        yield from (f"cell {escaped(record.key)}: {problem}" for problem in manifest_problems(record, submission.run))
    yield from across_cells_problems(submission.cells)
    example_steps = sum(max(record.n_attacked, 0) * max(record.attack_steps, 0) for record in submission.cells)
    if example_steps > MAX_EXAMPLE_STEPS:
        yield f"its cells have {example_steps:,} examples × steps in all, more than {MAX_EXAMPLE_STEPS:,}"
        return
    order: list[str] = []
    for key, rows in rows_of_cells(submission.records):
        if key not in record_of or key in order[-1:] or len(order) >= MAX_CELLS:
            yield f"the table has rows of cell {escaped(key)}, which is not among its cells"
            return
        order.append(key)
        record = record_of[key]
        yield from (f"cell {escaped(key)}: {problem}" for problem in row_problems(record, rows))
        findings.add_cell(record, rows)
        progress(len(order), len(record_of))
    yield from _cell_order_problems(order, submission.cells)
    yield from findings.order.problems()
    if submission.claim is not None:
        yield from _claim_problems(submission.claim, submission.cells, findings.attacked)
    yield from clean_answer_problems(submission.cells, findings.clean_digests)
    findings.notes += clean_answer_notes(submission.cells, findings.clean_digests)


def _claim_problems(claim: ClaimInfo, records: tuple[CellRecord, ...], attacked: set[str]) -> Iterator[str]:
    """What a claim says of its row and its examples, against its cells."""
    for record in records:
        said = (claim.task, claim.threat, claim.victim, claim.defense)
        labels = (record.task.label, record.threat_label, record.victim.label, record.defense.label)
        round_ = None if record.defense_facts is None else record.defense_facts.round
        if (labels, round_) != (said, claim.round):
            yield f"cell {escaped(record.key)}: stands in another row than the one that is claimed"
    unknown = sorted(set(claim.examples) - attacked)
    yield from (f"claim: example {escaped(example)} was not attacked" for example in unknown)


def _cell_order_problems(order: list[str], records: tuple[CellRecord, ...]) -> Iterator[str]:
    with_rows = set(order)
    if order != [record.key for record in records if record.key in with_rows]:
        yield "the rows of its cells are not together, in the order of the cells"
    without_rows = [record for record in records if record.key not in with_rows]
    yield from (f"cell {escaped(record.key)}: has no rows" for record in without_rows)


def _count_standings(submission: Submission) -> int:
    from leaderboard.site.site_data import payload
    from leaderboard.standings.standings import standings

    run = as_run(submission)
    tables = standings([run])
    payload([run], tables)
    return len(tables)
