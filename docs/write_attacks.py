"""Writes the tables of docs/attacks/README.md from the entries in leaderboard/entries.

python docs/write_attacks.py

The page says where: <!-- attacks: attacks equal compute --> is the table of `harness leaderboard attacks`; each model
instead of equal compute counts on how many models an attack is ahead of two others, at the compute of that table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.records.read import Run
from leaderboard.commands.attacks.markdown import titled_table
from leaderboard.commands.attacks.print_attack_tables import attack_tables_markdown
from leaderboard.commands.read_given import read_given
from leaderboard.standings.fixed_compute import AttackTable, attack_tables

ROOT = Path(__file__).parents[1]
PAGE, ENTRIES = ROOT / "docs" / "attacks" / "README.md", ROOT / "leaderboard" / "entries"
BLOCK = re.compile(r"(<!-- attacks: (\S+) (equal compute|each model) -->\n)(.*?)(<!-- end of attacks -->)", re.DOTALL)
AGAINST = ("gcg", "random_token")


def pages() -> Iterator[tuple[Path, str]]:
    """The page, and its text as the entries have it."""
    text = PAGE.read_text(encoding="utf-8")
    yield PAGE, BLOCK.sub(lambda match: f"{match[1]}\n{_table(match[2], match[3])}\n\n{match[5]}", text)


def _table(spec: str, what: str) -> str:
    (entry,) = ENTRIES.glob(f"{spec.replace('/', '-')}-[0-9]*.json")
    with read_given([entry], []) as runs:
        tables = attack_tables(runs)
        return attack_tables_markdown(tables) if what == "equal compute" else _each_model(tables, runs)


def _each_model(tables: Sequence[AttackTable], runs: Sequence[Run]) -> str:
    """How often an attack is ahead of others and behind them, and the mean difference of the ASR in points."""
    (table,) = tables
    models = [rates for seed in _seeds(runs) for rates in _rates(table, _of_seed(runs, seed))]
    others = {name: _plain(name, table.attacks) for name in AGAINST}
    head = ["attack"]
    for name in AGAINST:
        head += [f"ahead of {name}, behind it", "mean difference"]
    lines = [head, ["---", *(["---:"] * (len(head) - 1))]]
    for attack in table.attacks:
        if attack != "none":
            lines.append([attack, *(text for other in others.values() for text in _compared(models, attack, other))])
    return titled_table(f"Over {len(models)} models", lines, [])


def _compared(models: Sequence[dict[str, float]], attack: str, other: str) -> tuple[str, str]:
    """On how many models an attack is ahead of another and behind it, and the mean difference."""
    if attack == other:
        return "", ""
    by = [rates[attack] - rates[other] for rates in models]
    return f"{sum(d > 0 for d in by)}, {sum(d < 0 for d in by)}", f"{100 * sum(by) / len(by):+.0f} points"


def _plain(name: str, attacks: Sequence[str]) -> str:
    """The label of this attack with its default way to go on."""
    labels = [label for label in attacks if label.split("(")[0] == name and "merged" not in label]
    return next((label for label in labels if "this_step" in label), labels[0])


def _seeds(runs: Sequence[Run]) -> list[int]:
    return sorted({cell.record.seed for run in runs for cell in run})


def _of_seed(runs: Sequence[Run], seed: int) -> list[Run]:
    return [replace(run, cells=tuple(cell for cell in run if cell.record.seed == seed)) for run in runs]


def _rates(whole: AttackTable, runs: Sequence[Run]) -> Iterator[dict[str, float]]:
    """ASR of each attack on each model of one seed, at the compute of the whole table's column."""
    for place, column in enumerate(whole.columns):
        (table,) = attack_tables(runs, column.budget)
        entries = {attack: row[place] for attack, row in zip(table.attacks, table.entries, strict=True)}
        yield {attack: entry.asr.value for attack, entry in entries.items() if entry and entry.asr}


if __name__ == "__main__":
    for page, text in pages():
        page.write_text(text, encoding="utf-8")
