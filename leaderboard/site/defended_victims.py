"""Victims under a defense: what stands on the page of one, and on that of an attack, beyond the data of the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.flops import known
from harness.records.cell_manifest import CellRecord
from leaderboard.data.attack_strings import SuccessfulString, successful_strings
from leaderboard.data.record_facts import DefenseExpense, defense_preparation
from leaderboard.fit.compared.forms.compared import ComparedForms
from leaderboard.fit.compared.forms.of_cells import forms_of_cells
from leaderboard.site.contents.claimed_strings import claim_strings, linked_lines
from leaderboard.site.contents.diagnostics import LabelledText, diagnostics
from leaderboard.site.page_ids import attack_id, defended_victim_id, row_id
from leaderboard.site.provenance import (
    ChatLines,
    PluginUse,
    artifact_keys,
    chat_lines,
    library_versions,
    plugins_used,
)
from leaderboard.site.texts.standing_text import TextPair, asr_at_text, cost_text, counted, queries_text, rate_text
from leaderboard.standings.directions import DirectionRate
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.table_numbers import UNKNOWN_COMPUTE, multiple, scientific

_DEFENSE_EXPENSES: dict[str, DefenseExpense] = {
    "Search of the defense": "search",
    "Training of the defense": "training",
    "Fitting of the defense": "fit",
    "Models that the defense asks": "models",
    "Robust part of the pretraining": "pretraining",
}


@dataclass(frozen=True)
class DefendedVictim:
    """A victim and defense in one table.

    Attributes:
        id: names its page.
        table: where it stands.
        rows: one, or one per round, by round.
    """

    id: str
    table: Standings
    rows: tuple[Standing, ...]

    @property
    def last(self) -> Standing:
        """The row of the last round."""
        return self.rows[-1]

    @property
    def labels(self) -> tuple[str, str, str]:
        """Family, victim and defense: the same in other tables."""
        return self.last.family, self.last.victim, self.last.defense

    @property
    def records(self) -> list[CellRecord]:
        """Behind all rows."""
        return [cell.record for row in self.rows for cell in row.cells]


@dataclass(frozen=True)
class AttackLine:
    """One attack against one row: texts of a table's cells.

    Attributes:
        page: id of the attack's page.
        elsewhere: whether it tries strings found elsewhere.
        asr: at full budget.
        spent: compute and queries per example.
        cost: to the target.
    """

    attack: str
    page: str
    round: int | None
    seeds: int
    elsewhere: bool
    asr: TextPair
    spent: TextPair
    cost: TextPair


@dataclass(frozen=True)
class DefendedVictimPage:
    """What the page of a victim and defense shows besides the standings' own texts.

    Attributes:
        row_ids: of its rows.
        attacks: a line per round and attack.
        directions: round, and ASR at full budget by direction, where there are several.
        costs: what was spent on the last round.
        diagnostics: label, and a text per round.
        strings: id of each row, and attack label to a few strings that succeeded.
        chats: how the victim is talked to, where it is a chat model; several where rows differ.
        artifacts: what was attacked, and its artifact's key.
        cell_keys: of all cells.
        found: about the records, by the keeper of the board.
        submitted: whether records of it are a submission's.
        others: round, label, text and link of what others say.
        claim_strings: name of a claim to a few of its strings that succeeded.
        forms: round, attack and the forms of its curve, the chosen one first; empty where nobody asked for them.
    """

    row_ids: list[str]
    attacks: list[AttackLine]
    directions: list[tuple[int | None, DirectionRate]]
    costs: list[LabelledText]
    diagnostics: list[tuple[str, list[str]]]
    strings: list[tuple[str, Mapping[str, list[SuccessfulString]]]]
    chats: list[ChatLines]
    plugins: list[PluginUse]
    versions: Mapping[str, str]
    artifacts: list[tuple[str, str]]
    cell_keys: list[str]
    found: list[str]
    submitted: bool
    forms: list[tuple[int | None, str, ComparedForms]]
    others: list[tuple[int | None, str, str, str]]
    claim_strings: Mapping[str, list[SuccessfulString]]


def defended_victims(section: str, table: Standings) -> list[DefendedVictim]:
    """The victims and defenses of a table, in its order; ``section`` is its id."""
    rows_of: dict[str, list[Standing]] = {}
    for row in table.rows:
        rows_of.setdefault(defended_victim_id(section, row), []).append(row)
    return [
        DefendedVictim(victim_id, table, tuple(sorted(rows, key=lambda row: row.round or 0)))
        for victim_id, rows in rows_of.items()
    ]


def defended_victim_page(victim: DefendedVictim, *, prompts: bool = True, forms: bool = False) -> DefendedVictimPage:
    """The page of ``victim``.

    Args:
        prompts: whether it shows the prompts that attack strings stand in.
        forms: whether it shows forms of curves.
    """
    compared = [(row.round, *found) for row in victim.rows for found in forms_of_cells(row.cells)] if forms else []
    return DefendedVictimPage(
        row_ids=[row_id(victim.id, row) for row in victim.rows],
        attacks=[attack_line(row, curve.attack) for row in victim.rows for curve in row.curves],
        directions=[(row.round, rate) for row in victim.rows if len(row.directions) > 1 for rate in row.directions],
        costs=_costs(victim.last),
        diagnostics=diagnostics(victim.rows),
        strings=[(row_id(victim.id, row), successful_strings(row.cells, prompts=prompts)) for row in victim.rows],
        chats=chat_lines(victim.records),
        plugins=plugins_used(victim.records),
        versions=library_versions(victim.records),
        artifacts=artifact_keys(victim.records),
        cell_keys=sorted({record.key for record in victim.records}),
        found=list(dict.fromkeys(text for row in victim.rows if row.evidence for text in row.evidence.found)),
        submitted=any(row.evidence is not None for row in victim.rows),
        forms=compared,
        others=[(row.round, *line) for row in victim.rows for line in linked_lines(row)],
        claim_strings=claim_strings(victim.rows, prompts=prompts),
    )


def attack_line(row: Standing, attack: str) -> AttackLine:
    """The line of ``attack`` against ``row``, which has a curve of it."""
    curve = next(curve for curve in row.curves if curve.attack == attack)
    asr: TextPair = ("–", "nothing was attacked")
    spent: TextPair = ("–", "")
    if curve.points:
        last = curve.points[-1]
        compute = UNKNOWN_COMPUTE.lower() if last.compute is None else f"{scientific(last.compute)} FLOPs"
        main, fine = rate_text(last.asr)
        asr = main, "\n".join(filter(None, [fine, asr_at_text(curve)]))
        spent = (compute, f"{queries_text(last.queries)}, {counted(last.step, 'step')}")
    cost = row.cost_by_attack.get(attack)
    return AttackLine(
        attack=attack,
        page=attack_id(attack),
        round=row.round,
        seeds=curve.seeds,
        elsewhere=attack in row.replaying,
        asr=asr,
        spent=spent,
        cost=("–", "") if cost is None else cost_text(cost),
    )


def _costs(row: Standing) -> list[LabelledText]:
    """What was spent, mean over seeds."""
    records = list({cell.record.seed: cell.record for cell in row.cells}.values())
    spent = [defense_preparation(record) for record in records]
    costs = []
    for label, expense in _DEFENSE_EXPENSES.items():
        amounts = [known(of_seed[expense]) for of_seed in spent]
        if any(flops is None or flops for flops in amounts):
            costs.append((label, _mean_flops(amounts)))
    if row.overhead is not None:
        ratio = "" if row.overhead.ratio is None else f", {multiple(row.overhead.ratio)} an undefended answer"
        costs.append(("Defense, for each answer", f"{scientific(row.overhead.flops)} FLOPs{ratio}"))
    victims = [record.victim_facts for record in records if record.victim_facts is not None]
    costs.append(("Preparation of the victim", _mean_flops([facts.preparation.nominal for facts in victims])))
    costs.append(("Reference compute", _mean_flops([row.reference_compute])))
    return costs


def _mean_flops(amounts: Sequence[float | None]) -> str:
    counted = [flops for flops in amounts if flops is not None]
    if not amounts or len(counted) < len(amounts):
        return UNKNOWN_COMPUTE.lower()
    return f"{scientific(sum(counted) / len(counted))} FLOPs"
