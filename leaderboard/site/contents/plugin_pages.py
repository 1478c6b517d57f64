"""The pages of attacks and of defenses: what each is, and what came of it on every victim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment

from harness.records.cell_manifest import CellRecord, PluginRecord
from leaderboard.site.contents.plugin_texts import PluginTexts, describe
from leaderboard.site.data_format import SectionJson, StandingJson
from leaderboard.site.defended_victims import AttackLine, attack_line
from leaderboard.site.page_ids import attack_id, defense_id
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings

MAX_DRAWN = 10  # rows drawn at first
TableOfSection = tuple[SectionJson, Standings]


@dataclass(frozen=True)
class PluginSection:
    """A table on the page of an attack or defense: its rows, which of them are drawn at first, and on an attack's page
    the line of each.
    """

    section: SectionJson
    table: Standings
    rows: Sequence[tuple[StandingJson, Standing]]
    drawn: Sequence[str]
    lines: Sequence[AttackLine] = ()


def attack_names(tables: Sequence[TableOfSection]) -> list[str]:
    """Labels of all attacks."""
    return sorted({curve["attack"] for section, _ in tables for row in section["rows"] for curve in row["curves"]})


def defense_names(tables: Sequence[TableOfSection]) -> list[str]:
    """Labels of all defenses."""
    return sorted({row["defense"] for section, _ in tables for row in section["rows"]})


def plugin_pages(
    env: Environment, scripts: Sequence[str], tables: Sequence[TableOfSection], texts: PluginTexts
) -> dict[str, str]:
    """Address within the site to HTML, of each attack and each defense."""
    pages = {}
    for attack in attack_names(tables):
        found = [_section(section, table, attack, "") for section, table in tables]
        records = [cell.record for of in found for _, row in of.rows for cell in row.cells]
        used = [record.attack for record in records if record.attack.label == attack]
        pages[f"attacks/{attack_id(attack)}.html"] = _render(env, scripts, "attack", attack, found, used, texts)
    for defense in defense_names(tables):
        found = [_section(section, table, "", defense) for section, table in tables]
        records = [cell.record for of in found for _, row in of.rows for cell in row.cells]
        used = [plugin for record in records for plugin in _parts(record)]
        pages[f"defenses/{defense_id(defense)}.html"] = _render(env, scripts, "defense", defense, found, used, texts)
    return pages


def _section(section: SectionJson, table: Standings, attack: str, defense: str) -> PluginSection:
    """The rows that met ``attack``, or have ``defense``."""
    rows = [
        (row, standing)
        for row, standing in zip(section["rows"], table.rows, strict=True)
        if (any(curve.attack == attack for curve in standing.curves) if attack else row["defense"] == defense)
    ]
    lines = [attack_line(standing, attack) for _, standing in rows] if attack else []
    return PluginSection(section, table, rows, _drawn([row["id"] for row, _ in rows]), lines)


def _render(
    env: Environment,
    scripts: Sequence[str],
    kind: str,
    name: str,
    found: Sequence[PluginSection],
    used: Sequence[PluginRecord],
    texts: PluginTexts,
) -> str:
    once = {(record.label, record.distribution, record.version): record for record in used}
    descriptions = [describe(kind, record, texts) for record in once.values()]
    return env.get_template(f"{kind}.html.j2").render(
        root="../",
        scripts=[*scripts, "page.js"],
        name=name,
        descriptions=descriptions,
        plugin_sections=[of for of in found if of.rows],
    )


def _parts(record: CellRecord) -> list[PluginRecord]:
    """The defenses of a stack, or the only one."""
    facts = record.defense_facts
    return [part.defense for part in facts.parts] if facts is not None and facts.parts else [record.defense]


def _drawn(row_ids: list[str]) -> list[str]:
    """Of many rows those at both ends of the table."""
    return row_ids if len(row_ids) <= MAX_DRAWN else row_ids[: MAX_DRAWN // 2] + row_ids[-MAX_DRAWN // 2 :]
