"""What runs in the engine's process: hosts one vLLM engine and answers plain-data requests over a socket.

Started as ``python -m harness.engine.vllm.child SOCKET WATCH MAIN`` (two file descriptors; whether the parent's main
thread started it). Requests are ``(number, name of the call, values)`` and answers ``(number, "ok", data)`` or
``(number, "invalid" | "failed", message)``; after "failed" the engine is not to be trusted and the process ends. It
also ends, with every process of its group, when the other end of WATCH is closed: that is, when its parent is gone,
however that came about.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from harness.engine.vllm.engine_calls import EngineCalls, InvalidCallError

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve until the parent is gone."""
    socket, watch, from_main_thread = (int(argument) for argument in sys.argv[1:4])
    threading.Thread(target=_die_with_parent, args=(watch,), daemon=True).start()
    if from_main_thread and sys.platform == "linux":
        # Should a fork of the parent keep WATCH open. The signal is sent when the *thread* that started us ends.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    serve(Connection(socket))
    _end(0)


def serve(pipe: Connection) -> None:
    """Answer requests until the other end hangs up or the engine fails."""
    calls = EngineCalls()
    while True:
        try:
            number, name, values = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[int, str, Any] = (number, "ok", getattr(calls, name)(**values))
        except InvalidCallError as error:
            answer = (number, "invalid", str(error))
        except BaseException as error:
            traceback.print_exc()
            sys.stderr.flush()
            answer = (number, "failed", f"{type(error).__name__}: {error}")
        with contextlib.suppress(OSError):  # nobody listens any more: the next recv says so
            pipe.send(answer)
        if answer[1] == "failed":
            return


def _die_with_parent(watch: int) -> None:
    with contextlib.suppress(OSError):
        os.read(watch, 1)  # returns when the last writing end is closed
    _end(1)


def _end(code: int) -> None:
    """End at once, without the interpreter's farewell (vLLM's own has been seen to abort), and leave nobody behind."""
    if os.getpgrp() == os.getpid():  # a session of our own: nobody else's processes are in the group
        with contextlib.suppress(OSError):
            os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(code)


if __name__ == "__main__":
    main()
