"""What a cell's manifest says of the defense: what it is made of, what it cost, how it treats clean prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.api.runtime_defense import GuardDefense, RuntimeDefense
from harness.api.task import Example
from harness.engine.defended.victim import DefendedVictim, Reply
from harness.flops import Flops
from harness.records.cell import CertificateFacts, DefenseFacts, PartFacts
from harness.registry.defense_stack import is_randomised, parts_of, sort_of
from harness.run.cell.base_record import compute, plugin_record
from harness.run.cell.clean_check import CleanCheck
from harness.run.prepare.prepared_cell import PreparedCell
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.spec.cells import CellSpec
from harness.store.artifacts import Artifact


def defense_facts(cell: ResolvedCell, weights: Artifact) -> DefenseFacts:
    """What a trained defense cost, what it was trained against, and what the defense is made of.

    Args:
        weights: the artifact that is attacked.
    """
    spec = cell.spec
    draws: dict[str, Any] = {}
    if is_randomised(spec.defense):
        draws = {"attack_draws": 1 if spec.static else spec.attack_draws, "judge_draws": spec.judge_draws}
    made_of = {"parts": _parts(spec), "adaptive": not spec.static, **draws}
    defense, facts = spec.trained_plugin, weights.facts
    if spec.round is None or defense is None:
        return DefenseFacts(**made_of)
    against = {"threat": defense.against(spec.threat).label()}
    if cell.training_attack is not None:
        against["attack"] = cell.training_attack.label
    return DefenseFacts(
        round=facts["round"],  # an earlier one than the cell's where a budget ended the training
        search=compute(Flops.from_json(facts["search"])),
        training=compute(Flops.from_json(facts["training"])),
        artifact=weights.key,
        notes=facts["notes"],
        against=against,
        **made_of,
    )


def _parts(cell: CellSpec) -> list[PartFacts]:
    found = []
    for part in parts_of(cell.defense):
        plugin = part.plugin
        offers = plugin.offers if isinstance(plugin, RuntimeDefense) else "exact"
        randomised = isinstance(plugin, RuntimeDefense) and plugin.randomised
        found.append(PartFacts(defense=plugin_record(part), sort=sort_of(plugin), offers=offers, randomised=randomised))
    return found


def seen_defense_facts(
    prepared: PreparedCell, examples: Sequence[Example], clean: CleanCheck, certificate: dict[str, object] | None
) -> DefenseFacts:
    """The same with what was seen on clean prompts: false positives, what a query costs, certificates."""
    facts, victim = defense_facts(prepared.cell, prepared.weights), prepared.victim
    parts = list(facts.parts)
    at_runtime = [i for i, part in enumerate(parts) if part.sort != "trained"]
    fit = Flops()
    behind_vote = False
    for at, (layer, artifact) in enumerate(zip(victim.layers, prepared.fits, strict=True)):
        part = parts[at_runtime[at]]
        spent = Flops.from_json(artifact.facts["compute"]) if artifact and "compute" in artifact.facts else Flops()
        fit += spent
        offers = "victim" if part.offers == "surrogate" and not layer.same_tokens else part.offers
        update: dict[str, Any] = {"fit": compute(spent), "offers": offers}
        if part.sort == "guard" and not behind_vote:
            update |= _false_positives(victim, at, clean.replies)
        behind_vote = behind_vote or part.sort == "vote"
        parts[at_runtime[at]] = part.model_copy(update=update)
    added = [reply.defense for reply in clean.replies]
    per_query = sum(added, Flops()) * (1 / len(added)) if added else Flops()
    update = {"parts": parts, "fit": compute(fit), "per_query": compute(per_query)}
    answered = [reply.victim for reply in clean.replies if reply.victim != Flops()]
    if answered:
        update["per_answer"] = compute(sum(answered, Flops()) * (1 / len(answered)))
    if not victim.labels:
        benign = [right for example, right in zip(examples, clean.correct, strict=True) if example.benign]
        update |= {"benign_clean": len(benign), "over_refused": len(benign) - sum(benign)}
    if certificate is not None:
        update["certificate"] = CertificateFacts.model_validate(certificate)
    return facts.model_copy(update=update)


def _false_positives(victim: DefendedVictim, at: int, replies: Sequence[Reply]) -> dict[str, int]:
    """How many clean prompts, or answers to them, a guard looked at, and how many it refused."""

    def met(by: int | None) -> bool:
        """Whether what was blocked there had been seen by this guard."""
        if by is None:
            return True
        inner, outer = _reads(victim, by), _reads(victim, at)
        if outer == "prompt":
            return inner == "answer" or by >= at
        return inner == "answer" and by <= at  # answers are met from the victim outwards

    seen = [reply for reply in replies if not reply.too_long and met(reply.blocked_by)]
    return {"reached": len(seen), "blocked": sum(reply.blocked_by == at for reply in seen)}


def _reads(victim: DefendedVictim, at: int) -> str:
    guard = victim.layers[at].defense
    return guard.reads if isinstance(guard, GuardDefense) else "prompt"
