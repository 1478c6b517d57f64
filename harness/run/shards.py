"""Cutting a run into shards for machines that do not know of each other: each computes the same cut and takes its part.

The cut depends on the cells alone, never on what is done already.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import RunError
from harness.hashing import content_key

TOLERANCE = 1.25  # a heaviest shard of this many fair shares is good enough to keep every group whole
FINEST = 8  # pieces are never cut for less than this part of a fair share


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a run that is cut into ``of``; ``index`` is 1, 2, …"""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``2/5`` as written on the command line.

        Raises:
            RunError: it is not of that form, or there is no such part.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if found is None:
            raise RunError(f"--shard {text}: write i/n, two whole numbers, such as --shard 1/4")
        shard = cls(int(found[1]), int(found[2]))
        if not 1 <= shard.index <= shard.of:
            raise RunError(f"--shard {text}: there is no such part; of n parts, i is 1, 2, … n")
        return shard

    def __str__(self) -> str:
        return f"shard {self.index} of {self.of}"


@dataclass(frozen=True, slots=True)
class ShardItem:
    """A cell as the cut sees it.

    Attributes:
        key: of the cell.
        group: cells that had better stay together, such as those of one victim.
        weight: what the cell alone takes, 0 or more, in any unit.
        artifacts: what must be made first, and is made only once where cells that share it are together.
    """

    key: str
    group: str
    weight: float
    artifacts: tuple[str, ...] = ()


def digest(keys: Collection[str]) -> str:
    """What a set of cells is known by: runs of one spec that found the same data and models agree in it."""
    return content_key(sorted(keys), 64)


def cut(items: Sequence[ShardItem], n: int, costs: Mapping[str, float] | None = None) -> list[list[str]]:
    """The keys of each of ``n`` shards, in the order of ``items``; every key is in exactly one.

    Groups go whole to the lightest shard, heaviest first. Where that leaves one shard too heavy, groups are cut into
    pieces of neighbours, no finer than it takes: the heaviest shard takes at most `TOLERANCE` times the fair share, or
    as near to that as single cells and what they need allow.

    Args:
        costs: what making each artifact takes, in the unit of the weights; nothing where it is not named.
    """
    costs = costs or {}
    groups: dict[str, list[ShardItem]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    fair = (sum(item.weight for item in items) + _making_cost(items, costs)) / n
    best, lowest = _spread(list(groups.values()), n, costs)
    part = 1
    while part <= FINEST and lowest > TOLERANCE * fair:
        pieces = [piece for group in groups.values() for piece in _pieces(group, fair / part)]
        found, heaviest = _spread(pieces, n, costs)
        if heaviest < lowest:
            best, lowest = found, heaviest
        part *= 2
    return _in_order(items, best)


def _in_order(items: Sequence[ShardItem], shards: Sequence[set[str]]) -> list[list[str]]:
    owner = {key: index for index, keys in enumerate(shards) for key in keys}
    found: list[list[str]] = [[] for _ in shards]
    for item in items:
        found[owner[item.key]].append(item.key)
    return found


def _making_cost(items: Sequence[ShardItem], costs: Mapping[str, float]) -> float:
    """What making the artifacts of these cells takes, each once."""
    return sum(costs.get(key, 0.0) for key in dict.fromkeys(key for item in items for key in item.artifacts))


def _pieces(group: list[ShardItem], size: float) -> list[list[ShardItem]]:
    """Neighbours together, in nearly equal pieces that weigh at most ``size``, unless a single cell weighs more."""
    weight = sum(item.weight for item in group)
    if weight <= size or size <= 0:
        return [group]
    limit = weight / math.ceil(weight / size)
    pieces: list[list[ShardItem]] = []
    room = 0.0
    for item in group:
        if not pieces or item.weight > room:
            pieces.append([])
            room = limit
        pieces[-1].append(item)
        room -= item.weight
    return pieces


def _spread(pieces: list[list[ShardItem]], n: int, costs: Mapping[str, float]) -> tuple[list[set[str]], float]:
    """The heaviest piece first to the shard that is lightest with it; the keys of each shard, the heaviest's load."""
    shards: list[set[str]] = [set() for _ in range(n)]
    loads, made = [0.0] * n, [set[str]() for _ in range(n)]
    homes: dict[str, dict[int, None]] = {}  # of groups: where making is saved
    lightest = [(0.0, 0, index) for index in range(n)]  # a heap of load, cells, shard; an entry that is old is skipped
    totals = [sum(item.weight for item in piece) + _making_cost(piece, costs) for piece in pieces]
    for place in sorted(range(len(pieces)), key=lambda place: (-totals[place], place)):
        piece = pieces[place]
        while lightest[0][:2] != (loads[lightest[0][2]], len(shards[lightest[0][2]])):
            heapq.heappop(lightest)
        weight = sum(item.weight for item in piece)
        artifacts = list(dict.fromkeys(key for item in piece for key in item.artifacts))
        home = homes.setdefault(piece[0].group, {})
        candidates = [
            (loads[i] + weight + sum(costs.get(key, 0.0) for key in artifacts if key not in made[i]), len(shards[i]), i)
            for i in home | {lightest[0][2]: None}
        ]
        load, _, i = min(candidates)
        loads[i] = load
        shards[i].update(item.key for item in piece)
        made[i].update(artifacts)
        home[i] = None
        heapq.heappush(lightest, (loads[i], len(shards[i]), i))
    return shards, max(loads)
