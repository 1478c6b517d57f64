"""Simulated answers, drawn again and again: ASR@j, and what a beta-binomial says of more asks than there were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, expit, roots_hermite

from leaderboard.arrays import Floats
from leaderboard.fit.repeated.asr_at import chance_so_far, mean_chance
from leaderboard.fit.repeated.extrapolation import extrapolate
from tests.benchmarks.intervals.designs import Figures, counted, coverage_figures
from tests.benchmarks.intervals.rates_and_costs import SEEDS


@dataclass(frozen=True)
class Prompts:
    """How likely an answer to a prompt is broken: a beta distribution over prompts, of mean ``mean``, the more alike
    the larger ``alike`` (its two parameters together); or else log-odds that are normal; ``never``: share of prompts
    that no answer breaks.
    """

    mean: float
    alike: float = 1.0
    spread: float = 0.0
    never: float = 0.0

    @property
    def name(self) -> str:
        shape = f"log-odds differ by {self.spread:g}" if self.spread else f"beta, together {self.alike:g}"
        return f"mean {self.mean:g}, {shape}" + (f", {self.never:.0%} never" if self.never else "")

    def draw(self, rng: np.random.Generator, examples: int, shift: float = 0.0) -> Floats:
        """Chances of so many prompts, [E]; the log-odds of their mean shifted."""
        mean = float(expit(np.log(self.mean / (1 - self.mean)) + shift))
        if self.spread:
            chances = expit(rng.normal(np.log(mean / (1 - mean)), self.spread, examples))
        else:
            chances = rng.beta(self.alike * mean, self.alike * (1 - mean), examples)
        return np.asarray(chances * (rng.random(examples) >= self.never))

    def truth(self, asks: int, shift: float = 0.0) -> float:
        """ASR@j of all prompts like these."""
        mean = float(expit(np.log(self.mean / (1 - self.mean)) + shift))
        if self.spread:
            nodes, weights = roots_hermite(180)
            chances = expit(np.log(mean / (1 - mean)) + np.sqrt(2) * self.spread * nodes)
            none = float((weights * (1 - chances) ** asks).sum() / np.sqrt(np.pi))
        else:
            a, b = self.alike * mean, self.alike * (1 - mean)
            none = float(np.exp(betaln(a, b + asks) - betaln(a, b)))
        return (1 - self.never) * (1 - none)


@dataclass(frozen=True)
class AsrAtDesign:
    """ASR@1, @2, @4, … @k of several kinds of prompts.

    Attributes:
        level: standard deviation between seeds of the log-odds of a prompt's mean chance.
    """

    seeds: int
    examples: int
    samples: int
    level: float = 0.0

    @property
    def name(self) -> str:
        more = f", log-odds differ by {self.level:g}" if self.level else ""
        return f"{counted(self.seeds)} × {self.examples}, {self.samples} answers{more}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        held, wider = [], []
        for prompts in KINDS:
            asks = [2**power for power in range(self.samples.bit_length())]
            truths = {j: self._truth(prompts, j) for j in asks}
            inside, widths = dict.fromkeys(asks, 0), []
            for _ in range(studies):
                chances = [prompts.draw(rng, self.examples, rng.normal(0, self.level)) for _ in range(self.seeds)]
                broken = [rng.binomial(self.samples, chance)[:, None] for chance in chances]
                names = [[f"{seed}-{at}" for at in range(self.examples)] for seed in range(self.seeds)]
                for j in asks:
                    estimates = [chance_so_far(of_seed, self.samples, j) for of_seed in broken]
                    _, low, high = mean_chance(estimates, names)
                    inside[j] += low <= truths[j] <= high
                    widths.append(high - low)
            held += [count / studies for count in inside.values()]
            wider.append(float(np.median(widths)))
        return coverage_figures(held) | {"median width": float(np.median(wider))}

    def _truth(self, prompts: Prompts, asks: int) -> float:
        if not self.level:
            return prompts.truth(asks)
        nodes, weights = roots_hermite(40)
        rates = [prompts.truth(asks, float(np.sqrt(2) * self.level * node)) for node in nodes]
        return float((weights * rates).sum() / np.sqrt(np.pi))


KINDS = (
    Prompts(0.02, 0.3),
    Prompts(0.1, 0.5),
    Prompts(0.1, 5.0),
    Prompts(0.4, 1.0),
    Prompts(0.2, 2.0, never=0.5),
    Prompts(0.05, spread=1.5),
)
ASR_AT = [
    *(AsrAtDesign(1, examples, samples) for examples in (24, 100, 300) for samples in (4, 16)),
    *(AsrAtDesign(seeds, 32, 8, 0.56) for seeds in SEEDS[1:]),
]


@dataclass(frozen=True)
class Extrapolations:
    """ASR@j beyond the answers there are, of one model: ``times`` as many asks."""

    prompts: Prompts
    examples: int
    samples: int
    times: int

    @property
    def name(self) -> str:
        return f"{self.examples} prompts × {self.samples} answers, {self.times} times as many asks, {self.prompts.name}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        asks = self.times * self.samples
        truth = self.prompts.truth(asks)
        held, errors, widths, unfit, refused = 0, [], [], 0, 0
        for _ in range(studies):
            chances = self.prompts.draw(rng, self.examples)
            answers = rng.random((self.examples, self.samples)) < chances[:, None]
            found = extrapolate(answers.tolist())
            unfit += found.held_out is not None and not found.held_out.passed
            estimate = found.at(asks)
            if estimate.value is None or estimate.low is None or estimate.high is None:
                refused += 1
                continue
            held += estimate.low <= truth <= estimate.high
            errors.append(estimate.value - truth)
            widths.append(estimate.high - estimate.low)
        given = studies - refused
        return {
            "ASR@j held": held / given if given else float("nan"),
            "mean error, points": 100 * float(np.mean(errors)) if given else float("nan"),
            "median width": float(np.median(widths)) if given else float("nan"),
            "said not to fit": unfit / studies,
            "refused": refused,
        }


EXTRAPOLATIONS = [
    *(
        Extrapolations(prompts, examples, samples, times)
        for prompts in KINDS[1:]
        for examples, samples in ((50, 8), (200, 16))
        for times in (4, 16)
    ),
]
