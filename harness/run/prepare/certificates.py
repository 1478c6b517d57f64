"""Certificates: how many tokens of a prompt an attacker may change before a vote can change its mind."""

from __future__ import annotations

from collections.abc import Sequence

from harness.api.runtime_defense import Certificate, TransformDefense, VoteDefense
from harness.api.task import Example
from harness.engine.defended.layer import Layer
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.victim import DefendedVictim
from harness.flops import Flops
from harness.run.reporter import WorkReporter

_BATCH = 16  # prompts whose copies are answered together


def certified_vote(layers: Sequence[Layer]) -> tuple[int, Certificate] | None:
    """Place of the vote that gives a certificate, and the certificate. Behind a transform there is none: that may make
    much of a small change of the prompt.
    """
    for at, layer in enumerate(layers):
        if isinstance(layer.defense, TransformDefense):
            return None
        if isinstance(layer.defense, VoteDefense):
            found = layer.defense.certificate()
            return None if found is None else (at, found)
    return None


def certify(
    victim: DefendedVictim, examples: Sequence[Example], key: str, seed: int, reporter: WorkReporter
) -> dict[str, object] | None:
    """Certified radii of clean prompts, as plain data; None where nothing is certified.

    The estimate draws copies of its own. The guards before the vote have no part in it: what they refuse is no success.
    """
    vote = certified_vote(victim.layers)
    if vote is None or not victim.labels:
        return None
    at, how = vote
    chosen = list(examples[: how.examples])
    radii, spent = [], Flops()
    for start in range(0, len(chosen), _BATCH):
        batch = chosen[start : start + _BATCH]
        items = [
            PromptItem(example.text, (seed, key, example.id, "certificate", copy))
            for example in batch
            for copy in range(how.samples)
        ]
        replies = victim.pipeline.rewritten_replies(items, at)
        for i, example in enumerate(batch):
            own = replies[i * how.samples : (i + 1) * how.samples]
            right = sum(reply.label == example.label for reply in own)
            radii.append(how.radius(right, how.samples))
            spent = sum((reply.victim + reply.defense for reply in own), spent)
        reporter.progress("certificate", len(radii), len(chosen))
    return {
        "unit": how.unit,
        "alpha": how.alpha,
        "samples": how.samples,
        "radii": radii,
        "compute": spent.to_json(),
    }
