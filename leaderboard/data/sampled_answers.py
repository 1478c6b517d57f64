"""How many of the drawn answers to each attack string are broken, and what an answer took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DataError
from harness.records.read import Cell
from leaderboard.arrays import Booleans, Floats, Integers


@dataclass(frozen=True)
class SampledAnswers:
    """Of one cell: E examples, T steps, k answers to each string.

    Attributes:
        samples: k.
        asked: [E, T], whether the string of this step was put to the victim.
        broken: [E, T], how many of its answers are broken.
        told: [E, T], how many say something of the attack: those that a judging model could not judge say nothing, and
            those that are missing are no success.
        nominal: [E, T], what one of its answers took, mean, FLOPs; NaN where unknown.
        own: [E, T], of the attack's compute at this step, what the answers took that the threat model has the attacker
            ask for.
        asks: how many these are; 0 where they count as judging.
    """

    samples: int
    asked: Booleans
    broken: Integers
    told: Integers
    nominal: Floats
    own: Floats
    asks: int


def read_sampled_answers(cell: Cell, examples: Sequence[str], steps: int) -> SampledAnswers | None:
    """Of some examples of a cell, in that order; None where answers were not drawn.

    Raises:
        DataError: the records lack them.
    """
    samples = cell.record.samples
    if not samples:
        return None
    table = cell.steps(["example", "step", "failure", "broken_draws", "sampled_nominal", "sampled_unparseable"])
    index_of = {example: index for index, example in enumerate(examples)}
    rows = pa.array([index_of.get(example) for example in table["example"].to_pylist()], pa.int64())
    table = table.append_column("row", rows).filter(pc.is_valid(rows))
    table = table.filter(pc.is_null(table["failure"]))
    at = table["row"].to_numpy(), table["step"].to_numpy() - 1
    lengths = pc.list_value_length(table["sampled_nominal"])
    if len(table) and not (lengths.null_count == 0 and pc.all(pc.equal(lengths, samples)).as_py()):
        raise DataError(
            f"{cell.folder / 'steps.parquet'}: not {samples} drawn answers to each string, as cell.json has it. "
            f"Remove the folder {cell.folder.name} and run the spec again: only this cell is redone."
        )
    amounts = table["sampled_nominal"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    amounts = amounts.astype(np.float64).reshape(-1, samples)
    shape, asks = (len(examples), steps), cell.record.threat.get("asks") or 0
    found: dict[str, np.ndarray] = {name: np.zeros(shape) for name in ("nominal", "own")}
    found |= {name: np.zeros(shape, dtype=np.int64) for name in ("broken", "told")}
    asked = np.zeros(shape, dtype=bool)
    asked[at] = True
    found["broken"][at] = pc.fill_null(table["broken_draws"], 0).to_numpy()
    unparseable = pc.fill_null(table["sampled_unparseable"].combine_chunks().flatten(), False)
    found["told"][at] = samples - unparseable.to_numpy(zero_copy_only=False).reshape(-1, samples).sum(axis=1)
    found["nominal"][at] = amounts.mean(axis=1)
    found["own"][at] = amounts[:, :asks].sum(axis=1)
    return SampledAnswers(samples, asked=asked, asks=asks, **found)
