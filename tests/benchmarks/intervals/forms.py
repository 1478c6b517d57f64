"""Simulated curves of each form: which form is chosen, and whether the intervals of its parameters hold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, ndtr, ndtri

from leaderboard.data.count_table import CountTable, make_count_table
from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.compared.forms.compared import compare_forms
from leaderboard.fit.compared.forms.curves import FORMS, FormName, Scale
from leaderboard.fit.likelihood.first_successes import first_successes_of_counts, first_successes_of_trajectories
from tests.benchmarks.intervals.designs import Figures, counted

BUDGET = 1e-3  # of the reference compute
LN10 = float(np.log(10.0))


@dataclass(frozen=True)
class FormStudy:
    """A design: T equal steps, first successes that follow the form exactly.

    Attributes:
        asr: at the full budget, of a typical seed; ``shape`` as the form has it.
        level: standard deviation between seeds of the log-odds of ``asr``; ``tilt`` of the logarithm of the shape.
        asymptote: the logistic's.
        alike: correlation over seeds of how hard an example is, each known by name; 0: other examples in each seed.
    """

    form: FormName
    asr: float
    shape: float
    seeds: int
    examples: int
    steps: int = 24
    level: float = 0.56
    tilt: float = 0.4
    asymptote: float = 1.0
    alike: float = 0.0

    @property
    def name(self) -> str:
        """As the table has it."""
        more = f", {self.steps} steps, ASR {self.asr:g}" + (", same examples" if self.alike else "")
        return f"{self.form}, {counted(self.seeds)} × {self.examples}{more}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        """Simulate and fit so many studies."""
        right = wrong = refused = 0
        among = 0
        held: list[list[bool]] = []
        for _ in range(studies):
            table, cells, own = simulate(self, rng)
            known = [(paths, 1.0) for paths in cells]
            seen = first_successes_of_trajectories(known) if self.alike else first_successes_of_counts(table)
            found = compare_forms({}, seen)
            if not found.forms:
                refused += 1
                continue
            if found.undecided:
                among += self.form in (found.forms[0].form.name, *found.undecided)
            else:
                right += found.forms[0].form.name == self.form
            wrong += next(one.is_behind for one in found.forms if one.form.name == self.form)
            (fitted,) = [one for one in found.forms if one.form.name == self.form]
            truth = own if self.seeds == 1 else self.truth(self.shape, float(np.log(self.asr / (1 - self.asr))))
            inside = [
                (one.low is None or one.low <= truth[one.name]) and (one.high is None or truth[one.name] <= one.high)
                for one in fitted.parameters[:2]
            ]
            if inside:
                held.append(inside)
        told = studies - refused
        first, second = np.mean(held, axis=0) if held else (float("nan"), float("nan"))
        return {
            "true form alone": right / told if told else float("nan"),
            "undecided, true form among them": among / told if told else float("nan"),
            "true form ruled out": wrong / told if told else float("nan"),
            "first parameter held": float(first),
            "second parameter held": float(second),
            "refused": refused,
        }

    def truth(self, shape: float, level: float) -> dict[str, float]:
        """The parameters of a curve, by name."""
        if self.form == "logistic":
            share = expit(level) / self.asymptote
            odds = float(np.log10(share / (1 - share)))
            return {"slope": shape, "intercept": odds - shape * np.log10(BUDGET), "A": self.asymptote}
        scale = Scale(BUDGET, float(self.steps))
        found = FORMS[self.form].parameters
        return {name: float(function(np.array(level), np.array(shape), scale)) for name, function in found.items()}


def simulate(study: FormStudy, rng: np.random.Generator) -> tuple[CountTable, list[Trajectories], dict[str, float]]:
    """The study's table and records, and the last seed's parameters."""
    form, at = FORMS[study.form], np.arange(1, study.steps + 1) / study.steps
    won, cells, own = [], [], {}
    spent = np.tile(at * BUDGET, (study.examples, 1))
    shared = rng.normal(size=study.examples) if study.alike else np.zeros(study.examples)
    for seed in range(study.seeds):
        asr = np.array([np.nan])
        while np.isnan(asr).any():  # some levels and shapes are no curve
            level = float(np.log(study.asr / (1 - study.asr)) + study.level * rng.normal())
            shape = study.shape * float(np.exp(study.tilt * rng.normal()))
            values = np.array(level), np.array(shape), np.array(study.asymptote)
            asr = form.asr(*values, at, float(study.steps))
        own = study.truth(shape, level)
        rank = rng.random(study.examples)
        if study.alike:
            rank = ndtr(np.sqrt(study.alike) * shared + np.sqrt(1 - study.alike) * ndtri(rank))
        broken = np.searchsorted(asr, rank)[:, None] <= np.arange(study.steps)
        names = tuple(f"{0 if study.alike else seed} {number:05d}" for number in range(study.examples))
        cells.append(Trajectories(names, broken, spent, spent))
        won.append(broken.sum(axis=0))
    rows = study.steps * study.seeds
    text = {name: np.full(rows, name, dtype=object) for name in ("task", "family", "attack")}
    table = make_count_table(
        "simulated",
        text
        | {
            "n_params": np.full(rows, 10**6),
            "trials": np.full(rows, study.examples),
            "seed": np.repeat(np.arange(study.seeds), study.steps),
            "iteration": np.tile(np.arange(1, study.steps + 1), study.seeds),
            "successes": np.concatenate(won),
            "attack_compute": np.tile(at * BUDGET, study.seeds),
        },
    )
    return table, cells, own


_TRUTHS = (
    FormStudy("logistic", 0.8, 2.0, 1, 100),
    FormStudy("saturating", 0.6, 4.0, 1, 100),
    FormStudy("beta", 0.7, 0.5, 1, 100),
    FormStudy("power", 0.7, 0.8, 1, 100),
)
FORM_STUDIES = [
    *(replace(truth, examples=examples) for truth in _TRUTHS for examples in (50, 100, 200)),
    *(replace(truth, steps=steps) for truth in _TRUTHS for steps in (10, 40)),
    *(replace(truth, seeds=seeds) for truth in _TRUTHS for seeds in (2, 3)),
    *(replace(truth, seeds=3, alike=0.5) for truth in _TRUTHS[1:]),
]
