"""All five findings of the study, as given runs show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.records.read import Run
from leaderboard.study.attack_compute import attack_compute
from leaderboard.study.finding import Finding
from leaderboard.study.ladder import ladders
from leaderboard.study.offense_defense import offense_defense
from leaderboard.study.published import Published
from leaderboard.study.rounds import rounds
from leaderboard.study.transfer import transfer
from leaderboard.study.undefended import undefended


def study_findings(runs: Sequence[Run], target: float | None = None) -> list[Finding]:
    """In the study's order.

    Args:
        target: attack success rate that counts as broken where sizes are put in order and for the offense-defense
            line; the spec's own when None.

    Raises:
        DataError: records cannot be read, or do not belong together.
    """
    found = ladders(runs, target)
    return [
        undefended(found),
        attack_compute(found),
        rounds(found),
        offense_defense(found),
        transfer(found),
    ]


def finding_json(finding: Finding, published: Published) -> dict[str, Any]:
    """JSON data, with what was published."""
    figures = [figure.model_dump(mode="json") for figure in published.of(finding.name)]
    return {
        "finding": finding.number,
        "name": finding.name,
        "claim": finding.claim,
        "verdicts": dict(finding.counts),
        "missing": finding.missing or None,
        "rows": [row.to_json() for row in finding.rows],
        "published": {"source": published.source, "figures": figures},
    }
