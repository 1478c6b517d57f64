"""The record format: what a run leaves behind, and all that a leaderboard reads. A change here is a change of
`VERSION`.

A run directory::

    RUN/run.json                     spec (as written and as resolved), its hash, versions
    RUN/cells/KEY/cell.json          one cell: what it is, how it ended, what it cost to prepare
    RUN/cells/KEY/examples.parquet   one row per attacked or excluded example
    RUN/cells/KEY/steps.parquet      one row per attacked example and step
    RUN/cells/KEY/journal.jsonl      only while the cell is unfinished
"""

from __future__ import annotations

import pyarrow as pa

VERSION = 1

EXAMPLES = pa.schema(
    [
        ("example", pa.string()),  # id within the task
        ("label", pa.int32()),
        ("predicted", pa.int32()),  # on the clean prompt; null when blocked or when it could not be asked
        ("attacked", pa.bool_()),
        ("excluded", pa.string()),  # why it was not attacked, e.g. "already wrong"; null when attacked
    ]
)

STEPS = pa.schema(
    [
        ("example", pa.string()),
        ("step", pa.int32()),  # 1, 2, …
        (
            "success",
            pa.bool_(),
        ),  # the harness's verdict on this step's attack string (ASR at_step); so_far is its running maximum
        (
            "loss",
            pa.float64(),
        ),  # cross-entropy to the proxy label of the judged prompt; inf when blocked, null when not judged
        ("attack_loss", pa.float64()),  # the loss that the attack itself knows; null when none
        ("attack_text", pa.string()),
        ("attack_tokens", pa.list_(pa.int32())),
        (
            "failure",
            pa.string(),
        ),  # why the string counts as failed without being judged ("retokenisation", …); null otherwise
        ("queries", pa.int64()),  # sequences the attack had scored or differentiated in this step
        # FLOPs of this step alone (not cumulative), by purpose and convention; null where unknown, never NaN
        ("attack_nominal", pa.float64()),
        ("attack_executed", pa.float64()),
        ("judge_nominal", pa.float64()),
        ("judge_executed", pa.float64()),
        ("defense_nominal", pa.float64()),  # what guards and transforms added to the attack's and the judge's queries
        ("defense_executed", pa.float64()),
        ("seconds", pa.float64()),  # share of wall time; the only column that differs between two runs of the same cell
    ]
)

COMPUTE = tuple(name for name in STEPS.names if name.endswith(("_nominal", "_executed")))
"""The columns of FLOPs. In memory an unknown amount is NaN, on disk it is null."""
