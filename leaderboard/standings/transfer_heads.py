"""What the rows and columns of a transfer matrix are called, and which of its entries are no transfer at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.records.cell import CellRecord
from leaderboard.data.from_run import defense_round, facts, replayed_from

Kind = Literal["trained", "replayed"]
NO_ATTACK = "no attack"


@dataclass(frozen=True, order=True)
class TransferHeading:
    """Of a row or column: what it is, and what else tells it from others."""

    main: str
    fine: str


def against(record: CellRecord) -> Mapping[str, str]:
    """What the defense was trained against, "attack" and "threat"; empty if against nothing."""
    return {} if record.defense_facts is None else record.defense_facts.against


def checkpoint(record: CellRecord) -> tuple[Any, ...]:
    """Sorts by size, victim, untrained before trained, defense and round."""
    size = facts(record).n_params
    place = (float("inf") if size is None else size, record.victim.label)
    return *place, bool(against(record)), record.defense.label, defense_round(record)


def trained_against(record: CellRecord) -> TransferHeading:
    """Row of a checkpoint: the attack and threat model trained against, and which checkpoint it is."""
    found = against(record)
    names = [found["attack"], found.get("threat", "")] if found.get("attack") else [NO_ATTACK]
    return TransferHeading(" · ".join(filter(None, names)), _of(record))


def tested_under(record: CellRecord) -> TransferHeading:
    """Column of a checkpoint's test: attack and threat model."""
    return TransferHeading(record.attack.label, record.threat_label)


def found_on(record: CellRecord) -> TransferHeading:
    """Row of replayed strings: victim, defense and attack that they come from; the threat model there and what replays
    them.
    """
    source = replayed_from(record) or {}
    attack = str(source.get("attack", "unknown attack"))
    threat = f"{source['threat']}; " if source.get("threat") else ""
    return TransferHeading(f"{_from(source)} · {attack}", f"{threat}tried by {record.attack.label}")


def tried_on(record: CellRecord) -> TransferHeading:
    """Column of replayed strings: the victim and defense that they are tried on, and the threat model there."""
    return TransferHeading(_of(record), record.threat_label)


def _as_trained(record: CellRecord) -> bool:
    found = against(record)
    name = re.split(r"[ (]", found.get("attack", ""))[0]  # of a label: parameters follow in brackets or after a space
    return name == record.attack.name and found.get("threat") == _unlimited(record.threat_label)


def _unlimited(threat: str) -> str:
    """A threat model's label without limits on what the attack spends, which training is not under."""
    return ", ".join(part for part in threat.split(", ") if not part.endswith((" queries", " FLOPs")))


def _same_model(record: CellRecord) -> bool:
    return _of(record) == _from(replayed_from(record) or {})


def _of(record: CellRecord) -> str:
    return _model(record.victim.label, record.defense.label, defense_round(record))


def _from(source: Mapping[str, Any]) -> str:
    return _model(source.get("victim", "unknown victim"), source.get("defense", "unknown defense"), source.get("round"))


def _model(victim: str, defense: str, round: int | None) -> str:
    return f"{victim} · {defense}" + (f" · round {round}" if round else "")


Naming = Callable[[CellRecord], TransferHeading]
HEADS: dict[Kind, tuple[Naming, Naming, Callable[[CellRecord], bool]]] = {
    "trained": (trained_against, tested_under, _as_trained),
    "replayed": (found_on, tried_on, _same_model),
}
"""Of each kind of matrix: names its rows, names its columns, and says whether an entry is no transfer."""
