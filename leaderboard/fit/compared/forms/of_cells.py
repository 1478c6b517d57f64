"""Forms of the curves of each attack on one victim and defense."""

from __future__ import annotations

from collections.abc import Sequence

from harness.records.read import Cell
from leaderboard.data.record_facts import reference_flops
from leaderboard.data.trajectories import read_trajectories
from leaderboard.fit.compared.forms.compared import ComparedForms, compare_forms
from leaderboard.fit.likelihood.first_successes import first_successes_of_trajectories


def forms_of_cells(cells: Sequence[Cell]) -> list[tuple[str, ComparedForms]]:
    """Attack and forms, by attack; ``cells`` of one victim, defense and round."""
    by_attack: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.record.attack.label, cell.record.seed)):
        by_attack.setdefault(cell.record.attack.label, []).append(cell)
    found = []
    for attack, members in by_attack.items():
        paths = [(read_trajectories(cell), reference_flops(cell.record)) for cell in members]
        found.append((attack, compare_forms({}, first_successes_of_trajectories(paths))))
    return found
