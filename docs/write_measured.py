"""Writes the measured rows on the pages of defenses, from the entries in leaderboard/entries.

python docs/write_measured.py

A page says which rows it wants, by spec and defense: <!-- measured: defenses/labels perplexity_filter -->; or all of
them: <!-- measured: defenses/labels all -->. The undefended row is put above them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leaderboard.commands.read_given import read_board
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from leaderboard.table_numbers import percent, scientific, target_percent

ROOT = Path(__file__).parents[1]
PAGES, ENTRIES = ROOT / "docs" / "defenses", ROOT / "leaderboard" / "entries"
BLOCK = re.compile(r"(<!-- measured: (\S+) (\S+) -->\n)(.*?)(<!-- end of measured -->)", re.DOTALL)
HEAD = (
    "| defense | clean accuracy | ASR of the strongest attack | FLOPs per example to an ASR of {target} "
    "| FLOPs of the defense | added per answer |\n"
    "|---|---|---|---|---|---|\n"
)


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with measured rows, and its text as the entries have it."""
    sections: dict[str, list[tuple[str, Any]]] = {}
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if BLOCK.search(text):
            yield page, BLOCK.sub(lambda match: match[1] + _block(match[2], match[3], sections) + match[5], text)


def _block(spec: str, defense: str, sections: dict[str, list[tuple[str, Any]]]) -> str:
    if spec not in sections:
        sections[spec] = list(_sections(spec))
    parts = []
    for entry, section in sections[spec]:
        rows = [row for row in section["rows"] if row["defense"] == "none" or _is_of(row["defense"], defense)]
        assert len(rows) > 1, f"{entry} has no row of {defense}"
        rows.sort(key=lambda row: row["defense"] != "none")
        table = HEAD.format(target=target_percent(section["target_asr"])) + "".join(_row(row) for row in rows)
        one = rows[0]
        parts.append(
            f"{table}\n{one['victim']} on {section['task']}, {one['seeds']} seeds, intervals of 95%. The whole table: "
            f"`harness leaderboard show leaderboard/entries/{entry}`\n"
        )
    assert parts, f"no entry of {spec}"
    return "\n" + "\n".join(parts) + "\n"


def _is_of(label: str, defense: str) -> bool:
    """Whether a row's label is of this defense alone, with or without parameters, adaptive or static."""
    if defense == "all":
        return True
    return re.fullmatch(rf"{defense}\b(?! \+).*", label) is not None and "+" not in label


def _sections(spec: str) -> Iterator[tuple[str, Any]]:
    for entry in sorted(ENTRIES.glob(f"{spec.replace('/', '-')}-*.json")):
        with read_board([entry], [], None, None, None) as given:
            tables = standings(given.runs, None, 1, "victim", given.others)
            for section in payload(given.runs, tables)["sections"]:
                yield entry.name, section


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
