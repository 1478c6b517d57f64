"""Optimisers and the course of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from harness.api.training import TrainConfig


def make_optimizer(parameters: Iterable[torch.nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of ``config``.

    Adafactor is transformers' with a given learning rate (no relative step, no parameter scale), as
    `transformers.Trainer` and the study use it. `torch.optim.Adafactor` multiplies the rate by each weight's root
    mean square, so 1e-5 would hardly move a model.
    """
    if config.optimizer == "adafactor":
        from transformers.optimization import Adafactor  # brings peft along where that is installed: seconds

        return Adafactor(  # type: ignore[no-any-return]
            parameters,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            scale_parameter=False,
            relative_step=False,
        )
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)


def learning_rate_at(step: int, total: int, config: TrainConfig) -> float:
    """Learning rate of update ``step`` (from 0) of ``total``; decays would reach 0 at ``total``. A function of the step
    alone, so that a training that was stopped goes on without a scheduler's state.
    """
    warmup = min(config.warmup_steps, total - 1)
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, total - warmup)
    factor = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}
    return config.learning_rate * factor[config.schedule]
