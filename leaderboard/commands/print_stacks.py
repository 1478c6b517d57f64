"""Effects of stacks of defenses in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from leaderboard.commands.print_table import plain_table, wide_console
from leaderboard.standings.stack_effects import StackEffect

HEADINGS = ("victim", "attack", "stack", "n", "ASR none", "parts", "stack", "left", "product", "ln ratio", "effect")

CAPTION = (
    "left: what of the undefended ASR remains; product: the same if the parts were independent. ln(left / product) "
    "below 0: the stack is stronger than its parts together. Interval: 95%, over seeds and examples; with one "
    "seed, it and the effect are for one model only."
)


def print_stacks(effects: Sequence[StackEffect]) -> None:
    """Print one table per task, one row per stack, victim and attack."""
    console = wide_console()
    if not effects:
        console.print(Text("No stack of defenses in these runs: write a list as an entry of `defenses`."))
        return
    for task, threat in dict.fromkeys((effect.task, effect.threat) for effect in effects):
        table = plain_table(f"{task} · {threat}", HEADINGS)
        for effect in effects:
            if (effect.task, effect.threat) == (task, threat):
                table.add_row(*map(Text, _cells(effect)))
        console.print(table)
    console.print(Text(CAPTION))


def _cells(effect: StackEffect) -> tuple[str, ...]:
    identity = (effect.victim, effect.attack, effect.stack, str(effect.examples))
    if effect.note:
        return (*identity, "", "", "", "", "", "", effect.note)
    return (
        *identity,
        f"{effect.asr_none:.2f}",
        " ".join(f"{asr:.2f}" for asr in effect.asr_parts),
        f"{effect.asr_stack:.2f}",
        f"{effect.left:.2f}",
        f"{effect.product:.2f}",
        f"{effect.log_ratio:+.2f} [{effect.low:+.2f}, {effect.high:+.2f}]",
        effect.effect + ("\none model only" if effect.seeds == 1 else ""),
    )
