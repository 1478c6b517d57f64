"""Commands that are not asked for, without their options: to work out those of all commands takes longer than most
commands do, and a list of commands shows none of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from copy import copy
from dataclasses import dataclass

import typer
from typer.main import get_command_name
from typer.models import CommandInfo, TyperInfo


@dataclass(frozen=True)
class _Words:
    """What stands on a command line."""

    words: Collection[str]

    def app(self, app: typer.Typer) -> typer.Typer:
        short = copy(app)
        short.registered_commands = [self.command(info) for info in app.registered_commands]
        short.registered_groups = [self.group(info) for info in app.registered_groups]
        return short

    def command(self, info: CommandInfo) -> CommandInfo:
        name = command_name(info)
        if name in self.words or info.callback is None:
            return info
        short = copy(info)
        short.name, short.callback = name, _without_options
        short.help = inspect.getdoc(info.callback) if info.help is None else info.help
        return short

    def group(self, info: TyperInfo) -> TyperInfo:
        app, names = info.typer_instance, group_names(info)
        if app is None:
            return info
        short = copy(info)
        short.typer_instance = self.app(app)
        if names and not names & set(self.words):  # the commands of a group without a name stand outside
            short.typer_instance.registered_commands, short.typer_instance.registered_groups = [], []
        return short


def named_commands(app: typer.Typer, words: Collection[str]) -> typer.Typer:
    """The application as far as a command line of these words can show it: commands that none of them names have no
    options, and groups no commands.
    """
    return _Words(words).app(app)


def command_name(info: CommandInfo) -> str:
    """The name that typer gives a command."""
    return info.name or get_command_name(getattr(info.callback, "__name__", ""))


def group_names(info: TyperInfo) -> set[str]:
    """Where a group is named: in its place, or by itself; empty where it has no name."""
    app = info.typer_instance
    told = [info, *([app.registered_callback, app.info] if app is not None else [])]
    found = [getattr(one, "name", None) for one in told]
    return {name for name in found if isinstance(name, str) and name}


def _without_options() -> None:
    """Stand for a command that cannot be called, since nothing names it."""
