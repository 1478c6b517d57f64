"""Standings in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from leaderboard.commands.print_table import plain_table, wide_console
from leaderboard.site.texts import judge_text, standing_text, utility_text
from leaderboard.site.texts.tuned_text import tuned_text
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.table_numbers import parameter_count

ColumnText = Callable[[Standing], standing_text.TextPair]


def print_standings(tables: Sequence[Standings]) -> None:
    """One table per task, threat model and scope; hardest to break first."""
    console = wide_console()
    if not tables:
        console.print("Not enough data: no finished cell.")
    for standings in tables:
        section, scope = standings.section, standings.section.scope
        columns = _columns(standings)
        table = plain_table(f"{scope.task} · {scope.threat}", list(columns))
        table.caption = Text(
            f"spec {scope.spec_name} {scope.spec_version} ({scope.spec_hash[:12]}), data {scope.data_hash[:12]}; "
            f"FLOPs per attacked example, {scope.accounting}. {standing_text.rank_rule_text(standings)} "
            f"{section.separation}"
        )
        if scope.notice:
            console.print(Text(scope.notice))
        for notice in _notices(standings):
            if notice:
                console.print(Text(notice))
        for row in standings.rows:
            table.add_row(*(Text("\n".join(filter(None, text(row)))) for text in columns.values()))
        console.print(table)
        for row in standings.rows:
            if row.rank.note and not row.rank.comparable:
                console.print(Text(f"{row.label}: no rank: {row.rank.note}"))
        for said in dict.fromkeys(
            f"{row.victim}: {text}" for row in standings.rows if (text := standing_text.trained_against_text(row))
        ):
            console.print(Text(said))
        for row in standings.rows:
            for told in filter(None, [standing_text.excluded_text(row), *standing_text.untold_texts(row)]):
                console.print(Text(f"{row.label}: {told}"))
        for record in section.failed:
            cell = f"{record.victim.label}, {record.defense.label}, {record.attack.label}, seed {record.seed}"
            console.print(Text(f"failed: {cell}: {record.error}"))


def _notices(standings: Standings) -> tuple[str, ...]:
    texts = (standing_text.missing_text, standing_text.direction_warning, standing_text.answers_text, tuned_text)
    return tuple(text(standings) for text in texts)


def _columns(standings: Standings) -> dict[str, ColumnText]:
    """Heading to what stands below it; columns that would say nothing are left out."""
    rows = standings.rows
    columns: dict[str, ColumnText] = {
        "rank": standing_text.rank_text,
        "victim": lambda row: (row.victim, parameter_count(row.n_params)),
        "defense": lambda row: (row.defense, "\n".join(filter(None, [_round(row), ", ".join(row.adaptivity)]))),
    }
    if heading := standing_text.answered_heading(standings):
        columns[heading.lower()] = standing_text.answered_text
    columns |= {
        standings.section.clean_measure: standing_text.clean_text,
        "ASR at full budget": standing_text.asr_text,
    }
    if judge_text.corrects_asr(standings):
        columns["ASR without the judge's errors"] = judge_text.corrected_text
    if utility_text.shows_under_attack(standings):
        columns["utility when clean"] = utility_text.clean_utility_text
        columns["utility under attack"] = utility_text.under_attack_text
    if utility_text.shows_utility(standings):
        columns["loss of utility"] = utility_text.utility_text
    if any(row.worst_case for row in rows):
        columns["all attacks together"] = lambda row: ("", _worst_case_spending(row))
    columns |= {
        f"compute to ASR {standings.target:g}": standing_text.cost_to_break_text,
        "defense compute": standing_text.defense_compute_text,
    }
    if any(row.overhead for row in rows):
        columns["overhead per answer"] = standing_text.overhead_text
    if any(row.offense_defense for row in rows):
        columns["offense-defense slope"] = standing_text.offense_defense_text
    columns["examples"] = lambda row: (str(row.asr.trials if row.asr else 0), standing_text.evidence_text(row))
    return columns


def _round(row: Standing) -> str:
    return "" if row.round is None else f"round {row.round}"


def _worst_case_spending(row: Standing) -> str:
    """The worst case without its interval."""
    return "\n".join(standing_text.worst_case_text(row)[1].splitlines()[1:])
