"""A process in another environment that is asked one thing at a time: a line of JSON in, a line of JSON out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.environments import ROOT


class Worker:
    """Use as a context. What the process prints goes to a log."""

    def __init__(
        self, python: Path, module: str, threads: int, log: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        """Start ``python -m module`` with so many threads, and with variables of its own."""
        count = str(threads)
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
        quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "true"}
        self._log, self._module = log, module
        self._errors = log.open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [str(python), "-m", module],
            cwd=ROOT,
            env={**os.environ, **dict.fromkeys(names, count), **quiet, **(settings or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def ask(self, do: str, **given: Any) -> Any:
        """Have something done.

        Raises:
            RuntimeError: it failed; says how, and where the log is.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            end = self._log.read_text(encoding="utf-8").strip().splitlines()[-5:]
            raise RuntimeError(f"{self._module} ended while doing {do!r}:\n" + "\n".join(end))
        answer = json.loads(line)
        if "failed" in answer:
            raise RuntimeError(f"{self._module} failed at {do!r}: {answer['failed']}")
        return answer["answer"]


def serve(tasks: Mapping[str, Callable[..., Any]]) -> None:
    """Answer until standard input ends. Whatever libraries print is kept out of the answers."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": tasks[request.pop("do")](**request)}
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
