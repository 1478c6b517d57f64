"""What a class must be to be registered. Every error says which class, from where, and how to fix it."""

from __future__ import annotations

import re
from typing import Any, get_args

from harness.api.attack import Attack
from harness.api.defense import Defense, TrainedDefense
from harness.api.judge import Judge
from harness.api.params import Params
from harness.api.plugin import Kind, Plugin
from harness.api.runtime_defense import (
    ConversationDefense,
    GuardDefense,
    Offer,
    RuntimeDefense,
    TransformDefense,
    VoteDefense,
)
from harness.api.task import Task
from harness.api.threat import Access
from harness.api.victim import Victim
from harness.errors import PluginError

BASES: dict[Kind, type[Plugin]] = {
    "task": Task,
    "victim": Victim,
    "attack": Attack,
    "defense": Defense,
    "judge": Judge,
}
NAME = re.compile(r"[a-z][a-z0-9_]*")
RESERVED = ("name", "params")  # keys of a reference's long form, `{name: gcg, params: {…}}`


def check_class(kind: Kind, cls: object, source: str) -> type[Plugin]:
    """The class itself, if it can be registered.

    Raises:
        PluginError: it cannot; one message with everything that is wrong.
    """
    base = BASES[kind]
    if not isinstance(cls, type):
        raise PluginError(
            f"{source}: {kind} {cls!r} is not a class; write register(TheClass), without parentheses after it"
        )
    who = f"{source}: {kind} class {cls.__module__}.{cls.__qualname__}"
    if not issubclass(cls, base):
        others = [f"{base.__name__}; it is a {found}" for found, other in BASES.items() if issubclass(cls, other)]
        raise PluginError(f"{who} does not inherit from {others[0] if others else base.__name__}")
    wrong = [*_name_problems(cls), *_method_problems(cls, base), *_params_problems(cls, base)]
    if not cls.summary():  # `__doc__` is not inherited, so a class that copies its parent still says what it is
        wrong.append("it has no docstring; its first line is the summary that `harness plugins` shows")
    if issubclass(cls, Attack) and cls.access not in get_args(Access):
        wrong.append(f"access is {cls.access!r}; write one of {', '.join(map(repr, get_args(Access)))}")
    if issubclass(cls, Defense):
        wrong += _defense_problems(cls)
    if issubclass(cls, Judge) and (cls.success, cls.verdict) == (Judge.success, Judge.verdict):
        wrong.append("it lacks the method success (see harness.Judge), or verdict, if it asks a model")
    if wrong:
        raise PluginError(f"{who} cannot be registered: {'; '.join(wrong)}")
    return cls


def _name_problems(cls: type[Plugin]) -> list[str]:
    name: Any = cls.name
    if not name:
        return [f'it has no name; add `name = "{snake_case(cls.__name__)}"`']
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return [f"name {name!r} is malformed; use lower-case letters, digits and underscores, starting with a letter"]
    return [f"the name {name!r} is reserved"] if name in RESERVED else []


def _method_problems(cls: type[Plugin], base: type[Plugin]) -> list[str]:
    missing = [name for name in dir(cls) if getattr(getattr(cls, name, None), "__isabstractmethod__", False)]
    if issubclass(cls, Judge) and (cls.success, cls.verdict) == (Judge.success, Judge.verdict):
        missing.append("success")  # or `verdict`, so neither is abstract
    if not missing:
        return []
    plural = "s" if len(missing) > 1 else ""
    return [f"it lacks the method{plural} {', '.join(missing)} (see harness.{base.__name__})"]


def _params_problems(cls: type[Plugin], base: type[Plugin]) -> list[str]:
    # Kinds without parameters of their own accept any `harness.Params`; an attack must keep `steps`.
    wanted: type = base.Params if "Params" in vars(base) else Params
    params: Any = cls.Params
    if isinstance(params, type) and issubclass(params, wanted):
        return []
    title = f"{base.__name__}.Params" if wanted is not Params else "harness.Params"
    return [f"its Params does not inherit from {title}; write `class Params({title}): ...`"]


def _defense_problems(cls: type[Defense]) -> list[str]:
    sorts = (TrainedDefense, GuardDefense, TransformDefense, ConversationDefense, VoteDefense)
    bases = [sort.__name__ for sort in sorts if issubclass(cls, sort)]
    if len(bases) > 1:
        return [f"it is several kinds at once ({', '.join(bases)}); inherit from one"]
    if bases and issubclass(cls, RuntimeDefense):
        return _runtime_problems(cls)
    if bases or (Defense in cls.__bases__ and not issubclass(cls, RuntimeDefense)):
        return []
    return [f"inherit from one of {', '.join(sort.__name__ for sort in sorts)}"]


def _runtime_problems(cls: type[RuntimeDefense]) -> list[str]:
    """What a runtime defense must implement: one method of two."""
    found = []
    for base, methods in ((GuardDefense, ("blocks", "ruling")), (TransformDefense, ("apply", "rewrite"))):
        if issubclass(cls, base) and all(getattr(cls, name) is getattr(base, name) for name in methods):
            found.append(f"it lacks the method {' or '.join(methods)} (see harness.{base.__name__})")
    if issubclass(cls, ConversationDefense) and cls.surround is ConversationDefense.surround:
        found.append("it lacks the method surround (see harness.ConversationDefense)")
    if issubclass(cls, VoteDefense) and cls.copies is VoteDefense.copies:
        found.append("it lacks the method copies (see harness.VoteDefense)")
    if cls.offers not in get_args(Offer):
        found.append(f"offers is {cls.offers!r}; write one of {', '.join(map(repr, get_args(Offer)))}")
    return found


def snake_case(name: str) -> str:
    """``hill_climb`` for ``HillClimb``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
