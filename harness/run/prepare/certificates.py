"""Certificates: how many tokens of a prompt an attacker may change before a vote can change its mind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.api.runtime_defense import Certificate, TransformDefense, VoteDefense
from harness.api.task import Example
from harness.engine.defended.layer import Layer
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.victim import DefendedVictim
from harness.flops import Flops
from harness.run.prepare.artifacts import Artifacts
from harness.run.prepare.keys import ArtifactSpec
from harness.run.prepare.resolved_cell import ResolvedCell

_BATCH = 16  # prompts whose copies are answered together


def certificate_of(
    cell: ResolvedCell, victim: DefendedVictim, examples: Sequence[Example], artifacts: Artifacts
) -> dict[str, object] | None:
    """Certified radii of clean prompts, as plain data, found once for all attacks on a defense; None where it certifies
    nothing.
    """
    certificate = certificate_to_estimate(victim)
    if certificate is None:
        return None

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        defense, victim_, task = cell.spec.defense.label, cell.spec.victim.label, cell.spec.task.label
        artifacts.reporter.stage(f"certify {defense} for {victim_} on {task}")
        certified = examples[: certificate.examples]
        done = partial(artifacts.reporter.progress, "certificate", total=len(certified))
        radii, spent = certified_radii(cell, victim, certified, done)
        told = {"unit": certificate.unit, "alpha": certificate.alpha, "samples": certificate.samples}
        return {"certificate": told | {"radii": radii, "compute": spent.to_json()}}

    identity = {"what": "certificate", "pipeline": cell.keys.pipeline, "examples": len(examples)}
    artifact = artifacts.find_or_make(ArtifactSpec.of(lambda: identity), make, cell.spec.training_threads)
    found: dict[str, object] | None = artifact.facts["certificate"]
    return found


def certificate_to_estimate(victim: DefendedVictim) -> Certificate | None:
    """How the certificate of a defended victim is estimated; None where it certifies nothing."""
    vote = _certified_vote(victim.layers)
    return None if vote is None or not victim.labels else vote[1]


def certified_radii(
    cell: ResolvedCell,
    victim: DefendedVictim,
    examples: Sequence[Example],
    progress: Callable[[float], None] = lambda _done: None,
) -> tuple[list[int], Flops]:
    """The certified radius of each clean prompt, -1 where there is none, and what estimating them took. Draws copies of
    its own; those of a prompt are the same whatever else is estimated.

    The guards before the vote have no part in it: what they refuse is no success.

    Args:
        victim: one that certifies, see `certificate_to_estimate`.
        progress: told how many are done.
    """
    vote = _certified_vote(victim.layers)
    assert vote is not None
    place, certificate = vote
    surround = partial(victim.surrounded, before=place)
    radii: list[int] = []
    spent = Flops()
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        items = [
            PromptItem(
                example.text,
                (cell.spec.seed, cell.keys.pipeline, example.id, "certificate", copy),
                conversation=surround(example.conversation),
            )
            for example in batch
            for copy in range(certificate.samples)
        ]
        replies = victim.pipeline.rewritten_replies(items, place)
        for i, example in enumerate(batch):
            copies = replies[i * certificate.samples : (i + 1) * certificate.samples]
            right = sum(reply.label == example.label for reply in copies)
            radii.append(certificate.radius(right, certificate.samples))
            spent = sum((reply.victim + reply.defense for reply in copies), spent)
        progress(len(radii))
    return radii, spent


def _certified_vote(layers: Sequence[Layer]) -> tuple[int, Certificate] | None:
    """Place of the vote that gives a certificate, and the certificate. Behind a transform there is none: that may make
    much of a small change of the prompt.
    """
    for place, layer in enumerate(layers):
        if isinstance(layer.defense, TransformDefense):
            return None
        if isinstance(layer.defense, VoteDefense):
            found = layer.defense.certificate()
            return None if found is None else (place, found)
    return None
