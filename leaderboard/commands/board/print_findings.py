"""The findings of the study in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from leaderboard.commands.attacks.markdown import titled_table
from leaderboard.commands.print_table import plain_table, wide_console
from leaderboard.study.finding import DOES_NOT, HOLDS, UNTOLD, Figure, Finding, Row
from leaderboard.study.published import Published, PublishedFigure
from leaderboard.table_numbers import percent, scientific, signed

_STYLES = {HOLDS: "bold green", DOES_NOT: "bold red", UNTOLD: "bold yellow"}
_NOTE = "Figures with 95% intervals over seeds and examples; a verdict rests on intervals alone."


def print_findings(findings: Sequence[Finding], published: Published) -> None:
    """A table for each finding, with the published figures below."""
    console = wide_console()
    for finding in findings:
        if finding.rows:
            table = plain_table(_title(finding), ("here", "figures", "verdict"))
            table.show_lines = True
            for row in finding.rows:
                figures = "\n".join(map(_figure_text, row.figures))
                verdict = Text(row.verdict, style=_STYLES[row.verdict]).append(f"\n{row.why}", style="default")
                table.add_row(Text(f"{row.where}\n{row.spec}"), Text(figures or "–"), verdict)
            console.print(table)
        else:
            console.print(Text(_title(finding), style="bold"), soft_wrap=True)
        for note in _notes(finding, published):
            console.print(Text(note), soft_wrap=True)
        console.print()
    console.print(Text(_NOTE))
    console.print(Text(f"Published: {published.source}."))


def findings_markdown(findings: Sequence[Finding], published: Published) -> str:
    """The same as Markdown tables."""
    parts = []
    for finding in findings:
        head = [("here", "figures", "verdict"), ("---", "---", "---")]
        rows = [(_where(row), "; ".join(map(_figure_text, row.figures)) or "–", _verdict(row)) for row in finding.rows]
        parts.append(titled_table(_title(finding), [*head, *rows] if rows else [], _notes(finding, published)))
    return "\n\n".join([*parts, _NOTE, f"Published: {published.source}."])


def _title(finding: Finding) -> str:
    counts = ", ".join(f"{verdict}: {count}" for verdict, count in finding.counts.items() if count)
    return f"{finding.number}. {finding.claim} — {counts or finding.missing}"


def _where(row: Row) -> str:
    return f"{row.where} ({row.spec})"


def _verdict(row: Row) -> str:
    return f"{row.verdict}: {row.why}"


def _notes(finding: Finding, published: Published) -> list[str]:
    notes = list(dict.fromkeys(note for row in finding.rows for note in row.notes))
    return notes + [f"published: {_published_text(figure)}" for figure in published.of(finding.name)]


def _published_text(figure: PublishedFigure) -> str:
    values = [
        f"{name} {value[0]:g} to {value[1]:g}" if isinstance(value, tuple) else f"{name} {value:g}"
        for name, value in figure.values.items()
    ]
    return f"{figure.of}: {figure.measure}: {', '.join(values)}"


def _figure_text(figure: Figure) -> str:
    number = "–" if figure.value is None else _number(figure, figure.value)
    ends = [None if end is None else _number(figure, end) for end in (figure.low, figure.high)]
    if ends[0] is not None and ends[1] is not None:
        number += f" ({ends[0]} to {ends[1]})"
    elif ends[0] is not None or ends[1] is not None:
        number += f" (from {ends[0]})" if ends[1] is None else f" (up to {ends[1]})"
    unit = "" if figure.unit in ("ASR", "points") else f" {figure.unit}"
    return f"{figure.of}:{unit} {number}" + (f"; {figure.note}" if figure.note else "")


def _number(figure: Figure, value: float) -> str:
    if figure.unit == "ASR":
        return percent(value)
    if figure.unit == "FLOPs":
        return scientific(value)
    if figure.unit == "points":
        return f"{100 * value:+.1f}".replace("-", "−")
    return signed(value) if figure.unit == "slope" else f"{value:.1f}"
