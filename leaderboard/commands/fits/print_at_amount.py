"""Which defenses are told apart at the same amount, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from leaderboard.commands.print_table import wide_console
from leaderboard.fit.compared.at_amount import AtAmount
from leaderboard.table_numbers import signed


def print_comparisons(pairs: Sequence[AtAmount]) -> None:
    """A line for each pair, under the victim that both defend."""
    console = wide_console()
    for group, of_group in groupby(pairs, key=lambda pair: pair.group):
        names = [str(group[name]) for name in ("task", "victim", "attack") if name in group]
        console.print(Text(f"{', '.join(names)}: ln odds ratio of success, 95% interval of each pair by itself"))
        for pair in of_group:
            said = f"{signed(pair.log_odds_ratio)} [{signed(pair.low)}, {signed(pair.high)}]"
            better = pair.first if pair.log_odds_ratio < 0 else pair.second
            verdict = f"{better} protects better" if pair.told_apart else "not told apart"
            console.print(Text(f"  {pair.first} against {pair.second}: {said}, {verdict}"))
