"""The offense-defense slope of each defense that has several rounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.errors import DataError
from leaderboard.data.table import Table, make_table
from leaderboard.fit.offense_defense import OffenseDefense, fit_offense_defense


def balances(tables: Sequence[Table], target: float) -> dict[tuple[object, ...], OffenseDefense]:
    """Family, victim, defense and attack to the fit over rounds and seeds, for those with two rounds or more.

    Args:
        tables: of rows with a round, of one section.
        target: attack success rate that counts as broken.
    """
    if not tables:
        return {}
    names = list(tables[0].columns)
    merged = make_table("records", {name: np.concatenate([table[name] for table in tables]) for name in names})
    groups = merged.groups(["family", "victim", "defense", "attack"])
    several = [rows for _, rows in groups if len(np.unique(rows["round"])) > 1]
    if not several:
        return {}
    used = make_table("records", {name: np.concatenate([rows[name] for rows in several]) for name in names})
    try:
        fits = fit_offense_defense(used, target)
    except DataError:  # no defense that costs compute
        return {}
    found: dict[tuple[object, ...], OffenseDefense] = {}
    for fit in fits:
        found[tuple(fit.group[name] for name in ("family", "victim", "defense", "attack"))] = fit
    return found
