"""Claims: strings that somebody brings against a row, tried on its victim and defense."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.records.cell_manifest import CellRecord
from harness.records.read import Cell
from leaderboard.data.evidence import Evidence
from leaderboard.data.record_facts import defense_round, victim_facts


@dataclass(frozen=True)
class ClaimedStrings:
    """What is claimed of one example: how many strings were tried on it, and the FLOPs that the claimant says finding
    them took; None where they do not say.
    """

    count: int
    flops: float | None


@dataclass(frozen=True)
class Claim:
    """A claim whose file was checked.

    Attributes:
        name: of its file, without ending.
        by, paper, link: whose it is, and where to read more, as they say.
        date: when its strings were tried, ISO 8601.
        entry: name of the entry that it is made against; ``entry_spec``: hash of that entry's spec.
        examples: what is claimed, by example.
        cells: of the row, a seed each, with the strings in the place of an attack.
        evidence: what the maintainer of the board has found about the file.
        withdrawn: why it counts no longer; "" where it does.
    """

    name: str
    by: str
    paper: str
    link: str
    date: str
    entry: str
    entry_spec: str
    examples: Mapping[str, ClaimedStrings]
    cells: tuple[Cell, ...]
    evidence: Evidence
    withdrawn: str = ""

    @property
    def counts(self) -> bool:
        """Whether it may lower a row: the maintainer has replayed all of its strings, and it was not withdrawn."""
        evidence = self.evidence
        return evidence.asked and evidence.strings == evidence.recorded and not self.withdrawn

    @property
    def flops(self) -> float | None:
        """What all of its strings took together, as declared; None where it is not declared for every example."""
        spent = [strings.flops for strings in self.examples.values()]
        known = [flops for flops in spent if flops is not None]
        return sum(known) if len(known) == len(spent) else None

    def broken(self, cell: Cell) -> set[str]:
        """The examples that the claimed strings break in one of its cells. Steps beyond the claimed strings tried
        nothing new, and do not count.
        """
        return {example for example, _ in successes(cell, self.examples)}


def successes(cell: Cell, examples: Mapping[str, ClaimedStrings]) -> Iterator[tuple[str, int]]:
    """Example and step of each claimed string that succeeded in a cell."""
    steps = cell.steps(["example", "step", "success"])
    columns = (steps.column(name).to_pylist() for name in ("example", "step", "success"))
    for example, step, success in zip(*columns, strict=True):
        if success and example in examples and step <= examples[example].count:
            yield example, step


def setting_of(record: CellRecord) -> str:
    """What is attacked in a cell, whatever attacks it: data, victim, defense and its round, threat model, judge,
    answers and seed. Cells of one setting may be held against each other.
    """
    plugins = [
        (plugin.name, plugin.params, plugin.distribution)
        for plugin in (record.task, record.victim, record.defense, record.judge)
    ]
    facts = victim_facts(record)
    answers = None if record.answers is None else record.answers.model_dump(mode="json")
    told = [record.data_hash, plugins, defense_round(record), record.threat, record.seed, answers, record.space]
    return json.dumps([*told, facts.artifact, facts.content], sort_keys=True)
