"""What a defense promises: guards and transforms here, defenses that train weights in `trained`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.attack import Gradient, Score
from harness.defense import FitJob, GuardDefense, TrainedDefense, TransformDefense
from harness.engine.defended import DefendedVictim, Layer, offers_gradient
from harness.engine.meter import StepMeter
from harness.errors import AccessError
from harness.flops import Flops
from harness.identity import canonical_json
from harness.plugin import Plugin
from harness.rng import named_rng
from harness.task import TaskData, TaskKind
from harness.testing import trained
from harness.testing.cases import LABELS, TEXTS, ordinary
from harness.testing.finding import Check, NotApplicableError, UnmetError
from harness.testing.subject import Subject
from harness.testing.toy import ToyBackend
from harness.testing.toy_language import ToyLanguageModel
from harness.testing.victims import data_for

KINDS: tuple[TaskKind, ...] = ("labels", "text")
MOST_BLOCKED = 0.5  # of clean prompts of the kind that a guard was fitted on


def _runtime(subject: Subject) -> GuardDefense | TransformDefense:
    found: GuardDefense | TransformDefense = subject.fresh()
    return found


def toy_victim(kind: TaskKind) -> Any:
    """A toy that answers so."""
    return ToyBackend(context=8192) if kind == "labels" else ToyLanguageModel()


def fit_job(data: TaskData, kind: TaskKind) -> FitJob:
    """What a guard is fitted with."""
    return FitJob(data, 0, toy_victim(kind), named_rng("conformance", "fit"))


def fitted(defense: Any, kind: TaskKind = "labels") -> dict[str, Any]:
    """What `fit` gives, as it comes back from the artifact that it is kept in."""
    if not isinstance(defense, GuardDefense):
        return {}
    given = defense.fit(fit_job(data_for(kind), kind))
    try:
        text = canonical_json(given)
    except ValueError as error:
        raise UnmetError("fit() gives JSON data", str(error), "turn arrays into lists, and leave out NaN") from None
    back: dict[str, Any] = json.loads(text)
    return back


def defended(subject: Subject, kind: TaskKind = "labels") -> DefendedVictim:
    """A toy behind a fresh instance of the defense."""
    defense = _runtime(subject)
    labels = LABELS if kind == "labels" else ()
    return DefendedVictim(toy_victim(kind), [Layer(defense, fitted(defense, kind))], labels, 8)


def prompts() -> list[str]:
    """Clean prompts and odd ones."""
    return [*(example.text for example in data_for("labels").train[:8]), *TEXTS]


def treated(subject: Subject, texts: Sequence[str]) -> list[tuple[str, bool]]:
    """Each prompt as the victim gets it, and whether it gets it."""
    through, open_rows, _ = defended(subject).through_layers(texts)
    return [(text, i in set(open_rows)) for i, text in enumerate(through)]


def _fits(subject: Subject) -> None:
    if not isinstance(_runtime(subject), GuardDefense):
        raise NotApplicableError("a transform is not fitted")
    for kind in KINDS:
        one, other = fitted(_runtime(subject), kind), fitted(_runtime(subject), kind)
        if one != other:
            raise UnmetError("the same fit from the same seed", f"{one} and {other}", "draw from job.rng alone")


def _shapes(subject: Subject) -> None:
    defense = _runtime(subject)
    facts, texts = fitted(defense), prompts()
    for some in ([], texts[:1], texts):
        given: Any = defense.blocks(some, facts) if isinstance(defense, GuardDefense) else defense.apply(some)
        wanted: tuple[type, ...] = (bool, np.bool_) if isinstance(defense, GuardDefense) else (str,)
        name = "blocks" if isinstance(defense, GuardDefense) else "apply"
        if len(given) != len(some) or not all(isinstance(one, wanted) for one in given):
            raise UnmetError(
                f"{name}() gives one {wanted[0].__name__} per prompt, {len(some)} here",
                f"{len(given)}: {str(list(given))[:80]}",
                "return a list in the order of the prompts; of no prompts an empty one",
            )


def _alone(subject: Subject) -> None:
    texts = prompts()
    together = treated(subject, texts)
    alone = [treated(subject, [text])[0] for text in texts]
    turned = treated(subject, texts[::-1])[::-1]
    for text, a, b, c in zip(texts, together, alone, turned, strict=True):
        if not a == b == c:
            raise UnmetError(
                "the same treatment of a prompt, whatever other prompts come with it",
                f"{text[:40]!r}: {a}, alone {b}, in another order {c}",
                "decide about each text by itself; draw nothing at random, or by a seed made of the text",
            )


def _costs(subject: Subject) -> None:
    defense = _runtime(subject)
    for text in prompts():
        cost = defense.cost(text)
        if not isinstance(cost, Flops) or any(x < 0 or math.isinf(x) for x in (cost.nominal, cost.executed)):
            raise UnmetError(
                "cost() gives Flops, 0 or more", f"{cost!r} for {text[:30]!r}", "Flops() for plain string rules"
            )
        if cost != defense.cost(text):
            raise UnmetError("the same cost for the same prompt", "another", "let it follow from the text alone")


def _offers(subject: Subject) -> None:
    defense = _runtime(subject)
    if isinstance(defense, TransformDefense) and defense.offers not in ("straight_through", "none"):
        raise UnmetError(
            "offers = 'straight_through' or 'none': what a gradient attack gets", repr(defense.offers), "write one"
        )
    victim, case = defended(subject), ordinary("labels", "gradient")
    problem = case.problems()[0]
    string = problem.random_tokens(np.random.default_rng(0), 3)
    try:
        (answer,) = victim.gradient([(problem, Gradient(string[0], top=4), StepMeter())])
    except AccessError:
        if offers_gradient(defense):
            raise
        return
    if answer.tokens.shape != (5, 4):
        raise UnmetError("a gradient of the string, [5, 4]", str(answer.tokens.shape), "report this")


def _keeps(subject: Subject) -> None:
    for kind in KINDS:
        victim, case = defended(subject, kind), ordinary(kind, "scores")
        replies = victim.ask([example.text for example in case.examples])
        for reply in replies:
            if reply.logits is not None and reply.logits.shape != (2,):
                raise UnmetError("logits of the task's labels", str(reply.logits.shape), "leave the answer alone")
        problem, meter = case.problems()[0], StepMeter()
        rows = problem.random_tokens(np.random.default_rng(0), 6)
        (losses,) = victim.score([(problem, Score(rows), meter)])
        if losses.shape != (6,) or np.isnan(losses).any():
            raise UnmetError("a loss per candidate, no NaN", repr(losses), "a blocked candidate's loss is inf")
        if meter.queries != 6:
            raise UnmetError("6 queries for 6 candidates", str(meter.queries), "report this: the engine counts them")


def _spares(subject: Subject) -> None:
    if not isinstance(_runtime(subject), GuardDefense):
        raise NotApplicableError("a transform refuses nothing")
    clean = [example.text for example in data_for("labels").validation]
    blocked = sum(not is_open for _, is_open in treated(subject, clean))
    if blocked > MOST_BLOCKED * len(clean):
        raise UnmetError(
            f"at most {MOST_BLOCKED:.0%} of clean prompts refused, of the kind that the guard was fitted on",
            f"{blocked} of {len(clean)}",
            "fit the threshold on job.data.train, or choose one that lets them pass",
        )


RUNTIME = (
    Check("fits", "what it is fitted to is JSON data, and follows from the seed", _fits),
    Check("shapes", "it answers for each prompt, in order", _shapes),
    Check("independent", "it treats a prompt the same whatever comes with it, and every time", _alone),
    Check("costs", "it says what a prompt costs", _costs),
    Check("offers", "it says what a gradient attack gets, and gives that", _offers),
    Check("keeps", "labels, losses and queries keep their shapes", _keeps),
    Check("spares", "it lets clean prompts pass", _spares),
)


def checks_of(cls: type[Plugin]) -> tuple[Check, ...]:
    """The checks of a defense by its sort; none for the absence of one."""
    if issubclass(cls, TrainedDefense):
        return trained.CHECKS
    return RUNTIME if issubclass(cls, GuardDefense | TransformDefense) else ()
