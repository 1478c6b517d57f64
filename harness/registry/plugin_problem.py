"""What is wrong with a plugin package, told with its name and the fix."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from harness.isolation import process_state
from harness.isolation.import_limits import DISABLE_VARIABLE
from harness.registry.builtin_imports import DISTRIBUTION

LONGEST = 500  # characters of an error that is shown


@dataclass(frozen=True)
class PluginProblem:
    """A plugin package, or one module of it, that was left out, or does what it should not; the rest works."""

    package: str
    version: str
    cause: str
    left_out: bool = True

    def __str__(self) -> str:
        mend = f"fix or uninstall it, or set {DISABLE_VARIABLE}={self.package} to leave it out without this warning"
        if not self.left_out:
            mend = f"it is used anyway; fix it, or set {DISABLE_VARIABLE}={self.package} to leave it out"
        if self.package == DISTRIBUTION:
            mend = "this belongs to the harness itself: install it again, or report it"
        return f"plugin package {self.package} {self.version}: {self.cause} ({mend})"


class FromPackage:
    """Base of what comes from a plugin package.

    Attributes:
        distribution, version: of the package; of a single file ``file:NAME.py`` and the start of its sha256.
    """

    distribution: str
    version: str

    @property
    def builtin(self) -> bool:
        """Whether it belongs to the harness itself."""
        return normalised_name(self.distribution) == DISTRIBUTION

    def problem(self, cause: str, *, left_out: bool = True) -> PluginProblem:
        """A problem with it."""
        return PluginProblem(self.distribution, self.version, cause, left_out)

    def side_effects(self, notes: list[str]) -> list[PluginProblem]:
        """What it changed while it was imported or registered, as problems; built-in modules may."""
        return [] if self.builtin else [self.problem(note, left_out=False) for note in notes]


def normalised_name(name: str) -> str:
    """Spelling of a distribution name by which two are compared: PyPA's rule, in one line rather than a dependency."""
    return re.sub(r"[-_.]+", "-", name).strip().lower()


def error_with_place(error: BaseException) -> str:
    """Type and message of an exception, and the last line of a plugin's code that it came through, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception of the plugin's own
        text = "its message cannot be printed"
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    if isinstance(error, SyntaxError):  # its message has the place already, its traceback only ours
        return f"{type(error).__name__}: {text}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _loads_plugins(frame.filename)]
    where = f" [{frames[-1].filename}:{frames[-1].lineno}]" if frames else ""
    return f"{type(error).__name__}{': ' + text if text else ''}{where}"


def _loads_plugins(filename: str) -> bool:
    """Whether a file only imports or calls plugin code."""
    path = Path(filename)
    return (
        filename.startswith("<")
        or "importlib" in path.parts
        or "pluggy" in path.parts
        or path.parent in (Path(__file__).parent, Path(process_state.__file__).parent)
    )
