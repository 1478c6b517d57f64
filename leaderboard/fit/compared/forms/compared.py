"""Which form fits best? All four, fitted to the same first successes and chosen by held-out examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from leaderboard.data.count_table import CurveGroup
from leaderboard.fit.attack_scaling import AttackScaling, fit_first_successes, too_few_successes
from leaderboard.fit.compared.forms.curves import FORMS, Form, FormName, Scale
from leaderboard.fit.compared.forms.held_out import held_out_log_likelihood
from leaderboard.fit.compared.forms.parameters import Parameter, fit_parameters
from leaderboard.fit.compared.forms.seed_rows import SeedRows, rows_by_seed
from leaderboard.fit.likelihood.first_successes import FirstSuccesses
from leaderboard.fit.likelihood.uncertainty import uncertainty_text

TOLD_APART = 2.0  # standard errors of the difference in held-out log-likelihood
FormChoice = Literal["auto", "logistic", "saturating", "beta", "power"]


@dataclass(frozen=True)
class FittedForm:
    """One form.

    Attributes:
        form: which.
        parameters: with intervals.
        held_out: log-likelihood of examples that it was not fitted to, all together, in nats; ``held_out_se`` its
            standard error over examples. None where forms were not compared.
        behind: how much less that is than the best form's, and ``behind_se`` the standard error of the difference,
            example by example.
    """

    form: Form
    parameters: tuple[Parameter, ...]
    held_out: float | None = None
    held_out_se: float | None = None
    behind: float | None = None
    behind_se: float | None = None

    @property
    def is_behind(self) -> bool:
        """Whether it is told from the best."""
        return self.behind is not None and self.behind_se is not None and self.behind > TOLD_APART * self.behind_se

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "form": self.form.name,
            "formula": self.form.formula,
            "parameters": {one.name: {"value": one.value, "low": one.low, "high": one.high} for one in self.parameters},
            "held_out": self.held_out,
            "held_out_se": self.held_out_se,
            "behind": self.behind,
            "behind_se": self.behind_se,
        }


@dataclass(frozen=True)
class ComparedForms:
    """What was fitted to one group of curves.

    Attributes:
        group: what the curves have in common.
        forms: the one that predicts held-out examples best, then the others; none where the data carry no fit.
        ask: compute of one ask, which n counts, as a fraction of the reference compute; None without forms.
        examples, successes, seeds: as those of `AttackScaling`.
        note: why nothing was fitted, or "".
        interval: what the intervals are over, in words.
    """

    group: CurveGroup
    forms: tuple[FittedForm, ...]
    ask: float | None
    examples: int
    successes: int
    seeds: int
    note: str = ""
    interval: str = ""

    @property
    def undecided(self) -> tuple[FormName, ...]:
        """Forms that are not told from the best; empty where it is decided."""
        return tuple(fitted.form.name for fitted in self.forms[1:] if not fitted.is_behind)

    @property
    def verdict(self) -> str:
        """In words."""
        if len(self.forms) < 2:
            return self.note
        best = self.forms[0].form.name
        if not self.undecided:
            return f"{best}: the others predict held-out examples worse, by more than two standard errors each."
        others = " and ".join(self.undecided)
        return f"undecided: {best} predicts held-out examples best, {others} within two standard errors of it."

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            **self.group,
            "chosen": self.forms[0].form.name if self.forms else None,
            "decided": bool(self.forms) and not self.undecided if len(self.forms) != 1 else None,
            "undecided": list(self.undecided),
            "forms": [fitted.to_json() for fitted in self.forms],
            "ask": self.ask,
            "n": self.examples,
            "n_successes": self.successes,
            "n_seeds": self.seeds,
            "interval": self.interval,
            "note": self.note,
        }


def compare_forms(group: CurveGroup, first: FirstSuccesses, wanted: FormChoice = "auto") -> ComparedForms:
    """All forms, or the one that is ``wanted`` alone, which then is compared with none."""
    note = too_few_successes(first)
    if first.kind == "at_step":
        note = "Forms are fitted to first successes, which counts of success at each step do not give."
    counts = first.examples, first.successes, first.seeds
    if note:
        return ComparedForms(group, (), None, *counts, note)
    seeds, scale = rows_by_seed(first)
    forms = list(FORMS.values()) if wanted == "auto" else [FORMS[wanted]]
    fitted = [FittedForm(form, _parameters(form, first, seeds, scale)) for form in forms]
    if wanted == "auto":
        fitted = _in_order(fitted, seeds, scale)
    ask, interval = scale.budget / scale.asks, uncertainty_text(len(seeds))
    return ComparedForms(group, tuple(fitted), ask, *counts, "", interval)


def _parameters(form: Form, first: FirstSuccesses, seeds: Sequence[SeedRows], scale: Scale) -> tuple[Parameter, ...]:
    if form.name != "logistic":
        return tuple(fit_parameters(form, seeds, scale))
    return logistic_parameters(fit_first_successes({}, first))


def logistic_parameters(fit: AttackScaling) -> tuple[Parameter, ...]:
    """Those of the attack-scaling fit; none where the data do not tell a slope."""
    line, curve = fit.line, fit.curve
    if line.slope is None or line.intercept is None or line.slope_ci is None or line.intercept_ci is None:
        return ()
    found = [Parameter("slope", line.slope, *line.slope_ci), Parameter("intercept", line.intercept, *line.intercept_ci)]
    if curve is not None and curve.asymptote is not None and curve.asymptote_ci is not None:
        found.append(Parameter("A", curve.asymptote, *curve.asymptote_ci))
    return tuple(found)


def _in_order(fitted: Sequence[FittedForm], seeds: Sequence[SeedRows], scale: Scale) -> list[FittedForm]:
    logs = [held_out_log_likelihood(one.form, seeds, scale) for one in fitted]
    order = sorted(range(len(fitted)), key=lambda at: -float(logs[at].sum()))
    best = logs[order[0]]

    def error(each: np.ndarray) -> float:
        return float(each.std(ddof=1) * len(each) ** 0.5) if len(each) > 1 else float("inf")

    return [
        FittedForm(
            fitted[at].form,
            fitted[at].parameters,
            float(logs[at].sum()),
            error(logs[at]),
            float((best - logs[at]).sum()),
            error(best - logs[at]),
        )
        for at in order
    ]
