"""The kinds of figures; apart, so that the command line need not import matplotlib to know them."""

from __future__ import annotations

from enum import StrEnum


class FigureKind(StrEnum):
    """What is drawn."""

    attack_scaling = "attack-scaling"
    worst_case = "worst-case"
    offense_defense = "offense-defense"
    sample_efficiency = "sample-efficiency"
    compute_efficiency = "compute-efficiency"
    transfer = "transfer"
