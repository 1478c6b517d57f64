"""The typer application: our commands, and those of plugin packages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from harness.cli.console.named_commands import command_name, group_names, named_commands
from harness.cli.context import Context, show_everything
from harness.errors import PluginError
from harness.isolation.import_limits import guard_plugin_code
from harness.isolation.process_state import collection_paused
from harness.registry.hook_checks import check_hooks, new_plugin_manager
from harness.registry.package_imports import PluginModule
from harness.registry.plugin_problem import error_with_place

HELP = "Benchmark the robustness of language models: attacks, defenses and their cost in compute."
FILE_OPTION = "--plugin"
VERBOSE_OPTIONS = ("--verbose", "-v")
HELP_OPTIONS = ["--help", "-h"]


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit status. Errors that the user can fix come out as `HarnessError`."""
    context = Context()
    completing = "_HARNESS_COMPLETE" in os.environ  # of a line that is not among the arguments
    with collection_paused():
        app = build_app(context)
        command: Any = get_command(app if completing else named_commands(app, arguments))
        _flags_without_type(command)
    try:
        command.main(args=global_options_first(arguments), prog_name="harness", obj=context)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
        # typer turns Ctrl-C into an exit; a command that said something itself breaks the chain with `from None`.
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):
            raise KeyboardInterrupt from None
        return status
    finally:
        if not completing:  # or it would stand in the middle of a line that a shell completes
            context.warn()
    return 0


def build_app(context: Context | None = None) -> typer.Typer:
    """The application with all commands of the installed packages."""
    context = Context() if context is None else context
    settings = {"help_option_names": HELP_OPTIONS, "max_content_width": 120}
    app = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: rich's takes as long to import as everything else together
        context_settings=settings,
    )
    app.callback()(_options)
    core_commands(app)
    for module in context.packages().modules:
        _plugin_commands(module, app, context)
    return app


def core_commands(app: typer.Typer) -> None:
    """Commands of the harness itself. Their modules import nothing heavy before they are run."""
    from harness.cli import bench, check, merge, new_plugin, plan, plugins, run, specs, status, validate
    from harness.cli.beforehand import judge, tune

    for module in (run, specs, plan, validate, status, merge, tune, plugins, new_plugin, check, judge, bench):
        module.register(app)


def global_options_first(arguments: list[str]) -> list[str]:
    """The arguments with every ``--plugin FILE`` and ``--verbose`` at the front, so that they can be written after the
    command as well.
    """
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*first, *rest, word, *words]
        if word == FILE_OPTION:
            first += [word, *[value for value in [next(words, None)] if value is not None]]
        elif word in VERBOSE_OPTIONS:
            first.append(word)
        else:
            (first if word.startswith(FILE_OPTION + "=") else rest).append(word)
    return [*first, *rest]


def _flags_without_type(command: Any) -> None:
    """Help shows ``<bool>`` behind an option only where there is something to write behind it."""
    own_help = command.get_help_option(typer.Context(command, help_option_names=HELP_OPTIONS))
    for param in [*command.params, own_help]:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    for part in getattr(command, "commands", {}).values():
        _flags_without_type(part)


def _version(wanted: bool) -> None:
    if wanted:
        import harness

        typer.echo(f"harness {harness.__version__}")
        raise typer.Exit()


def _options(
    ctx: typer.Context,
    plugin: Annotated[
        list[Path] | None, typer.Option(FILE_OPTION, metavar="FILE", help="Python file with plugins. Repeatable.")
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(*VERBOSE_OPTIONS, help="Show tracebacks of errors, and what the libraries underneath report."),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    context = ctx.ensure_object(Context)
    context.files = tuple(plugin or ())
    if verbose:
        show_everything()


def _plugin_commands(module: PluginModule, app: typer.Typer, context: Context) -> None:
    """Add a package's commands, all or none: they are collected and tried on an application of their own first."""
    added = typer.Typer()
    notes: list[str] = []
    try:
        if "harness_register_commands" not in check_hooks(module.plugin, module.name):
            return
        with guard_plugin_code(module.distribution, ours=module.builtin) as notes:
            manager = new_plugin_manager()
            manager.register(module.plugin)
            manager.hook.harness_register_commands(app=added)
            if not (added.registered_commands or added.registered_groups):
                return
            if not module.builtin:
                get_command(added)  # refuses arguments that typer cannot handle: later they would break every command
        taken = sorted(_names(added) & _names(app))
        if taken:
            raise PluginError(f"the command '{taken[0]}' exists already")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        cause = str(error) if isinstance(error, PluginError) else error_with_place(error)
        context.problems.append(module.problem(f"its commands cannot be added: {cause}"))
        return
    finally:
        context.problems += module.side_effects(notes)
    app.registered_commands += added.registered_commands
    app.registered_groups += added.registered_groups


def _names(app: typer.Typer) -> set[str]:
    groups = [group_names(info) for info in app.registered_groups]
    return {command_name(info) for info in app.registered_commands}.union(*groups)
