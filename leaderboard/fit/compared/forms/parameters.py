"""Parameters of one form, with intervals over examples or over seeds and examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtri

from leaderboard.arrays import Booleans, Floats
from leaderboard.fit.compared.forms.curves import Form, Scale, asymptote_of
from leaderboard.fit.compared.forms.seed_rows import SeedRows, levels_of, log_chances
from leaderboard.fit.seed_spread import MAX_LEVEL_SD, MAX_SLOPE_SD, half_interval_squared
from leaderboard.table_numbers import plain_number

_POINTS = 71  # of each axis
_NEAR = 6.0  # log-likelihood below the best that the closer grid holds
_NEARER = 3.0  # the same, of one seed: nothing beyond is in its interval
_SPREADS = np.array([0.05, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25, 1.6])  # of the seeds' levels, natural log-odds
_Z = 1.959964
_SYMBOLS = {"alpha": "α", "beta": "β", "tau": "τ"}


@dataclass(frozen=True)
class Parameter:
    """An estimate with its 95% interval; None where the data set no end, or no value short of one."""

    name: str
    value: float | None
    low: float | None
    high: float | None


def parameter_text(parameter: Parameter) -> str:
    """``τ 0.00034 (0.00025 … 0.00053)``; what the data do not tell is open."""
    low, high = ("?" if end is None else plain_number(end) for end in (parameter.low, parameter.high))
    value = "not told" if parameter.value is None else plain_number(parameter.value)
    return f"{_SYMBOLS.get(parameter.name, parameter.name)} {value} ({low} … {high})"


@dataclass(frozen=True)
class _Grid:
    """Levels [K], shapes [G], and each seed's log-likelihood [K, G] there."""

    levels: Floats
    shapes: Floats
    logs: list[Floats]


def fit_parameters(form: Form, seeds: Sequence[SeedRows], scale: Scale) -> list[Parameter]:
    """Of one seed by profile likelihood. Of several, seeds' levels being normal: a jackknife over seeds, with t(S − 1),
    bounded for few of them as `half_interval_squared` has it.
    """
    grid = _grid(form, seeds, scale)
    marginal = grid.logs if len(seeds) == 1 else [_over_levels(logs, grid.levels) for logs in grid.logs]
    total = np.asarray(sum(marginal))
    whole = _profile(total)
    events = sum(rows.broken for rows in seeds)
    inside = whole >= whole.max() - fdtri(1, max(events - 2, 1), 0.95) / 2
    best = _argmax(whole)
    left_out = [_argmax(_profile(total - own)) for own in marginal] if len(seeds) > 1 else []
    found = []
    for name, function in form.parameters.items():
        values = function(grid.levels[:, None], grid.shapes[None, :], scale)
        low, high = _ends(values, inside, form, grid, is_share=name == "A")
        if left_out:
            low, high = _over_seeds(values, best, left_out, (low, high), grid, is_share=name == "A")
        told = name == "A" or not _at_end(form, grid, best[1])
        found.append(Parameter(name, float(values[best]) if told else None, low, high))
    return found


