"""What guards, transforms and votes promise; defenses that train weights are in `trained_defenses`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from harness.api.defense import TrainedDefense
from harness.api.plugin import Plugin
from harness.api.requests import Gradient, Score
from harness.api.runtime_defense import ConversationDefense, GuardDefense, Offer, RuntimeDefense, TransformDefense
from harness.api.task import TaskKind
from harness.engine.defended.layer import offers_gradient
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.reply import Reply
from harness.engine.defended.victim import DefendedVictim
from harness.engine.meter import StepMeter
from harness.errors import AccessError, DataError
from harness.testing.checks import trained_defenses
from harness.testing.checks.defended_victim import defended_victim, fit_asks, fit_result, may_ask_models, problems_of
from harness.testing.plugin_under_test import Subject
from harness.testing.results import Check, NotApplicableError, UnmetError
from harness.testing.toys.examples import TEXTS
from harness.testing.toys.task_data import ANSWER_KINDS, toy_task_data
from harness.tokens.message import PLAIN, Conversation, Message

MAX_BLOCKED_SHARE = 0.5  # of clean prompts of the kind that a guard was fitted on
TOLERANCE = 1e-4
DRAWS = 8  # in which a defense that is not random treats every prompt alike


def _kinds(subject: Subject) -> tuple[TaskKind, ...]:
    """The kinds of answers that the defense can stand before: a guard of answers needs answers in text, and a defense
    may refuse a task in `check`.

    Raises:
        NotApplicableError: it can stand before neither.
    """
    defense = subject.fresh()
    possible: tuple[TaskKind, ...] = ANSWER_KINDS
    if isinstance(defense, GuardDefense) and defense.reads == "answer":
        possible = ("text",)
    kinds: list[TaskKind] = []
    for kind in possible:
        try:
            defense.check(toy_task_data(kind))
        except DataError as error:
            refusal = str(error)
        else:
            kinds.append(kind)
    if not kinds:
        raise NotApplicableError(f"the defense supports none of the kit's tasks: {refusal}")
    return tuple(kinds)


def prompts() -> list[str]:
    """Clean prompts of the toy task, and odd ones."""
    return [*(example.text for example in toy_task_data("labels").train[:8]), *(text for text in TEXTS if text.strip())]


def _replies(subject: Subject, kind: TaskKind, texts: Sequence[str], names: Sequence[int]) -> list[Reply]:
    return defended_victim(subject, kind).ask(list(texts), names=[("conformance", name) for name in names])


def _same_reply(one: Reply, other: Reply) -> bool:
    if one.logits is not None and other.logits is not None:
        return bool(np.allclose(one.logits, other.logits, atol=TOLERANCE))
    return (one.logits is None, one.text, one.too_long) == (other.logits is None, other.text, other.too_long)


def _check_fit(subject: Subject) -> None:
    for kind in _kinds(subject):
        one, other = (fit_result(subject, subject.fresh(), kind) for _ in range(2))
        if one != other:
            raise UnmetError("the same fit from the same seed", f"{one} and {other}", "draw from job.rng alone")


def _check_shapes(subject: Subject) -> None:
    defense: Any = subject.fresh()
    blocks = isinstance(defense, GuardDefense) and type(defense).blocks is not GuardDefense.blocks
    applies = isinstance(defense, TransformDefense) and type(defense).apply is not TransformDefense.apply
    if not (blocks or applies):
        raise NotApplicableError("it treats one text at a time")
    name: str = "blocks" if blocks else "apply"
    wanted: tuple[type, ...] = (bool, np.bool_) if blocks else (str,)
    facts, texts = fit_result(subject, defense, _kinds(subject)[0]), prompts()
    for some in ([], texts[:1], texts):
        given = defense.blocks(some, facts) if blocks else defense.apply(some)
        if len(given) != len(some) or not all(isinstance(one, wanted) for one in given):
            raise UnmetError(
                f"{name}() gives one {wanted[0].__name__} per prompt, {len(some)} here",
                f"{len(given)}: {str(list(given))[:80]}",
                "return a list in the order of the prompts; of no prompts an empty one",
            )


def _check_independent(subject: Subject) -> None:
    kind, texts = _kinds(subject)[0], prompts()
    order = list(range(len(texts)))
    together = _replies(subject, kind, texts, order)
    alone = [_replies(subject, kind, [text], [i])[0] for i, text in enumerate(texts)]
    turned = _replies(subject, kind, texts[::-1], order[::-1])[::-1]
    for text, a, b, c in zip(texts, together, alone, turned, strict=True):
        if not (_same_reply(a, b) and _same_reply(a, c)):
            raise UnmetError(
                "the same treatment of a prompt, whatever other prompts come with it",
                f"{text[:40]!r}: {_reply_text(a)}, alone {_reply_text(b)}, in another order {_reply_text(c)}",
                "decide about each text by itself; draw nothing at random but from case.rng",
            )


def _reply_text(reply: Reply) -> str:
    if reply.logits is not None:
        return f"logits {np.round(reply.logits, 3).tolist()}"
    return "blocked" if reply.text is None else repr(reply.text[:30])


def _check_randomised(subject: Subject) -> None:
    defense: RuntimeDefense = subject.fresh()
    if defense.randomised:
        raise NotApplicableError("it says that it treats equal prompts differently")
    for kind in _kinds(subject):
        victim, texts = defended_victim(subject, kind), prompts()
        seen = [_treatments(victim, texts, f"draw {draw}") for draw in range(DRAWS)]
        for text, *treated in zip(texts, *seen, strict=True):
            if any(not _same_treatment(treated[0], other) for other in treated[1:]):
                raise UnmetError(
                    "the same treatment of equal prompts, since `randomised` is False",
                    f"{text[:40]!r} is treated in several ways in {DRAWS} tries",
                    "say `randomised` where case.rng is drawn from or temperature is above 0: then losses are taken "
                    "over several draws, and each string is judged by several",
                )


def _check_loss_varies(subject: Subject) -> None:
    defense: RuntimeDefense = subject.fresh()
    if defense.loss_varies or not defense.randomised:
        raise NotApplicableError("the loss is taken over several draws, or nothing is drawn")
    for kind in _kinds(subject):
        victim, data = defended_victim(subject, kind), toy_task_data(kind)
        problem = problems_of(victim, data, data.validation[:1])[0]
        rows = problem.random_tokens(np.random.default_rng(0), 6)
        meters = [StepMeter(names=("conformance", f"draw {draw}")) for draw in range(DRAWS)]
        losses = [victim.score([(problem, Score(rows), meter)])[0] for meter in meters]
        if not all(np.allclose(one, losses[0], atol=TOLERANCE) for one in losses):
            raise UnmetError(
                "the same losses of the same candidates, since `loss_varies` is False",
                f"others in {DRAWS} tries",
                "leave `loss_varies` as it is, True of a defense that is random: attacks are then told a mean",
            )


def _treatments(victim: DefendedVictim, texts: Sequence[str], names: str) -> list[tuple[str, Reply]]:
    """What each text becomes on its way through the defense, where it is rewritten, and the reply."""
    items = [PromptItem(text, ("conformance", names, i)) for i, text in enumerate(texts)]
    made = victim.pipeline.rewritten(items, 0) if victim.layers[0].rewrites else [(item, None) for item in items]
    return [(item.text, reply) for (item, _), reply in zip(made, victim.reply_to(items), strict=True)]


def _same_treatment(one: tuple[str, Reply], other: tuple[str, Reply]) -> bool:
    return one[0] == other[0] and _same_reply(one[1], other[1])


def _check_costs(subject: Subject) -> None:
    texts = prompts()
    first, again = (_replies(subject, _kinds(subject)[0], texts, range(len(texts))) for _ in range(2))
    for text, one, other in zip(texts, first, again, strict=True):
        cost = one.defense
        if any(x < 0 or math.isinf(x) for x in (cost.nominal, cost.executed)):
            raise UnmetError(
                "costs of 0 or more FLOPs", f"{cost!r} for {text[:30]!r}", "Flops() for plain string rules"
            )
        if cost.nominal != other.defense.nominal:
            raise UnmetError("the same cost for the same prompt", "another", "let it follow from the text alone")


def _check_offers(subject: Subject) -> None:
    defense: RuntimeDefense = subject.fresh()
    guard = isinstance(defense, GuardDefense)
    possible: tuple[str, ...] = ("victim", "surrogate", "none") if guard else ("straight_through", "none")
    if isinstance(defense, ConversationDefense):
        possible = ("victim",)
    if defense.offers not in possible:
        raise UnmetError(
            f"offers is {' or '.join(map(repr, possible))}: what a gradient attack gets (of {get_args(Offer)})",
            repr(defense.offers),
            "write one",
        )
    victim, data = defended_victim(subject, _kinds(subject)[0]), toy_task_data(_kinds(subject)[0])
    problem = problems_of(victim, data, data.validation[:1])[0]
    string = problem.random_tokens(np.random.default_rng(0), 3)
    try:
        (answer,) = victim.gradient([(problem, Gradient(string[0], top=4), StepMeter())])
    except AccessError:
        if offers_gradient(defense) and "gradient" in victim.backend.abilities:
            raise
        return
    if answer.tokens.shape != (5, 4) or not np.isfinite(answer.values).all():
        raise UnmetError("a finite gradient of the string, [5, 4]", str(answer), "surrogate() returns a Slope [S, A]")


def _check_shapes_kept(subject: Subject) -> None:
    for kind in _kinds(subject):
        victim, data = defended_victim(subject, kind), toy_task_data(kind)
        examples = data.validation[:4]
        for reply in victim.ask([example.text for example in examples]):
            if reply.logits is not None and reply.logits.shape != (2,):
                raise UnmetError("logits of the task's labels", str(reply.logits.shape), "leave the answer alone")
        problem, meter = problems_of(victim, data, examples)[0], StepMeter()
        rows = problem.random_tokens(np.random.default_rng(0), 6)
        (losses,) = victim.score([(problem, Score(rows), meter)])
        if losses.shape != (6,) or np.isnan(losses).any():
            raise UnmetError("a loss per candidate, no NaN", repr(losses), "a blocked candidate's loss is inf")
        if meter.queries != 6:
            raise UnmetError("6 queries for 6 candidates", str(meter.queries), "report this: the engine counts them")


def _check_clean_prompts_pass(subject: Subject) -> None:
    defense: RuntimeDefense = subject.fresh()
    if not isinstance(defense, GuardDefense):
        raise NotApplicableError("it refuses nothing by itself")
    kind = _kinds(subject)[0]
    if may_ask_models(defense) and not fit_asks(subject, kind):  # a fitted threshold fits random models too
        raise NotApplicableError("its fit() asks no model, so it trusts trained ones; the kit's are random")
    clean = [example.text for example in toy_task_data("labels").validation]
    replies = _replies(subject, kind, clean, range(len(clean)))
    blocked = sum(reply.logits is None and reply.text is None for reply in replies)
    if blocked > MAX_BLOCKED_SHARE * len(clean):
        raise UnmetError(
            f"at most {MAX_BLOCKED_SHARE:.0%} of clean prompts refused, of the kind that the guard was fitted on",
            f"{blocked} of {len(clean)}",
            "fit the threshold on job.data.train, or choose one that lets them pass",
        )


def _check_surround(subject: Subject) -> None:
    defense: RuntimeDefense = subject.fresh()
    if not isinstance(defense, ConversationDefense):
        raise NotApplicableError("it puts no messages around a prompt")
    system, asked, said = Message("system", "Be brief."), Message("user", "Who is there?"), Message("assistant", "Me.")
    for around in (PLAIN, Conversation((system,)), Conversation((system, asked, said)), Conversation((asked,), "tool")):
        made, again = (subject.fresh().surround(around, "Be kind.") for _ in range(2))
        if made != again or made.role != around.role:
            raise UnmetError(
                "the same messages around the same conversation, and the role of the one in between kept",
                f"{made} and {again}",
                "let them follow from the parameters and the conversation alone",
            )
        kept = [message for message in (*around.before, *around.after) if message.role != "system"]
        if [m for m in (*made.before, *made.after) if m in kept] != kept:
            raise UnmetError(
                "all that was said before, in order", str(made), "add messages; the system prompt alone may be replaced"
            )


RUNTIME_CHECKS = (
    Check("fits", "what it is fitted to is JSON data, and follows from the seed", _check_fit),
    Check("shapes", "it answers for each prompt, in order", _check_shapes),
    Check("independent", "it always treats a prompt the same, whatever comes with it", _check_independent),
    Check("randomised", "if it says that it draws nothing, equal prompts are treated the same", _check_randomised),
    Check("loss_varies", "if it says that losses do not vary, they do not", _check_loss_varies),
    Check("costs", "what a prompt costs is counted, and is the same every time", _check_costs),
    Check("offers", "it says what a gradient attack gets, and gives that", _check_offers),
    Check("keeps", "labels, losses and queries keep their shapes", _check_shapes_kept),
    Check("surround", "the messages that it puts around a prompt leave the others alone", _check_surround),
    Check("spares", "it lets clean prompts pass", _check_clean_prompts_pass),
)


def checks_of(cls: type[Plugin]) -> tuple[Check, ...]:
    """The checks of a class of defenses; none for the absence of a defense."""
    if issubclass(cls, TrainedDefense):
        return trained_defenses.CHECKS
    return RUNTIME_CHECKS if issubclass(cls, RuntimeDefense) else ()
