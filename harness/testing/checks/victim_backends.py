"""What the backend of a victim promises: its answers agree with each other, whatever else is requested."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np

from harness.api.model.backend import GenerateItem, GradientItem, SampleItem, ScoreItem
from harness.api.model.mellowmax import Mellowmax
from harness.api.problem.problem import Problem
from harness.engine.losses import cross_entropy
from harness.testing.checks.prepared_victims import PreparedVictim, prepared_victims
from harness.testing.plugin_under_test import Subject
from harness.testing.results import Check, NotApplicableError, UnmetError

_NO_SCORES = "it gives no scores"
TOKENS_COMPARED = 24
LEAST_AGREEMENT = 0.1
"""Trained or not, tiny transformers have 0.6 to 0.95, a linear model 1, and gradients with the wrong sign the negative;
those of other tokens are within 0.1 of 0, but for one time in ten.
"""


def _difference(one: Any, other: Any) -> float:
    """Largest relative difference; infinite where shapes differ, or where one value is finite and the other is not."""
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if a.shape != b.shape or not (np.isfinite(a) == np.isfinite(b)).all():
        return math.inf
    finite = np.isfinite(a)
    scale = max(1.0, float(np.abs(b[finite]).max(initial=0.0)))
    return float(np.abs(a[finite] - b[finite]).max(initial=0.0)) / scale


def expect_close(one: Any, other: Any, victim: PreparedVictim, expected: str, mend: str) -> None:
    """Raise UnmetError where two arrays differ by more than rounding."""
    difference = _difference(one, other)
    if not difference <= victim.tolerance:
        raise UnmetError(expected, f"they differ by {difference:.2g} (tolerance {victim.tolerance:g})", mend)


def score_items(victim: PreparedVictim) -> list[tuple[Problem, ScoreItem]]:
    """Problems of the victim, and five random candidates of each."""
    rng = np.random.default_rng(0)
    items = []
    for problem in victim.problems():
        rows = problem.random_tokens(rng, 5)
        items.append((problem, ScoreItem(problem.before, rows, problem.after, problem.target, rows[0])))
    return items


def _whole_rows(item: ScoreItem) -> list[Any]:
    return [np.concatenate([item.before, row, item.after]) for row in item.candidates]


def _victims_with(subject: Subject, ability: str, otherwise: str) -> list[PreparedVictim]:
    """Those with the ability. Raises NotApplicableError, which says ``otherwise``, where there are none."""
    victims = [victim for victim in prepared_victims(subject) if ability in victim.backend.abilities]
    if not victims:
        raise NotApplicableError(otherwise)
    return victims


def _check_agreement(subject: Subject) -> None:
    for victim in _victims_with(subject, "score", _NO_SCORES):
        for _, item in score_items(victim):
            (scored,) = victim.backend.score([item])
            if len(scored.losses) != len(item.candidates) or scored.executed <= 0:
                raise UnmetError("a loss per candidate, and the FLOPs it took", repr(scored), "see harness.Scored")
            if victim.backend.n_labels:
                logits, _ = victim.backend.classify(_whole_rows(item))
                losses = cross_entropy(logits, cast("int", item.target))
                expected = "losses of `score` that follow from the logits of `classify`"
                mend = "score and classify must read the same row: before + candidate + after, nothing padded"
                expect_close(scored.losses, losses, victim, expected, mend)


def _check_mellowmax(subject: Subject) -> None:
    for victim in _victims_with(subject, "mellowmax", "its losses are means over tokens alone"):
        if victim.backend.n_labels:
            continue
        for _, item in score_items(victim):
            items = [item, *(replace(item, over=Mellowmax(alpha)) for alpha in (1e-7, 1.0, 1e3))]
            losses = [scored.losses for scored in victim.backend.score(items)]
            mend = "look at `over` in ScoreItem, or leave `mellowmax` out of abilities"
            expect_close(losses[1], losses[0], victim, "a mellowmax of nearly no alpha that is the mean", mend)
            several = isinstance(item.target, tuple) and len(item.target) > 1
            if several and not (losses[3] > losses[2]).all():
                raise UnmetError("a mellowmax that rises with alpha", f"{losses[2]}, {losses[3]}", mend)


def _check_independence(subject: Subject) -> None:
    for victim in _victims_with(subject, "score", _NO_SCORES):
        items = [item for _, item in score_items(victim)]
        together = victim.backend.score(items)
        expected = "the same losses whatever else is asked in the same call"
        mend = "pad nothing, or mask what is padded; keep nothing from one call to the next that changes an answer"
        for item, scored in zip(items, together, strict=True):
            (alone,) = victim.backend.score([item])
            expect_close(scored.losses, alone.losses, victim, expected, mend)
            rows = [ScoreItem(item.before, row[None], item.after, item.target) for row in item.candidates]
            singles = [victim.backend.score([row])[0].losses[0] for row in rows]
            expect_close(scored.losses, singles, victim, "the same losses one candidate at a time", mend)


def _check_eager_losses(subject: Subject) -> None:
    compared = 0
    for victim in prepared_victims(subject):
        if type(victim.backend).__name__ != "TorchBackend" or victim.backend.head.name == "label_tokens":
            continue
        from harness.testing.toys.eager_losses import eager_losses

        for _, item in score_items(victim):
            (scored,) = victim.backend.score([item])
            losses = eager_losses(victim.folder, victim.backend.head.name, _whole_rows(item), item.target)
            mend = "set attn_implementation to eager, or load in float32"
            expect_close(scored.losses, losses, victim, "losses of a plain eager forward of the folder's model", mend)
            compared += 1
    if not compared:
        raise NotApplicableError("it is no torch model that can be opened from its folder alone")


def _check_gradients(subject: Subject) -> None:
    for victim in _victims_with(subject, "gradient", "it gives no gradients"):
        for problem, item in score_items(victim):
            request = GradientItem(item.before, item.candidates[0], item.after, item.target, problem.allowed, 7)
            (differentiated,) = victim.backend.gradient([request])
            (scored,) = victim.backend.score([item])
            answer = differentiated.answer
            if answer.tokens.shape != (4, 7) or answer.values.shape != (4, 7):
                raise UnmetError("tokens and values of shape [4, 7]", f"{answer.tokens.shape}", "see GradientAnswer")
            if not np.isin(answer.tokens, problem.allowed).all() or (np.diff(answer.values, axis=1) < -1e-9).any():
                raise UnmetError("allowed tokens, the most negative entries first", "others", "sort by value, then id")
            mend = "differentiate the same loss"
            expect_close([answer.loss], scored.losses[:1], victim, "the loss that `score` gives", mend)
            if "mellowmax" in victim.backend.abilities:
                over = Mellowmax(2.0)
                (differentiated,) = victim.backend.gradient([replace(request, over=over)])
                (scored,) = victim.backend.score([replace(item, over=over)])
                loss = differentiated.answer.loss
                expect_close([loss], scored.losses[:1], victim, "the mellowmax that `score` gives", mend)


def _check_direction(subject: Subject) -> None:
    for victim in _victims_with(subject, "gradient", "it gives no gradients"):
        agreement = _rank_correlations(victim)
        if len(agreement) and not np.mean(agreement) > LEAST_AGREEMENT:
            raise UnmetError(
                "gradient entries that say which tokens lower the loss: ranked as the losses of the strings with that "
                f"token are, with a mean rank correlation above {LEAST_AGREEMENT}",
                f"{np.mean(agreement):.2f}",
                "give d loss / d one-hot of each token, with its sign: the most negative entry lowers the loss most",
            )


def _rank_correlations(victim: PreparedVictim) -> list[float]:
    """Of each place in the string of each problem: Spearman's correlation of the gradient entries of random tokens with
    the losses when these tokens stand there; places where no token changes anything are left out.
    """
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    found = []
    for problem in victim.problems():
        row = problem.random_tokens(rng)
        top = len(problem.allowed)
        request = GradientItem(problem.before, row, problem.after, problem.target, problem.allowed, top)
        answer = victim.backend.gradient([request])[0].answer
        for place in range(len(row)):
            chosen = rng.permutation(top)[:TOKENS_COMPARED]
            candidates = np.repeat(row[None], len(chosen), axis=0)
            candidates[:, place] = answer.tokens[place, chosen]
            (scored,) = victim.backend.score([ScoreItem(problem.before, candidates, problem.after, problem.target)])
            values = answer.values[place, chosen]
            if len(chosen) > 2 and np.ptp(values) > 0 and np.ptp(scored.losses) > 0:
                found.append(float(spearmanr(values, scored.losses).statistic))
    return found


def _check_samples(subject: Subject) -> None:
    for victim in _victims_with(subject, "sample", "it gives no next tokens"):
        problem, item = score_items(victim)[0]
        request = SampleItem(item.before, item.candidates[:2, :2], problem.allowed, 6, 3)
        first, second = (victim.backend.sample([request])[0].answer for _ in range(2))
        rows = [set(row) for row in first.tokens.tolist()]
        if first.tokens.shape != (2, 6) or any(len(row) < 6 for row in rows):
            raise UnmetError("6 different tokens for each of 2 strings", repr(first.tokens), "see harness.SampleAnswer")
        if (first.tokens != second.tokens).any():
            raise UnmetError("the same draw from the same seed", "another", "draw from `seed` alone")
        if (np.exp(first.log_probs).sum(axis=1) > 1 + 1e-6).any():
            raise UnmetError("log-probabilities", "they add up to more than 1", "take log-softmax over the vocabulary")


def _check_generation(subject: Subject) -> None:
    for victim in _victims_with(subject, "generate", "it does not answer in text"):
        items = [GenerateItem(example.text, 6) for example in victim.data.validation[:3]]
        together = [answer.text for answer in victim.backend.generate(items)]
        alone = [victim.backend.generate([item])[0].text for item in items]
        if together != alone:
            raise UnmetError(
                "the same answer at temperature 0", f"{together} and {alone}", "take the most likely token"
            )


CHECKS = (
    Check("agrees", "score and classify agree", _check_agreement),
    Check("mellowmax", "it puts losses of tokens together as it is asked to", _check_mellowmax),
    Check("company", "an answer does not depend on what else is asked in the same call", _check_independence),
    Check("eager", "its losses are those of an eager forward", _check_eager_losses),
    Check("gradient", "its gradients have the right shape, tokens and loss", _check_gradients),
    Check("direction", "its gradients point to tokens that lower the loss", _check_direction),
    Check("samples", "it draws different next tokens, by the seed", _check_samples),
    Check("generates", "at temperature 0 the answer in text is always the same", _check_generation),
)
