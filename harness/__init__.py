"""Robustness of language models, measured in compute. What plugins need is importable from here.

The names and their homes stand in ``__init__.pyi``. Each is loaded when it is first used, so that ``import harness``
costs nothing and torch is imported only by `TorchBackend`.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

_attribute, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*_names, "__version__"])


def __getattr__(name: str) -> Any:
    return _version() if name == "__version__" else _attribute(name)


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("robustness-harness")
    except metadata.PackageNotFoundError:
        return "0+unknown"  # run from a folder that was never installed
