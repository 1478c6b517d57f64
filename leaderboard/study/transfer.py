"""Finding 5: victims that were trained against a suffix, attacked in other places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from leaderboard.data.trajectories import common_examples
from leaderboard.fit.compared.paired_difference import PairedDifference, SeedPairs, paired_difference
from leaderboard.fit.pooled_rates import pooled_rate, shared_example_variance
from leaderboard.study.finding import DOES_NOT, HOLDS, UNTOLD, Figure, Finding, Row, Verdict, made_finding, rate_figure
from leaderboard.study.ladder import MIN_SEEDS, ONE_SEED, Checkpoint, Ladder, is_undefended

NEAR = 0.2  # a place whose ASR is so little above that of the suffix is one that training carries over to
POSITIONS = {"suffix": 1.0, "infix": 0.9, "prefix": 0.0}
"""Of the study, as fractions of the text."""

_Place = tuple[Any, ...]
_ByPosition = dict[str, Checkpoint]


def transfer(ladders: Sequence[Ladder]) -> Finding:
    """A row for each victim that was trained against a suffix and attacked, after one and the same round, in all three
    places.
    """
    trained: dict[_Place, dict[int, _ByPosition]] = {}
    undefended: dict[_Place, Checkpoint] = {}
    found: dict[_Place, tuple[Ladder, str]] = {}
    seen: set[str] = set()
    for ladder in ladders:
        position = _position(ladder)
        if position is None:
            continue
        for rung in ladder.rungs:
            place = _place(ladder, rung.victim)
            if is_undefended(ladder) and position == "suffix":
                undefended[place] = rung.rounds[0]
            if ladder.against[0] and _is_suffix(ladder.against[1]):
                seen.add(position)
                key = (*place, ladder.defense, ladder.against)
                found[key] = ladder, rung.size
                for number, checkpoint in rung.rounds.items():
                    trained.setdefault(key, {}).setdefault(number, {})[position] = checkpoint
    rows = []
    for key, by_round in trained.items():
        whole = [number for number, places in by_round.items() if places.keys() == POSITIONS.keys()]
        if whole:
            ladder, size = found[key]
            rows.append(_row(ladder, size, max(whole), by_round[max(whole)], undefended.get(key[:-2])))
    return made_finding("transfer", rows, _lacking(seen))


def _lacking(seen: set[str]) -> str:
    if not seen:
        return "victims that were trained against an attack with a suffix"
    unseen = [position for position in ("prefix", "infix", "suffix") if position not in seen]
    places = " and ".join(unseen) if unseen else "suffix, infix and prefix"
    return f"{places} attacks on trained checkpoints" + ("" if unseen else " of one and the same round")


def _place(ladder: Ladder, victim: str) -> _Place:
    """What attacks in different places have in common."""
    return replace(ladder.scope, threat=_elsewhere(ladder.scope.threat)), ladder.family, ladder.attack, victim


def _elsewhere(threat: str) -> str:
    """A threat model's label without the place of the string, which comes first."""
    return threat.partition(",")[2].strip()


def _is_suffix(threat: str) -> bool:
    return _named(threat.partition(",")[0]) == "suffix"


def _position(ladder: Ladder) -> str | None:
    return _named(ladder.scope.threat.partition(",")[0])


def _named(text: str) -> str | None:
    """The study's name of a place, given by that name or as a fraction."""
    try:
        at = POSITIONS[text] if text in POSITIONS else float(text)
    except ValueError:
        return None
    return next((name for name, fraction in POSITIONS.items() if fraction == at), None)


def _row(ladder: Ladder, size: str, number: int, places: _ByPosition, before: Checkpoint | None) -> Row:
    figures = [_asr(position, places[position]) for position in POSITIONS]
    from_suffix = {position: _difference(places["suffix"], places[position]) for position in ("infix", "prefix")}
    figures += [
        Figure(f"{position} − suffix", "points", found.value, found.low, found.high)
        for position, found in from_suffix.items()
        if found is not None
    ]
    gained = None
    if before is not None:
        figures.append(_asr("undefended, suffix", before))
        gained = _difference(places["suffix"], before)
        figures += (
            [] if gained is None else [Figure("undefended − suffix", "points", gained.value, gained.low, gained.high)]
        )
    threat = _elsewhere(ladder.scope.threat)
    where = f"{ladder.scope.task} · {ladder.family} {size} · {ladder.attack} · {threat} · round {number}"
    seeds = min(len(checkpoint.trajectories) for checkpoint in places.values())
    verdict, why = judge_transfer(from_suffix, gained) if seeds >= MIN_SEEDS else (UNTOLD, ONE_SEED)
    return Row(where, ladder.spec, tuple(figures), verdict, why, ladder.notes)


def judge_transfer(
    from_suffix: Mapping[str, PairedDifference | None], gained: PairedDifference | None
) -> tuple[Verdict, str]:
    """Holds where training helped against the suffix, infix is surely less than `NEAR` above it, and prefix surely
    more; does not where infix is surely more above it, or prefix surely less.
    """
    infix, prefix = from_suffix["infix"], from_suffix["prefix"]
    if infix is None or prefix is None:
        return UNTOLD, "no example was attacked in all places"
    if gained is None:
        return UNTOLD, "not in these runs: the undefended victim under the same attack with a suffix"
    if gained.low <= 0:
        return UNTOLD, "training did not surely help against the suffix itself"
    points = f"{100 * NEAR:.0f} points above suffix"
    why = f"infix {_side(infix)} {points}, prefix {_side(prefix)}"
    if infix.low > NEAR or prefix.high < NEAR:
        return DOES_NOT, why
    return (HOLDS if infix.high < NEAR < prefix.low else UNTOLD), why


def _side(found: PairedDifference) -> str:
    if found.high < NEAR:
        return "surely less than"
    return "surely more than" if found.low > NEAR else "not told from"


def _asr(of: str, checkpoint: Checkpoint) -> Figure:
    used = [trajectories for trajectories, _ in checkpoint.of_seeds]
    last = [trajectories.so_far[:, -1:] for trajectories in used]
    shared = shared_example_variance([trajectories.examples for trajectories in used], last)
    rate = pooled_rate([int(fell.sum()) for fell in last], [len(fell) for fell in last], shared)
    assert rate is not None, "a checkpoint has attacked examples"
    return rate_figure(of, rate)


def _difference(old: Checkpoint, new: Checkpoint) -> PairedDifference | None:
    """``new`` less ``old``, over the examples that both attacked, seed by seed."""
    pairs = [
        SeedPairs(one.examples, np.asarray(one.so_far[:, -1]), np.asarray(other.so_far[:, -1]))
        for one, other in common_examples([old.trajectories, new.trajectories])
    ]
    return paired_difference(pairs, one_model=False) if pairs else None
