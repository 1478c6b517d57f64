"""Writes the measured rows on the pages of defenses, from the entries in leaderboard/entries.

python docs/write_measured.py

A page says which rows it wants, by spec and defense: <!-- measured: defenses/labels perplexity_filter -->; or all of
them: <!-- measured: defenses/labels all -->. The undefended row is put above them. With "by kind" at the end it is the
successes of each attack among harmful and among harmless prompts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.records.read import Run
from leaderboard.commands.read_given import read_board
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from leaderboard.table_numbers import percent, scientific, target_percent

ROOT = Path(__file__).parents[1]
PAGES, ENTRIES = ROOT / "docs" / "defenses", ROOT / "leaderboard" / "entries"
BLOCK = re.compile(r"(<!-- measured: (\S+) (\S+)(| by kind) -->\n)(.*?)(<!-- end of measured -->)", re.DOTALL)
HEAD = (
    "| defense | clean accuracy | ASR of the strongest attack | FLOPs per example to an ASR of {target} "
    "| FLOPs of the defense | added per answer |\n"
    "|---|---|---|---|---|---|\n"
)


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with measured rows, and its text as the entries have it."""
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if BLOCK.search(text):
            yield page, BLOCK.sub(lambda match: f"{match[1]}\n{_block(*match.groups()[1:4])}\n{match[6]}", text)


def _block(spec: str, defense: str, by_kind: str) -> str:
    parts = [_kinds(entry, runs, defense) for entry, runs, _ in _entries(spec)] if by_kind else []
    for entry, _, sections in [] if by_kind else _entries(spec):
        parts += [_rows(entry, section, defense) for section in sections]
    assert parts, f"no entry of {spec}"
    return "\n".join(parts)


@cache
def _entries(spec: str) -> list[tuple[str, Sequence[Run], Any]]:
    """Name, runs and sections of the page of each entry of this spec."""
    found: list[tuple[str, Sequence[Run], Any]] = []
    for entry in sorted(ENTRIES.glob(f"{spec.replace('/', '-')}-*.json")):
        with read_board([entry], [], None, None, None) as given:
            tables = standings(given.runs, None, 1, "victim", given.others)
            found.append((entry.name, given.runs, payload(given.runs, tables)["sections"]))
    return found


def _rows(entry: str, section: Any, defense: str) -> str:
    rows = [row for row in section["rows"] if row["defense"] == "none" or _is_of(row["defense"], defense)]
    assert len(rows) > 1, f"{entry} has no row of {defense}"
    rows.sort(key=lambda row: row["defense"] != "none")
    table = HEAD.format(target=target_percent(section["target_asr"])) + "".join(_row(row) for row in rows)
    one = rows[0]
    return (
        f"{table}\n{one['victim']} on {section['task']}, {one['seeds']} seeds, intervals of 95%. The whole table: "
        f"`harness leaderboard show leaderboard/entries/{entry}`\n"
    )


def _kinds(entry: str, runs: Sequence[Run], defense: str) -> str:
    """Of harmful and of harmless prompts, how many each attack by itself breaks; and what the answers speak of."""
    lines = [
        "| | harmful prompts answered | harmless prompts refused | successful answers that name a forbidden thing |"
    ]
    lines += ["|---|---|---|---|"]
    for label in ("none", defense):
        cells = [cell for run in runs for cell in run if cell.record.defense.label == label]
        attacks = list(dict.fromkeys(cell.record.attack.label for cell in cells))
        counts = {attack: Counter[bool]() for attack in attacks}
        prompts, answers = Counter[bool](), Counter[bool]()
        for cell in cells:
            rows = [row for row in cell.examples(["example", "benign", "attacked"]).to_pylist() if row["attacked"]]
            benign = {row["example"]: row["benign"] for row in rows}
            steps = [row for row in cell.steps(["example", "success", "answer"]).to_pylist() if row["success"]]
            counts[cell.record.attack.label].update(benign[name] for name in {row["example"] for row in steps})
            prompts.update(benign.values() if cell.record.attack.label == attacks[0] else ())
            things = set(str(cell.record.data_source["forbidden"]).split(", "))
            answers.update(not things.isdisjoint(re.findall(r"\w+", row["answer"])) for row in steps)
        kinds = [
            ", ".join(f"{count[kind]} `{attack}`" for attack, count in counts.items()) + f" of {prompts[kind]}"
            for kind in (False, True)
        ]
        lines.append(f"| {label} | {' | '.join(kinds)} | {answers[True]} of {answers.total()} |")
    return "\n".join(lines) + (
        f"\n\nCounted in `leaderboard/entries/{entry}` by `docs/write_measured.py`; no command prints this.\n"
    )


def _is_of(label: str, defense: str) -> bool:
    """Whether a row's label is of this defense alone, with or without parameters, adaptive or static."""
    if defense == "all":
        return True
    return re.fullmatch(rf"{defense}\b(?! \+).*", label) is not None and "+" not in label


def _row(row: Any) -> str:
    asr, strongest, breaking, overhead = (row[name] for name in ("asr", "strongest", "breaking", "overhead"))
    cells = [
        row["defense"] + ("" if row["round"] is None else f", round {row['round']}"),
        _rate(row["clean"]),
        f"{_rate(asr)} of {asr['trials']}, `{strongest['attack']}`" if asr and strongest else "",
        _cost(breaking),
        "" if row["defense_compute"] is None else scientific(row["defense_compute"]),
        "" if overhead is None else scientific(overhead["flops"]),
    ]
    return f"| {' | '.join(cells)} |\n"


def _rate(rate: Any) -> str:
    return "" if rate is None else f"{percent(rate['value'])} ({100 * rate['low']:.1f} – {100 * rate['high']:.1f})"


def _cost(breaking: Any) -> str:
    if breaking is None:
        return ""
    if not breaking["reached"]:
        return "not reached" if breaking["within"] is None else f"not within {scientific(breaking['within'])}"
    if breaking["compute"] is None:
        return "unknown"
    return f"{scientific(breaking['compute'])}, `{breaking['attack']}`"


if __name__ == "__main__":
    for path, text in pages():
        path.write_text(text, encoding="utf-8")
