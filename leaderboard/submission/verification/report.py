"""What verifying a submission has found, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaderboard.submission.file_format.limits import SHOWN


@dataclass
class CheckResult:
    """One thing that was looked at.

    Attributes:
        detail: what was found good, or how much of it there is.
        problems: reasons why it is not as it should be, the first `SHOWN` of ``count``; with none it has passed.
        notes: what a reader should know and what is no reason to refuse.
    """

    name: str
    detail: str = ""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.count = self.count or len(self.problems)
        self.problems = self.problems[:SHOWN]

    @property
    def passed(self) -> bool:
        return not self.count


@dataclass
class Report:
    """All checks of one file, in the order in which they were made; those after a failed one may be left out."""

    file: Path
    sha256: str = ""
    checks: list[CheckResult] = field(default_factory=list)

    @property
    def verified(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def first_problem(self) -> str:
        """The first reason, or ""."""
        return next((problem for check in self.checks for problem in check.problems), "")

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        checks = [asdict(check) | {"passed": check.passed} for check in self.checks]
        return {"file": str(self.file), "sha256": self.sha256, "verified": self.verified, "checks": checks}

    def print(self, console: Console) -> None:
        """A table of the checks, then what is wrong and what to note."""
        table = Table(title=Text(str(self.file)), title_justify="left", caption_justify="left", header_style="bold")
        table.caption = Text(f"sha256 {self.sha256}") if self.sha256 else None
        for head in ("check", "result", "what was found"):
            table.add_column(head)
        for check in self.checks:
            said = "passed" if check.passed else f"{check.count} problem" + ("s" if check.count > 1 else "")
            style = "green" if check.passed else "bold red"
            table.add_row(Text(check.name), Text(said, style=style), Text(check.detail))
        console.print(table)
        for check in self.checks:
            for kind, texts in (("problem", check.problems), ("note", check.notes)):
                for text in texts:
                    console.print(Text(f"{check.name}: {kind}: {text}"), soft_wrap=True)
            if check.count > len(check.problems):
                console.print(Text(f"{check.name}: {check.count - len(check.problems)} more problems"))
        console.print("Verified." if self.verified else "Not verified.", style="bold", highlight=False)
