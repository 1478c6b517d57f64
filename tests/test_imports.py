"""The order of the rooms: imports run down it and never up, no files import each other in a circle, what should load no
torch loads none, and no folder is too full to be read at a glance.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.processes import LONGEST

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "plugins", "leaderboard")
MOST_ROOMS, MOST_FLOORS, MOST_ENTRIES = 25, 12, 16
MOST_LOOSE_FILES = {"harness": 8, "leaderboard": 4, "plugins": 1}

# Folders and loose files from the ground up, each with its own folders in the same order: one may import what stands
# before it. `harness/__init__.py` loads what it exports when that is first used, so it stands on nothing.
ROOMS: dict[str, tuple[str, ...]] = {
    "harness/__init__": (),
    "harness/errors": (),
    "harness/flops": (),
    "harness/hashing": (),
    "harness/rng": (),
    "harness/surrogates": (),
    "harness/isolation": (),
    "harness/store": (),
    "harness/records": (),
    "harness/tokens": (),
    "harness/api": ("problem", "model"),
    "harness/number_format": (),
    "harness/registry": (),
    "harness/spec": (),
    "harness/engine": ("defended", "search", "torch", "vllm", "dispatch"),
    "harness/training": (),
    "harness/run": ("prepare", "plan", "cell", "executors", "calibration", "tuning"),
    "harness/replay": (),
    "harness/bench": (),
    "harness/scaffold": (),
    "harness/testing": ("toys", "checks"),
    "harness/cli": ("console", "beforehand"),
    "harness/__main__": (),
    "plugins": ("_common", "tasks", "victims", "judges", "defenses", "attacks"),
    "leaderboard": (
        "data",
        "fit",
        "tuned",
        "others",
        "standings",
        "study",
        "site",
        "figures",
        "submission",
        "versions",
        "commands",
    ),
}
# What `leaderboard` may know of the core: what a run leaves on disk, how to say what is wrong with it, which cells a
# spec makes, and who puts recorded strings back through a victim; of these folders every file.
READERS = ("harness.records", "harness.errors", "harness.flops", "harness.api.hooks")
READERS += ("harness.spec.load", "harness.replay", "harness.store.atomic")
READERS += ("harness.registry.loader",)  # what plugins say of themselves
WITHOUT_TORCH = ("harness.api.", "harness.engine.search.", "harness.engine.defended.", "leaderboard")

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports_of(name: str) -> set[str]:
    """Modules of ours that a module imports, wherever the import stands: in functions and for types as well."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import"
            module = node.module or ""
            found |= {
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module for alias in node.names
            }
    return {module for module in found if module.split(".")[0] in PACKAGES}


IMPORTS = {name: imports_of(name) for name in MODULES}


def room_of(name: str) -> str:
    """The room that a module belongs to."""
    place = MODULES[name].relative_to(ROOT).with_suffix("").as_posix()
    found = [room for room in ROOMS if f"{place}/".startswith(f"{room}/")]
    assert len(found) == 1, f"{place} belongs to {found or 'no room'}; write its room into ROOMS, at its floor"
    return found[0]


def folder_of(name: str) -> str | None:
    """The folder of its room that a module lies in; None where it lies loose in the room, or the room has none."""
    room = room_of(name)
    parts = MODULES[name].relative_to(ROOT / room).parts if ROOMS[room] else ()
    return parts[0] if len(parts) > 1 else None


def test_rooms_are_those_of_the_tree() -> None:
    assert {room_of(name) for name in MODULES} == set(ROOMS)
    inside = {room: {folder_of(name) for name in MODULES if room_of(name) == room} - {None} for room in ROOMS}
    assert inside == {room: set(folders) for room, folders in ROOMS.items()}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_down_the_order(room: str) -> None:
    order = list(ROOMS)
    up = []
    for name in (name for name in MODULES if room_of(name) == room):
        for other in IMPORTS[name] & MODULES.keys():
            if order.index(room_of(other)) > order.index(room):
                up.append(f"{name} → {other}")
            elif room_of(other) == room and (folders := (folder_of(name), folder_of(other))) and None not in folders:
                here, there = (ROOMS[room].index(str(folder)) for folder in folders)
                up += [f"{name} → {other}"] if there > here else []
    assert not up, "these run back up: " + ", ".join(sorted(up))


def test_there_is_no_circle_of_files() -> None:
    graph = {name: IMPORTS[name] & MODULES.keys() - {name} for name in MODULES}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))
    assert len(order) == len(MODULES) > 100


def test_rooms_are_few_and_stand_on_few_floors() -> None:
    graph: dict[str, set[str]] = {room: set() for room in ROOMS}
    for name in MODULES:
        graph[room_of(name)] |= {room_of(other) for other in IMPORTS[name] & MODULES.keys()} - {room_of(name)}
    floors: dict[str, int] = {}
    for room in TopologicalSorter(graph).static_order():
        floors[room] = 1 + max((floors[below] for below in graph[room]), default=0)
    assert len(floors) <= MOST_ROOMS
    assert max(floors.values()) <= MOST_FLOORS


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_is_too_full(package: str) -> None:
    top = ROOT / package
    inside = (path for path in sorted(top.rglob("*")) if path.is_dir() and path.name != "__pycache__")
    folders = [top, *(path for path in inside if not path.is_symlink())]  # specs/ holds no code
    folders = [path for path in folders if path.name not in ("entries", "claims", "verified")]  # no code
    entries = {
        folder.relative_to(ROOT).as_posix(): [entry for entry in folder.iterdir() if entry.name != "__pycache__"]
        for folder in folders
    }
    loose = [entry.name for entry in entries[package] if entry.suffix == ".py"]
    assert len(loose) <= MOST_LOOSE_FILES[package], loose
    entries[package] = [entry for entry in entries[package] if entry.is_dir()]
    assert {folder: len(found) for folder, found in entries.items() if len(found) > MOST_ENTRIES} == {}


def may_import(package: str, other: str) -> bool:
    """Whether a package may import a module of another one."""
    if package == "leaderboard":
        return any(f"{other}.".startswith(f"{reader}.") for reader in READERS)
    return package == "plugins" and other == "harness"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_know_each_other_by_their_public_side(package: str) -> None:
    wrong = [
        f"{name} → {other}"
        for name in MODULES
        if name.split(".")[0] == package
        for other in sorted(IMPORTS[name])
        if other.split(".")[0] != package and not may_import(package, other)
    ]
    assert not wrong, ", ".join(wrong)


def test_what_should_load_no_torch_loads_none() -> None:
    names = [name for name in MODULES if f"{name}.".startswith(WITHOUT_TORCH)]
    assert len(names) > 60
    watched = "\n".join(
        [
            "import importlib, sys",
            *(f"importlib.import_module({name!r}); assert 'torch' not in sys.modules, {name!r}" for name in names),
        ]
    )
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, cwd=ROOT, timeout=LONGEST)
    assert done.returncode == 0, done.stderr


def test_importing_harness_loads_nothing_heavy() -> None:
    loaded = "import harness, sys; print(*{'torch', 'numpy', 'pydantic', 'pluggy', 'pyarrow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, cwd=ROOT, timeout=LONGEST)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
