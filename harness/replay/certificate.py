"""A recorded certificate, of which the radii of some clean prompts are estimated again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.api.task import Example
from harness.replay.recorded import RecordedCell
from harness.run.prepare.certificates import certificate_to_estimate, certified_radii
from harness.run.prepare.preparer import PreparedCell

PROMPTS = 4  # that are certified again
OFF_BY = 1  # of a radius: another machine may get another label for a copy
_COMPUTE = 0.5  # prompts are not equally long


def certificate_problems(recorded: RecordedCell, prepared: PreparedCell, examples: Sequence[Example]) -> Iterator[str]:
    """What of a certificate is otherwise here, each a line in words.

    The copies of `PROMPTS` clean prompts are drawn and answered again, those of the drawn strings where they are
    certified.

    Args:
        examples: the clean prompts, as the victim was given them.
    """
    facts = recorded.record.defense_facts
    told = None if facts is None else facts.certificate
    certificate = certificate_to_estimate(prepared.victim)
    if told is None or certificate is None:
        if (told is None) != (certificate is None):
            yield f"it has {'no' if told is None else 'a'} certificate in the records, and here the opposite"
        return
    certified = examples[: certificate.examples]
    should = certificate.unit, certificate.alpha, certificate.samples, len(certified)
    if (told.unit, told.alpha, told.samples, len(told.radii)) != should:
        yield (
            f"its certificate is of {told.samples} copies of {len(told.radii)} prompts, here of {certificate.samples} "
            f"copies of {len(certified)}, or with another unit or probability of error"
        )
        return
    places = _places([example.id for example in certified], [row.example for row in recorded.steps])
    radii, spent = certified_radii(prepared.cell, prepared.victim, [certified[place] for place in places])
    for place, radius in zip(places, radii, strict=True):
        if abs(told.radii[place] - radius) > OFF_BY:
            yield f"example {certified[place].id!a}: certified within {told.radii[place]} in the records, {radius} here"
    nominal = told.compute.nominal
    expected = spent.nominal * len(certified) / len(places)
    if nominal is not None and not np.isnan(expected) and abs(nominal - expected) > _COMPUTE * expected:
        yield f"its certificate took {nominal:.3g} FLOPs (nominal) in the records, about {expected:.3g} here"


def _places(certified: Sequence[str], drawn: Sequence[str]) -> list[int]:
    """Of certified prompts those of drawn strings, then the first."""
    place_of = {example: place for place, example in enumerate(certified)}
    wanted = dict.fromkeys([place_of[example] for example in drawn if example in place_of])
    return sorted([*wanted, *(place for place in range(len(certified)) if place not in wanted)][:PROMPTS])
