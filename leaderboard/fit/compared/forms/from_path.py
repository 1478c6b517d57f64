"""Forms fitted to a table file or a run directory."""

from __future__ import annotations

from pathlib import Path

from leaderboard.data.trajectories import AsrKind
from leaderboard.fit.attack_scaling_from_path import first_successes_from_path
from leaderboard.fit.compared.forms.compared import ComparedForms, FormChoice, compare_forms


def forms_from_path(path: Path, form: FormChoice, asr: AsrKind) -> list[ComparedForms]:
    """Of each group of curves; the examples of a run are followed one by one.

    Raises:
        DataError: the file or folder cannot be read, or holds nothing to fit.
    """
    return [compare_forms(group, first, form) for group, first in first_successes_from_path(path, asr)]
