"""How large the victims of a table are, with and without their embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.errors import DataError
from harness.records.read import Run
from leaderboard.data.count_table import UNKNOWN_SIZE, CountTable, CurveGroup
from leaderboard.data.count_table_of_run import Source, count_table
from leaderboard.data.record_facts import victim_facts

Parameters = Literal["all", "non-embedding"]
COLUMN = "n_params_non_embedding"
Victim = tuple[str | None, str | None, int | None]
"""Family, name (None where a table tells none) and all parameters."""


def victim_of(group: CurveGroup) -> Victim:
    """The victim of a group of curves."""
    return group.get("family"), group.get("victim"), group.get("n_params")


def sizes_without_embeddings(source: Source) -> Mapping[Victim, int]:
    """Parameters less input and position embeddings and an untied output embedding, of victims that tell them.

    Raises:
        DataError: a table without this column, or one that says two things of a victim.
    """
    if isinstance(source, Run):
        facts = ((cell.record.victim.label, victim_facts(cell.record)) for cell in source.cells)
        return {
            (fact.family, label, fact.n_params): fact.n_params_non_embedding
            for label, fact in facts
            if fact.n_params_non_embedding  # nothing, of a model that is no transformer, has no logarithm
        }
    table = count_table(source)
    if COLUMN not in table:
        raise DataError(
            f"{table.source}: column {COLUMN!r} is missing. Add it, or leave out --parameters non-embedding."
        )
    return _sizes_of_table(table)


def _sizes_of_table(table: CountTable) -> dict[Victim, int]:
    found: dict[Victim, int] = {}
    for group, rows in table.groups(table.available("family", "victim", "n_params", COLUMN)):
        victim, size = victim_of(group), int(rows[COLUMN][0])
        said = f"{table.source}: column {COLUMN!r} says {size}"
        if found.setdefault(victim, size) != size:
            raise DataError(f"{said}, and {found[victim]} in other rows of the same model. Correct one of them.")
        if size > (victim[2] or UNKNOWN_SIZE):
            raise DataError(f"{said}, more than the n_params {victim[2]} of its row. Correct one of them.")
    return found
