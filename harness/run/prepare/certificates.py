"""Certificates: how many tokens of a prompt an attacker may change before a vote can change its mind."""

from __future__ import annotations

from collections.abc import Sequence
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
    vote = _certified_vote(victim.layers)
    if vote is None or not victim.labels:
        return None
    place, certificate = vote

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        defense, victim_, task = cell.spec.defense.label, cell.spec.victim.label, cell.spec.task.label
        artifacts.reporter.stage(f"certify {defense} for {victim_} on {task}")
        return {"certificate": _estimate(cell, victim, examples, place, certificate, artifacts)}

    identity = {"what": "certificate", "pipeline": cell.keys.pipeline, "examples": len(examples)}
    artifact = artifacts.find_or_make(ArtifactSpec.of(lambda: identity), make, cell.spec.training_threads)
    found: dict[str, object] | None = artifact.facts["certificate"]
    return found


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


def _estimate(
    cell: ResolvedCell,
    victim: DefendedVictim,
    examples: Sequence[Example],
    place: int,
    certificate: Certificate,
    artifacts: Artifacts,
) -> dict[str, object]:
    """Draws copies of its own. The guards before the vote have no part in it: what they refuse is no success."""
    certified = list(examples[: certificate.examples])
    radii, spent = [], Flops()
    for start in range(0, len(certified), _BATCH):
        batch = certified[start : start + _BATCH]
        items = [
            PromptItem(example.text, (cell.spec.seed, cell.keys.pipeline, example.id, "certificate", copy))
            for example in batch
            for copy in range(certificate.samples)
        ]
        replies = victim.pipeline.rewritten_replies(items, place)
        for i, example in enumerate(batch):
            copies = replies[i * certificate.samples : (i + 1) * certificate.samples]
            right = sum(reply.label == example.label for reply in copies)
            radii.append(certificate.radius(right, certificate.samples))
            spent = sum((reply.victim + reply.defense for reply in copies), spent)
        artifacts.reporter.progress("certificate", len(radii), len(certified))
    return {
        "unit": certificate.unit,
        "alpha": certificate.alpha,
        "samples": certificate.samples,
        "radii": radii,
        "compute": spent.to_json(),
    }
