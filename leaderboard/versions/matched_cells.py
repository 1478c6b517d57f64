"""Which cell of the new run answers which of the old one: the same but for the victim or the defense."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import DataError
from harness.records.cell_manifest import CellRecord
from harness.records.compare import difference
from harness.records.read import Cell, Run
from harness.records.visible_text import visible
from leaderboard.data.record_facts import attacked_setting, defense_round

Pair = tuple[str, str]
"""A label in the old run and its partner in the new one."""


@dataclass(frozen=True)
class Versions:
    """A victim behind a defense in two versions, on one task under one threat model.

    Attributes:
        victim, defense: labels, old and new.
        round: of a trained defense; 0 for none.
        attacks: by label, then seed, the two cells; one seed or more of each.
    """

    task: str
    threat: str
    space: str
    victim: Pair
    defense: Pair
    round: int
    attacks: Mapping[str, Mapping[int, tuple[Cell, Cell]]]

    @property
    def by_seed(self) -> dict[int, tuple[Cell, Cell]]:
        """The cells of one attack for each seed: what is known of clean prompts is the same under all."""
        return {seed: pair for cells in self.attacks.values() for seed, pair in cells.items()}

    @property
    def same(self) -> bool:
        """Whether there is nothing to compare: each pair is one cell, measured once or twice with the same records."""
        pairs = [pair for cells in self.attacks.values() for pair in cells.values()]
        return all(old.record.key == new.record.key and difference(old, new) is None for old, new in pairs)


@dataclass(frozen=True)
class Matched:
    """All that have a partner, and the cells, in words, that have none."""

    versions: tuple[Versions, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]


def match_cells(old: Run, new: Run, asked: Sequence[str] = ()) -> Matched:
    """Cells of one task, threat model, attack, round and seed whose victims and defenses are partners: those of one
    label, those that ``asked`` pairs, and the one left on each side.

    Args:
        asked: ``OLDLABEL=NEWLABEL``, of victims or defenses.

    Raises:
        DataError: several are left on both sides; a pair names a label that is not there; two cells claim one place;
            or no cell has a partner.
    """
    victims, defenses = _labels("victim", old, new), _labels("defense", old, new)
    of_victims, of_defenses = _asked_pairs(asked, victims, defenses)
    was = _by_place(old, _partners("victim", victims, of_victims), _partners("defense", defenses, of_defenses))
    now = _by_place(new, *({label: label for label in labels} for _, labels in (victims, defenses)))
    common = sorted(was.keys() & now.keys())
    if not common:
        raise DataError(
            f"{old.path} and {new.path} cannot be compared: no cell of the one has a partner in the other. OLD has "
            f"{_example(was)}; NEW has {_example(now)}. Name the versions of one model or defense with --pair "
            "OLDLABEL=NEWLABEL, or run one spec for both."
        )
    groups: dict[tuple[str, str, str, Pair, Pair, int], dict[str, dict[int, tuple[Cell, Cell]]]] = {}
    for place in common:
        one, two = was[place].record, now[place].record
        pair_of = (one.victim.label, two.victim.label), (one.defense.label, two.defense.label)
        key = (one.task.label, one.threat_label, one.space, *pair_of, defense_round(one))
        groups.setdefault(key, {}).setdefault(one.attack.label, {})[one.seed] = was[place], now[place]
    return Matched(
        tuple(Versions(*key, attacks) for key, attacks in sorted(groups.items())),
        tuple(_in_words(was[place].record) for place in sorted(was.keys() - now.keys())),
        tuple(_in_words(now[place].record) for place in sorted(now.keys() - was.keys())),
    )


Labels = tuple[list[str], list[str]]
"""Of the old run and of the new one."""


def _labels(part: Literal["victim", "defense"], old: Run, new: Run) -> Labels:
    was, now = (sorted({getattr(cell.record, part).label for cell in run.cells}) for run in (old, new))
    return was, now


def _partners(what: str, labels: Labels, asked: Mapping[str, str]) -> dict[str, str]:
    """Label in the old run to label in the new one, of those that have a partner."""
    old, new = labels
    found = dict(asked)
    found |= {label: label for label in old if label in new and label not in found and label not in found.values()}
    left = [label for label in old if label not in found]
    right = [label for label in new if label not in found.values()]
    if len(left) == len(right) == 1:
        return found | {left[0]: right[0]}
    if left and right:
        raise DataError(
            f"which {what} of NEW is which of OLD is not clear: without a partner are {_listed(left)} in OLD and "
            f"{_listed(right)} in NEW. Say it with --pair OLDLABEL=NEWLABEL, as often as needed."
        )
    return found


def _asked_pairs(asked: Sequence[str], of_victims: Labels, of_defenses: Labels) -> tuple[dict[str, str], ...]:
    """Of victims and of defenses; labels may hold = themselves."""
    victims: dict[str, str] = {}
    defenses: dict[str, str] = {}
    for text in asked:
        ways = [(text[:at], text[at + 1 :]) for at, character in enumerate(text) if character == "="]
        fitting = [
            (pairs, way)
            for pairs, (old, new) in ((victims, of_victims), (defenses, of_defenses))
            for way in ways
            if way[0] in old and way[1] in new
        ]
        if len(fitting) != 1:
            raise DataError(
                f"--pair {visible(text)}: not a label of OLD, =, and a label of NEW. OLD has "
                f"{_listed([*of_victims[0], *of_defenses[0]])}; NEW has {_listed([*of_victims[1], *of_defenses[1]])}."
            )
        pairs, (one, other) = fitting[0]
        if one in pairs or other in pairs.values():
            raise DataError(f"--pair {visible(text)}: one of the two is also in another --pair. Name each only once.")
        pairs[one] = other
    return victims, defenses


Place = tuple[str, str, str, str, str, str, int, int]


def _by_place(run: Run, victim: Mapping[str, str], defense: Mapping[str, str]) -> dict[Place, Cell]:
    """The cells by all that partners have in common, labels being those of the new run."""
    found: dict[Place, Cell] = {}
    for cell in run.cells:
        r = cell.record
        names = victim.get(r.victim.label, f"{r.victim.label}\0"), defense.get(r.defense.label, f"{r.defense.label}\0")
        place = (r.task.label, r.threat_label, r.space, *names, r.attack.label, defense_round(r), r.seed)
        first = found.setdefault(place, cell)
        if first is not cell:
            raise DataError(
                f"{cell.folder} and {first.folder} are the same cell with different content. Compare runs that hold "
                f"one version each."
            )
    return found


def _in_words(record: CellRecord) -> str:
    named = attacked_setting(record)
    defense = f"{named['defense']} round {named['round']}" if named["round"] else named["defense"]
    parts = [named["task"], named["victim"], defense, named["attack"], named["threat"]]
    return visible(f"{' × '.join(parts)}, seed {record.seed}")


def _example(cells: Mapping[Place, Cell]) -> str:
    return _in_words(cells[min(cells)].record)


def _listed(labels: Iterable[str]) -> str:
    return visible(", ".join(sorted(set(labels))))
