"""What commands import before they do anything: counted, since times depend on the machine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.main import get_command

from harness.cli.app import build_app
from harness.cli.console.named_commands import named_commands
from tests.processes import LONGEST

HEAVY = {"torch", "transformers", "scipy", "pyarrow", "datasets", "matplotlib", "tokenizers", "regex", "filelock"}
LOADED = """
import contextlib, io, json, sys
from harness.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    status = main(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]))
"""


@pytest.mark.parametrize(
    ("command", "never", "most"),
    [
        ("--help", {*HEAVY, "numpy", "pydantic", "rich", "harness.registry.registry"}, 310),
        ("leaderboard --help", {*HEAVY, "numpy", "rich"}, 380),
        ("run --help", {*HEAVY, "numpy", "rich"}, 380),
        ("plugins", HEAVY - {"tokenizers"}, 800),
        ("validate quickstart --spec-only", HEAVY - {"tokenizers", "filelock"}, 900),
    ],
)
def test_a_command_imports_little(command: str, never: set[str], most: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *command.split()], capture_output=True, text=True, timeout=LONGEST
    )
    assert done.returncode == 0, done.stderr
    status, loaded = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert not never & set(loaded)
    assert len(loaded) <= most


def test_commands_that_are_not_named_look_the_same_in_a_list() -> None:
    app = build_app()
    whole, short = get_command(app), get_command(named_commands(app, ["run", "leaderboard", "show"]))
    assert _listed(short) == _listed(whole)
    assert _listed(short.commands["leaderboard"]) == _listed(whole.commands["leaderboard"])
    for path in (["run"], ["leaderboard", "show"]):
        named, known = short, whole
        for word in path:
            named, known = named.commands[word], known.commands[word]
        assert _options(named) == _options(known)
    assert not short.commands["plan"].params
    assert whole.commands["plan"].params  # the application itself is as it was


def test_no_summary_is_cut_short_on_a_narrow_terminal() -> None:
    groups = [(command := get_command(build_app())), *getattr(command, "commands", {}).values()]
    for group in groups:
        commands = getattr(group, "commands", {})
        room = 80 - 6 - max(map(len, commands), default=0)
        for name, listed in commands.items():
            assert not listed.get_short_help_str(room).endswith("..."), name


def _options(command: object) -> list[tuple[object, ...]]:
    return [
        (one.name, one.opts, one.help, one.required, one.default, one.metavar)
        for one in command.params  # type: ignore[attr-defined]
    ]


def _listed(group: object) -> list[tuple[object, ...]]:
    return [
        (name, one.name, one.help, one.epilog, one.hidden, one.deprecated, one.get_short_help_str())
        for name, one in group.commands.items()  # type: ignore[attr-defined]
    ]
