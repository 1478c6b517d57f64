"""Our own entry points, imported from the folder of the `harness` package and from nowhere else.

The built-ins have plain names, and so may a folder of the user's: in the working directory under ``python -m harness``,
or on PYTHONPATH. Python would then import whichever comes first. Ours are therefore found in the folder that holds
`harness`, without looking at ``sys.path``, and put into ``sys.modules``. A foreign module that is there already under
the same name is replaced, with its submodules: whoever imported it keeps it, but an ``import`` of that name from now on
in this process gives ours. The built-ins cannot break that way, and the user is warned.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import harness
from harness.errors import PluginError

DISTRIBUTION = "robustness-harness"


def harness_parent() -> Path:
    """The folder that holds the `harness` package: site-packages, or a checkout."""
    return Path(harness.__path__[0]).resolve().parent


def import_builtin(name: str) -> tuple[ModuleType, str | None]:
    """Import an entry point's module of our own distribution.

    The second value says which foreign module had to make room for it, if one had.

    Raises:
        PluginError: there is no such module next to `harness`.
    """
    top = name.split(".", 1)[0]
    replaced = None
    present = sys.modules.get(top)
    spec = _find(top)
    if present is None or not _is_from(present, spec):
        if present is not None:
            replaced = str(
                getattr(present, "__file__", None) or next(iter(getattr(present, "__path__", [])), "unknown place")
            )
            for loaded in [key for key in sys.modules if key == top or key.startswith(top + ".")]:
                del sys.modules[loaded]
        _load(top, spec)
    return importlib.import_module(name), replaced


def _find(top: str) -> ModuleSpec:
    spec = PathFinder.find_spec(top, [str(harness_parent())])
    if spec is None or spec.origin is None or spec.loader is None:
        raise PluginError(f"{DISTRIBUTION} should have '{top}' in {harness_parent()}, but does not; install it again")
    return spec


def _is_from(module: ModuleType, spec: ModuleSpec) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and spec.origin is not None and Path(file).resolve() == Path(spec.origin).resolve()


def _load(top: str, spec: ModuleSpec) -> None:
    module = module_from_spec(spec)
    sys.modules[top] = module  # before execution, so that an import of itself finds this one
    try:
        assert spec.loader is not None
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(top, None)
        raise
