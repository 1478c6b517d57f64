"""A run with the plugin under test, packed as a submission, verified and replayed in another folder."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.testing.plugin_under_test import Subject
from harness.testing.results import Check, NotApplicableError, UnmetError
from harness.testing.toys import registered

_MEND = (
    "read the message; a judge decides by what is recorded, and a task's data are the same wherever its files lie "
    "(SpecPath) and whoever loads them"
)

_RUN = ["run", "spec.yaml", "--out", "run", "--quiet", "--jobs", "0"]
_PACK = ["leaderboard", "pack", "run", "--out", "../run.zip"]
_VERIFY = ["leaderboard", "verify", "../run.zip", "--replay", "8", "--spec", "spec.yaml", "--store", "models"]

# The commands one after another in one process: each in its folder; ends with the first that fails.
_COMMANDS = """
import contextlib, json, sys
from harness.cli import main

if __name__ == "__main__":
    for folder, words in json.loads(sys.argv[1]):
        with contextlib.chdir(folder):
            code = main(words)
        if code:
            sys.exit(f"harness {' '.join(words)}: exit status {code}")
"""


def _check_submission(subject: Subject) -> None:
    plugins = [f"--plugin={file}" for file in (*_plugin_files(subject), Path(inspect.getfile(registered)))]
    with tempfile.TemporaryDirectory(prefix="harness-check-") as place:
        here, there = Path(place) / "here", Path(place) / "there"
        for folder in (here, there):
            folder.mkdir()
            (folder / "spec.yaml").write_text(json.dumps(_spec(subject, folder)), encoding="utf-8")
        # Two processes, as of two people: what depends on one of them differs in the other.
        code, said = _said_by([(here, [*plugins, *words]) for words in (_RUN, _PACK)], hash_seed="1")
        if not code:
            code, said = _said_by([(there, [*plugins, *_VERIFY])], hash_seed="2")
    if code:
        last = "\n".join(said[-8:]) or "nothing"
        raise UnmetError("a run that can be packed, verified and replayed in another folder", last, _MEND)
    if any("no string to be replayed" in line for line in said):
        raise NotApplicableError("the kit's model got no example right, so that none was attacked")


def _said_by(commands: list[tuple[Path, list[str]]], hash_seed: str) -> tuple[int, list[str]]:
    """The exit status of commands in a process of their own, and the lines that they said."""
    written = json.dumps([(str(folder), words) for folder, words in commands])
    path = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": hash_seed, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", _COMMANDS, written], env=environment, capture_output=True, text=True, check=False
    )
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return done.returncode, lines


def _plugin_files(subject: Subject) -> list[Path]:
    """The plugin file that the class comes from; none where it is installed.

    Raises:
        NotApplicableError: another process could not load it.
    """
    from harness.registry.loader import load_plugins

    if any(entry.cls is subject.cls for entry in load_plugins().registry.entries(subject.kind)):
        return []
    if subject.cls.__module__.startswith("harness_file_"):
        return [Path(inspect.getfile(subject.cls)).resolve()]
    raise NotApplicableError("it is neither installed nor in a plugin file, so that no other process can load it")


def _spec(subject: Subject, folder: Path) -> dict[str, Any]:
    """A small spec with the plugin in it, whose files lie in the folder under names of their own."""
    plugin = subject.fresh()
    kind = plugin.answers if subject.kind == "task" else plugin.reads
    own = {subject.name: _with_linked_files(subject.params, plugin.params, folder)}
    task: Any = "kit_labels" if kind == "labels" else "kit_text"
    judge: Any = "toy_judge" if kind == "labels" else "kit_text_judge"
    if subject.kind == "task":
        task = own
    elif plugin.models():
        raise NotApplicableError("it asks models, which would have to be made ready")
    else:
        judge = own
    return {
        "name": "submitted",
        "version": "1",
        "tasks": [task],
        "victims": ["kit_victim"],
        "attacks": [{"kit_attack": {"steps": 2}}],
        "threats": [{"tokens": 3, "access": "text"}],
        "judge": judge,
        "seeds": [0],
        "examples": 6,
        "clean_examples": 12,
    }


def _with_linked_files(written: Any, read: Any, folder: Path) -> Any:
    """What was written of parameters, each path in it replaced by a link in the folder."""
    if isinstance(read, Path):
        link = folder / "files" / str(len(list((folder / "files").glob("*")))) / read.name
        link.parent.mkdir(parents=True)
        link.symlink_to(read.absolute())
        return str(link.relative_to(folder))
    if isinstance(written, dict):
        return {name: _with_linked_files(value, _member(read, name), folder) for name, value in written.items()}
    if isinstance(written, list | tuple) and isinstance(read, list | tuple) and len(read) == len(written):
        return [_with_linked_files(one, other, folder) for one, other in zip(written, read, strict=True)]
    return written


def _member(read: Any, name: str) -> Any:
    return read.get(name) if isinstance(read, dict) else getattr(read, name, None)


CHECKS = (
    Check("submission", "a run with it can be packed, verified and replayed from another folder", _check_submission),
)
