"""What judges make of a run, in the terminal: ASR without their errors, and how ranks change between them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from leaderboard.commands.print_table import plain_table, print_json, wide_console
from leaderboard.fit.corrected.of_run import CorrectedRow
from leaderboard.fit.corrected.rate import Corrected
from leaderboard.fit.pooled_rates import Rate
from leaderboard.site.texts.judge_text import agreement_text, judged_text, swap_text, ties_text
from leaderboard.standings.ranks.between_judges import JudgeComparison
from leaderboard.table_numbers import percent, target_percent


def print_corrected(rows: Sequence[CorrectedRow], as_json: bool) -> None:
    """A table, or with ``as_json`` JSON and nothing else."""
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    names = [name for name in rows[0].group if len({row.group[name] for row in rows}) > 1]
    table = plain_table(
        "ASR of the strings that searches ended with, as judged and corrected for the judge's errors",
        [*names, "examples", "as judged", "corrected"],
    )
    for row in rows:
        examples = "0" if row.seen is None else str(row.seen.trials)
        cells = [*(str(row.group[name]) for name in names), examples, _interval(row.seen), _interval(row.corrected)]
        table.add_row(*map(Text, cells))
    same = [f"{name} {value}" for name, value in rows[0].group.items() if name not in names]
    same.append("95% intervals; those of corrected rates include the uncertainty about the judge")
    table.caption = Text("; ".join(same))
    console = wide_console()
    console.print(table)
    for row in rows:
        if row.note:
            where = ", ".join(str(row.group[name]) for name in names)
            console.print(Text(f"{where}: {row.note}" if where else row.note))


def print_judge_comparisons(comparisons: Sequence[JudgeComparison]) -> None:
    """For each task and threat model a table of rows and judges, then each two judges side by side."""
    console = wide_console()
    for found in comparisons:
        table = plain_table(f"{found.task} · {found.threat}: ranks by judge", ["row", *found.judges])
        table.caption = Text(
            f"By what it costs to reach ASR {target_percent(found.target)}, as each judge sees it. {ties_text()}"
        )
        for label, judged in found.rows:
            table.add_row(Text(label), *(Text("\n".join(filter(None, judged_text(one)))) for one in judged))
        console.print(table)
        for pair in found.pairs:
            console.print(Text(f"{pair.one} and {pair.other}: {agreement_text(pair)}"))
            for swap in pair.swaps:
                console.print(Text(f"  {swap_text(pair, swap)}"))
        for label, reason in found.apart:
            console.print(Text(f"{label}: not compared: {reason}"))


def _interval(rate: Rate | Corrected | None) -> str:
    return "–" if rate is None else f"{percent(rate.value)} ({100 * rate.low:.1f} – {100 * rate.high:.1f}%)"
