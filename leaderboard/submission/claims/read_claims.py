"""Claims read from a folder, each checked as an entry is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import DataError
from leaderboard.data.evidence import Evidence
from leaderboard.others.claims import Claim, ClaimedStrings
from leaderboard.others.errata import Erratum
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.run_of_submission import as_run
from leaderboard.submission.submission import ENTRY_SUFFIX, Submission
from leaderboard.submission.verification.sandbox import open_inspected, refuse_unsound
from leaderboard.submission.verification_record import VerificationRecord


def read_claims(
    folder: Path | None, verifications: Mapping[str, VerificationRecord], errata: Sequence[Erratum] = ()
) -> tuple[list[Claim], list[str]]:
    """The claims in a folder, of which every JSON file is one, and why each other file is left out.

    Raises:
        DataError: there is no such folder.
    """
    if folder is None:
        return [], []
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Give the one that `harness leaderboard claim` wrote to.")
    withdrawn = {note.claim: note.wrong for note in errata if note.claim is not None and note.withdrawn}
    claims, refused = [], []
    for path in sorted(folder.glob(f"*{ENTRY_SUFFIX}")):
        try:
            claim = _read(path, verifications)
        except RefusedError as error:
            refused.append(str(error))
        else:
            claims.append(replace(claim, withdrawn=withdrawn.get(claim.name, "")))
    return claims, refused


def _read(path: Path, verifications: Mapping[str, VerificationRecord]) -> Claim:
    submission, inspection = open_inspected(path)
    if submission.claim is None:
        raise RefusedError(f"{path}: is an entry, not a claim. Move it to the folder of entries.")
    refuse_unsound(path, inspection)
    verification = verifications.get(submission.read_sha256)
    evidence = Evidence() if verification is None else verification.evidence(submission.cells[0])
    return as_claim(submission, evidence)


def as_claim(submission: Submission, evidence: Evidence) -> Claim:
    """The claim in a file that was checked."""
    info = submission.claim
    assert info is not None
    run = submission.run
    return Claim(
        name=submission.path.stem,
        by=run.by,
        paper=run.paper,
        link=run.link,
        date=run.created,
        entry=info.entry,
        entry_spec=info.entry_spec,
        examples={name: ClaimedStrings(one.strings, one.flops) for name, one in info.examples.items()},
        cells=as_run(submission).cells,
        evidence=evidence,
    )
