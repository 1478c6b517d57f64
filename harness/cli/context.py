"""What all commands share: the plugins, loaded when a command first asks for them, and where runs go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.errors import TRACEBACK_VARIABLE, tracebacks_wanted
from harness.isolation.process_state import collection_paused
from harness.registry.package_imports import ImportedPackages, import_packages
from harness.registry.plugin_problem import PluginProblem

if TYPE_CHECKING:
    from harness.registry.loader import LoadedPlugins

RUNS = Path("runs")
"""The folder of run directories, where the user names none."""


def show_everything() -> None:
    """As ``--verbose`` asks, in this process and those it starts: tracebacks, and what libraries report."""
    os.environ[TRACEBACK_VARIABLE] = "1"


def hide_library_progress() -> None:
    """Loading bars of other libraries would tear up our own lines; to be called before they are imported."""
    if tracebacks_wanted():
        return
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def say_what_is_awaited() -> None:
    """To somebody at a terminal: why nothing is seen for a while."""
    if sys.stderr.isatty():
        print("looking for data and models; those of the hub are asked for over the network …", file=sys.stderr)


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Answer Ctrl-C with where the same command goes on from, and status 130. Outside a live view, which would draw
    over it.
    """
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"Stopped. Run the same command again to continue from here: {folder}", err=True)
        raise typer.Exit(130) from None


class Context:
    """Global options and plugins; a command finds it in its typer context as ``ctx.obj``.

    Attributes:
        files: plugin files given with ``--plugin``.
        problems: packages that are left out, as far as is known yet.
    """

    def __init__(self, files: tuple[Path, ...] = ()) -> None:
        self.files = files
        self.problems: list[PluginProblem] = []
        self._packages: ImportedPackages | None = None
        self._loaded: LoadedPlugins | None = None
        self._warned: set[PluginProblem] = set()

    def packages(self) -> ImportedPackages:
        """The installed packages, imported but not registered: cheap, enough to know their commands."""
        if self._packages is None:
            self._packages = import_packages()
            self.problems += self._packages.problems
        return self._packages

    def loaded(self, *, warn: bool = True) -> LoadedPlugins:
        """All plugins. What had to be left out is warned of on stderr, once.

        Raises:
            PluginError: a file given with ``--plugin`` cannot be used.
        """
        if self._loaded is None:
            with collection_paused():
                from harness.registry.loader import load_plugins

            self._loaded = load_plugins(self.files, self.packages())
            self.problems += [problem for problem in self._loaded.problems if problem not in self.problems]
        if warn:
            self.warn()
        return self._loaded

    def warn(self) -> None:
        """Warn on stderr of every problem that was not warned of yet."""
        for problem in self.problems:
            if problem not in self._warned:
                print(f"warning: {problem}", file=sys.stderr)
        self.mark_warned()

    def mark_warned(self) -> None:
        """Warn no more of the problems known so far: a command has listed them itself."""
        self._warned.update(self.problems)
