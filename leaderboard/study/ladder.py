"""Ladders: victims of one family that differ in size, under one attack, with the same defense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records.cell_manifest import CellRecord
from harness.records.read import Cell, Run
from leaderboard.data.comparable_cells import Scope, Section, section_target, sections
from leaderboard.data.record_facts import defense_round, replay_source, victim_facts
from leaderboard.data.trajectories import Trajectories, TrajectoriesBySeed, read_trajectories
from leaderboard.standings.attack_curves import cells_by_attack
from leaderboard.standings.clean_rate import clean_rate
from leaderboard.standings.transfer_headings import training_threat
from leaderboard.standings.utility.measures import UNDEFENDED
from leaderboard.table_numbers import parameter_count, percent

MIN_SEEDS = 2  # one model says nothing of others that are trained in the same way
ONE_SEED = "one seed says nothing of other models that are trained in the same way"


@dataclass(frozen=True)
class Checkpoint:
    """A victim with its defense after a round, under one attack: by seed the cells and what became of the examples."""

    cells: Mapping[int, Cell]
    trajectories: TrajectoriesBySeed

    @property
    def of_seeds(self) -> list[tuple[Trajectories, CellRecord]]:
        """In the order of seeds."""
        return [(self.trajectories[seed], self.cells[seed].record) for seed in sorted(self.trajectories)]


@dataclass(frozen=True)
class Rung:
    """A victim of a ladder.

    Attributes:
        n_params: without embeddings where all victims of the ladder tell that.
        rounds: checkpoints by round; an undefended victim is round 0.
    """

    victim: str
    n_params: int
    rounds: Mapping[int, Checkpoint]

    @property
    def size(self) -> str:
        """Its parameters, in short."""
        return parameter_count(self.n_params)

    @property
    def seeds(self) -> int:
        """The fewest that any round has."""
        return min(len(checkpoint.trajectories) for checkpoint in self.rounds.values())


@dataclass(frozen=True)
class Ladder:
    """Rungs from the smallest victim to the largest.

    Attributes:
        defense: its name; ``none`` for undefended victims.
        against: attack and threat model that the defense was trained against.
        target: attack success rate that counts as broken.
        notes: checkpoints that were left out, and why.
    """

    scope: Scope
    family: str
    attack: str
    defense: str
    against: tuple[str, str]
    rungs: tuple[Rung, ...]
    target: float
    notes: tuple[str, ...]

    @property
    def where(self) -> str:
        """Task, attack, and what it was trained against."""
        against = f"trained against {self.against[0]}" if self.against[0] else ""
        return " · ".join(filter(None, (self.scope.task, self.family, self.attack, self.scope.threat, against)))

    @property
    def spec(self) -> str:
        """Name and version."""
        return f"{self.scope.spec_name} {self.scope.spec_version}"

    @property
    def seeds(self) -> int:
        """The fewest that any rung has."""
        return min(rung.seeds for rung in self.rungs)


def ladders(runs: Sequence[Run], target: float | None = None) -> list[Ladder]:
    """All ladders of text attacks, by scope. A checkpoint whose victim is below the spec's least clean accuracy is left
    out, and strings that were found elsewhere are no attack.

    Args:
        target: attack success rate that counts as broken; the spec's own when None.

    Raises:
        DataError: records cannot be read, or do not belong together.
    """
    of_text = [section for section in sections(runs) if section.scope.space == "text"]
    return [ladder for section in of_text for ladder in _of_section(section, section_target(section, target))]


_Key = tuple[str, str, str, str, str, str]
"""Family, attack, defense, what it was trained against (attack, threat model), and what else tells ladders apart."""


def _of_section(section: Section, target: float) -> list[Ladder]:
    members: dict[_Key, list[Cell]] = {}
    for cell in section.cells:
        if not replay_source(cell.record):
            members.setdefault(_key(cell.record), []).append(cell)
    found = []
    for (family, attack, defense, against, threat, _), cells in sorted(_one_setting(members).items()):
        rungs, notes = _rungs(cells, section.clean_floor)
        if rungs:
            found.append(Ladder(section.scope, family, attack, defense, (against, threat), rungs, target, notes))
    return found


def _key(record: CellRecord) -> _Key:
    against = training_threat(record)
    trained = against.get("attack", ""), against.get("threat", "")
    # Settings, such as how many rounds, may differ between sizes; those of an untrained defense are what it is.
    defense = record.defense.name if trained[0] else record.defense.label
    return victim_facts(record).family, record.attack.label, defense, *trained, ""


def _one_setting(members: Mapping[_Key, list[Cell]]) -> dict[_Key, list[Cell]]:
    """Ladders in which a victim has a defense in two settings are taken apart by the defense's label."""
    found: dict[_Key, list[Cell]] = {}
    for key, cells in members.items():
        settings = {(cell.record.victim.label, cell.record.defense.label) for cell in cells}
        one = len(settings) == len({victim for victim, _ in settings})
        for cell in cells:
            found.setdefault(key if one else (*key[:5], cell.record.defense.label), []).append(cell)
    return found


def _rungs(cells: Sequence[Cell], clean_floor: float) -> tuple[tuple[Rung, ...], tuple[str, ...]]:
    by_victim: dict[str, dict[int, list[Cell]]] = {}
    for cell in cells:
        by_victim.setdefault(cell.record.victim.label, {}).setdefault(defense_round(cell.record), []).append(cell)
    without = all(victim_facts(cell.record).n_params_non_embedding for cell in cells)
    rungs, notes = [], []
    for victim, by_round in by_victim.items():
        checkpoints = {}
        for number, of_round in sorted(by_round.items()):
            clean = clean_rate(of_round)
            if clean is not None and clean.value < clean_floor:
                which = victim + (f", round {number}" if number else "")
                notes.append(f"left out: {which}, clean {percent(clean.value)}, below {percent(clean_floor)}")
                continue
            (by_seed,) = cells_by_attack(of_round).values()
            read = {seed: read_trajectories(cell) for seed, cell in by_seed.items()}
            used = {seed: trajectories for seed, trajectories in read.items() if trajectories.at_step.size}
            if used:
                checkpoints[number] = Checkpoint({seed: by_seed[seed] for seed in used}, used)
        facts = victim_facts(next(iter(by_round.values()))[0].record)
        size = facts.n_params_non_embedding if without else facts.n_params
        if size is None:
            notes.append(f"left out: {victim}, of unknown size")
        elif checkpoints:
            rungs.append(Rung(victim, size, checkpoints))
    return tuple(sorted(rungs, key=lambda rung: (rung.n_params, rung.victim))), tuple(notes)


def is_undefended(ladder: Ladder) -> bool:
    """Whether its victims are as they are."""
    return ladder.defense == UNDEFENDED


def repeated_size(ladder: Ladder) -> str:
    """What keeps its rungs from being ordered by size, or ""."""
    for one, other in zip(ladder.rungs, ladder.rungs[1:], strict=False):
        if one.n_params == other.n_params:
            return f"{one.victim} and {other.victim} are of one size: give runs of one kind of victim"
    return ""
