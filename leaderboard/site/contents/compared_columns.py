"""What the page of rows side by side says of each row: the texts of the standings, and ASR by attack and direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leaderboard.site.defended_victims import attack_line
from leaderboard.site.texts import judge_text, standing_text, utility_text
from leaderboard.site.texts.standing_text import TextPair, rate_text
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.table_numbers import parameter_count, target_percent


@dataclass(frozen=True)
class ComparedLine:
    """One line of the page.

    Attributes:
        heading: what it is about.
        term: the word that explains it; "" where none does.
        texts: of each row of the table.
        cost: whether it is what a row costs to break.
    """

    heading: str
    term: str
    texts: list[TextPair]
    cost: bool = False


def compared_lines(table: Standings) -> list[ComparedLine]:
    """Of all rows of ``table``, in its order; a line that says nothing of any of them is left out."""
    to = f"Compute to ASR {target_percent(table.target)}"
    columns: list[tuple[str, str, Callable[[Standing], TextPair]]] = [
        ("Rank", "rank", standing_text.rank_text),
        ("Size", "size", lambda row: (parameter_count(row.n_params), row.family)),
        (table.section.clean_measure.capitalize(), "clean", standing_text.clean_text),
        ("ASR at full budget", "asr", standing_text.asr_text),
        (to, "breaking", standing_text.cost_to_break_text),
        ("Defense compute", "cost", standing_text.defense_compute_text),
        ("Examples", "examples", standing_text.examples_text),
    ]
    if heading := standing_text.answered_heading(table):
        columns.insert(2, (heading, "answered", standing_text.answered_text))
    optional: list[tuple[bool, str, str, Callable[[Standing], TextPair]]] = [
        (any(row.offense_defense for row in table.rows), "Offense–defense slope", "slope", _slope),
        (any(row.overhead for row in table.rows), "Overhead per answer", "overhead", standing_text.overhead_text),
        (utility_text.shows_utility(table), "Loss of utility", "utility", utility_text.utility_text),
        (
            utility_text.shows_under_attack(table),
            "Utility under attack",
            "under_attack",
            utility_text.under_attack_text,
        ),
        (
            utility_text.shows_under_attack(table),
            "Utility when clean",
            "clean_utility",
            utility_text.clean_utility_text,
        ),
        (judge_text.corrects_asr(table), "ASR without the judge’s errors", "corrected", judge_text.corrected_text),
    ]
    after = {"Offense–defense slope": "Defense compute", "Overhead per answer": "Defense compute"}
    for shown, heading, term, text in optional:
        if shown:
            places = [name for name, _, _ in columns]
            columns.insert(places.index(after.get(heading, "ASR at full budget")) + 1, (heading, term, text))
    lines = [ComparedLine(name, term, [text(row) for row in table.rows], name == to) for name, term, text in columns]
    directions = list(dict.fromkeys(rate.name for row in table.rows for rate in row.directions))
    if len(directions) > 1:
        lines += [ComparedLine(f"ASR {name}", "", [_direction(row, name) for row in table.rows]) for name in directions]
    attacks = list(dict.fromkeys(curve.attack for row in table.rows for curve in row.curves))
    return [
        *lines,
        *(ComparedLine(f"ASR under {name}", "", [_under(row, name) for row in table.rows]) for name in attacks),
    ]


def _slope(row: Standing) -> TextPair:
    main, fine = standing_text.offense_defense_text(row)
    return main or "–", fine


def _direction(row: Standing, name: str) -> TextPair:
    rate = next((rate for rate in row.directions if rate.name == name), None)
    return ("–", "") if rate is None else rate_text(rate.asr)


def _under(row: Standing, attack: str) -> TextPair:
    """ASR of one attack by itself."""
    met = any(curve.attack == attack for curve in row.curves)
    return attack_line(row, attack).asr if met else ("–", "not run")
