"""`rich` and typer's help without the parts of them that we never use, which take as long to import as all the rest."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_UNUSED = ("attr", "rich.markdown", "rich.traceback")


@contextmanager
def light_rich() -> Iterator[None]:
    """While this lasts, whatever imports a class or function of these modules gets one that imports it when it is first
    called. Afterwards the modules are imported as ever.
    """
    names = [name for name in _UNUSED if name not in sys.modules and find_spec(name)]
    sys.modules |= {name: _Later(name) for name in names}
    try:
        yield
    finally:
        for name in names:
            if isinstance(sys.modules.get(name), _Later):
                del sys.modules[name]


class _Later(ModuleType):
    """Stands for a module."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Called(name, (), {"module": self.__name__})


class _Called(type):
    """Stands for a class or function; a class itself, so that it can stand in annotations."""

    module: str

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(cls.module), cls.__name__)(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        return getattr(getattr(import_module(cls.module), cls.__name__), name)
