"""What was found so far: a file that is written after every measurement, and the table."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.store.atomic import write_file
from tests.gpu.parts import PARTS, Part, Row, Setting


class Results:
    """The file of results."""

    def __init__(self, path: Path, setting: Setting, again: Collection[str] = ()) -> None:
        """Read what there is of this setting.

        Args:
            again: parts to forget.

        Raises:
            ValueError: the file cannot be read, or is of another setting.
        """
        self._path, self._setting = path, asdict(setting)
        self._parts: dict[str, dict[str, Any]] = {}
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            of, self._parts = found["setting"], found["parts"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a file of this kit ({error}); name another one with --out") from error
        if of != self._setting:
            raise ValueError(f"{path}: was measured on {of['device']}; name another file with --out, or delete it")
        for name in again:
            self._parts.pop(name, None)

    def state(self, part: Part) -> str:
        """How a part ended the last time; "" where it was not run."""
        return str(self._parts.get(part.name, {}).get("state", ""))

    def known(self, part: Part) -> list[str]:
        """Measurements of a part that need not be made again."""
        return [what for what, row in self._rows(part).items() if row.final]

    def begin(self, part: Part) -> None:
        """A part is run: what was not final is forgotten."""
        kept = {what: row.to_json() for what, row in self._rows(part).items() if row.final}
        self._parts[part.name] = {"state": "interrupted", "why": "", "seconds": 0.0, "rows": kept}
        self._write()

    def add(self, part: Part, what: str, row: Row) -> None:
        """A measurement was made."""
        self._parts[part.name]["rows"][what] = row.to_json()
        self._write()

    def end(self, part: Part, state: str, why: str, seconds: float) -> None:
        """A part has ended."""
        self._parts[part.name] |= {"state": state, "why": why, "seconds": round(seconds, 1)}
        self._write()

    @property
    def fine(self) -> bool:
        """Whether all that was run is done and nothing is wrong."""
        rows = [row for part in PARTS for row in self._rows(part).values()]
        return not any(row.wrong for row in rows) and all(found["state"] == "done" for found in self._parts.values())

    def table(self) -> Table:
        """One line for each measurement; ``!`` where something should not be so."""
        table = Table(box=None, pad_edge=False)
        for heading in ("part", "of", "found"):
            table.add_column(heading, overflow="fold")
        for part in PARTS:
            state, name = self.state(part), part.name
            for what, row in self._rows(part).items():
                told = f"left out: {row.told}" if row.skipped else ("! " if row.wrong else "") + row.told
                table.add_row(Text(name), Text(what), Text(told))
                name = ""
            if state not in ("", "done"):
                lines = str(self._parts[part.name]["why"]).strip().splitlines() or [""]
                table.add_row(Text(name), Text(""), Text(f"! {state}: {lines[-1]}".removesuffix(": ")))
        return table

    def _rows(self, part: Part) -> dict[str, Row]:
        return {what: Row(**row) for what, row in self._parts.get(part.name, {}).get("rows", {}).items()}

    def _write(self) -> None:
        text = json.dumps({"setting": self._setting, "parts": self._parts}, indent=1) + "\n"
        write_file(self._path, lambda file: file.write_text(text, encoding="utf-8"))
