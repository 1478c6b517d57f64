"""Runs made by the real command line, in processes of their own, and what they leave behind."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from harness.cli import main
from harness.records.compare import VOLATILE, VOLATILE_COLUMNS
from tests.processes import LONGEST, parent_of, started_by

KIT = Path(__file__).parents[1] / "kit" / "outside" / "src" / "harness_outside"
FROM_FILES = [f"--plugin={KIT / name}.py" for name in ("task", "victim", "attack")]

WORDS = (
    '{word_length: {train_size: 500, validation_size: 60, instructions: "Which word is longer?", '
    "syllables: open, min_letters: 4, max_letters: 6}}"
)

TINY = f"""
name: tiny-run
version: "1"
tasks: [{WORDS}]
victims: [{{tiny: {{size: 7k, steps: 30}}}}]
defenses:
  - none
  - adversarial_training:
      rounds: 2
      attacked_per_round: 16
      examples_per_round: 64
      strength: {{start: 2, end: 3, rounds: 2}}
      attack: {{gcg: {{candidates: 16, topk: 16}}}}
attacks: [{{random_token: {{steps: 6, draws: 16}}}}, {{gcg: {{steps: 6, candidates: 32, topk: 32}}}}]
threats: [{{tokens: 5}}]
seeds: [0, 1]
examples: 16
clean_examples: 40
"""

# A model that is trained in a second, and a defense that trains it again, twice.
TRAINED = """
name: trained
version: "1"
tasks: [{word_length: {instructions: "Which word is longer?", syllables: open, train_size: 300, validation_size: 64}}]
victims: [{tiny: {size: 7k, steps: 12, batch_size: 16}}]
defenses:
  - none
  - adversarial_training:
      rounds: 2
      attacked_per_round: 6
      examples_per_round: 24
      strength: {start: 2, end: 3, rounds: 2}
      attack: {gcg: {candidates: 8, topk: 8}}
attacks: [{gcg: {steps: 3, candidates: 8, topk: 8}}]
threats: [{tokens: 5}]
seeds: [0, 1]
examples: 6
clean_examples: 16
"""

# No torch in it: a task of word lists and a logistic regression, both from plugin files; about a second.
FAST = """
name: fast
version: "1"
tasks: [{weather_or_food: {size: 40}}]
victims: [counts]
attacks: [{random_token: {steps: 3, draws: 4}}, {hill_climb: {steps: 3}}]
threats: [{tokens: 4}]
examples: 6
clean_examples: 20
"""

# Words of the command lines of a run's processes; that of the workers' own parent has theirs.
WORKER, ENGINE = "multiprocessing.forkserver", "harness.engine.vllm.child"

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "COLUMNS": "200"}


def one_seed(spec: str) -> str:
    """A spec of two seeds with the first alone."""
    two, one = "seeds: [0, 1]", "seeds: [0]"
    assert two in spec
    return spec.replace(two, one)


def command(*arguments: object) -> list[str]:
    """The command line; ``-P`` keeps the working directory off the path, as the installed script does."""
    return [sys.executable, "-P", "-m", "harness", *map(str, arguments)]


def harness(*arguments: object, cwd: Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environment = os.environ | ENVIRONMENT | kwargs.pop("env", {})
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True, timeout=LONGEST, **kwargs
    )


def harness_here(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in this process: quick, and the same but for what a process takes with it when it ends."""
    out, error = io.StringIO(), io.StringIO()
    words = [str(argument) for argument in arguments]
    command_name = next(word for word in words if not word.startswith("--plugin"))
    if command_name == "run" and not {"-j", "--jobs"} & set(words):
        words += ["--jobs", "0"]
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), error.getvalue())


def run_spec(text: str, folder: Path) -> Path:
    """Run a spec in this process, in which no cell may fail; the run's folder."""
    from harness.registry.loader import load_plugins
    from harness.run.reporter import Silent
    from harness.run.runner import run
    from harness.spec.load import load_spec

    (folder / "spec.yaml").write_text(text, encoding="utf-8")
    registry = load_plugins().registry
    assert not run(load_spec(folder / "spec.yaml", registry), registry, folder / "run", Silent()).failed
    return folder / "run"


def status(out: Path) -> dict[str, Any]:
    """What `harness status --json` prints."""
    found: dict[str, Any] = json.loads(harness_here("status", out, "--json", cwd=out.parent).stdout)
    return found


class Started:
    """A command going on in a process group of its own; what it says on stderr can be waited for."""

    def __init__(self, *arguments: object, cwd: Path, env: dict[str, str] | None = None) -> None:
        self.began = time.monotonic()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            command(*arguments),
            cwd=cwd,
            env=os.environ | ENVIRONMENT | (env or {}),
            stdout=self._file,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.times: list[float] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self.times.append(time.monotonic())

    def wait_for(self, words: str, timeout: float = LONGEST) -> bool:
        """Wait until a line with these words has been said; whether it was before the process ended."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            ended = self.process.poll() is not None
            if any(words in line for line in list(self.lines)):
                return True
            if ended and not self._reader.is_alive():
                return False
            time.sleep(0.01)
        raise AssertionError(f"{words!r} was not said in {timeout} s: {self.lines}")

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Signal the whole process group, as a terminal does."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, how)

    def end(self, timeout: float = LONGEST) -> int:
        """Wait for the end; the exit status."""
        try:
            code = self.process.wait(timeout)
        finally:
            self.kill()
        self._reader.join(10)
        self._file.close()
        return code

    def running(self, word: str) -> list[psutil.Process]:
        """Its workers, or their engines: processes that came from it with this word in their command line."""
        found = started_by(self.process.pid, word)
        if word == WORKER:
            found = [process for process in found if parent_of(process) not in (self.process.pid, None)]
        return found

    def fork_server(self) -> psutil.Process:
        """The process that its workers are forks of."""
        return next(one for one in started_by(self.process.pid, WORKER) if parent_of(one) == self.process.pid)

    @property
    def stderr(self) -> str:
        """Everything said so far."""
        return "".join(self.lines)


def records(out: Path) -> dict[str, Any]:
    """All finished cells' records, less what may differ between two runs of one cell, by key."""
    found = {}
    for path in sorted((out / "cells").iterdir()):
        cell = json.loads((path / "cell.json").read_text())
        assert cell["status"] == "done", cell["error"]
        for volatile in VOLATILE:
            del cell[volatile]
        steps = pq.read_table(path / "steps.parquet").drop(list(VOLATILE_COLUMNS)).to_pylist()
        found[path.name] = (cell, steps, pq.read_table(path / "examples.parquet").to_pylist())
    return found


def weights(out: Path) -> dict[str, str]:
    """Hashes of all files of all artifacts, their manifests excepted."""
    files = (path for path in (out / "artifacts").glob("[!.]*/*") if path.is_file() and path.name != "manifest.json")
    return {f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def nothing_half_written(out: Path) -> bool:
    """Whether every file left is one of the format's."""
    names = {path.name for path in (out / "cells").glob("*/*")} | {path.name for path in (out / "cells").glob("*/.*")}
    known = {"cell.json", "steps.parquet", "examples.parquet", "journal.jsonl", "error.txt"}
    return names <= known
