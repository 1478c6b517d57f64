"""The command line in forks of one process, which has imported the harness and the built-ins once for all of them.

A fork has its own memory, files, signals and end; only the imports are shared. What is about those needs a process of
its own.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.processes import LONGEST

SERVER = """
import importlib, json, os, runpy, sys
from harness.cli import app, plugins
from harness.cli.console import plugin_details
from harness.registry import builtin_imports, loader

for name in builtin_imports.import_builtin("plugins")[0].harness_plugin_modules():
    importlib.import_module(name)
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(job["files"], 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
        os.environ.clear()
        os.environ.update(job["environment"])
        os.chdir(job["folder"])
        sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        sys.argv = ["harness", *job["arguments"]]
        runpy.run_module("harness", run_name="__main__", alter_sys=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """A process to fork from; it ends with this one."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-c", SERVER]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
        assert self._answer() == b"ready\n"

    def _answer(self) -> bytes:
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], LONGEST)[0]:
            self._server.kill()
            _forks.cache_clear()
            raise subprocess.TimeoutExpired(SERVER, LONGEST)
        return self._server.stdout.readline()

    def run(
        self, arguments: tuple[str, ...], folder: Path, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        assert self._server.stdin is not None
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as error:
            job = {"arguments": arguments, "folder": str(folder), "environment": environment}
            self._server.stdin.write(json.dumps(job | {"files": [out.name, error.name]}).encode() + b"\n")
            self._server.stdin.flush()
            code = int(self._answer())
            return subprocess.CompletedProcess(arguments, code, out.read().decode(), error.read().decode())


@cache
def _forks() -> Forks:
    return Forks()


def in_a_fork(
    *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a fork."""
    return _forks().run(arguments, cwd or Path.cwd(), dict(os.environ) | (env or {}))
