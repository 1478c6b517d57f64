"""A claim made: given strings tried on a row's victim and defense by the harness, and packed as an entry is."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError
from harness.records.read import Run, read_run
from harness.records.visible_text import file_name
from leaderboard.data.evidence import Evidence
from leaderboard.others.lowered import ClaimedRow
from leaderboard.others.of_rows import Others
from leaderboard.submission.claims.claim_spec import find_row, row_labels, spec_of_claim
from leaderboard.submission.claims.given_file import GivenExample, read_given_strings
from leaderboard.submission.claims.read_claims import as_claim
from leaderboard.submission.file_format.manifest import ClaimedExample, ClaimInfo
from leaderboard.submission.leaderboard_entry import write_entry
from leaderboard.submission.pack import write_submission
from leaderboard.submission.run_of_submission import as_run
from leaderboard.submission.submission import Submission, open_submission
from leaderboard.submission.verification.verify import standard_spec, verify_submission
from leaderboard.table_numbers import counted

if TYPE_CHECKING:
    from harness.replay.other_attack import RowLabels
    from harness.replay.replay_progress import ReplayView
    from harness.spec.load import LoadedSpec


@dataclass(frozen=True)
class ClaimOptions:
    """How a claim is made.

    Attributes:
        row: which row, ``KIND=LABEL`` each.
        who: ``by``, ``paper`` and ``link``.
        flops: declared for each example alike; None: as the file of strings says.
        spec: a spec file of the reader's, of which the entry must be; None: the one that comes with the project. The
            entry's own is not run: it may name any file, address or model.
        store: where the models are, or are made; None: where a run of the spec keeps them.
        folder: of claims.
    """

    row: tuple[str, ...]
    who: Mapping[str, str]
    flops: float | None
    spec: Path | None
    store: str | None
    folder: Path


def make_claim(
    entry_path: Path, strings: Path, options: ClaimOptions, registry: Any, view: ReplayView
) -> tuple[Path, ClaimedRow]:
    """Try the strings, and write the claim; the path of its JSON, and the row with it.

    Raises:
        DataError: the entry is not verified, the strings cannot be read or are of examples that it did not attack, or
            they change nothing about the row: nothing is written.
    """
    report = verify_submission(entry_path, registry, options.spec, None)
    if not report.verified:
        problem = next(check.problems[0] for check in report.checks if check.problems)
        raise DataError(f"{entry_path}: is not verified, so nothing can be claimed against it: {problem}")
    entry = open_submission(entry_path)
    if entry.claim is not None:
        raise DataError(f"{entry_path}: is itself a claim. Give the entry that it is made against.")
    row = find_row(entry.cells, options.row, entry_path)
    given = read_given_strings(strings)
    _check_examples(given, entry, row, strings)
    standard = standard_spec(entry, registry, options.spec)
    with tempfile.TemporaryDirectory(prefix="claim.") as work:
        info, run = _run(standard, entry_path.stem, row, given, options, registry, Path(work), view)
        packed = Path(work) / "claim.zip"
        write_submission(run, packed, claims=options.who)
        path = write_entry(replace(open_submission(packed), claim=info), Path(work) / "claims")
        checked = verify_submission(path, registry, options.spec, entries=entry_path.parent)
        if not checked.verified:
            problem = next(check.problems[0] for check in checked.checks if check.problems)
            raise DataError(f"the claim would not be verified: {problem}")
        claim = open_submission(path)
        found = _on_row(entry, claim)
        if not any(one.new for one in found.claims) and found.cost is None:
            raise DataError(f"{strings}: changes nothing about {row}: {_why_nothing(run, found)}. Nothing was written.")
        return write_entry(claim, options.folder), found


def _check_examples(given: Mapping[str, GivenExample], entry: Submission, row: RowLabels, strings: Path) -> None:
    attacked: set[str] = set()
    for cell in as_run(entry):
        if row_labels(cell.record) == row:
            listed = cell.examples(["example", "attacked"]).to_pydict()
            attacked.update(e for e, was in zip(listed["example"], listed["attacked"], strict=True) if was)
    unknown = [example for example in given if example not in attacked]
    if unknown:
        raise DataError(
            f"{strings}: {len(unknown)} of {counted(len(given), 'example')} were not attacked in this row, such as "
            f"{unknown[0]!a:.80}. Name only examples that the entry attacked: {', '.join(sorted(attacked)[:3])}, …"
        )


def _run(
    standard: LoadedSpec,
    entry: str,
    row: RowLabels,
    given: Mapping[str, GivenExample],
    options: ClaimOptions,
    registry: Any,
    work: Path,
    view: ReplayView,
) -> tuple[ClaimInfo, Run]:
    """What is claimed, and the run of the strings; its spec names no file of this machine."""
    from harness.replay.run_row import run_row

    table = work / "strings.jsonl"
    lines = [json.dumps({"example": e, "string": text}) for e, one in given.items() for text in one.strings]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    examples = {
        example: ClaimedExample(strings=len(one.strings), flops=one.flops if options.flops is None else options.flops)
        for example, one in given.items()
    }
    info = ClaimInfo(
        entry=entry,
        entry_spec=standard.hash,
        task=row.task,
        threat=row.threat,
        victim=row.victim,
        defense=row.defense,
        round=row.round,
        sha256=_strings_hash(given),
        examples=examples,
    )
    spec = spec_of_claim(standard, info, registry, table)
    store = options.store or Path("runs") / file_name(standard.spec.name) / "artifacts"
    run_row(spec, registry, work / "run", store, view)
    run = read_run(work / "run")
    return info, replace(run, info=run.info | {"spec": spec_of_claim(standard, info, registry).text})


def _strings_hash(given: Mapping[str, GivenExample]) -> str:
    """As the attack has it, which refuses strings of another hash."""
    plain = json.dumps({example: list(one.strings) for example, one in given.items()}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def _on_row(entry: Submission, claim: Submission) -> ClaimedRow:
    """The row with the claim, as if the maintainer of a board had replayed it: its strings were tried just now."""
    from leaderboard.standings.standings import standings

    made = as_claim(claim, Evidence(True, True))
    for table in standings([as_run(entry)], others=Others((made,))):
        for row in table.rows:
            if row.others.claimed is not None:
                return row.others.claimed
    raise DataError("the claim fits no row of the entry; this is a mistake of the harness, please report it")


def _why_nothing(run: Run, found: ClaimedRow) -> str:
    """What became of the strings, in words."""
    steps = [row for cell in run.cells for row in cell.steps(["success", "failure", "unparseable"]).to_pylist()]
    reasons = Counter(row["failure"] for row in steps if row["failure"])
    told = [f"{counted(count, 'step')} failed ({reason})" for reason, count in reasons.most_common(3)]
    broke = sum(one.broke for one in found.claims)
    told.append(
        f"they break {counted(broke, 'example')}, which the row's own attacks broke too, and no lower compute to the "
        "target is declared"
        if broke
        else "no string succeeded"
    )
    return "; ".join(told)
