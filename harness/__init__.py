"""Robustness of language models, measured in compute. What plugins need is importable from here.

Names are loaded when they are first used, so that ``import harness`` costs nothing and torch is imported only by
`TorchBackend`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.attack import Attack, Gradient, GradientAnswer, Score, State
    from harness.defense import Defense, FitJob, GuardDefense, RoundCost, RoundJob, TrainedDefense, TransformDefense
    from harness.engine.backend import Backend
    from harness.engine.torch_backend import TorchBackend
    from harness.errors import AccessError, DataError, HarnessError, PluginError, RunError, SpecError, VictimError
    from harness.flops import Flops
    from harness.hooks import hookimpl
    from harness.judge import Answer, Judge
    from harness.params import Params, host_field
    from harness.problem import Problem
    from harness.refs import AttackRef, DefenseRef, JudgeRef, PluginRef, TaskRef, VictimRef
    from harness.task import Chunk, Edit, Example, Task, TaskData
    from harness.threat import Threat
    from harness.tokens.text import Tokenizer
    from harness.victim import PrepareJob, Victim, VictimCard

_HOMES = {
    "harness.hooks": ("hookimpl",),
    "harness.params": (
        "Params",
        "host_field",
    ),
    "harness.refs": (
        "PluginRef",
        "TaskRef",
        "VictimRef",
        "AttackRef",
        "DefenseRef",
        "JudgeRef",
    ),
    "harness.task": (
        "Task",
        "TaskData",
        "Example",
        "Chunk",
        "Edit",
    ),
    "harness.victim": (
        "Victim",
        "VictimCard",
        "PrepareJob",
    ),
    "harness.attack": (
        "Attack",
        "State",
        "Score",
        "Gradient",
        "GradientAnswer",
    ),
    "harness.problem": ("Problem",),
    "harness.threat": ("Threat",),
    "harness.defense": (
        "Defense",
        "TrainedDefense",
        "GuardDefense",
        "TransformDefense",
        "RoundJob",
        "RoundCost",
        "FitJob",
    ),
    "harness.judge": (
        "Judge",
        "Answer",
    ),
    "harness.flops": ("Flops",),
    "harness.engine.backend": ("Backend",),
    "harness.engine.torch_backend": ("TorchBackend",),
    "harness.tokens.text": ("Tokenizer",),
    "harness.errors": (
        "HarnessError",
        "SpecError",
        "PluginError",
        "DataError",
        "VictimError",
        "RunError",
        "AccessError",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AccessError",
    "Answer",
    "Attack",
    "AttackRef",
    "Backend",
    "Chunk",
    "DataError",
    "Defense",
    "DefenseRef",
    "Edit",
    "Example",
    "FitJob",
    "Flops",
    "Gradient",
    "GradientAnswer",
    "GuardDefense",
    "HarnessError",
    "Judge",
    "JudgeRef",
    "Params",
    "PluginError",
    "PluginRef",
    "PrepareJob",
    "Problem",
    "RoundCost",
    "RoundJob",
    "RunError",
    "Score",
    "SpecError",
    "State",
    "Task",
    "TaskData",
    "TaskRef",
    "Threat",
    "Tokenizer",
    "TorchBackend",
    "TrainedDefense",
    "TransformDefense",
    "Victim",
    "VictimCard",
    "VictimError",
    "VictimRef",
    "__version__",
    "hookimpl",
    "host_field",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
    else:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    globals()[name] = value  # the next use does not come here again
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("robustness-harness")
    except metadata.PackageNotFoundError:
        return "0+unknown"  # run from a folder that was never installed
