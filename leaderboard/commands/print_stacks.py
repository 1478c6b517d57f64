"""The table of `harness leaderboard stacks`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from leaderboard.commands.print_table import plain_table, wide_console
from leaderboard.standings.stack_effects import StackEffect

HEADS = ("victim", "attack", "stack", "n", "ASR none", "parts", "stack", "left", "product", "ln ratio", "effect")

CAPTION = (
    "left: what of the undefended ASR remains; product: the same if the parts were independent. ln(left / product) "
    "below 0: the stack is stronger than its parts together. Interval: 95%, bootstrap over examples."
)


def print_stacks(effects: Sequence[StackEffect]) -> None:
    """Print one table per task, one row per stack, victim and attack."""
    console = wide_console()
    if not effects:
        console.print(Text("No stack of defenses in these runs: write a list as an entry of `defenses`."))
        return
    for scope in dict.fromkeys((effect.task, effect.threat) for effect in effects):
        table = plain_table(" · ".join(scope), HEADS)
        for e in effects:
            if (e.task, e.threat) != scope:
                continue
            head = (e.victim, e.attack, e.stack, str(e.examples))
            if e.note:
                table.add_row(*map(Text, (*head, "", "", "", "", "", "", e.note)))
                continue
            interval = f"{e.log_ratio:+.2f} [{e.low:+.2f}, {e.high:+.2f}]"
            parts = " ".join(f"{asr:.2f}" for asr in e.asr_parts)
            shares = [f"{x:.2f}" for x in (e.left, e.product) if x is not None]
            row = (*head, f"{e.asr_none:.2f}", parts, f"{e.asr_stack:.2f}", *shares, interval, e.effect)
            table.add_row(*map(Text, row))
        console.print(table)
    console.print(Text(CAPTION))
