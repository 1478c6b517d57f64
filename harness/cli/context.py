"""What all commands share: the plugins, loaded when a command first asks for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.registry.package_imports import ImportedPackages, import_packages
from harness.registry.plugin_problem import PluginProblem

if TYPE_CHECKING:
    from harness.registry.loader import Loaded


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
        self._loaded: Loaded | None = None
        self._told: set[PluginProblem] = set()

    def packages(self) -> ImportedPackages:
        """The installed packages, imported but not registered: cheap, enough to know their commands."""
        if self._packages is None:
            self._packages = import_packages()
            self.problems += self._packages.problems
        return self._packages

    def loaded(self, *, warn: bool = True) -> Loaded:
        """All plugins. What had to be left out is told on stderr, once.

        Raises:
            PluginError: a file given with ``--plugin`` cannot be used.
        """
        if self._loaded is None:
            from harness.registry.loader import load_plugins

            self._loaded = load_plugins(self.files, self.packages())
            self.problems += [problem for problem in self._loaded.problems if problem not in self.problems]
        if warn:
            self.warn()
        return self._loaded

    def warn(self) -> None:
        """Tell on stderr every problem that was not told yet."""
        for problem in self.problems:
            if problem not in self._told:
                print(f"warning: {problem}", file=sys.stderr)
        self.mark_told()

    def mark_told(self) -> None:
        """Take all problems known so far as told: a command has shown them itself."""
        self._told.update(self.problems)
