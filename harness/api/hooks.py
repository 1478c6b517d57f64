"""The hooks by which a package registers plugins and commands, publishes runs, lists its modules and says when its
numbers changed. This file is the whole contract between core and plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import typer

    from harness.api.attack import Attack
    from harness.api.defense import Defense
    from harness.api.judge import Judge
    from harness.api.task import Task
    from harness.api.victim import Victim

NAMESPACE = "harness"
hookspec = pluggy.HookspecMarker(NAMESPACE)
hookimpl = pluggy.HookimplMarker(NAMESPACE)


@hookspec
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Call ``register(TaskClass)`` for each task."""


@hookspec
def harness_register_victims(register: Callable[[type[Victim]], None]) -> None:
    """Call ``register(VictimClass)`` for each victim."""


@hookspec
def harness_register_attacks(register: Callable[[type[Attack]], None]) -> None:
    """Call ``register(AttackClass)`` for each attack."""


@hookspec
def harness_register_defenses(register: Callable[[type[Defense]], None]) -> None:
    """Call ``register(DefenseClass)`` for each defense."""


@hookspec
def harness_register_judges(register: Callable[[type[Judge]], None]) -> None:
    """Call ``register(JudgeClass)`` for each judge."""


@hookspec
def harness_register_commands(app: typer.Typer) -> None:
    """Add commands to the ``harness`` command line."""


@hookspec
def harness_publish(runs: list[Path], out: Path) -> None:
    """Make something to read of finished run directories, in the folder ``out``."""


@hookspec
def harness_plugin_modules() -> Iterable[str]:  # type: ignore[empty-body]
    """Dotted names of further modules that hold hooks, so that a package can keep one plugin per file."""


@hookspec
def harness_results_version() -> str:  # type: ignore[empty-body]
    """Of an installed package: the version at which its plugins last gave other numbers. Keys of artifacts and cells
    and hashes of specs are made with it. Without this hook they are made with the package's own version, so that each
    release makes everything anew.
    """
