"""What a worker is given for the cells of each victim."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.registry.registry import Registry
from harness.spec.exclude import Matcher
from harness.spec.model import Spec
from harness.spec.problems import SpecProblem
from harness.spec.resolve import Axes


@dataclass(frozen=True)
class Resources:
    """Of one worker. Nothing here can change a cell's key.

    Attributes:
        cpus: threads; None: as many as its executor gives.
        gpus: how many, or a share of one.
        memory: main memory in bytes; None: whatever there is.
    """

    cpus: int | None = None
    gpus: float = 0.0
    memory: int | None = None


NOTHING_SAID = Resources()


def resources_of(spec: Spec, axes: Axes, registry: Registry, problems: list[SpecProblem]) -> list[Resources]:
    """For each victim of the spec, in order; entries that mean no victim are noted."""
    found = [NOTHING_SAID] * len(axes.victims.chosen)
    for index, entry in enumerate(spec.resources):
        said: dict[str, Any] = entry.model_dump(exclude={"victim"}, exclude_none=True)
        places = list(range(len(found)))
        if entry.victim is not None:
            matcher = Matcher(axes, registry, ("resources", index), problems, "the entry means nothing")
            places = matcher.victims(entry.victim)
        for place in places:
            found[place] = replace(found[place], **said)
    return found
