"""One round of a search, as a line of its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.api.problem.search_result import StringProgress
from harness.api.problem.state import State
from harness.records.step_row import StepRow


@dataclass(frozen=True)
class Round:
    """One step of each string that is searched for side by side.

    Attributes:
        rows: what came of it, for the examples of these strings in turn.
        states: after it, by the string's place in the search.
        limits: of the strings whose search a limit of the threat model has ended, which one it was.
    """

    rows: Sequence[StepRow]
    states: Mapping[int, State]
    limits: Mapping[int, str]

    @classmethod
    def of(cls, strings: Mapping[int, StringProgress], rows: Sequence[StepRow]) -> Round:
        """The round that these strings, by their places, have just been through."""
        return cls(
            rows,
            {place: string.state for place, string in strings.items()},
            {place: string.limit for place, string in strings.items() if string.limit},
        )

    def to_json(self) -> dict[str, Any]:
        """JSON data from which `from_json` makes the same round."""
        return {
            "rows": [row.to_record() for row in self.rows],
            "states": {str(place): state.to_json() for place, state in self.states.items()},
            "ended": {str(place): limit for place, limit in self.limits.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Round:
        """Inverse of `to_json`. Raises LookupError, TypeError, ValueError or AttributeError for damaged data."""
        return cls(
            [StepRow.from_record(row) for row in data["rows"]],
            {int(place): State.from_json(state) for place, state in data["states"].items()},
            {int(place): limit for place, limit in data["ended"].items()},
        )
