"""The table of `harness leaderboard stacks`."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.stacks import StackEffect

CAPTION = (
    "left: what of the undefended ASR remains; product: the same if the parts were independent. ln(left / product) "
    "below 0: the stack is stronger than its parts together. Interval: 95%, bootstrap over examples."
)


def print_stacks(effects: Sequence[StackEffect]) -> None:
    """Print one row per stack, victim and attack."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not effects:
        console.print("No stack of defenses in these runs: write a list as an entry of `defenses`.")
        return
    table = Table(box=None, caption=CAPTION, caption_justify="left")
    asr = ("none", "parts", "stack's", "left", "product")
    for word in ("task", "victim", "attack", "stack", "n", *asr, "ln ratio", "effect"):
        table.add_column(word, overflow="fold")
    for e in effects:
        head = (e.task, e.victim, e.attack, e.stack, str(e.examples))
        if e.note:
            table.add_row(*head, *[""] * 6, e.note)
            continue
        interval = f"{e.log_ratio:+.2f} [{e.low:+.2f}, {e.high:+.2f}]"
        parts = " ".join(f"{asr:.2f}" for asr in e.asr_parts)
        known = ["" if x is None else f"{x:.2f}" for x in (e.left, e.product)]
        table.add_row(*head, f"{e.asr_none:.2f}", parts, f"{e.asr_stack:.2f}", *known, interval, e.effect)
    console.print(table)
