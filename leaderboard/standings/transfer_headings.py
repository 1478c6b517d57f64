"""What the rows and columns of a transfer matrix are called, and which of its entries are no transfer at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.records.cell_manifest import CellRecord
from leaderboard.data.record_facts import defense_round, replay_source, victim_facts

TransferKind = Literal["trained", "replayed"]
NO_ATTACK = "no attack"


@dataclass(frozen=True, order=True)
class TransferHeading:
    """Of a row or column: what it is, and what else tells it from others."""

    main: str
    fine: str


def training_threat(record: CellRecord) -> Mapping[str, str]:
    """What the defense was trained against, "attack" and "threat"; empty if against nothing."""
    return {} if record.defense_facts is None else record.defense_facts.against


def checkpoint_order(record: CellRecord) -> tuple[Any, ...]:
    """Sorts by size, victim, untrained before trained, defense and round."""
    size = victim_facts(record).n_params
    victim = (float("inf") if size is None else size, record.victim.label)
    return *victim, bool(training_threat(record)), record.defense.label, defense_round(record)


def trained_against(record: CellRecord) -> TransferHeading:
    """Row of a checkpoint: the attack and threat model trained against, and which checkpoint it is."""
    against = training_threat(record)
    names = [against["attack"], against.get("threat", "")] if against.get("attack") else [NO_ATTACK]
    return TransferHeading(" · ".join(filter(None, names)), _model_of(record))


def tested_under(record: CellRecord) -> TransferHeading:
    """Column of a checkpoint's test: attack and threat model."""
    return TransferHeading(record.attack.label, record.threat_label)


def strings_found_on(record: CellRecord) -> TransferHeading:
    """Row of replayed strings: victim, defense and attack that they come from; the threat model there and what replays
    them.
    """
    source = replay_source(record) or {}
    attack = str(source.get("attack", "unknown attack"))
    threat = f"{source['threat']}; " if source.get("threat") else ""
    return TransferHeading(f"{_source_model(source)} · {attack}", f"{threat}tried by {record.attack.label}")


def strings_tried_on(record: CellRecord) -> TransferHeading:
    """Column of replayed strings: the victim and defense that they are tried on, and the threat model there."""
    return TransferHeading(_model_of(record), record.threat_label)


def _tested_as_trained(record: CellRecord) -> bool:
    against = training_threat(record)
    name = re.split(r"[ (]", against.get("attack", ""))[0]  # of a label: parameters follow in brackets or after a space
    return name == record.attack.name and against.get("threat") == _without_limits(record.threat_label)


def _without_limits(threat: str) -> str:
    """A threat model's label without limits on what the attack spends, which training is not under."""
    return ", ".join(part for part in threat.split(", ") if not part.endswith((" queries", " FLOPs")))


def _tried_where_found(record: CellRecord) -> bool:
    return _model_of(record) == _source_model(replay_source(record) or {})


def _model_of(record: CellRecord) -> str:
    return _model_label(record.victim.label, record.defense.label, defense_round(record))


def _source_model(source: Mapping[str, Any]) -> str:
    victim, defense = source.get("victim", "unknown victim"), source.get("defense", "unknown defense")
    return _model_label(victim, defense, source.get("round"))


def _model_label(victim: str, defense: str, round: int | None) -> str:
    return f"{victim} · {defense}" + (f" · round {round}" if round else "")


@dataclass(frozen=True)
class HeadingRules:
    """Of a kind of matrix: what names its rows and its columns, and whether an entry is no transfer."""

    row: Callable[[CellRecord], TransferHeading]
    column: Callable[[CellRecord], TransferHeading]
    is_matched: Callable[[CellRecord], bool]


HEADING_RULES: dict[TransferKind, HeadingRules] = {
    "trained": HeadingRules(trained_against, tested_under, _tested_as_trained),
    "replayed": HeadingRules(strings_found_on, strings_tried_on, _tried_where_found),
}
