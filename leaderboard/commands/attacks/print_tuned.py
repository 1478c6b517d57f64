"""Tuned attacks against themselves as they were, in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.records.visible_text import visible
from leaderboard.commands.attacks.markdown import titled_table
from leaderboard.table_numbers import counted, percent, scientific
from leaderboard.tuned.against_untuned import AgainstUntuned, AtCompute

_HEADINGS = ("as it was may spend", "ASR as it was", "ASR as tuned", "difference", "pairs")
_CAPTION = (
    "FLOPs are nominal, mean per attacked example. Differences in points over the same examples, 95% paired intervals."
)
_STOPS = (
    "An example's search stops when it succeeds, so that what a step costs depends on outcomes: in simulations such "
    "intervals held 91 to 93 times in a hundred, not 95."
)
_RAN_OUT = "* It spends less than this in full; its last step is taken."


def print_against_untuned(found: Sequence[AgainstUntuned]) -> None:
    """A table for each pair of attacks."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    for one in found:
        table = Table(title=Text(visible(_title(one))), title_justify="left", header_style="bold")
        for heading in _HEADINGS:
            table.add_column(heading)
        for at in one.at:
            table.add_row(*map(Text, _cells(at)))
        console.print(table)
        for note in _notes(one):
            console.print(Text(visible(note)))
        console.print()


def against_untuned_markdown(found: Sequence[AgainstUntuned]) -> str:
    """The same as Markdown tables."""
    return "\n\n".join(_markdown(one) for one in found)


def _markdown(one: AgainstUntuned) -> str:
    rows = [_HEADINGS, ("---:",) * len(_HEADINGS), *(_cells(at) for at in one.at)]
    return titled_table(_title(one), rows, list(_notes(one)))


def _title(one: AgainstUntuned) -> str:
    defense = one.defense + (f" round {one.round}" if one.round else "")
    return " · ".join((one.scope.task, one.victim, defense, one.scope.threat, f"{one.untuned} → {one.tuned}"))


def _cells(at: AtCompute) -> tuple[str, ...]:
    budget = f"{scientific(at.budget)} FLOPs, {at.counted}"
    found = at.difference
    if found is None:
        return budget, "its first step takes more", "–", "–", "0"
    difference = f"{_points(found.value)} ({_points(found.low)} to {_points(found.high)})"
    return budget, percent(found.old) + "*" * at.ran_out, percent(found.new), difference, f"{found.pairs:,}"


def _points(share: float) -> str:
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _notes(one: AgainstUntuned) -> Iterator[str]:
    search = one.share.record
    yield _CAPTION
    yield (
        f"Tuned: {scientific(one.spent)} FLOPs, and {scientific(one.share.per_example)} of the search: "
        f"{scientific(search.flops)} for {counted(search.trials, 'candidate')}, shared by "
        f"{counted(one.share.attacked, 'attacked example')} of these runs."
    )
    if not one.one_model and any(at.difference is not None and at.difference.seeds == 1 for at in one.at):
        yield "One seed: the interval is over the examples of this one model."
    if one.scope.stop_on_success:
        yield _STOPS
    if any(at.ran_out for at in one.at):
        yield _RAN_OUT
