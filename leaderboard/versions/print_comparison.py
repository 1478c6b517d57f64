"""Two versions side by side in the terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.records.visible_text import visible
from leaderboard.table_numbers import amount, counted, multiple, percent, plain_number, scientific, target_percent
from leaderboard.versions.comparison import AttackCost, Compared, Comparison, Measure
from leaderboard.versions.release_guard import Guarded, Judged
from leaderboard.versions.shown_measure import ShownMeasure, measure_name, shown_measure

WIDTH = 80
MOST_LISTED = 8  # cells without a partner
CAPTION = "Shares of the same examples; differences in points, 95% paired intervals."


def print_comparison(comparison: Comparison, guarded: Guarded | None, undecided: Literal["fail", "pass"]) -> None:
    """One table per task, threat model, victim and defense; then what the margin says."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for place, compared in enumerate(comparison.compared):
        judged = [] if guarded is None else [one for one in guarded.judged if one.place == place]
        _print_compared(console, compared, judged)
    for name, cells in (("OLD", comparison.only_old), ("NEW", comparison.only_new)):
        for cell in cells[:MOST_LISTED]:
            _say(console, f"only in {name}: {cell}")
        if len(cells) > MOST_LISTED:
            _say(console, f"only in {name}: {len(cells) - MOST_LISTED:,} more; --json names all")
    for note in comparison.notes:
        _say(console, f"note: {note}")
    if guarded is not None:
        for line in _guard_lines(comparison, guarded, undecided):
            _say(console, line)


def _say(console: Console, line: str) -> None:
    console.print(Text(visible(line)))


def _print_compared(console: Console, compared: Compared, judged: Sequence[Judged]) -> None:
    # Titles hold plugin labels, and brackets in them are not markup.
    title = Text(visible(_title(compared)))
    table = Table(title=title, title_justify="left", caption_justify="left", header_style="bold")
    table.add_column("measure")
    for heading in ("OLD", "NEW", "NEW − OLD", "pairs"):
        table.add_column(heading, no_wrap=True)
    if judged:
        table.add_column("verdict")
    for measure in compared.measures:
        verdicts = [one.verdict for one in judged if one.measure is measure]
        table.add_row(*map(Text, [*_cells(measure), *verdicts]))
    table.caption = Text(CAPTION)
    console.print(table)
    for line in _lines(compared):
        _say(console, line)
    console.print()


def _title(compared: Compared) -> str:
    versions = compared.versions
    round_ = f" round {versions.round}" if versions.round else ""
    parts = (versions.task, _arrow(*versions.victim), _arrow(*versions.defense) + round_, versions.threat)
    return " · ".join(parts)


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old} → {new}"


def _cells(measure: Measure) -> tuple[str, ...]:
    shown, found = shown_measure(measure), measure.difference
    if found is None or shown.old is None or shown.new is None:
        return visible(shown.name), "–", "–", "–", "0"
    return visible(shown.name), percent(shown.old), percent(shown.new), _difference(shown), f"{found.pairs:,}"


def _difference(shown: ShownMeasure) -> str:
    return f"{_points(shown.difference)}\n({_points(shown.low)} to {_points(shown.high)})"


def _points(share: float | None) -> str:
    text = f"{100 * (share or 0.0):+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _lines(compared: Compared) -> Iterator[str]:
    """What stands below a table."""
    if compared.same:
        yield "The same cells with the same records: nothing changed between these two."
    elif compared.changed:
        yield f"Changed: {'; '.join(compared.changed)}."
    yield _interval_text(compared)
    for measure in compared.measures:
        yield from _measure_lines(measure)
    if compared.cut:
        yield f"Left out: {counted(compared.cut, 'example')} whose prompts are not the same text in both versions."
    for cost in compared.costs:
        yield f"Cost of {cost.attack} to ASR {target_percent(cost.target)}: {_cost_text(cost)}"
    for each in compared.calibration:
        where = f"under {each.attack}" if each.attack else "clean"
        yield (
            f"Calibration error (ECE), {where}: {plain_number(each.old)} → {plain_number(each.new)}, mean of "
            f"{counted(each.seeds, 'seed')}, no interval"
        )
    if compared.drift:
        layers = ", ".join(f"{each.layer}: {_unsigned_zero(each.drift)}" for each in compared.drift)
        yield f"Drift of representations of the same clean prompts (1 − CKA), by layer: {layers}"
    else:
        yield "Drift of representations: not recorded in both runs (diagnostics: full, of a model that runs here)."


