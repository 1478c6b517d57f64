"""Which defense is hardest to break, in a sentence for each victim: in the terminal as on the page."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.site.texts.standing_text import cost_text, counted, queries_text
from leaderboard.standings.ranks.best_defense import BestDefense, best_defenses
from leaderboard.standings.ranks.comparable import MAX_NAMED
from leaderboard.standings.ranks.ranks import ONE_SEED
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.table_numbers import target_percent


def best_defense_lines(table: Standings) -> list[str]:
    """``On tiny 150k (the largest victim), word_length: …``, a line for each victim, the largest first."""
    task = table.section.scope.task
    found = best_defenses(table)
    return [
        f"On {best.victim}{largest_text(best, found)}, {task}: {best_name(best)}{best_text(best, table.target)}"
        for best in found
    ]


def largest_text(best: BestDefense, found: Sequence[BestDefense]) -> str:
    """``(the largest victim)`` for the first of several victims, where it is larger than the next one."""
    if len(found) < 2 or best is not found[0] or best.n_params is None:
        return ""
    return " (the largest victim)" if best.n_params > (found[1].n_params or 0) else ""


def best_name(best: BestDefense) -> str:
    """The defense that is hardest to break, which its sentence begins with; "" where the sentence names none."""
    return "" if best.best is None or best.best.undefended else _name(best.best)


def best_text(best: BestDefense, target: float) -> str:
    """The sentence after `best_name`, and what breaking that row costs; what was not compared comes last."""
    sentences = [_none_told_apart(best) if best.best is None else _told_apart(best, best.best)]
    if best.best is not None:
        sentences.append(_cost(best.best, target))
    if best.left_out and (best.best is not None or best.alike):
        were = "is" if len(best.left_out) == 1 else "are"
        sentences.append(f"{counted(len(best.left_out), 'row')} without a rank {were} not compared.")
    return " ".join(filter(None, sentences))


def _told_apart(best: BestDefense, row: Standing) -> str:
    all_easier = "every other row compared: " if not best.alike and len(best.easier) > 1 else ""
    if row.undefended:
        sentence = (
            "no defense is certainly harder to break than the undefended victim, which is certainly harder to break "
            f"than {_names(best.easier)}."
        )
        return sentence if not best.alike else f"{sentence[:-1]}; it cannot be told apart from {_names(best.alike)}."
    alike = f"; it cannot be told apart from {_names(best.alike)}" if best.alike else ""
    return f" is certainly harder to break than {all_easier}{_names(best.easier)}{alike}."


def _none_told_apart(best: BestDefense) -> str:
    if len(best.alike) > 1:
        return f"no row is certainly harder to break than another: {_names(best.alike)} cannot be told apart."
    notes = {row.rank.note for row in best.left_out}
    reason = "fewer than two of its rows could be compared; the table says why"
    if notes == {ONE_SEED} and not best.alike:
        reason = "its rows were attacked under one seed only"
    elif len(notes) == 1 and not best.alike:
        reason = notes.pop()
    return f"which defense is hardest to break cannot be said: {reason}."


def _cost(row: Standing, target: float) -> str:
    """What it takes to break a row, and how sure that is."""
    cost = row.cost_to_break
    if cost is None:
        return ""
    asr = f"ASR {target_percent(target)}"
    if cost.compute is None and (cost.reached or cost.budget is None):
        outcome = "took" if cost.reached else "was not possible within"
        return f"Breaking it to {asr} {outcome} {queries_text(cost.queries)} per example (compute unknown)."
    main, fine = cost_text(cost)
    fine = ", ".join(fine.splitlines())
    if cost.compute is None:
        return f"It was not broken to {asr} {fine} FLOPs per example."
    return f"Breaking it to {asr} takes {main} FLOPs per example (95% interval {fine})."


def _names(rows: Sequence[Standing]) -> str:
    """``no defense, smoothllm and 2 others``, the undefended victim first."""
    ordered = sorted(rows, key=lambda row: not row.undefended)
    names = [_name(row) for row in ordered[:MAX_NAMED]]
    more = len(ordered) - len(names)
    if more:
        names.append(f"{more} {'other' if more == 1 else 'others'}")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _name(row: Standing) -> str:
    label = "no defense" if row.undefended else row.defense
    return label if row.round is None else f"{label} (round {row.round})"
