"""What others say of a row, as `data.json` has it: claims, the same cells run again, errata, what is declared."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from leaderboard.others.lowered import ClaimOnRow
from leaderboard.standings.json_numbers import RateJson, rate_json, rounded
from leaderboard.standings.standing import Standing


class ClaimJson(TypedDict):
    """A claim against a row; ``flops`` is declared, null where unknown; ``counts``: whether it lowers the row."""

    name: str
    by: str
    date: str
    paper: str
    link: str
    entry: str
    strings: int
    examples: int
    broke: int
    new: int
    flops: float | None
    evidence: str
    counts: bool
    withdrawn: str


class ClaimedJson(TypedDict):
    """The row with the claims that count. ``cost`` is null where they make it no cheaper to reach the target; its
    ``compute`` is null where unknown, else as declared.
    """

    asr: RateJson
    cost: dict[str, float | bool | None] | None


class OthersJson(TypedDict):
    """What others and its submitters say of a row."""

    claims: list[ClaimJson]
    claimed: NotRequired[ClaimedJson]
    reruns: list[dict[str, str | int]]
    errata: list[dict[str, str]]
    declared: list[dict[str, str | int | bool | None]]


def others_json(row: Standing) -> OthersJson:
    """Of a row, rounded."""
    others, claimed = row.others, row.others.claimed
    found: OthersJson = {
        "claims": [] if claimed is None else [_claim_json(one) for one in claimed.claims],
        "reruns": [
            {
                "by": one.by,
                "date": one.date,
                "cells": one.cells,
                "of": one.of,
                "same": one.same,
                "differs": one.differs,
            }
            for one in others.reruns
        ],
        "errata": [
            {"about": note.about, "date": note.date.isoformat(), "wrong": note.wrong, "follows": note.follows}
            for note in others.errata
        ],
        "declared": [
            {"tries": one.tries, "registered": one.registered, "registered_found": one.found} for one in others.declared
        ],
    }
    if claimed is not None and claimed.asr is not None:
        cost = claimed.cost
        found["claimed"] = {
            "asr": rate_json(claimed.asr),
            "cost": None if cost is None else {"compute": rounded(cost.compute), "with_own": cost.with_own},
        }
    return found


def _claim_json(one: ClaimOnRow) -> ClaimJson:
    claim = one.claim
    return {
        "name": claim.name,
        "by": claim.by,
        "date": claim.date,
        "paper": claim.paper,
        "link": claim.link,
        "entry": claim.entry,
        "strings": sum(given.count for given in claim.examples.values()),
        "examples": len(claim.examples),
        "broke": one.broke,
        "new": one.new,
        "flops": rounded(claim.flops),
        "evidence": claim.evidence.mark,
        "counts": claim.counts,
        "withdrawn": claim.withdrawn,
    }
