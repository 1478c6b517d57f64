"""What a worker is given for the cells of each victim."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.registry.registry import Registry
from harness.spec.axes import Axes
from harness.spec.exclude import EntryMatcher
from harness.spec.fields import Spec
from harness.spec.spec_problems import SpecProblem


@dataclass(frozen=True)
class Resources:
    """What one worker is given. Nothing here can change a cell's key.

    Attributes:
        cpus: threads of its attack; None: as many as its executor gives.
        gpus: how many, or a share of one.
        memory: main memory in bytes; None: whatever there is.
    """

    cpus: int | None = None
    gpus: float = 0.0
    memory: int | None = None


UNSPECIFIED = Resources()


def victim_resources(spec: Spec, axes: Axes, registry: Registry, problems: list[SpecProblem]) -> list[Resources]:
    """The resources of each victim of the spec, in order; an entry that means no victim is a problem."""
    found = [UNSPECIFIED] * len(axes.victims.plugins)
    for index, entry in enumerate(spec.resources):
        given: dict[str, Any] = entry.model_dump(exclude={"victim"}, exclude_none=True)
        victims = list(range(len(found)))
        if entry.victim is not None:
            matcher = EntryMatcher(axes, registry, ("resources", index), problems, "the entry has no effect")
            victims = matcher.victims(entry.victim)
        for victim in victims:
            found[victim] = replace(found[victim], **given)
    return found
