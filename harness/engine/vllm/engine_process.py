"""The engine's process as its parent sees it: started, asked, ended. It never outlives its parent.

A `subprocess` with a socket rather than `multiprocessing`: it runs in a session of its own, whose processes can be
ended together, and does not import the parent's main module.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from multiprocessing.connection import Connection
from typing import Any

from harness.errors import VictimError

START_LIMIT = 900.0  # seconds; large weights from a slow disk take minutes
_LOG_LINES = 6  # that an error shows

_ENVIRONMENT = {
    # One process and no grandchildren; it also starts several times faster.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # Threads are ours to choose: bound ones would share a core with those of a second run's engine.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # The context and one token, which is asked for and never put in.
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",  # what is loaded is a local folder
    "TOKENIZERS_PARALLELISM": "false",
}


class EngineGoneError(Exception):
    """The process ended, or said that its engine failed; the message says how, with the end of its log."""


class EngineKilledError(EngineGoneError):
    """A signal ended it, which says nothing of the engine itself: another may fare better."""


class EngineProcess:
    """One running engine.

    Attributes:
        facts: what `EngineCalls.start` answered.
        pid: of the process, which leads a group of its own.
        start_seconds: how long the start took.
    """

    def __init__(self, options: dict[str, Any], device: str, threads: int) -> None:
        """Start the process and its engine.

        Args:
            options: arguments of `vllm.LLM`.
            device: ``cpu`` or ``cuda:N``; it sees no other.
            threads: of its matrix products on a CPU.

        Raises:
            VictimError: the engine cannot be made; the message shows the end of its log.
            EngineKilledError: it was killed before it was ready.
        """
        began = time.monotonic()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process, and leaves nothing behind
        ours, theirs = socket.socketpair()
        watched, self._alive = os.pipe()
        os.set_inheritable(self._alive, False)
        from_main_thread = threading.current_thread() is threading.main_thread()
        arguments = [theirs.fileno(), watched, int(from_main_thread)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.engine.vllm.child", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(theirs.fileno(), watched),
                env=os.environ | _ENVIRONMENT | _visible_devices(device) | {"OMP_NUM_THREADS": str(threads)},
                start_new_session=True,
            )
        finally:
            theirs.close()
            os.close(watched)
        self._pipe = Connection(ours.detach())
        self._numbers = itertools.count()  # of requests
        self.pid = self._process.pid
        _RUNNING.add(self)
        try:
            self.facts: dict[str, Any] = self._call("start", {"options": options}, began + START_LIMIT)
        except EngineKilledError:
            raise
        except EngineGoneError as error:
            self._stop()
            raise VictimError(f"the vLLM engine could not be started: {error}") from None
        except BaseException:
            self.end()
            raise
        self.start_seconds = time.monotonic() - began

    def call(self, name: str, **values: Any) -> Any:
        """Call the method of `EngineCalls` of this name there; what it returns.

        Raises:
            VictimError: the request cannot be answered; the engine is as it was.
            EngineGoneError: the engine is not to be used any more.
        """
        return self._call(name, values)

    def _call(self, name: str, values: dict[str, Any], deadline: float | None = None) -> Any:
        """See `call`; an engine that has not answered by the deadline (of `time.monotonic`) is ended."""
        number = next(self._numbers)
        try:
            self._pipe.send((number, name, values))
            while True:
                while not self._pipe.poll(1.0):
                    if self._process.poll() is not None and not self._pipe.poll(0):
                        raise EOFError
                    if deadline is not None and time.monotonic() > deadline:
                        self._stop()
                        raise EngineGoneError(f"no answer in {START_LIMIT:g} s{self._log_end()}")
                answered, status, data = self._pipe.recv()
                if answered == number:  # else the answer to a request that was interrupted
                    break
        except (EOFError, OSError):
            self._stop()
            code = self._process.returncode
            error_class = EngineKilledError if code is not None and code < 0 else EngineGoneError
            raise error_class(f"it {_exit_text(code)}{self._log_end()}") from None
        if status == "invalid":
            raise VictimError(f"vLLM cannot answer: {data}")
        if status == "failed":
            self._stop()
            raise EngineGoneError(f"{data}{self._log_end()}")
        return data

    def end(self) -> None:
        """End the process and all of its group."""
        self._stop()
        self._log.close()

    def _stop(self) -> None:
        """Kill the group; may be called twice."""
        _RUNNING.discard(self)
        if self._process.returncode is None:  # not yet reaped, so the number is still its own
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._pipe.close()
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1

    def _log_end(self) -> str:
        """The end of what it printed, and where the whole of it is kept from now on."""
        with contextlib.suppress(OSError):
            self._log.seek(0)
            text = self._log.read().decode("utf-8", "replace")
            if text.strip():
                with tempfile.NamedTemporaryFile("w", prefix="harness-vllm-", suffix=".log", delete=False) as kept:
                    kept.write(text)
                return f"\nlast lines of its log {kept.name}:\n" + "\n".join(text.splitlines()[-_LOG_LINES:])
        return ""


_RUNNING: weakref.WeakSet[EngineProcess] = weakref.WeakSet()
_OWNER = os.getpid()


@atexit.register
def _end_all() -> None:
    if os.getpid() == _OWNER:  # a fork must not end its parent's engines
        for process in list(_RUNNING):
            process.end()


def _visible_devices(device: str) -> dict[str, str]:
    """Environment that makes an engine, which takes the first device that it sees, take this one."""
    if not device.startswith("cuda"):
        return {"CUDA_VISIBLE_DEVICES": ""}
    shown = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    number = int(device.partition(":")[2] or 0)
    return {"CUDA_VISIBLE_DEVICES": shown[number] if number < len(shown) else str(number)}


def _exit_text(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name} (if memory ran out, use a smaller model or fewer --jobs)"
    return f"ended with exit status {code}"
