"""Keeps what plugins may do to the process out of the numbers."""

from __future__ import annotations

from collections.abc import Callable

from harness.isolation.process_state import SavedSettings, interpreter_settings, torch_settings


class SettingsGuard:
    """The process's settings as they were when a search began.

    Args:
        note: told once of each setting that was changed.
        attack: name, for that note.
    """

    def __init__(self, note: Callable[[str], None], attack: str) -> None:
        self._saved = SavedSettings([*torch_settings(), *interpreter_settings()])
        self._note, self._attack = note, attack
        self._noted: set[str] = set()

    def put_back(self) -> None:
        """Put back what was changed since."""
        for name in self._saved.put_back():
            if name not in self._noted:
                self._noted.add(name)
                self._note(
                    f"attack {self._attack}, or a model or judge that it asked, changed {name}; put back after each "
                    f"step"
                )
