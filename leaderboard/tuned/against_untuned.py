"""An attack as tuned against the same attack as it was, on the same examples at the same total compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from harness.errors import DataError
from harness.records.read import Cell, Run
from leaderboard.arrays import Floats
from leaderboard.data.comparable_cells import Scope, sections
from leaderboard.data.record_facts import defense_round, is_as_it_came
from leaderboard.data.trajectories import Trajectories, common_examples, read_trajectories
from leaderboard.fit.compared.paired_difference import PairedDifference, SeedPairs, paired_difference
from leaderboard.tuned.search_share import SearchShare, search_shares

Counted = Literal["with the search", "without the search"]
_ROUNDING = 1 + 1e-9  # sums of the same steps in another order differ in their last bits


@dataclass(frozen=True)
class AtCompute:
    """Both attacks at one compute.

    Attributes:
        counted: whether the attack as it was may spend what the search took as well.
        budget: FLOPs (nominal), mean per attacked example, that the attack as it was may spend.
        spent: of it, what it had spent at its last step within.
        ran_out: whether it spends less than this in full.
        difference: ASR as tuned (`new`) less ASR as it was (`old`), over the same examples; None where the first step
            of the attack as it was takes more than the budget.
    """

    counted: Counted
    budget: float
    spent: float
    ran_out: bool
    difference: PairedDifference | None


@dataclass(frozen=True)
class AgainstUntuned:
    """One pair of attacks on one victim behind one defense.

    Attributes:
        tuned, untuned: labels of the attacks.
        spent: FLOPs (nominal) of the tuned attack, mean per attacked example, without the search.
        share: the search, and who shares its cost.
        one_model: whether all seeds attack one and the same model.
        at: with the search's cost counted, and without.
    """

    scope: Scope
    victim: str
    defense: str
    round: int
    tuned: str
    untuned: str
    spent: float
    share: SearchShare
    one_model: bool
    at: tuple[AtCompute, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        found = {name: getattr(self, name) for name in ("victim", "defense", "round", "tuned", "untuned", "spent")}
        search = self.share.record.model_dump(mode="json") | {"per_attacked_example": self.share.per_example}
        at = [asdict(one) for one in self.at]
        return {"task": self.scope.task, "threat": self.scope.threat, **found, "search": search, "at": at}


def against_untuned(runs: Sequence[Run]) -> list[AgainstUntuned]:
    """Every tuned attack of some runs against each one of its name that is not, where a spec has both.

    Raises:
        DataError: there is no such pair.
    """
    found: list[AgainstUntuned] = []
    shares = search_shares(cell for run in runs for cell in run.cells)
    for section in sections(runs):
        places: dict[tuple[str, str, int], dict[str, dict[int, Cell]]] = {}
        for cell in section.cells:
            record = cell.record
            place = record.victim.label, record.defense.label, defense_round(record)
            places.setdefault(place, {}).setdefault(record.attack.label, {})[record.seed] = cell
        for place, attacks in sorted(places.items()):
            found += _pairs(section.scope, place, attacks, shares)
    if not found:
        raise DataError(
            "no attack stands there both as tuned and as it was, on the same examples with known compute. "
            "`harness tune --compare FILE` writes a spec of both."
        )
    return found


def _pairs(
    scope: Scope,
    place: tuple[str, str, int],
    attacks: Mapping[str, Mapping[int, Cell]],
    shares: Mapping[str, SearchShare],
) -> Iterator[AgainstUntuned]:
    first = {label: next(iter(cells.values())).record for label, cells in attacks.items()}
    for label, record in sorted(first.items()):
        for other, untuned in sorted(first.items()):
            if record.tuning is None or untuned.tuning is not None or record.attack.name != untuned.attack.name:
                continue
            seeds = [{seed: read_trajectories(cell) for seed, cell in attacks[one].items()} for one in (label, other)]
            pairs = common_examples(seeds)
            compute = (
                [np.concatenate([_whole(pair[side], pairs, side) for pair in pairs]) for side in (0, 1)]
                if pairs
                else []
            )
            if not pairs or any(np.isnan(one).any() for one in compute):
                continue
            cells = [cell for one in (label, other) for cell in attacks[one].values()]
            one_model = all(is_as_it_came(cell.record) for cell in cells)
            spent, share = float(compute[0][:, -1].mean()), shares[record.tuning.key]
            budgets: list[tuple[Counted, float]] = [
                ("with the search", spent + share.per_example),
                ("without the search", spent),
            ]
            mean = compute[1].mean(axis=0)
            at = tuple(at_compute(counted, budget, pairs, mean, one_model) for counted, budget in budgets)
            yield AgainstUntuned(scope, *place, label, other, spent, share, one_model, at)


def _whole(trajectories: Trajectories, pairs: Sequence[Sequence[Trajectories]], side: int) -> Floats:
    """Compute so far, [E, T], as long as the longest of all seeds; what has ended spends no more."""
    longest = max(pair[side].compute.shape[1] for pair in pairs)
    return np.pad(trajectories.compute, ((0, 0), (0, longest - trajectories.compute.shape[1])), mode="edge")


def at_compute(
    counted: Counted, budget: float, pairs: Sequence[Sequence[Trajectories]], mean: Floats, one_model: bool
) -> AtCompute:
    """Both attacks where the one as it was has spent at most the budget.

    Args:
        pairs: of each seed, the tuned attack and that as it was, on the same examples.
        mean: what the attack as it was has spent until and with each step, per example, [T].
    """
    within = int((mean <= budget * _ROUNDING).sum())
    ran_out = bool(mean[-1] * _ROUNDING < budget)
    if not within:
        return AtCompute(counted, budget, 0.0, ran_out, None)
    seeds = []
    for tuned, untuned in pairs:
        step = min(within, untuned.so_far.shape[1]) - 1
        seeds.append(SeedPairs(tuned.examples, untuned.so_far[:, step], tuned.so_far[:, -1]))
    difference = paired_difference(seeds, one_model=one_model)
    return AtCompute(counted, budget, float(mean[within - 1]), ran_out, difference)
