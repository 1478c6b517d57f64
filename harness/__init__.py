"""Robustness of language models, measured in compute. What plugins need is importable from here.

Names are loaded when they are first used, so that ``import harness`` costs nothing and torch is imported only by
`TorchBackend`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.attack import (
        Attack,
        Classify,
        Generate,
        Gradient,
        GradientAnswer,
        Perturb,
        PerturbAnswer,
        Sample,
        SampleAnswer,
        Score,
        Step,
    )
    from harness.auxiliary import Auxiliary
    from harness.defense import Defense, Resolve, RoundCost, RoundJob, TrainedDefense
    from harness.defense_requests import (
        ActivationGradient,
        Activations,
        DefenseRequest,
        Likelihood,
        LikelihoodGradient,
    )
    from harness.engine.backend import (
        Ability,
        Backend,
        Differentiated,
        Generated,
        GenerateItem,
        GradientItem,
        LatentAnswer,
        LatentItem,
        Perturbable,
        Perturbed,
        PerturbItem,
        Sampled,
        SampleItem,
        Scored,
        ScoreItem,
        WithoutText,
        prompt_ids,
    )
    from harness.engine.devices import resolve_device
    from harness.engine.heads import HeadName, make_head
    from harness.engine.limits import context_length
    from harness.engine.loading import load_model, open_folder
    from harness.engine.loss import cross_entropy
    from harness.engine.rehearse import rehearse
    from harness.engine.text.generation import ending_ids
    from harness.engine.torch_backend import TorchBackend
    from harness.errors import AccessError, DataError, HarnessError, PluginError, RunError, SpecError, VictimError
    from harness.flops import UNKNOWN, Flops, nominal_backward, nominal_forward
    from harness.hooks import hookimpl
    from harness.judge import Answer, Judge, Judging, Verdict
    from harness.latent import Latent
    from harness.params import Params, host_field
    from harness.problem import Problem
    from harness.records.read import Cell, Run, read_run
    from harness.refs import AttackRef, DefenseRef, JudgeRef, PluginRef, TaskRef, VictimRef
    from harness.rng import endless_permutation, named_rng, named_seed
    from harness.runtime_defense import (
        Case,
        Certificate,
        FitJob,
        GuardDefense,
        Place,
        Rewritten,
        Ruling,
        RuntimeDefense,
        Slope,
        TransformDefense,
        VoteDefense,
    )
    from harness.shape import MemoryFacts, ModelShape
    from harness.spec_path import SpecPath
    from harness.state import State
    from harness.task import NO_LABEL, Chunk, Edit, Example, Task, TaskData, TaskKind
    from harness.threat import Threat
    from harness.tokens.continuation import continuation_ids
    from harness.tokens.hf import HFTokenizer
    from harness.tokens.placement import allowed_tokens, place
    from harness.tokens.text import Floats, Tokenizer, Tokens
    from harness.training.config import TrainConfig
    from harness.training.loop import train
    from harness.training.retrain import retrain, save_model, saved_ending
    from harness.training.rows import TrainRow, clean_rows, render, reply_ids, reply_row, reply_rows, rows_hash
    from harness.training.views import ViewLoss, Views
    from harness.victim import PrepareJob, Progress, Victim, VictimCard

_HOMES = {
    "harness.attack": (
        "Attack",
        "Classify",
        "Generate",
        "Gradient",
        "GradientAnswer",
        "Perturb",
        "PerturbAnswer",
        "Sample",
        "SampleAnswer",
        "Score",
        "Step",
    ),
    "harness.auxiliary": ("Auxiliary",),
    "harness.defense": ("Defense", "Resolve", "RoundCost", "RoundJob", "TrainedDefense"),
    "harness.defense_requests": (
        "ActivationGradient",
        "Activations",
        "DefenseRequest",
        "Likelihood",
        "LikelihoodGradient",
    ),
    "harness.engine.backend": (
        "Ability",
        "Backend",
        "Differentiated",
        "GenerateItem",
        "Generated",
        "GradientItem",
        "LatentAnswer",
        "LatentItem",
        "PerturbItem",
        "Perturbable",
        "Perturbed",
        "SampleItem",
        "Sampled",
        "ScoreItem",
        "Scored",
        "WithoutText",
        "prompt_ids",
    ),
    "harness.engine.loss": ("cross_entropy",),
    "harness.engine.devices": ("resolve_device",),
    "harness.engine.heads": ("HeadName", "make_head"),
    "harness.engine.limits": ("context_length",),
    "harness.engine.loading": ("load_model", "open_folder"),
    "harness.engine.rehearse": ("rehearse",),
    "harness.engine.text.generation": ("ending_ids",),
    "harness.engine.torch_backend": ("TorchBackend",),
    "harness.errors": (
        "AccessError",
        "DataError",
        "HarnessError",
        "PluginError",
        "RunError",
        "SpecError",
        "VictimError",
    ),
    "harness.flops": ("UNKNOWN", "Flops", "nominal_backward", "nominal_forward"),
    "harness.hooks": ("hookimpl",),
    "harness.judge": ("Answer", "Judge", "Judging", "Verdict"),
    "harness.latent": ("Latent",),
    "harness.params": ("Params", "host_field"),
    "harness.problem": ("Problem",),
    "harness.records.read": ("Cell", "Run", "read_run"),
    "harness.refs": ("AttackRef", "DefenseRef", "JudgeRef", "PluginRef", "TaskRef", "VictimRef"),
    "harness.rng": ("endless_permutation", "named_rng", "named_seed"),
    "harness.runtime_defense": (
        "Case",
        "Certificate",
        "FitJob",
        "GuardDefense",
        "Place",
        "Rewritten",
        "Ruling",
        "RuntimeDefense",
        "Slope",
        "TransformDefense",
        "VoteDefense",
    ),
    "harness.shape": ("MemoryFacts", "ModelShape"),
    "harness.spec_path": ("SpecPath",),
    "harness.state": ("State",),
    "harness.task": ("NO_LABEL", "Chunk", "Edit", "Example", "Task", "TaskData", "TaskKind"),
    "harness.threat": ("Threat",),
    "harness.tokens.continuation": ("continuation_ids",),
    "harness.tokens.hf": ("HFTokenizer",),
    "harness.tokens.placement": ("allowed_tokens", "place"),
    "harness.tokens.text": ("Floats", "Tokenizer", "Tokens"),
    "harness.training.config": ("TrainConfig",),
    "harness.training.loop": ("train",),
    "harness.training.retrain": ("retrain", "save_model", "saved_ending"),
    "harness.training.rows": ("TrainRow", "clean_rows", "render", "reply_ids", "reply_row", "reply_rows", "rows_hash"),
    "harness.training.views": ("ViewLoss", "Views"),
    "harness.victim": ("PrepareJob", "Progress", "Victim", "VictimCard"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "NO_LABEL",
    "UNKNOWN",
    "Ability",
    "AccessError",
    "ActivationGradient",
    "Activations",
    "Answer",
    "Attack",
    "AttackRef",
    "Auxiliary",
    "Backend",
    "Case",
    "Cell",
    "Certificate",
    "Chunk",
    "Classify",
    "DataError",
    "Defense",
    "DefenseRef",
    "DefenseRequest",
    "Differentiated",
    "Edit",
    "Example",
    "FitJob",
    "Floats",
    "Flops",
    "Generate",
    "GenerateItem",
    "Generated",
    "Gradient",
    "GradientAnswer",
    "GradientItem",
    "GuardDefense",
    "HFTokenizer",
    "HarnessError",
    "HeadName",
    "Judge",
    "JudgeRef",
    "Judging",
    "Latent",
    "LatentAnswer",
    "LatentItem",
    "Likelihood",
    "LikelihoodGradient",
    "MemoryFacts",
    "ModelShape",
    "Params",
    "Perturb",
    "PerturbAnswer",
    "PerturbItem",
    "Perturbable",
    "Perturbed",
    "Place",
    "PluginError",
    "PluginRef",
    "PrepareJob",
    "Problem",
    "Progress",
    "Resolve",
    "Rewritten",
    "RoundCost",
    "RoundJob",
    "Ruling",
    "Run",
    "RunError",
    "RuntimeDefense",
    "Sample",
    "SampleAnswer",
    "SampleItem",
    "Sampled",
    "Score",
    "ScoreItem",
    "Scored",
    "Slope",
    "SpecError",
    "SpecPath",
    "State",
    "Step",
    "Task",
    "TaskData",
    "TaskKind",
    "TaskRef",
    "Threat",
    "Tokenizer",
    "Tokens",
    "TorchBackend",
    "TrainConfig",
    "TrainRow",
    "TrainedDefense",
    "TransformDefense",
    "Verdict",
    "Victim",
    "VictimCard",
    "VictimError",
    "VictimRef",
    "ViewLoss",
    "Views",
    "VoteDefense",
    "WithoutText",
    "__version__",
    "allowed_tokens",
    "clean_rows",
    "context_length",
    "continuation_ids",
    "cross_entropy",
    "ending_ids",
    "endless_permutation",
    "hookimpl",
    "host_field",
    "load_model",
    "make_head",
    "named_rng",
    "named_seed",
    "nominal_backward",
    "nominal_forward",
    "open_folder",
    "place",
    "prompt_ids",
    "read_run",
    "rehearse",
    "render",
    "reply_ids",
    "reply_row",
    "reply_rows",
    "resolve_device",
    "retrain",
    "rows_hash",
    "save_model",
    "saved_ending",
    "train",
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
