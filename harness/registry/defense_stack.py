"""Stacks: several defenses in a row, or one that the attack does not know of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from harness.api.defense import Defense, TrainedDefense
from harness.api.refs import DefenseRef, resolved_ref
from harness.api.runtime_defense import ConversationDefense, GuardDefense, RuntimeDefense, TransformDefense, VoteDefense
from harness.api.task import TaskKind
from harness.registry.resolved_plugin import ResolvedPlugin

STATIC = " (static)"
"""After the label of a defense that attacks are not adapted to."""


class DefenseStack(Defense):
    """Several defenses that a prompt meets in order, or one that attacks are not adapted to."""

    name = "stack"

    class Params(Defense.Params):
        """The defenses of the stack, and whether attacks are adapted to them."""

        parts: tuple[DefenseRef, ...] = Field(description="in the order in which a prompt meets them")
        non_adaptive: bool = Field(
            False, description="attacks search against the undefended victim; only verdicts come from the defended one"
        )

    @property
    def parts(self) -> tuple[ResolvedPlugin, ...]:
        """The resolved defenses of the stack, in order."""
        return tuple(ref.resolved for ref in self.params.parts)


def parts_of(defense: ResolvedPlugin) -> tuple[ResolvedPlugin, ...]:
    """The defenses of a stack, or the one; the absence of a defense is no part."""
    found = defense.plugin.parts if isinstance(defense.plugin, DefenseStack) else (defense,)
    return tuple(part for part in found if isinstance(part.plugin, TrainedDefense | RuntimeDefense))


def trained_part(defense: ResolvedPlugin) -> ResolvedPlugin | None:
    """The part that trains weights, if there is one."""
    return next((part for part in parts_of(defense) if isinstance(part.plugin, TrainedDefense)), None)


def runtime_parts(defense: ResolvedPlugin) -> tuple[ResolvedPlugin, ...]:
    """The parts that work while the victim is asked, in order."""
    return tuple(part for part in parts_of(defense) if isinstance(part.plugin, RuntimeDefense))


def defense_sort(plugin: Defense) -> Literal["trained", "guard", "transform", "conversation", "vote"]:
    """Which of the sorts a defense is."""
    if isinstance(plugin, GuardDefense):
        return "guard"
    if isinstance(plugin, TransformDefense):
        return "transform"
    if isinstance(plugin, ConversationDefense):
        return "conversation"
    return "vote" if isinstance(plugin, VoteDefense) else "trained"


def is_static(defense: ResolvedPlugin) -> bool:
    """Whether attacks search against the undefended victim."""
    return isinstance(defense.plugin, DefenseStack) and bool(defense.plugin.params.non_adaptive)


def is_randomised(defense: ResolvedPlugin) -> bool:
    """Whether the defense may treat equal prompts differently."""
    return any(part.plugin.randomised for part in runtime_parts(defense))


def make_stack(parts: tuple[ResolvedPlugin, ...], non_adaptive: bool, registry: Any) -> ResolvedPlugin:
    """The stack of resolved defenses.

    Args:
        non_adaptive: whether attacks search against the undefended victim.
        registry: that resolved them.
    """
    params = DefenseStack.Params.model_construct(parts=tuple(map(resolved_ref, parts)), non_adaptive=non_adaptive)
    label = " + ".join(part.label for part in parts) + (STATIC if non_adaptive else "")
    plugin = DefenseStack(params)
    return ResolvedPlugin(
        "defense", plugin.name, plugin, "robustness-harness", "1", registry=registry, short_label=label
    )


def stack_problem(parts: tuple[ResolvedPlugin, ...], answers: TaskKind | None = None) -> str:
    """Why these defenses cannot stand in a row, and the fix; "" where they can.

    Args:
        answers: how the task is answered, where that is known.
    """
    trained = [part.name for part in parts if isinstance(part.plugin, TrainedDefense)]
    if len(trained) > 1:
        return f"{' and '.join(trained)} both train weights; a stack has one such part: keep one of them"
    if any(not isinstance(part.plugin, TrainedDefense | RuntimeDefense) for part in parts) and len(parts) > 1:
        plain = next(p.name for p in parts if not isinstance(p.plugin, TrainedDefense | RuntimeDefense))
        return f"'{plain}' means no defense, so it cannot be part of a stack; remove it from the list"
    tokens = ""
    for part in parts:
        plugin = part.plugin
        if isinstance(plugin, TransformDefense | VoteDefense):
            if tokens and _rewrites(plugin):
                return f"{part.name} rewrites the prompt behind {tokens}, whose tokens it would undo; put {tokens} last"
            tokens = part.name if plugin.gives_tokens else tokens
        if isinstance(plugin, GuardDefense) and plugin.reads == "answer" and answers == "labels":
            return (
                f"{part.name} reads answers in text, and the task is answered with labels; let it read the prompt, "
                "or exclude that combination"
            )
    return ""


def _rewrites(plugin: TransformDefense | VoteDefense) -> bool:
    """Whether it changes the prompt; a vote that takes copies as they are does not."""
    return isinstance(plugin, TransformDefense) or type(plugin).copy is not VoteDefense.copy
