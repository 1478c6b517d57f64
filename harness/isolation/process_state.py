"""Settings of the whole process that plugin code may change: the change is noticed and put back."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One setting that all code of a process shares.

    Attributes:
        name: as it stands after "it changed".
        read: its value, as something that can be compared.
        put: sets it to such a value.
    """

    name: str
    read: Callable[[], Any]
    put: Callable[[Any], Any]


class SavedSettings:
    """Values of settings as they are now. Modules that are imported later are not looked at."""

    def __init__(self, settings: list[Setting]) -> None:
        self._before = [(setting, setting.read()) for setting in settings]

    def put_back(self) -> list[str]:
        """Put back what is not as it was; the names of it."""
        changed = []
        for setting, value in self._before:
            if setting.read() != value:
                setting.put(value)
                changed.append(setting.name)
        return changed


@contextmanager
def restored_after(settings: list[Setting], report: Callable[[str], None]) -> Iterator[None]:
    """At the end of the block put settings back, and call ``report`` with the name of each that had been changed."""
    before = SavedSettings(settings)
    try:
        yield
    finally:
        for name in before.put_back():
            report(name)


def torch_settings() -> list[Setting]:
    """torch's settings that change the numbers which other code computes; none where torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "set_default_dtype"):  # not imported, or not all of it
        return []
    return [
        Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting(
            "torch's default device",
            torch.get_default_device,
            lambda device: torch.set_default_device(None if device.type == "cpu" else device),
        ),
        Setting("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        Setting(
            "torch's precision of matrix products",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        Setting("torch's deterministic mode", torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    ]


def random_generators() -> list[Setting]:
    """The shared random generators of `random` and, where they are loaded, numpy and torch."""
    found = [Setting("the random state", random.getstate, random.setstate)]
    if numpy := sys.modules.get("numpy.random"):
        found.append(Setting("numpy's random state", lambda: _numpy_state(numpy), lambda state: _seed(numpy, state)))
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_rng_state"):
        found.append(
            Setting(
                "torch's random state",
                lambda: bytes(torch.get_rng_state().numpy()),
                lambda state: torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8)),
            )
        )
    return found


def interpreter_settings() -> list[Setting]:
    """The working directory, the recursion limit and what Ctrl-C does."""
    found = [
        Setting("the working directory", _folder, os.chdir),
        Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    ]
    if threading.current_thread() is threading.main_thread():
        found.append(
            Setting(
                "what Ctrl-C does",
                lambda: signal.getsignal(signal.SIGINT),
                lambda handler: signal.signal(signal.SIGINT, handler),
            )
        )
    return found


def _folder() -> str:
    try:
        return str(os.getcwd())  # noqa: PTH109 - Path.cwd() would resolve what it is given back
    except OSError:
        return os.sep


def _numpy_state(module: Any) -> tuple[Any, ...]:
    name, keys, *rest = module.get_state()
    return (name, keys.tobytes(), *rest)


def _seed(module: Any, state: tuple[Any, ...]) -> None:
    import numpy as np

    name, keys, *rest = state
    module.set_state((name, np.frombuffer(keys, dtype=np.uint32), *rest))


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """While this lasts, the generators of `random` and numpy begin at a seed; then they are as before."""
    import numpy as np

    before, numpys = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpys)


@contextmanager
def collection_paused() -> Iterator[None]:
    """While this lasts, no garbage is looked for: where modules are imported nearly everything stays, and looking again
    and again takes an eighth of the time.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
