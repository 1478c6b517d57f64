"""A victim behind the defense under test: a toy, or a random transformer where the defense asks models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.api.attack import Attack
from harness.api.model.backend import Backend
from harness.api.problem.problem import Problem
from harness.api.problem.search_result import SearchResult
from harness.api.runtime_defense import (
    ConversationDefense,
    FitJob,
    GuardDefense,
    RuntimeDefense,
    TransformDefense,
    VoteDefense,
)
from harness.api.task import Example, TaskData, TaskKind
from harness.engine.defended.defense_requests import answer_defense_requests
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.on_examples import place_all, search_on_examples
from harness.hashing import canonical_json
from harness.rng import named_rng
from harness.testing.checks.trained_defenses import resolver, toy_models
from harness.testing.plugin_under_test import Subject
from harness.testing.results import UnmetError
from harness.testing.toys.backend import ToyBackend
from harness.testing.toys.examples import toy_threat
from harness.testing.toys.language_model import ToyLanguageModel
from harness.testing.toys.task_data import LABELS, auxiliary_labels, toy_task_data
from harness.testing.toys.tokenizers import CHAT, tokenizer_of

THREAT = toy_threat("gradient", tokens=5)
_DEFAULT_METHODS = (GuardDefense.ruling, GuardDefense.surrogate, TransformDefense.rewrite, VoteDefense.copy)


def may_ask_models(defense: RuntimeDefense) -> bool:
    """Whether it may send requests to a model, the victim included: it names models, votes, or has a generator."""
    own = [getattr(type(defense), name, None) for name in ("ruling", "surrogate", "rewrite", "copy")]
    generators = any(method is not None and method not in _DEFAULT_METHODS for method in own)
    return bool(defense.models()) or generators or isinstance(defense, VoteDefense)


def victim_of(defense: RuntimeDefense, kind: TaskKind) -> Any:
    """A toy victim for that kind of answers; a random transformer where the defense may send requests to it."""
    if isinstance(defense, ConversationDefense):  # for chat models
        tokenizer = tokenizer_of("byte_bpe").with_chat(CHAT)
        return ToyBackend(tokenizer, context=8192) if kind == "labels" else ToyLanguageModel(tokenizer)
    if may_ask_models(defense):
        from harness.testing.toys.random_transformer import random_backend

        return random_backend(2 if kind == "labels" else 0)
    return ToyBackend(context=8192) if kind == "labels" else ToyLanguageModel()


def models_of(defense: RuntimeDefense, kind: TaskKind) -> dict[str, Backend]:
    """Random transformers in the places of the models that it names, for a task of that kind."""
    if not defense.models():
        return {}
    from harness.testing.toys.random_transformer import random_backend

    labels = {role: auxiliary_labels(declared, kind) for role, declared in defense.models().items()}
    return {role: random_backend(len(own), seed=1) for role, own in labels.items()}


def fit_result(subject: Subject, defense: RuntimeDefense, kind: TaskKind) -> dict[str, Any]:
    """What `fit` returns, as it is read back from an artifact.

    Raises:
        UnmetError: it is no JSON data.
    """
    victim, models, data = victim_of(defense, kind), models_of(defense, kind), toy_task_data(kind)
    subject.kept["fit asks", kind] = False

    def ask(requests: Sequence[Any]) -> list[Any]:
        subject.kept["fit asks", kind] = True
        return [
            answer for answer, _ in answer_defense_requests(f"defense {defense.name}", requests, {"": victim, **models})
        ]

    def search(attack: Attack, examples: Sequence[Example]) -> SearchResult:
        models = toy_models(attack, victim.tokenizer, kind)
        return search_on_examples(attack, examples, victim, data, THREAT, ("conformance", "fit"), lambda _: models)

    rng = named_rng("conformance", "fit")
    given = defense.fit(FitJob(data, 0, victim, rng, list, ask, search, resolver(subject), THREAT))
    try:
        text = canonical_json(given)
    except ValueError as error:
        raise UnmetError("fit() gives JSON data", str(error), "turn arrays into lists, and leave out NaN") from None
    back: dict[str, Any] = json.loads(text)
    return back


def defended_victim(subject: Subject, kind: TaskKind = "labels", draws: int = 1) -> DefendedVictim:
    """A victim behind a fresh instance of the defense, fitted once."""
    defense: RuntimeDefense = subject.fresh()
    key = ("fitted", kind)
    if key not in subject.kept:
        subject.kept[key] = fit_result(subject, defense, kind)
    layer = Layer(defense, subject.kept[key], models_of(defense, kind))
    return DefendedVictim(victim_of(defense, kind), [layer], LABELS if kind == "labels" else (), 8, draws)


def fit_asks(subject: Subject, kind: TaskKind) -> bool:
    """Whether its `fit` asks a model."""
    defended_victim(subject, kind)  # fits it, unless that has been done
    return bool(subject.kept["fit asks", kind])


def problems_of(victim: DefendedVictim, data: TaskData, examples: Sequence[Example]) -> list[Problem]:
    """Examples ready to be attacked with five tokens."""
    return place_all(examples, THREAT, victim.backend.tokenizer, data.labels, victim.surrounded)
