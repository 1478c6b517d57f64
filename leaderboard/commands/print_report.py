"""The report of a verification in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from leaderboard.commands.print_table import plain_table
from leaderboard.submission.verification.report import CheckResult, Report


def print_report(report: Report, console: Console) -> None:
    """A table of the checks, then what is wrong and what to note."""
    table = plain_table(str(report.file), ("check", "result", "what was found"))
    table.caption = Text(f"sha256 {report.sha256}") if report.sha256 else None
    for check in report.checks:
        style = "green" if check.passed else "bold red"
        table.add_row(Text(check.name), Text(_result(check), style=style), Text(check.detail))
    console.print(table)
    for check in report.checks:
        for kind, texts in (("problem", check.problems), ("note", check.notes)):
            for text in texts:
                console.print(Text(f"{check.name}: {kind}: {text}"), soft_wrap=True)
        if check.count > len(check.problems):
            console.print(Text(f"{check.name}: {check.count - len(check.problems)} more problems"))
    if report.verified:
        console.print(Text(f"Not checked: {report.not_looked_at}."), soft_wrap=True)
    console.print("Verified." if report.verified else "Not verified.", style="bold", highlight=False)


def _result(check: CheckResult) -> str:
    return "passed" if check.passed else f"{check.count} problem" + ("s" if check.count > 1 else "")
