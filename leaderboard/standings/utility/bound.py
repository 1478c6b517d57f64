"""The bound on the loss of utility that a spec sets: which rows exceed it, and of which that cannot be told."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.fit.compared.paired_difference import PairedDifference
from leaderboard.standings.utility.measures import Utility


def beyond_bound(utilities: Sequence[Utility], max_loss: float | None) -> str:
    """Why a row has no rank: what it certainly loses more of than the bound allows, or what is not there to be told of;
    "" where it may have one.
    """
    if max_loss is None:
        return ""
    for utility in utilities:
        if utility.bounded and utility.loss is not None and utility.loss.low > max_loss:
            return f"loses {points_text(utility.loss)} of {name_of(utility)}, more than the limit of {points(max_loss)}"
    for utility in utilities:
        if utility.bounded and utility.rate is None:
            return f"unfinished: {utility.note} of {name_of(utility)}"
    return ""


def not_told_from_bound(utilities: Sequence[Utility], max_loss: float | None, *, undefended: bool) -> list[str]:
    """What a row may have lost more of than the bound allows; empty where it certainly has not, or is undefended."""
    if max_loss is None or undefended:
        return []
    bounded = [utility for utility in utilities if utility.bounded]
    if not bounded:
        return [f"no task measures its utility, of which it may lose {points(max_loss)}"]
    unclear = []
    for utility in bounded:
        if utility.loss is None:
            unclear.append(f"its loss of {name_of(utility)} is unknown: there is no undefended victim to compare with")
        elif utility.loss.low <= max_loss < utility.loss.high:
            unclear.append(f"its loss of {name_of(utility)} cannot be told apart from the limit of {points(max_loss)}")
    return unclear


def name_of(utility: Utility) -> str:
    """``clean accuracy``, ``clean accuracy on mmlu``, ``answers to harmless prompts on xstest``."""
    share = "answers to harmless prompts" if utility.measure == "answered when clean" else utility.measure
    return share if utility.own else f"{share} on {utility.task}"


def points(share: float) -> str:
    """``2 points``, ``1 point``, ``0.5 points``."""
    number = f"{100 * share:.1f}".removesuffix(".0").replace("-", "−")
    return f"{number} point" if number == "1" else f"{number} points"


def points_text(loss: PairedDifference) -> str:
    """``12.3 points (10.1 to 14.5)``."""
    low, high = (f"{100 * end:.1f}".replace("-", "−") for end in (loss.low, loss.high))
    return f"{points(loss.value)} ({low} to {high})"
