"""Runs that are killed at random moments, again and again, and what is lost by it."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.run.runs import Started, harness, records, weights

SPEC = """
name: campaign
version: "1"
tasks: [{word_length: {train_size: 300, validation_size: 60, max_letters: 6}}]
victims: [{tiny: {size: 7k, steps: 20}}]
defenses:
  - none
  - adversarial_training:
      rounds: 1
      attacked_per_round: 8
      examples_per_round: 32
      strength: {start: 2, end: 2, rounds: 1}
      attack: {gcg: {candidates: 8, topk: 8}}
attacks: [{random_token: {steps: 8, draws: 32}}, {gcg: {steps: 8, candidates: 32, topk: 32}}]
threats: [{tokens: 5}]
examples: 16
clean_examples: 40
"""
TARGETS = ("all processes", "the driver", "a worker")
TORN = ("cells/*/.*", "cells/*/journal.jsonl", "artifacts/.partial/*")


@dataclass
class Campaign:
    """One folder for each run, and what was found.

    Attributes:
        undisturbed: records and hashes of weights of a run that nobody killed.
        kills: by (what was killed, what it was doing).
        runs: that were killed; not those that had ended before, or had no worker yet.
        lost: cells whose record is missing or another after the last start.
    """

    folder: Path
    seed: int = 0
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    torn: int = 0
    undisturbed: tuple[Any, Any] = ()  # type: ignore[assignment]
    seconds: float = 0.0

    def begin(self) -> None:
        """Do the run that nobody kills."""
        (self.folder / "spec.yaml").write_text(SPEC)
        run = Started("run", "spec.yaml", "--out", "undisturbed", cwd=self.folder)
        assert run.wait_for("done already")
        began = time.monotonic()
        assert run.end() == 0, run.stderr
        self.seconds = time.monotonic() - began
        self.undisturbed = records(self.folder / "undisturbed"), weights(self.folder / "undisturbed")

    def one(self, number: int) -> None:
        """A run that is killed once at a random moment, and then goes on to its end."""
        rng = random.Random(f"{self.seed} {number}")
        target = TARGETS[number % len(TARGETS)]
        out = self.folder / f"run-{number}"
        run = Started("run", "spec.yaml", "--out", out, "-j", "1", cwd=self.folder)
        if rng.random() < 0.9:
            run.wait_for("done already")
        time.sleep(rng.uniform(0, self.seconds))
        doing = stage(run)
        killed = kill(run, target)
        code = run.end()
        wrong = killed and target == "a worker" and code != 0  # that run goes on by itself
        again = harness("run", "spec.yaml", "--out", out, "-j", "1", "--quiet", cwd=self.folder)
        wrong |= "Traceback" in run.stderr or again.returncode != 0
        if killed:
            self.runs[target] += 1
            self.kills[target, doing] += 1
            self.lost[target] += wrong or (records(out), weights(out)) != self.undisturbed
        self.torn += sum(len(list(out.glob(pattern))) for pattern in TORN)


def stage(run: Started) -> str:
    """What a run was doing, from the last line that it said."""
    last = run.lines[-1] if run.lines else ""
    for words, doing in (("prepare", "training"), ("adversarial", "training"), ("attack", "attacking")):
        if last.startswith(words):
            return doing
    return "starting, loading or writing"


def kill(run: Started, target: str) -> bool:
    """With a signal that nobody can catch; whether there was anybody to be killed."""
    if run.process.poll() is not None:
        return False
    if target == "all processes":
        run.kill()
        return True
    try:
        driver = psutil.Process(run.process.pid)
        if target == "the driver":
            driver.kill()
            return True
        workers = [child for child in driver.children() if "spawn_main" in " ".join(child.cmdline())]
        for worker in workers:
            worker.kill()
        return bool(workers)
    except psutil.NoSuchProcess:
        return False  # it had just ended