def _unsigned_zero(value: float) -> str:
    """Three decimals, with a true minus sign where it is not 0."""
    text = f"{value:.3f}"
    return "0.000" if text == "-0.000" else text.replace("-", "−")


def _interval_text(compared: Compared) -> str:
    seeds = counted(len(compared.seeds), "seed")
    if compared.one_model:
        return f"{seeds}; one model in each version: intervals are over examples."
    if len(compared.seeds) == 1:
        return (
            "1 seed, and models are trained or fitted for each: intervals are over the examples of this one pair of "
            "models, and say nothing about others made in the same way."
        )
    return f"{seeds}, each with models of its own: intervals are over seeds and examples."


def _measure_lines(measure: Measure) -> Iterator[str]:
    name, found = measure_name(measure), measure.difference
    if measure.untold:
        yield (
            f"{name}: {counted(measure.untold, 'more pair')} could not be counted: no answer, or none that could be "
            "judged, in one version at least."
        )
    if found is not None and found.known_by_number:
        yield (
            f"{name}: of {found.known_by_number:,} of the pairs the records say how many, not which; these count as "
            "unpaired."
        )
    pairs = 0 if found is None else found.pairs
    if measure.measured == "ASR" and (measure.old_own[1], measure.new_own[1]) != (pairs, pairs):
        texts = [
            f"{label} {percent(won / trials) if trials else '–'} of {trials:,}"
            for label, (won, trials) in (("OLD", measure.old_own), ("NEW", measure.new_own))
        ]
        yield f"{name} over all that each was attacked on: {', '.join(texts)}."


def _cost_text(cost: AttackCost) -> str:
    ratio, number = cost.ratio, scientific if cost.unit == "FLOPs" else amount
    texts = [
        f"beyond the budget of {number(budget)}" if spent is None else number(spent)
        for spent, budget in ((ratio.old, ratio.old_budget), (ratio.new, ratio.new_budget))
    ]
    ends = (
        f"at least {multiple(ratio.low)}"
        if ratio.low is not None and ratio.high is None
        else f"at most {multiple(ratio.high)}"
        if ratio.high is not None and ratio.low is None
        else f"{multiple(ratio.low)} to {multiple(ratio.high)}"
        if ratio.low is not None and ratio.high is not None
        else "not bounded"
    )
    if ratio.value is not None:
        said = f"ratio {multiple(ratio.value)} ({ends})"
    elif ratio.old is None and ratio.new is None:
        said = "broken in neither, so there is no ratio"
    else:
        said = f"ratio {ends}"
    return f"{texts[0]} → {texts[1]} {cost.unit} per example; {said}"


def _guard_lines(comparison: Comparison, guarded: Guarded, undecided: Literal["fail", "pass"]) -> Iterator[str]:
    margin = f"{100 * guarded.margin:g} points"
    for one in guarded.judged:
        if one.verdict == "not worse":
            continue
        several = f" ({_title(comparison.compared[one.place])})" if len(comparison.compared) > 1 else ""
        where = measure_name(one.measure) + several
        if one.verdict == "worse":
            yield f"{where}: worse by more than {margin}, certainly"
            continue
        pairs = 0 if one.measure.difference is None else one.measure.difference.pairs
        needed = (
            f"; some {amount(one.pairs_needed)} pairs like these would show that it is not"
            if one.pairs_needed
            else "; no number of pairs like these would show that it is not"
        )
        yield f"{where}: cannot be told with {counted(pairs, 'pair')} whether worse by more than {margin}{needed}"
    if guarded.lacking:
        yield f"cannot be told: {counted(guarded.lacking, 'cell')} of OLD without a partner in NEW"
    counts = f"{guarded.count('not worse')} not worse, {guarded.count('worse')} worse, "
    counts += f"{guarded.count('cannot be told')} cannot be told"
    outcome = "FAILED" if guarded.fails(undecided) else "passed"
    yield f"--fail-if-worse {guarded.margin:g}: {outcome}: of {counted(len(guarded.judged), 'measure')} {counts}"