def _grid(form: Form, seeds: Sequence[SeedRows], scale: Scale) -> _Grid:
    """Drawn closer around what any seed, or all together, take for likely."""
    own = [levels_of(rows) for rows in seeds]
    levels = np.linspace(min(each[0] for each in own), max(each[-1] for each in own), 2 * _POINTS // 3)
    shapes = form.shapes
    logs = _logs(form, levels, shapes, seeds, scale)
    for reach in (_NEAR,) if len(seeds) > 1 else (_NEAR, _NEARER):
        parts = [*logs, logs.sum(axis=0)]
        near = np.any([part >= part.max() - reach for part in parts], axis=0)
        levels, shapes = _closer(levels, near.any(axis=1)), np.exp(_closer(np.log(shapes), near.any(axis=0)))
        logs = _logs(form, levels, shapes, seeds, scale)
    return _Grid(levels, shapes, list(logs))


def _logs(form: Form, levels: Floats, shapes: Floats, seeds: Sequence[SeedRows], scale: Scale) -> Floats:
    """Of each seed, [S, K, G]."""
    parts = [np.concatenate([getattr(rows, name) for rows in seeds]) for name in ("low", "high", "example")]
    logs, place = log_chances(form, levels[:, None], shapes[None, :], np.ones(1), SeedRows(*parts), scale.asks)
    counts = np.zeros((logs.shape[-1], len(seeds)))
    np.add.at(counts, (place, np.repeat(np.arange(len(seeds)), [len(rows.low) for rows in seeds])), 1.0)
    return np.asarray(np.moveaxis(logs @ counts, -1, 0))


def _closer(axis: Floats, near: Booleans) -> Floats:
    places = np.flatnonzero(near)
    return np.linspace(axis[max(places[0] - 1, 0)], axis[min(places[-1] + 1, len(axis) - 1)], _POINTS)


def _over_levels(logs: Floats, levels: Floats) -> Floats:
    """One seed's log-likelihood [spreads, K, G] where its level is normal around the typical seed's."""
    likelihood = np.exp(logs - logs.max())
    far = (levels[:, None] - levels[None, :]) / _SPREADS[:, None, None]
    weight = np.exp(-(far**2) / 2)
    weight /= weight.sum(axis=2, keepdims=True)
    return np.asarray(np.log(np.maximum(weight @ likelihood, 1e-300)))


def _profile(total: Floats) -> Floats:
    return total if total.ndim == 2 else np.asarray(total.max(axis=0))


def _argmax(logs: Floats) -> tuple[int, int]:
    row, column = np.unravel_index(int(logs.argmax()), logs.shape)
    return int(row), int(column)


def _ends(
    values: Floats, inside: Booleans, form: Form, grid: _Grid, *, is_share: bool
) -> tuple[float | None, float | None]:
    """The smallest and the largest value inside; None where that is at the end of all shapes, so that more may be."""
    shown = np.where(inside, values, np.nan)

    def end(at: int) -> float | None:
        _, column = np.unravel_index(at, values.shape)
        return None if _at_end(form, grid, int(column)) and not is_share else float(values.ravel()[at])

    low, high = end(int(np.nanargmin(shown))), end(int(np.nanargmax(shown)))
    if is_share:
        # Between the last curve on the grid and those that would pass 1 there is one that ends at 1.
        step = grid.levels[1] - grid.levels[0]
        beyond = asymptote_of(grid.levels[:, None] + step, grid.shapes[None, :]) >= 1
        high = 1.0 if (inside & beyond).any() else high
    return low, high


def _at_end(form: Form, grid: _Grid, column: int) -> bool:
    """Whether no shape lies beyond this one."""
    return not form.shapes[0] * (1 + 1e-9) < grid.shapes[column] < form.shapes[-1] * (1 - 1e-9)


def _over_seeds(
    values: Floats,
    best: tuple[int, int],
    left_out: Sequence[tuple[int, int]],
    profile: tuple[float | None, float | None],
    grid: _Grid,
    *,
    is_share: bool,
) -> tuple[float | None, float | None]:
    """An interval over seeds and examples, on the logarithm of what is above 0 without a bound."""
    onto: Callable[[Floats], Floats] = np.asarray if is_share else np.log
    seeds, placed = len(left_out), onto(values)
    of_others = np.array([placed[at] for at in left_out])
    between = (seeds - 1) / seeds * float(((of_others - of_others.mean()) ** 2).sum())
    known = [onto(np.array(end)) if end is not None else None for end in profile]
    middle = float(placed[best])
    reaches = [abs(float(end) - middle) for end in known if end is not None]
    if not reaches:
        return None, None
    within = (float(np.mean(reaches)) / _Z) ** 2
    by_level = np.gradient(placed, grid.levels, axis=0)[best]
    by_shape = np.gradient(placed, np.log(grid.shapes), axis=1)[best]
    largest = within + (float(by_level) ** 2 * MAX_LEVEL_SD**2 + float(by_shape) ** 2 * MAX_SLOPE_SD**2) / seeds
    square = half_interval_squared(np.array(between), np.array(within), np.array(largest), seeds)
    half = float(np.sqrt(square))
    ends = middle - half, middle + half
    if is_share:
        return max(ends[0], 0.0), min(ends[1], 1.0)
    low, high = (float(np.exp(end)) for end in ends)
    return (None if known[0] is None else low), (None if known[1] is None else high)
