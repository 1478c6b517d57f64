"""`harness plugins`, `harness --help`, and how the command line ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.registry.outside import attack, harness, make_distribution, plugins, python
from tests.run.runs import harness_here

pytestmark = pytest.mark.slow  # starts many processes

HEAVY = {"torch", "transformers", "scipy", "pandas", "pyarrow", "datasets"}
# Runs command lines, divided by ``then``, in this process; says on stderr what they have imported.
WATCHED = """
import sys
from harness.cli import main
commands = [[]]
for word in sys.argv[1:]:
    commands.append([]) if word == "then" else commands[-1].append(word)
try:
    for command in commands:
        main(command)
finally:
    print("LOADED", *{name.partition(".")[0] for name in sys.modules}, *sys.modules, file=sys.stderr)
"""

COMMANDS = '''
import typer
from harness import hookimpl

@hookimpl
def harness_register_commands(app: typer.Typer):
    @app.command("{name}")
    def command({argument}):
        """Does something."""
        print("did it")
        {body}
'''


def imported(*arguments: str) -> set[str]:
    done = python("-c", WATCHED, *arguments)
    return set(done.stderr.rpartition("LOADED")[2].split())


def test_help_is_light() -> None:
    loaded = imported("--help")
    assert "harness.cli.app" in loaded
    assert not loaded & {*HEAVY, "numpy", "pydantic", "harness.registry.loader", "plugins.attacks.gcg"}


def test_help_in_short_and_types_where_there_is_something_to_write() -> None:
    for words in ((), ("run",), ("leaderboard", "show"), ("bench", "scoring")):
        long, short = (harness_here(*words, option, cwd=Path()) for option in ("--help", "-h"))
        assert long.returncode == short.returncode == 0
        assert long.stdout == short.stdout
        assert "<bool>" not in long.stdout
    assert "<path>" in harness_here("run", "-h", cwd=Path()).stdout


def test_listing_plugins_imports_nothing_heavy() -> None:
    loaded = imported("plugins", "then", "plugins", "gcg", "then", "plugins", "--json")
    assert "plugins.attacks.gcg" in loaded
    assert loaded & HEAVY == set()


def test_one_plugin_in_full() -> None:
    done = harness("plugins", "gcg")
    assert done.returncode == 0
    for word in ("gcg", "gradient", "Paper: ", "steps", "int", "> 0", "this_step | best_so_far", "robustness-harness"):
        assert word in done.stdout
    assert harness("plugins", "attack/gcg").stdout == harness("plugins", "attacks/gcg").stdout == done.stdout
    (row,) = json.loads(harness("plugins", "gcg", "--json").stdout)
    assert row["access"] == "gradient"
    steps = next(parameter for parameter in row["parameters"] if parameter["name"] == "steps")
    assert (steps["type"], steps["default"], steps["constraints"]) == ("int", 10, "> 0")
    assert row["schema"]["properties"]["steps"]["exclusiveMinimum"] == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gcgg", "did you mean 'gcg'?"),
        ("attack/gcgg", "did you mean 'gcg'?"),
        ("atack/gcg", "no kind of plugin called"),
    ],
)
def test_a_wrong_name_is_one_message_and_status_2(name: str, words: str) -> None:
    done = harness("plugins", name)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_version() -> None:
    done = harness("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("harness 0")


def add_command(site: Path, name: str, body: str = "pass", argument: str = "", file: str = "adds") -> None:
    make_distribution(site, file, {f"{file}.py": COMMANDS.format(name=name, body=body, argument=argument)})


def test_a_package_adds_a_command(tmp_path: Path) -> None:
    add_command(tmp_path, "extra")
    assert "extra" in harness("--help", site=tmp_path).stdout
    done = harness("extra", site=tmp_path)
    assert (done.returncode, done.stdout) == (0, "did it\n")


def test_commands_that_cannot_be_added_are_left_out_alone(tmp_path: Path) -> None:
    add_command(tmp_path, "plugins", file="takes_ours")
    add_command(tmp_path, "odd", argument="x: 'NotDefined'", file="odd_type")
    add_command(tmp_path, "fine", file="fine")
    done = harness("fine", site=tmp_path)
    assert done.stdout == "did it\n"
    assert "takes_ours 1.2.3: its commands cannot be added: the command 'plugins' exists already" in done.stderr
    assert "odd_type 1.2.3: its commands cannot be added" in done.stderr
    assert "gcg" in harness("plugins", site=tmp_path).stdout


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("from harness import RunError; raise RunError('mend this')", 2, "error: mend this"),
        ("raise ValueError('oops')", 70, "This is a bug"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise typer.Exit(3)", 3, ""),
    ],
)
def test_how_a_command_ends(tmp_path: Path, body: str, status: int, words: str) -> None:
    add_command(tmp_path, "ends", body)
    done = harness("ends", site=tmp_path)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    if status == 70:
        assert "ValueError: oops" in done.stderr
        assert "adds.py" in done.stderr
        assert "Traceback" in harness("ends", site=tmp_path, HARNESS_TRACEBACK="1").stderr


def test_completion_is_offered() -> None:
    done = harness(_HARNESS_COMPLETE="complete_bash", COMP_WORDS="harness plu", COMP_CWORD="1")
    assert "plugins" in done.stdout


NEED_TORCH = {
    *("HeadName", "TorchBackend", "context_length", "load_model", "make_head", "open_folder", "resolve_device"),
    *(
        "Learner",
        "ending_ids",
        "no_progress_bars",
        "retrain",
        "save_description",
        "save_model",
        "saved_ending",
        "train",
    ),
}


def test_the_public_names_are_there_and_cost_nothing() -> None:
    script = "import sys, harness; assert not set(sys.modules) & {'torch', 'numpy', 'pydantic', 'pluggy'}\n"
    script += f"heavy = {sorted(NEED_TORCH)!r}\n"
    script += "for name in harness.__all__: name in heavy or getattr(harness, name)\n"
    script += "assert 'torch' not in sys.modules\nfor name in heavy: getattr(harness, name)"
    done = python("-c", script)
    assert done.returncode == 0, done.stderr


def test_a_nested_reference_is_shown_by_its_kind(tmp_path: Path) -> None:
    params = "    class Params(Attack.Params):\n        seed_with: AttackRef = 'gcg'\n\n"
    source = attack().replace("    def start", params + "    def start", 1)
    make_distribution(tmp_path, "refers", {"refers.py": source.replace("import Attack,", "import Attack, AttackRef,")})
    done = harness("plugins", "outside", site=tmp_path)
    assert "attack (name or {name: {...}})" in done.stdout
    assert "attack/outside" in plugins(site=tmp_path)[0]
