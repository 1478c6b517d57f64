"""Forms fitted to a table file or a run."""

from __future__ import annotations

from leaderboard.data.count_table_of_run import Source
from leaderboard.data.trajectories import AsrKind
from leaderboard.fit.attack_scaling_of_source import first_successes_of_source
from leaderboard.fit.compared.forms.compared import ComparedForms, FormChoice, compare_forms


def forms_of_source(source: Source, form: FormChoice, asr: AsrKind) -> list[ComparedForms]:
    """Of each group of curves; the examples of a run are followed one by one.

    Raises:
        DataError: the file or run cannot be read, or holds nothing to fit.
    """
    return [compare_forms(group, first, form) for group, first in first_successes_of_source(source, asr)]
