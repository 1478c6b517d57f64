"""Writes the tables of docs/attacks from the entries in leaderboard/entries.

python docs/write_attacks.py

A page says where: <!-- attacks: attacks equal compute --> is the table of `harness leaderboard attacks`; with at 5e8
instead of equal compute the one at so many FLOPs; each model counts on how many models an attack is ahead of two
others, at equal compute; and adc is what the table says of that attack and of these two, at 10⁹ FLOPs and at equal
compute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from harness.records.read import Cell, Run
from leaderboard.commands.attacks.markdown import titled_table
from leaderboard.commands.attacks.print_attack_tables import attack_tables_markdown
from leaderboard.commands.read_given import read_given
from leaderboard.standings.fixed_compute import AttackColumn, AttackTable, attack_tables

ROOT = Path(__file__).parents[1]
PAGES, ENTRIES = ROOT / "docs" / "attacks", ROOT / "leaderboard" / "entries"
BLOCK = re.compile(r"(<!-- attacks: (\S+) ([^>]+) -->\n)(.*?)(<!-- end of attacks -->)", re.DOTALL)
AGAINST = ("gcg", "random_token")
FEW = "1e9"  # FLOPs per example, by which every attack has taken a step


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with tables, and its text as the entries have it."""
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if BLOCK.search(text):
            yield page, BLOCK.sub(lambda match: f"{match[1]}\n{_block(match[2], match[3])}\n\n{match[5]}", text)


def _block(spec: str, what: str) -> str:
    if what == "equal compute":
        return attack_tables_markdown(_tables(spec))
    if what.startswith("at "):
        return attack_tables_markdown(_tables(spec, float(what.removeprefix("at "))))
    return _each_model(spec) if what == "each model" else _of_attack(spec, what)


def _entry(spec: str) -> Path:
    (entry,) = ENTRIES.glob(f"{spec.replace('/', '-')}-[0-9]*.json")
    return entry


@cache
def _runs(spec: str) -> Sequence[Run]:
    with read_given([_entry(spec)], []) as runs:
        return runs


@cache
def _tables(spec: str, compute: float | None = None) -> Sequence[AttackTable]:
    return attack_tables(_runs(spec), compute)


def _of_attack(spec: str, name: str) -> str:
    """The rows of an attack and of those it is held against, at two computes, one table below the other."""
    rows: list[str] = []
    for compute in (float(FEW), None):
        (table,) = _tables(spec, compute)
        kept = {label for label in table.attacks if label.split("(")[0] == name}
        kept |= {_plain(other, table.attacks) for other in AGAINST}
        pairs = [pair for pair in zip(table.attacks, table.entries, strict=True) if pair[0] in kept]
        labels, entries = zip(*pairs, strict=True)
        printed = attack_tables_markdown([replace(table, attacks=labels, entries=entries)]).splitlines()
        rows += [line for line in printed if line.startswith("|")][2 if rows else 0 :]
    command = f"harness leaderboard attacks leaderboard/entries/{_entry(spec).name}"
    about = f"ASR so far at the FLOPs per example that stand above it, with 95% interval, {len(_seeds(spec))} seeds"
    commands = f"Upper rows: `{command} --compute {FEW}`; lower rows: the same without `--compute`."
    return "\n".join([*rows, "", f"{about}.", commands])


def _each_model(spec: str) -> str:
    """How often an attack is ahead of others and behind them, and the mean difference of the ASR in points."""
    (table,) = _tables(spec)
    models = list(_models(spec, table))
    others = {name: _plain(name, table.attacks) for name in AGAINST}
    head = ["attack"]
    for name in AGAINST:
        head += [f"ahead of {name}, behind it", "mean difference"]
    lines = [head, ["---", *(["---:"] * (len(head) - 1))]]
    for attack in table.attacks:
        if attack != "none":
            lines.append([attack, *(text for other in others.values() for text in _compared(models, attack, other))])
    return titled_table(f"Over {len(models)} models", lines, []).rstrip()


def _compared(models: Sequence[dict[str, float]], attack: str, other: str) -> tuple[str, str]:
    """On how many models an attack is ahead of another and behind it, and the mean difference."""
    if attack == other:
        return "", ""
    by = [rates[attack] - rates[other] for rates in models]
    return f"{sum(d > 0 for d in by)}, {sum(d < 0 for d in by)}", f"{round(100 * sum(by) / len(by)):+d} points"


def _plain(name: str, attacks: Sequence[str]) -> str:
    """The label of this attack with its default way to go on."""
    labels = [label for label in attacks if label.split("(")[0] == name and "merged" not in label]
    return next((label for label in labels if "this_step" in label), labels[0])


def _seeds(spec: str) -> list[int]:
    return sorted({cell.record.seed for run in _runs(spec) for cell in run})


def _models(spec: str, table: AttackTable) -> Iterator[dict[str, float]]:
    """ASR of each attack on each model, at the compute of its column: a column and a seed are a model."""
    for column in table.columns:
        for seed in _seeds(spec):
            runs = [replace(run, cells=tuple(c for c in run if _is_of(c, column, seed))) for run in _runs(spec)]
            (one,) = attack_tables(runs, column.budget)
            entries = {attack: row[0] for attack, row in zip(one.attacks, one.entries, strict=True)}
            yield {attack: entry.asr.value for attack, entry in entries.items() if entry and entry.asr}


def _is_of(cell: Cell, column: AttackColumn, seed: int) -> bool:
    record = cell.record
    return (record.task.label, record.victim.label, record.seed) == (column.task, column.victim, seed)


if __name__ == "__main__":
    for page, text in pages():
        page.write_text(text, encoding="utf-8")
