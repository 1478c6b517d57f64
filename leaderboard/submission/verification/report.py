"""What verifying a submission has found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from leaderboard.submission.file_format.limits import MAX_LISTED
from leaderboard.submission.verification_record import Replay, VerificationRecord

NEVER_REPLAYED = "how the attacks searched, their queries and FLOPs, diagnostics, seconds and executed FLOPs"
"""What no replay finds: it stands on a page as it was submitted."""


@dataclass
class CheckResult:
    """One thing that was looked at.

    Attributes:
        detail: what was found good, or how much of it there is.
        problems: reasons why it is not as it should be, the first `MAX_LISTED` of ``count``; with none it has passed.
        notes: what a reader should know and what is no reason to refuse.
    """

    name: str
    detail: str = ""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.count = self.count or len(self.problems)
        self.problems = self.problems[:MAX_LISTED]

    @property
    def passed(self) -> bool:
        """Whether there is no problem."""
        return not self.count

    def fail(self, problem: str) -> None:
        """Add a problem."""
        self.problems.append(problem)
        self.count += 1


@dataclass
class Report:
    """All checks of one file, in the order in which they were made; those after a failed one may be left out.

    Attributes:
        read_sha256: of what was read; see `leaderboard.submission.submission.Submission`.
        spec: whose spec it was held against, and that spec's hash.
        replayed: what was asked again; None where that is nothing.
    """

    file: Path
    sha256: str = ""
    read_sha256: str = ""
    checks: list[CheckResult] = field(default_factory=list)
    spec: tuple[Literal["shipped", "given", "own"], str] = ("own", "")
    replayed: Replay | None = None

    @property
    def verified(self) -> bool:
        """Whether all checks have passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def not_looked_at(self) -> str:
        """What may be otherwise although all checks have passed, in words."""
        if any(check.name == "replay" for check in self.checks):
            return f"strings and cells that were not drawn; {NEVER_REPLAYED}"
        return f"no string and no clean prompt was replayed on a victim (--replay N); {NEVER_REPLAYED}"

    def record(self, file_sha256: str) -> VerificationRecord:
        """What is kept of it, of a file with what was verified: that itself, or the entry that was made of it."""
        origin, spec_hash = self.spec
        return VerificationRecord(
            file=file_sha256,
            harness_version=version("robustness-harness"),
            spec=origin,
            spec_hash=spec_hash,
            notes=[f"{check.name}: {note}" for check in self.checks for note in check.notes],
            replay=self.replayed,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        checks = [asdict(check) | {"passed": check.passed} for check in self.checks]
        return {"file": str(self.file), "sha256": self.sha256, "verified": self.verified, "checks": checks} | {
            "not_looked_at": self.not_looked_at
        }
