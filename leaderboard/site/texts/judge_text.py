"""What judges make of a run, in words and as JSON: ASR without their errors, and how ranks change between them."""

from __future__ import annotations

from typing import TypedDict

from leaderboard.site.texts.standing_text import TextPair, cost_text, counted, of_one_model
from leaderboard.standings.json_numbers import RateJson, rate_json, rounded
from leaderboard.standings.ranks.between_judges import JudgeComparison, JudgedRow, JudgePair, Swap
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.table_numbers import percent, signed


class JudgedRowJson(TypedDict):
    """A row under one judge: the ranks that it may have, or null and why; ASR at full budget; compute to the target."""

    rank: int | None
    worst_rank: int | None
    note: str
    asr: RateJson | None
    compute: float | None


class SwapJson(TypedDict):
    """Two rows, the first harder to break by the pair's first judge and easier by its other one."""

    harder: str
    easier: str
    certain: bool


class JudgePairJson(TypedDict):
    """`leaderboard.standings.ranks.between_judges.JudgePair`."""

    one: str
    other: str
    tau_b: float | None
    pairs: int
    tied: int
    swaps: list[SwapJson]


class JudgeComparisonJson(TypedDict):
    """`leaderboard.standings.ranks.between_judges.JudgeComparison`; each row has one entry for each of ``judges``."""

    task: str
    threat: str
    target_asr: float
    judges: list[str]
    rows: list[dict[str, str | list[JudgedRowJson]]]
    pairs: list[JudgePairJson]
    not_compared: list[dict[str, str]]


def corrects_asr(table: Standings) -> bool:
    """Whether any row's records name how often the judge errs."""
    return any(row.corrected for row in table.rows)


def corrected_text(row: Standing) -> TextPair:
    """ASR of the strings that the strongest attack ended with, without the judge's errors, its interval, and the share
    that was judged so; or why there is none.
    """
    found = row.corrected
    if found is None:
        return "–", "no calibration of the judge"
    seen = "" if found.seen is None else f"as judged {percent(found.seen.value)} of {found.seen.trials} last strings"
    attack = str(found.group["attack"])
    claimed = "" if row.evidence is None else "by the submitter's calibration"
    if found.corrected is None:
        return "–", "\n".join(filter(None, [found.note, seen, attack]))
    rate = found.corrected
    cut = f"the estimate is beyond {percent(rate.value)} and is cut off there" if rate.clipped else ""
    one = "" if found.seen is None else of_one_model(found.seen.seeds).strip()
    lines = [f"{100 * rate.low:.1f} – {100 * rate.high:.1f}%", one, cut, seen, attack, claimed]
    return percent(rate.value), "\n".join(filter(None, lines))


def judged_text(row: JudgedRow) -> TextPair:
    """The ranks that a row may have by a judge, with ASR and what it costs to break; or why it has none."""
    rank = row.rank
    main = "–" if rank.best is None else str(rank.best) if rank.best == rank.worst else f"{rank.best} – {rank.worst}"
    asr = "" if row.asr is None else f"ASR {percent(row.asr.value)}"
    cost = ""
    if row.cost is not None:
        amount, interval = cost_text(row.cost)
        cost = f"{amount} {interval.splitlines()[0]}" if amount == "not broken" else f"{amount} FLOPs"
    return main, "\n".join(filter(None, [rank.note, asr, cost]))


def agreement_text(pair: JudgePair) -> str:
    """Kendall's tau-b of two judges, and how many pairs of rows they put into another order."""
    if not pair.pairs:
        return "fewer than two rows that both can compare"
    tau = "tau-b not defined, since one of them has all rows tied" if pair.tau is None else f"tau-b {signed(pair.tau)}"
    certain = sum(swap.certainty == "certainly" for swap in pair.swaps)
    swapped = f"{len(pair.swaps)} in another order, {certain} of them certainly" if pair.swaps else "all in one order"
    tied = f", {pair.tied} tied under one of them" if pair.tied else ""
    return f"{tau}; of {counted(pair.pairs, 'pair')} of rows {swapped}{tied}"


def swap_text(pair: JudgePair, swap: Swap) -> str:
    """Which row is harder to break by whom."""
    return f"{swap.certainty}: {swap.harder} harder than {swap.easier} by {pair.one}, easier by {pair.other}"


def ties_text() -> str:
    """What ties and certainty mean."""
    return (
        "Tau-b is 1 if two judges order all rows alike by cost to break, −1 if one order is the reverse of the other. "
        "Rows that did not reach the target are ordered by ASR, and tied if it is equal; a pair that is tied under one "
        "judge counts for neither order. Rows are certainly swapped if both judges' intervals tell them apart, in "
        "opposite ways."
    )


def comparison_json(found: JudgeComparison) -> JudgeComparisonJson:
    """JSON data."""
    return {
        "task": found.task,
        "threat": found.threat,
        "target_asr": found.target,
        "judges": list(found.judges),
        "rows": [{"row": label, "by_judge": [_judged_json(one) for one in judged]} for label, judged in found.rows],
        "pairs": [
            {
                "one": pair.one,
                "other": pair.other,
                "tau_b": rounded(pair.tau),
                "pairs": pair.pairs,
                "tied": pair.tied,
                "swaps": [
                    {"harder": swap.harder, "easier": swap.easier, "certain": swap.certainty == "certainly"}
                    for swap in pair.swaps
                ],
            }
            for pair in found.pairs
        ],
        "not_compared": [{"row": label, "reason": reason} for label, reason in found.apart],
    }


def _judged_json(row: JudgedRow) -> JudgedRowJson:
    return {
        "rank": row.rank.best,
        "worst_rank": row.rank.worst,
        "note": row.rank.note,
        "asr": None if row.asr is None else rate_json(row.asr),
        "compute": None if row.cost is None else rounded(row.cost.compute),
    }
