"""Proposes the next candidate from what came of those before: Optuna's TPE.

Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization". The study is made again from the trials each time,
with random numbers of its own for each: a search that was stopped goes on as if it had never been.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import RunError
from harness.rng import named_seed
from harness.run.tuning.dimension import Choices, Dimension
from harness.run.tuning.trial import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

RANDOM_TRIALS = 8
"""Candidates drawn at random before the sampler learns from them."""
INSTALL = "pip install 'robustness-harness[tune]'"


def require_optuna() -> None:
    """Raise RunError where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise RunError(f"`harness tune` searches with Optuna, which is not installed here: {INSTALL}")


def propose(space: Sequence[Dimension], trials: Sequence[Trial], seed: int) -> dict[str, Any]:
    """The values to try next.

    Args:
        trials: all before.
        seed: with the number of the trial, what the draw depends on.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawn_from = {dimension.name: _distribution(dimension) for dimension in space}
    sampler_seed = named_seed("tuning", seed, len(trials)) % 2**32
    sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=sampler_seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in trials:
        study.add_trial(_frozen(trial, space, drawn_from))
    drawn = study.ask(drawn_from).params
    return {dimension.name: _value(dimension, drawn[dimension.name]) for dimension in space}


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna import distributions

    if isinstance(dimension, Choices):  # by place: what a spec writes may be no value of Optuna's
        return distributions.CategoricalDistribution(range(len(dimension.values)))
    if dimension.integer:
        return distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _value(dimension: Dimension, drawn: Any) -> Any:
    return dimension.values[drawn] if isinstance(dimension, Choices) else dimension.rounded(drawn)


def _frozen(trial: Trial, space: Sequence[Dimension], drawn_from: dict[str, BaseDistribution]) -> FrozenTrial:
    """A trial as Optuna has it."""
    import optuna

    params = {dimension.name: _drawn(dimension, trial.values[dimension.name]) for dimension in space}
    complete = trial.state == "complete" and trial.whole is not None
    return optuna.create_trial(
        state=optuna.trial.TrialState.COMPLETE if complete else optuna.trial.TrialState.PRUNED,
        value=trial.whole.value if complete and trial.whole is not None else None,
        params=params,
        distributions=drawn_from,
        intermediate_values={} if trial.half is None else {1: trial.half.value},
    )


def _drawn(dimension: Dimension, value: Any) -> Any:
    return dimension.values.index(value) if isinstance(dimension, Choices) else value
