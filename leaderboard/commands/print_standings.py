"""Standings in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from leaderboard.commands.attacks.markdown import titled_table
from leaderboard.commands.print_table import plain_table, wide_console
from leaderboard.site.texts import judge_text, others_text, standing_text, utility_text
from leaderboard.site.texts.best_text import best_defense_lines
from leaderboard.site.texts.tuned_text import tuned_text
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.table_numbers import parameter_count, target_percent

ColumnText = Callable[[Standing], standing_text.TextPair]
_NAMING = ("rank", "victim", "defense")  # the columns that say which row it is


_NARROW = 120  # columns of a terminal below which a table of ten columns cannot be read


def print_standings(tables: Sequence[Standings]) -> None:
    """One table per task, threat model and scope, hardest to break first; on a narrow terminal a list of its rows."""
    console = wide_console()
    if not tables:
        console.print("Not enough data: no finished cell.")
    for standings in tables:
        columns = _columns(standings)
        for notice in _notices(standings):
            console.print(Text(notice))
        if console.width < _NARROW:
            _print_list(console, standings, columns)
        else:
            table = plain_table(_title(standings), list(columns))
            for column in table.columns:
                column.overflow = "fold"  # a name that is cut is another's
            for row in standings.rows:
                table.add_row(*(Text("\n".join(filter(None, text(row)))) for text in columns.values()))
            console.print(table)
        for note in [_made_of(standings), *_notes(standings)]:
            console.print(Text(note))
        console.print()


def standings_markdown(tables: Sequence[Standings]) -> str:
    """The same as Markdown tables."""
    return "\n\n".join(_markdown(standings) for standings in tables)


def _print_list(console: Console, standings: Standings, columns: dict[str, ColumnText]) -> None:
    """A row of the table after the other, a line for each of its columns."""
    console.print(Text(_title(standings), style="bold"))
    for row in standings.rows:
        texts = {name: text(row) for name, text in columns.items()}
        rank, victim, defense = (" ".join(filter(None, _one_line(texts.pop(name)))) for name in _NAMING)
        console.print(Text(f"\n{defense} on {victim}: rank {rank}"))
        for name, text in texts.items():
            if said := ", ".join(filter(None, _one_line(text))):
                console.print(Padding(Text(f"{name}: {said}"), (0, 0, 0, 4)))
    console.print()


def _markdown(standings: Standings) -> str:
    columns = _columns(standings)
    lines = [[*columns], ["---"] * len(columns)]
    for row in standings.rows:
        texts = [_one_line(text(row)) for text in columns.values()]
        lines.append([" ".join(filter(None, [main, fine and f"({fine})"])) for main, fine in texts])
    return titled_table(_title(standings), lines, [*_notices(standings), _made_of(standings), *_notes(standings)])


def _one_line(text: standing_text.TextPair) -> standing_text.TextPair:
    main, fine = text
    return main, ", ".join(fine.splitlines())


def _title(standings: Standings) -> str:
    return f"{standings.section.scope.task} · {standings.section.scope.threat}"


def _notices(standings: Standings) -> list[str]:
    texts = (standing_text.missing_text, standing_text.direction_warning, standing_text.answers_text, tuned_text)
    notices = [standings.section.scope.notice, *(text(standings) for text in texts)]
    return [*best_defense_lines(standings), *filter(None, notices)]


def _made_of(standings: Standings) -> str:
    scope = standings.section.scope
    return (
        f"spec {scope.spec_name} {scope.spec_version} ({scope.spec_hash[:12]}), data {scope.data_hash[:12]}; FLOPs per "
        f"attacked example, {scope.accounting}. {standing_text.rank_rule_text(standings)} "
        f"{standings.section.separation}"
    )


def _notes(standings: Standings) -> list[str]:
    rows = standings.rows
    notes = [f"{row.label}: no rank: {row.rank.note}" for row in rows if row.rank.note and not row.rank.comparable]
    trained = [f"{row.victim}: {text}" for row in rows if (text := standing_text.trained_against_text(row))]
    notes += dict.fromkeys(trained)
    for row in rows:
        told = filter(None, [standing_text.excluded_text(row), *standing_text.untold_texts(row)])
        notes += [f"{row.label}: {text}" for text in told]
    notes += others_text.others_notes(standings)
    for record in standings.section.failed:
        cell = f"{record.victim.label}, {record.defense.label}, {record.attack.label}, seed {record.seed}"
        notes.append(f"failed: {cell}: {record.error}")
    return notes


def _columns(standings: Standings) -> dict[str, ColumnText]:
    """Heading to what stands below it; columns that would say nothing are left out."""
    rows = standings.rows
    columns: dict[str, ColumnText] = {
        "rank": others_text.rank_with_claims,
        "victim": lambda row: (row.victim, parameter_count(row.n_params)),
        "defense": lambda row: (row.defense, "\n".join(filter(None, [_round(row), _marks(row)]))),
    }
    if heading := standing_text.answered_heading(standings):
        columns[heading.lower()] = standing_text.answered_text
    columns |= {
        standings.section.clean_measure: standing_text.clean_text,
        "ASR at full budget": others_text.asr_with_claims,
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
        f"compute to ASR {target_percent(standings.target)}": others_text.cost_with_claims,
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


def _marks(row: Standing) -> str:
    said = [mark for mark in row.adaptivity if not row.defense.endswith(f"({mark})")]
    return ", ".join([*said, *others_text.marks_of_others(row)])


def _worst_case_spending(row: Standing) -> str:
    """The worst case without its interval."""
    return "\n".join(standing_text.worst_case_text(row)[1].splitlines()[1:])
