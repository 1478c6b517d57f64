"""What the page of a victim and defense shows of claims: their lines with links, and a few of their strings."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.data.attack_strings import SuccessfulString, successful_strings
from leaderboard.others.claims import successes
from leaderboard.site.texts.others_text import others_lines
from leaderboard.standings.standing import Standing


def linked_lines(row: Standing) -> list[tuple[str, str, str]]:
    """Label, text and link ("" for none) of what others say of a row; a paper stands behind its claim's text."""
    claims = iter(() if row.others.claimed is None else row.others.claimed.claims)
    lines = []
    for label, text in others_lines(row):
        claim = next(claims).claim if label == "Claim" else None
        paper = "" if claim is None or not claim.paper else f" {claim.paper}"
        lines.append((label, text + paper, "" if claim is None else claim.link))
    return lines


def claim_strings(rows: Sequence[Standing], *, prompts: bool) -> dict[str, list[SuccessfulString]]:
    """Name of a claim to a few strings of it that succeeded, of those that it claims."""
    found = {}
    for row in rows:
        for one in () if row.others.claimed is None else row.others.claimed.claims:
            claim = one.claim
            claimed = {(cell.record.seed, *at) for cell in claim.cells for at in successes(cell, claim.examples)}
            strings = [
                string
                for of_attack in successful_strings(claim.cells, prompts=prompts).values()
                for string in of_attack
                if (string.seed, string.example, string.step) in claimed
            ]
            if strings:
                found[f"{claim.name}, {claim.by}"] = strings
    return found
