"""Runs that are killed at random moments, again and again, and what is lost by it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.engine.vllm.engines import why_unusable
from tests.crash.kills import ALL, DRIVER, ENGINE, TARGETS, Usual, kill, kill_engine
from tests.crash.watched import ENGINE_DOINGS, Watched
from tests.run.runs import Started, harness, records
from tests.run.same import difference

SPEC = """
name: campaign
version: "1"
tasks: [{word_length: {train_size: 300, validation_size: 60, max_letters: 6}}]
victims: [{tiny: {size: 7k, steps: 20, backend: BACKEND}}]
defenses:
  - none
  - adversarial_training:
      rounds: 1
      attacked_per_round: 8
      examples_per_round: 32
      strength: {start: 2, end: 2, rounds: 1}
      attack: {gcg: {candidates: 8, topk: 8}}
attacks: [{watched_random_token: {steps: STEPS, draws: 48}}, {watched_gcg: {steps: STEPS, candidates: 32, topk: 32}}]
threats: [{tokens: 5}]
seeds: [0, 1]
examples: 12
clean_examples: 40
"""
STEPS = 40  # with torch, attacks are about half of a run's time then
STEPS_VLLM = 10  # each takes longer
PLUGIN = f"--plugin={Path(__file__).parent / 'watch.py'}"
TRIES = 4  # a random moment may come after the end


@dataclass(frozen=True)
class Result:
    """One run that was killed.

    Attributes:
        doing, engine: what the run, and the engine that was killed, were doing.
        again: the most rounds of steps that were done again in any cell.
        left: files that an undisturbed run does not leave.
        wrong: what was lost or changed; "" where nothing was.
    """

    number: int
    target: str
    jobs: int
    doing: str
    engine: str
    again: int
    left: list[str]
    wrong: str


class Undisturbed:
    """A run that nobody kills, to compare with."""

    def __init__(self, folder: Path, backend: str, steps: int) -> None:
        self.name = backend
        (folder / f"{backend}.yaml").write_text(SPEC.replace("BACKEND", backend).replace("STEPS", str(steps)))
        run, watched = begin(folder, backend, backend, 1)
        assert run.end() == 0, run.stderr
        ended = time.monotonic()
        watched.look()
        assert watched.begun, "the attacks are watched"
        assert watched.again() == 0
        self.seen = Usual(watched, run.began, ended)
        self.records, self.files = records(folder / backend), files(folder / backend)

    def compare(self, out: Path) -> str:
        """The first thing that is lost or changed in another run, "" where there is none."""
        try:
            found = records(out), files(out)
        except (AssertionError, OSError, KeyError) as error:
            return f"a record is missing: {error!r}"
        known = {name: found[1].get(name) for name in self.files}  # what is there besides is left behind, not lost
        if self.name == "vllm":
            return difference((found[0], known), (self.records, self.files))
        return "" if (found[0], known) == (self.records, self.files) else "a record or a model is another"


@dataclass
class Campaign:
    """A folder for each run, which goes when nothing is wrong with it, and what was found.

    Attributes:
        steps: of each attack that torch answers.
        targets: whom to kill, in turn; everybody who can be, where none is given.
        left_out: why there are no runs of vLLM's process, or "".
    """

    folder: Path
    seed: int = 0
    steps: int = STEPS
    targets: tuple[str, ...] = ()
    results: list[Result] = field(default_factory=list)
    left_out: str = ""

    def __post_init__(self) -> None:
        if not self.targets:
            self.left_out = why_unusable()
            self.targets = TARGETS[:-1] if self.left_out else TARGETS

    @cached_property
    def torch(self) -> Undisturbed:
        return Undisturbed(self.folder, "torch", self.steps)

    @cached_property
    def vllm(self) -> Undisturbed:
        return Undisturbed(self.folder, "vllm", STEPS_VLLM)

    def one(self, number: int) -> Result:
        """A run that is killed once at a random moment, and then goes on to its end."""
        rng = random.Random(f"{self.seed} {number}")
        turn, place = divmod(number, len(self.targets))
        target = self.targets[place]
        usual = self.vllm if target == ENGINE else self.torch
        aims = len(ENGINE_DOINGS)
        aim, jobs = ENGINE_DOINGS[turn % aims], 1 + (turn + turn // aims + place) % 2  # each with either, in turn
        for _ in range(TRIES):
            name = f"run-{number}"
            run, watched = begin(self.folder, usual.name, name, jobs)
            engine = ""
            if target == ENGINE:
                doing, engine = kill_engine(run, aim, watched, rng, usual.seen, jobs)
            else:
                usual.seen.wait(run, watched, rng, usual.seen.began, jobs)
                doing = kill(run, target, watched, rng)
            code = run.end()
            if target in (ALL, DRIVER) and code >= 0:
                doing = ""  # it had just ended
            wrong = self._end(run, code, usual, name, jobs, goes_on=not doing or target not in (ALL, DRIVER))
            watched.look()
            left = [] if wrong else sorted(set(files(self.folder / name)) - set(usual.files))
            if doing or wrong:
                break
            shutil.rmtree(self.folder / name)
        result = Result(number, target, jobs, doing, engine, watched.again(), left, wrong)
        self.results.append(result)
        if wrong or left or result.again > 1:
            (self.folder / f"{name}.txt").write_text(f"{result}\n\n{run.stderr}")
        else:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        return result

    def _end(self, run: Started, code: int, usual: Undisturbed, name: str, jobs: int, goes_on: bool) -> str:
        """Start again where it does not go on by itself; what is wrong with either start or what is left at the end."""
        if goes_on and code != 0:
            return f"it did not go on by itself: exit status {code}"
        said = run.stderr
        if not goes_on:
            words, where = arguments(self.folder, usual.name, name, jobs)
            last = harness(*words, "--quiet", **where)
            said += last.stderr
            if last.returncode != 0:
                return f"exit status {last.returncode}: {last.stderr}"
        return "a traceback was shown" if "Traceback" in said else usual.compare(self.folder / name)


def arguments(folder: Path, backend: str, name: str, jobs: int) -> tuple[tuple[object, ...], dict[str, Any]]:
    """Of the command that does a run, and how it is started."""
    where = {"cwd": folder, "env": {"WATCHED": str(folder / f"{name}.watched")}}
    return ("run", f"{backend}.yaml", "--out", name, "-j", jobs, PLUGIN), where


def begin(folder: Path, backend: str, name: str, jobs: int) -> tuple[Started, Watched]:
    """Start a run, and watch it."""
    words, where = arguments(folder, backend, name, jobs)
    told = folder / f"{name}.watched"
    told.unlink(missing_ok=True)
    return Started(*words, **where), Watched(told)


def files(out: Path) -> dict[str, Any]:
    """Every file that a run has left but its logs and locks (and every artifact half made), with the data of JSON and
    the hash of models; manifests, and cells, which are compared as records, are listed alone.
    """
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() and path.parent.name == ".partial":
            found[name] = None
        if not path.is_file() or name.startswith(("logs/", ".lock", "artifacts/.locks/")):
            continue
        if name.startswith("cells/") or path.name in ("run.json", "manifest.json"):
            found[name] = None
        elif path.suffix == ".json":
            found[name] = json.loads(path.read_bytes())
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
