"""Names of rows and pages: readable, and the same in every build, so that an address can be shared."""

from __future__ import annotations

import hashlib
import re

from leaderboard.data.comparable_cells import Scope
from leaderboard.standings.standing import Standing


def slug(text: str, *unique: object) -> str:
    """A name for files and addresses: what is plain in ``text``, and a hash of ``unique`` to tell like ones apart."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48].strip("-")
    return f"{plain or 'x'}-{hashlib.sha256(repr(unique).encode()).hexdigest()[:6]}"


def section_id(scope: Scope) -> str:
    """Of a table."""
    return slug(f"{scope.task} {scope.threat}", scope)


def defended_victim_id(section: str, row: Standing) -> str:
    """Of a victim and defense in a table, all rounds together."""
    return slug(f"{row.victim} {row.defense}", section, row.family, row.victim, row.defense)


def row_id(defended_victim: str, row: Standing) -> str:
    """Of a row."""
    return defended_victim if row.round is None else f"{defended_victim}-r{row.round}"


def attack_id(attack: str) -> str:
    """Of an attack, by its label."""
    return slug(attack, attack)


def defense_id(defense: str) -> str:
    """Of a defense, by its label."""
    return slug(defense, "defense", defense)
