"""What each cell weighs when a run is cut into shards, and which cells are a shard's own."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from harness.errors import RunError
from harness.number_format import counted
from harness.run.cell_label import cell_label
from harness.run.plan.estimate import make_plan
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.run.shards import Shard, ShardItem, cut
from harness.spec.cells import CellSpec
from harness.store.artifacts import FolderStore

_LEAST = 0.01  # of the mean weight: a cell that computes next to nothing still loads its model


def cells_of_shard(cells: Mapping[str, ResolvedCell], shard: Shard, resolver: CellResolver) -> dict[str, ResolvedCell]:
    """Of all cells of a spec, by key in the order of the product, those of one shard."""
    items, costs = shard_items(cells, resolver)
    return {key: cells[key] for key in cut(items, shard.of, costs)[shard.index - 1]}


def shard_items(cells: Mapping[str, ResolvedCell], resolver: CellResolver) -> tuple[list[ShardItem], dict[str, float]]:
    """Every cell with its estimated nominal FLOPs, and those of making each artifact; the same on every machine.

    A cell of unknown compute weighs as much as the mean of the others.
    """
    flops = _flops(cells, resolver)
    known = {key: flops[key] for key in cells if flops.get(key) is not None}
    mean = sum(known.values()) / max(1, len(known)) or 1.0
    items = []
    for key, cell in cells.items():
        weight = max(known.get(key, mean), _LEAST * mean)
        items.append(ShardItem(key, cell.keys.victim, _rounded(weight), cell.artifact_keys))
    return items, {key: _rounded(amount) for key, amount in flops.items() if key not in cells}


def _flops(cells: Mapping[str, ResolvedCell], resolver: CellResolver) -> dict[str, float]:
    """Estimates by key of cell or artifact, where there are any."""
    nothing = FolderStore(Path(os.devnull))  # what is made already, or damaged, must not change the cut
    try:
        plan = make_plan(list(cells.values()), resolver, nothing, None)
    except Exception:  # a plugin that cannot say must not keep the run from starting
        return {}
    return {stage.key: stage.flops for stage in plan.stages if stage.flops is not None and math.isfinite(stage.flops)}


def _rounded(amount: float) -> float:
    """To three digits: another library version may round the last ones of an estimate differently."""
    return float(f"{amount:.2e}")


def check_all_resolved(unresolved: Mapping[str, tuple[CellSpec, str]], shard: Shard) -> None:
    """Check that every cell of the spec has a key: without it no shard can tell whose the cell is.

    Raises:
        RunError: some have none; says why.
    """
    if not unresolved:
        return
    reasons = dict.fromkeys(f"{cell_label(cell)}: {problem}" for cell, problem in unresolved.values())
    few = list(reasons)[:3]
    more = f" (and {len(reasons) - len(few)} more)" if len(reasons) > len(few) else ""
    raise RunError(
        f"{shard}: {counted(len(unresolved), 'cell')} of the spec without a key: data or model is not found, shards "
        f"could not agree on who does what: {'; '.join(few)}{more}. Fix that, or exclude these cells in the spec"
    )
