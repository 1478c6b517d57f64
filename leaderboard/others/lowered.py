"""A row with the claims against it: what they break besides, and what that takes. Never more robust than without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.records.read import Cell
from leaderboard.arrays import Booleans
from leaderboard.data.trajectories import Trajectories, TrajectoriesBySeed, common_examples, read_trajectories
from leaderboard.fit.pooled_rates import Rate, pooled_rates, shared_example_variance
from leaderboard.others.claims import Claim, setting_of


@dataclass(frozen=True)
class SeedOutcome:
    """What became of the examples that a row's ASR is of, under one seed, at the full budget of its own attacks.

    Attributes:
        examples: E names.
        broken: [E].
    """

    examples: tuple[str, ...]
    broken: Booleans


@dataclass(frozen=True)
class OwnCost:
    """What breaking a row takes by its own attacks: FLOPs (nominal) per example.

    Attributes:
        to_target: at which they reach the target ASR; None where they do not, or it is unknown.
        full: of their full budget, all together; None where unknown.
    """

    to_target: float | None
    full: float | None


@dataclass(frozen=True)
class ClaimedCost:
    """What reaching the target takes with the claims, FLOPs per example.

    Attributes:
        compute: as far as claims declare it; None where one that is needed does not.
        with_own: whether the full budget of the row's own attacks is part of it, because the claims reach the target
            only together with these.
    """

    compute: float | None
    with_own: bool


@dataclass(frozen=True)
class ClaimOnRow:
    """A claim against a row.

    Attributes:
        broke: examples that its strings break, of those that the ASR is of, all seeds together.
        new: of them, those that the row's own attacks did not break.
    """

    claim: Claim
    broke: int
    new: int


@dataclass(frozen=True)
class ClaimedRow:
    """A row with all that is claimed against it.

    Attributes:
        asr: share of examples that its own attacks or a counted claim broke; None where no claim counts, or nothing was
            attacked.
        cost: None where claims make it no cheaper to reach the target.
        claims: also those that do not count.
    """

    asr: Rate | None
    cost: ClaimedCost | None
    claims: tuple[ClaimOnRow, ...]


def claimed_row(
    cells: Sequence[Cell], strongest: str | None, own: OwnCost, target: float, claims: Sequence[Claim]
) -> ClaimedRow | None:
    """The row of ``cells`` with those of the ``claims`` that are against it; None where none is.

    Args:
        strongest: label of the attack that the ASR is of where no example was attacked by all.
        target: attack success rate that counts as broken.
    """
    seed_of = {setting_of(cell.record): cell.record.seed for cell in cells}
    specs = {cell.record.spec_hash for cell in cells}
    found = [
        claim
        for claim in claims
        if claim.entry_spec in specs and all(setting_of(cell.record) in seed_of for cell in claim.cells)
    ]
    if not found:
        return None
    outcomes = row_outcomes(cells, strongest)
    broken_by: list[dict[int, Booleans]] = []
    on_row = []
    for claim in found:
        by_seed = {
            cell.record.seed: np.isin(outcomes[cell.record.seed].examples, sorted(claim.broken(cell)))
            for cell in claim.cells
            if cell.record.seed in outcomes
        }
        new = sum(int((broken & ~outcomes[seed].broken).sum()) for seed, broken in by_seed.items())
        on_row.append(ClaimOnRow(claim, sum(int(broken.sum()) for broken in by_seed.values()), new))
        if claim.counts:
            broken_by.append(by_seed)
    counted = [claim for claim in found if claim.counts]
    if not counted or not outcomes:
        return ClaimedRow(None, None, tuple(on_row))
    joint = lowered(outcomes, broken_by)
    asr = _rate(joint)
    spent = [_spent(claim, outcomes) for claim in counted]
    cost = _cost(own, target, outcomes, broken_by, spent) if asr.value >= target else None
    return ClaimedRow(asr, cost, tuple(on_row))


def row_outcomes(cells: Sequence[Cell], strongest: str | None) -> dict[int, SeedOutcome]:
    """Per seed the examples that a row's ASR is of, and which its own attacks broke: of all attacks together where they
    attacked examples in common, else of the strongest.
    """
    attacks: dict[str, dict[int, Trajectories]] = {}
    for cell in cells:
        attacks.setdefault(cell.record.attack.label, {})[cell.record.seed] = read_trajectories(cell)
    usable = [by_seed for _, by_seed in sorted(attacks.items()) if any(one.at_step.size for one in by_seed.values())]
    found = _joint(usable)
    return found or _joint([attacks[strongest]] if strongest in attacks else [])


def lowered(own: dict[int, SeedOutcome], claims: Sequence[dict[int, Booleans]]) -> dict[int, SeedOutcome]:
    """``own`` with what claims broke, by seed [E] each: an example that anybody broke is broken."""
    joint = {}
    for seed, outcome in own.items():
        broken = outcome.broken.copy()
        for claim in claims:
            if seed in claim:
                broken |= claim[seed]
        joint[seed] = SeedOutcome(outcome.examples, broken)
    return joint


def _joint(attacks: Sequence[TrajectoriesBySeed]) -> dict[int, SeedOutcome]:
    if not attacks:
        return {}
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in attacks)))
    found = {}
    for seed in seeds:
        for of_seed in common_examples([{seed: by_seed[seed]} for by_seed in attacks]):
            broken = np.logical_or.reduce([one.so_far[:, -1] for one in of_seed])
            found[seed] = SeedOutcome(of_seed[0].examples, broken)
    return found


def _unbroken(outcome: SeedOutcome) -> SeedOutcome:
    return SeedOutcome(outcome.examples, np.zeros_like(outcome.broken))


def _rate(outcomes: dict[int, SeedOutcome]) -> Rate:
    of_seeds = list(outcomes.values())
    columns = [one.broken[:, None] for one in of_seeds]
    shared = shared_example_variance([one.examples for one in of_seeds], columns)
    (rate,) = pooled_rates(np.stack([column.sum(axis=0) for column in columns]), [len(c) for c in columns], shared)
    return rate


def _spent(claim: Claim, outcomes: dict[int, SeedOutcome]) -> float | None:
    """What a claim declares, mean over the row's examples: what an example took counts in each seed, and what was spent
    on examples that the ASR is not of counts too.
    """
    flops = claim.flops
    return None if flops is None else flops * len(outcomes) / sum(len(one.examples) for one in outcomes.values())


def _cost(
    own: OwnCost,
    target: float,
    outcomes: dict[int, SeedOutcome],
    claims: Sequence[dict[int, Booleans]],
    spent: Sequence[float | None],
) -> ClaimedCost | None:
    """What reaching the target takes by the cheapest single claim that reaches it, by all claims together, or by these
    with the row's own attacks; None where its own attacks are known to take no more.
    """
    unbroken = {seed: _unbroken(one) for seed, one in outcomes.items()}
    sets = [([claim], [flops]) for claim, flops in zip(claims, spent, strict=True)] + [([*claims], [*spent])]
    reaching = [flops for some, flops in sets if _rate(lowered(unbroken, some)).value >= target]
    ways = reaching or [[*spent, own.full]]
    totals = [sum(part for part in way if part is not None) for way in ways if None not in way]
    compute = min(totals, default=None)
    if own.to_target is not None and (compute is None or compute >= own.to_target):
        return None
    return ClaimedCost(compute, with_own=not reaching)
