"""What others say of a row, in words: claims, the same cells run again, errata, and what submitters declare."""

from __future__ import annotations

from leaderboard.others.lowered import ClaimedRow, ClaimOnRow
from leaderboard.others.of_rows import Declared
from leaderboard.others.reruns import Rerun
from leaderboard.site.texts.standing_text import TextPair, asr_text, cost_to_break_text, interval_text, rank_text
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.table_numbers import UNKNOWN_COMPUTE, counted, percent, scientific

NOBODY_TRIED = "Rows without a claim: nobody has brought one; they are not known to withstand these strings."


def asr_with_claims(row: Standing) -> TextPair:
    """ASR at full budget by the row's own attacks, and below it with the claims that count."""
    main, fine = asr_text(row)
    claimed = row.others.claimed
    if claimed is None or claimed.asr is None:
        return main, fine
    return main, f"{fine}\nwith {_whose(claimed)}: {percent(claimed.asr.value)} ({interval_text(claimed.asr)})"


def cost_with_claims(row: Standing) -> TextPair:
    """Compute to the target by the row's own attacks, and below it with the claims that make it less."""
    main, fine = cost_to_break_text(row)
    claimed = row.others.claimed
    if claimed is None or claimed.cost is None:
        return main, fine
    cost = claimed.cost
    spent = UNKNOWN_COMPUTE.lower() if cost.compute is None else f"{scientific(cost.compute)} (declared)"
    besides = ", after the row's own attacks" if cost.with_own else ""
    return main, "\n".join(filter(None, [fine, f"with {_whose(claimed)}: {spent}{besides}"]))


def rank_with_claims(row: Standing) -> TextPair:
    """The row's rank, and that claims are no part of it."""
    main, fine = rank_text(row)
    claimed = row.others.claimed
    ranked = row.rank.best is not None and claimed is not None and claimed.asr is not None
    told = "by the common attacks, without the claim" if ranked else ""
    return main, "\n".join(filter(None, [fine, told]))


def marks_of_others(row: Standing) -> list[str]:
    """Marks of a row, by what others and its submitters say of it."""
    others, marks = row.others, list[str]()
    if others.errata:
        marks.append("withdrawn" if others.withdrawn else "erratum")
    if others.claimed is not None:
        marks.append("claimed" if others.claimed.asr is not None else "claimed: not all replayed")
    marks += [f"re-run: {one.same} of {counted(one.cells, 'cell')} the same" for one in others.reruns]
    for declared in others.declared:
        if declared.tries is not None:
            marks.append(f"tries: {declared.tries} (declared)")
        if declared.registered:
            marks.append(f"registered: {'found' if declared.found else 'declared'}")
    return marks


def others_lines(row: Standing) -> list[tuple[str, str]]:
    """Label and text of everything that others and submitters say of a row."""
    others = row.others
    lines = [
        ("Withdrawn" if note.withdrawn else "Erratum", f"{note.date.isoformat()}, {note.about}: {note.wrong}")
        for note in others.errata
    ]
    if others.claimed is not None:
        lines += [("Claim", claim_line(one)) for one in others.claimed.claims]
        if (rate := others.claimed.asr) is not None:
            lines.append(("ASR with claims", f"{percent(rate.value)} ({interval_text(rate)})"))
    lines += [("Run again", rerun_line(one)) for one in others.reruns]
    for declared in others.declared:
        lines += _declared_lines(declared)
    return lines


def claim_line(one: ClaimOnRow) -> str:
    """A claim in one sentence or two, without its link."""
    claim = one.claim
    strings = sum(given.count for given in claim.examples.values())
    spent = "compute unknown" if claim.flops is None else f"{scientific(claim.flops)} FLOPs in all, as they declare"
    counts = "" if claim.counts else f" Not counted: {'withdrawn' if claim.withdrawn else 'not all replayed'}."
    return (
        f"{claim.by}, {claim.date[:10]}: {counted(strings, 'string')} for {counted(len(claim.examples), 'example')} "
        f"({spent}); {one.broke} broken, {one.new} of them by no attack of the row; {claim.evidence.mark}.{counts}"
    )


def rerun_line(one: Rerun) -> str:
    """Who ran cells of a row again, and what came of it."""
    differs = f"; the first difference: {one.differs}" if one.differs else ""
    return f"{one.by}, {one.date[:10]}: {one.cells} of {counted(one.of, 'cell')}, {one.same} the same{differs}"


def _declared_lines(declared: Declared) -> list[tuple[str, str]]:
    lines = []
    if declared.tries is not None:
        lines.append(("Runs made", f"{declared.tries}, as the submitter says"))
    if declared.registered:
        where, _, date = declared.registered.rpartition(" ")
        known = "the file is in the repository and has the hash" if declared.found else "as the submitter says"
        lines.append(("Spec registered", f"{date}, {where}: {known}"))
    return lines


def others_notes(table: Standings) -> list[str]:
    """The same for all rows of a table, a line each, and what a row without a claim means."""
    notes = [f"{row.label}: {label}: {text}" for row in table.rows for label, text in others_lines(row)]
    claimed = any(row.others.claimed is not None for row in table.rows)
    return [*notes, NOBODY_TRIED] if claimed else notes


def _whose(claimed: ClaimedRow) -> str:
    """``the claim by Doe``, or ``3 claims``."""
    counted_claims = [one.claim for one in claimed.claims if one.claim.counts]
    if len(counted_claims) > 1:
        return f"{len(counted_claims)} claims"
    (claim,) = counted_claims
    return f"the claim by {claim.by} of {claim.date[:10]}"
