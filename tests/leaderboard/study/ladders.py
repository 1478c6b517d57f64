"""Cells of ladders whose truth is known: three sizes of one family, four seeds, compute in proportion to size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from pathlib import Path
from typing import Any

from harness.records.read import read_run
from leaderboard.study.finding import Finding, Row
from leaderboard.study.findings import study_findings
from leaderboard.study.published import FindingName
from tests.leaderboard.fake_run import FakeCell, write_run

SIZES = (20_000, 200_000, 2_000_000)
AGAINST = {"attack": "gcg(steps=8)", "threat": FakeCell.threat}


def cells(
    *, sizes: Sequence[int] = SIZES, seeds: int = 4, examples: int = 60, shift: float = 0.0, **changes: Any
) -> list[FakeCell]:
    """Undefended by default; ``shift``: how many decades more of relative compute ten times the size takes to break."""
    return [
        FakeCell(
            **{
                "victim": f"tiny(size={size})",
                "n_params": size,
                "seed": seed,
                "examples": examples,
                "wrong": 0,
                "stop_on_success": True,
                "step_flops": 1e4 * size,
                "reference_flops": 1e9 * size,
                # Half fall at four steps' compute.
                "hardness": log10(4e4 * size) + shift * (log10(size) - log10(SIZES[1])),
                "slope": 2.0,
                "steps": 10,
                **changes,
            }
        )
        for size in sizes
        for seed in range(seeds)
    ]


def rounds_of(broken: Mapping[int, Sequence[float]], *, seeds: int = 4, examples: int = 60) -> list[FakeCell]:
    """Trained victims by size, of each the share of examples that the attack breaks after rounds 1, 2, …"""
    return [
        FakeCell(
            victim=f"tiny(size={size})",
            n_params=size,
            defense="adversarial_training(rounds=8)",
            round=number,
            defense_flops=1e6 * size * number,
            against=AGAINST,
            seed=seed,
            examples=examples,
            steps=2,
            stop_on_success=True,
            first_success=[1 + at % 2 if at < round(share * examples) else 0 for at in range(examples)],
            step_flops=1e4 * size,
            reference_flops=1e9 * size,
        )
        for size, shares in broken.items()
        for number, share in enumerate(shares, start=1)
        for seed in range(seeds)
    ]


def found(folder: Path, *made: Sequence[FakeCell], target: float | None = None) -> dict[FindingName, Finding]:
    """The findings in a run of all these cells."""
    path = write_run(folder / "run", [cell for part in made for cell in part])
    return {finding.name: finding for finding in study_findings([read_run(path)], target)}


def only_row(finding: Finding) -> Row:
    """Its one row."""
    (row,) = finding.rows
    return row
