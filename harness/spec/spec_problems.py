"""What is wrong with a spec, and where: collected as paths, reported with file, line and field, all at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import SpecError, did_you_mean

DataPath = tuple[str | int, ...]
"""Keys and indices from the top of the file, e.g. ``("victims", 0, "tiny", "size")``."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands in a file; both count from 1."""

    line: int
    column: int


Positions = Mapping[DataPath, Position]


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """One thing to fix.

    Attributes:
        path: of the field that it is about; empty for the file as a whole.
        message: what is wrong and how to fix it. ``{other}`` in it stands for the second field, with its line.
        other: path of a second field that the message speaks of.
        at: its position in the file, where that is known better than from the path.
    """

    path: DataPath
    message: str
    other: DataPath | None = None
    at: Position | None = None

    def located(self, positions: Positions) -> SpecProblem:
        """The same problem with its position filled in, as near as the positions know it."""
        message = self.message
        if self.other is not None:
            at = nearest_position(self.other, positions)
            where = field_text(self.other) + (f" on line {at.line}" if at else "")
            message = message.replace("{other}", where)
        return replace(self, message=message, other=None, at=self.at or nearest_position(self.path, positions))


class InvalidSpecError(SpecError):
    """Every problem found in one spec, in the order of its lines.

    Attributes:
        file: the file as the user named it.
        problems: with their positions (``at`` is None only when the spec does not come from a file).
        resolved: the plugins of its references that could be resolved, by path; in this process alone.
    """

    def __init__(
        self,
        file: str,
        problems: Iterable[SpecProblem],
        positions: Positions | None = None,
        resolved: Mapping[DataPath, Any] | None = None,
    ) -> None:
        self.resolved = resolved or {}
        located = {problem.located(positions or {}) for problem in problems}
        self.file = file
        self.problems = tuple(sorted(located, key=_order))
        super().__init__("\n".join(self._line(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.file, self.problems)  # the default would call `__init__` with the message alone

    def _line(self, problem: SpecProblem) -> str:
        where = f"{printable(self.file, 500)}:{problem.at.line}" if problem.at else printable(self.file, 500)
        field = f"{field_text(problem.path)}: " if problem.path else ""
        return f"{where}: {field}{printable(problem.message)}"


def _order(problem: SpecProblem) -> tuple[int, int, str, str]:
    at = problem.at or Position(0, 0)
    return (at.line, at.column, field_text(problem.path), problem.message)


def nearest_position(path: DataPath, positions: Positions) -> Position | None:
    """Position of the path, or of the innermost field around it that has one."""
    for end in range(len(path), -1, -1):
        if path[:end] in positions:
            return positions[path[:end]]
    return None


def field_text(path: DataPath) -> str:
    """A path as people write it: ``victims[0].tiny.size``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part) and len(part) <= 60:
            text += f".{part}" if text else part
        else:
            text += f"[{printable_value(part)}]"
    return text


def printable_value(value: object, limit: int = 40) -> str:
    """A value for a message: quoted if text, on one line, shortened when long."""
    return printable(repr(value) if isinstance(value, str) else str(value), limit)


def printable(text: str, limit: int = 2000) -> str:
    """Text that cannot move the cursor of a terminal or break a line."""
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def name_hint(word: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest known one, or else all of them where they are few."""
    names = sorted(known)
    listed = f"; known: {', '.join(names)}" if 0 < len(names) <= 15 else ""
    return did_you_mean(word, names) or listed
