"""How attack scaling changes with the size of the victim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np

from leaderboard.arrays import Floats
from leaderboard.data.count_table import CurveGroup
from leaderboard.fit.attack_scaling import AttackScaling, Method
from leaderboard.fit.line import Band, Line, ols, unfitted, weighted_least_squares
from leaderboard.fit.sizes.model_sizes import Parameters, Victim, victim_of

Coefficient = Literal["slope", "intercept"]
MIN_ERROR = 1.25  # of the median error: a slope that comes out low has a small error too, and must not get all weight


@dataclass(frozen=True)
class SizeScaling:
    """Attack-scaling slope (or intercept) = intercept + slope · log10 N, N being the victim's parameters.

    Attributes:
        group: what the fits have in common: task, family, attack, and what else they tell but size and victim.
        of: which number of the attack-scaling fits.
        method: that of the fits.
        line: n counts sizes.
        dropped: fits without a number, or of unknown size.
        spread: standard deviation of true values around the line; None for ols.
        parameters: which are counted: all as used, or those without embeddings.
    """

    group: CurveGroup
    of: Coefficient
    method: Method
    line: Line
    dropped: int
    spread: float | None
    parameters: Parameters = "all"

    def to_json(self) -> dict[str, Any]:
        """JSON data, flat."""
        return (
            {**self.group, "of": self.of, "method": self.method}
            | self.line.to_json()
            | {"n_dropped": self.dropped, "spread": self.spread, "parameters": self.parameters}
            | {"interval": "sizes" if self.line.slope is not None else ""}
        )

    def band(self, n_params: Floats) -> Band:
        """The line at ``n_params``, counted as ``parameters`` says. Needs a slope."""
        return self.line.band(np.log10(n_params))


def fit_size_scaling(
    fits: Sequence[AttackScaling], of: Coefficient = "slope", without_embeddings: Mapping[Victim, int] | None = None
) -> list[SizeScaling]:
    """One line per group of fits that differ in size (and victim) alone.

    Args:
        without_embeddings: sizes to take in the place of ``n_params``; a victim that is not there is of unknown size.

    Fits of the counts method are weighed by their intervals, with a variance between sizes that these do not explain
    (Paule and Mandel 1982), and the line's interval comes from the residuals with t(n − 2) (Knapp and Hartung 2003).
    Those of ols are not weighed, as in the study.
    """
    members: dict[tuple[Any, ...], list[AttackScaling]] = {}
    for fit in fits:
        group = tuple((name, value) for name, value in fit.group.items() if name not in ("n_params", "victim"))
        members.setdefault((fit.method, *group), []).append(fit)
    lines = (
        _fit_group(cast(CurveGroup, dict(key[1:])), of_group, of, without_embeddings)
        for key, of_group in members.items()
    )
    return [replace(line, parameters="all" if without_embeddings is None else "non-embedding") for line in lines]


def _fit_group(
    group: CurveGroup, fits: Sequence[AttackScaling], of: Coefficient, without: Mapping[Victim, int] | None
) -> SizeScaling:
    sizes = [fit.group["n_params"] if without is None else without.get(victim_of(fit.group)) for fit in fits]
    used = [
        (fit, size) for fit, size in zip(fits, sizes, strict=True) if fit.line.slope is not None and size is not None
    ]
    x = np.log10([size for _, size in used])
    y = np.array([getattr(fit.line, of) for fit, _ in used], dtype=np.float64)
    dropped = len(fits) - len(used)
    if fits[0].method == "ols":
        return SizeScaling(group, of, "ols", _explained(ols(x, y), dropped), dropped, None)
    ends = np.array([getattr(fit.line, f"{of}_ci") for fit, _ in used]).reshape(-1, 2)
    errors = np.ptp(ends, axis=1) / 2 / 1.96
    # Errors are estimates too: none may take the line for itself.
    errors = np.maximum(errors, max(MIN_ERROR * float(np.median(errors)), 1e-9)) if len(used) else errors
    between = _variance_between_sizes(x, y, errors) if len(used) > 2 else 0.0
    line = weighted_least_squares(x, y, 1 / (errors**2 + between))
    return SizeScaling(group, of, "counts", _explained(line, dropped), dropped, between**0.5)


def _explained(line: Line, dropped: int) -> Line:
    """``line``, or with a note that speaks of sizes where there is none."""
    if line.slope is not None:
        return line
    more = f" {dropped} more could not be fitted, or are of unknown size." if dropped else ""
    sizes = "no size" if line.n == 0 else f"{line.n} size" + ("s" if line.n > 1 else "")
    return unfitted(line.n, f"{sizes} to fit, 3 different ones needed.{more}")


def _variance_between_sizes(x: Floats, y: Floats, errors: Floats) -> float:
    """The variance at which the weighted residuals are as large as expected."""

    def excess(variance: float) -> float:
        weights = 1 / (errors**2 + variance)
        line = weighted_least_squares(x, y, weights)
        if line.slope is None or line.intercept is None:
            return -1.0
        return float(weights @ (y - line.intercept - line.slope * x) ** 2) - (len(x) - 2)

    if excess(0.0) <= 0:
        return 0.0
    from scipy.optimize import brentq  # slow to import

    upper = float(np.var(y)) + 1e-9
    while excess(upper) > 0:
        upper *= 4
    return float(brentq(excess, 0.0, upper, xtol=1e-9))
