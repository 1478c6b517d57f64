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

VERSION = 2

EXAMPLES = pa.schema(
    [
        ("example", pa.string()),  # id within the task
        ("label", pa.int32()),  # null where the answer is a text
        ("predicted", pa.int32()),  # on the clean prompt; null when blocked, not asked, or where the answer is a text
        ("answer", pa.string()),  # to the clean prompt; null when blocked, not asked, or where the answer is a label
        ("attacked", pa.bool_()),
        ("excluded", pa.string()),  # why it was not attacked, e.g. "already wrong"; null when attacked
    ]
)

STEPS = pa.schema(
    [
        ("example", pa.string()),
        ("step", pa.int32()),  # 1, 2, …
        # the harness's verdict on this step's attack string (ASR at_step); so_far is its running maximum
        ("success", pa.bool_()),
        ("score", pa.float64()),  # how far the attacker got, 0 to 1, where the judge says more than yes or no
        ("unparseable", pa.bool_()),  # a judging model said something that is no verdict; null when not judged
        # cross-entropy to the proxy label, or mean NLL of the target text, of the judged prompt; inf when blocked, null
        # when not judged or where the victim does not tell
        ("loss", pa.float64()),
        ("predicted", pa.int32()),  # label said; null when blocked, not judged, or where the answer is a text
        ("answer", pa.string()),  # text said; null when blocked, not judged, or where the answer is a label
        ("attack_loss", pa.float64()),  # the loss that the attack itself knows; null when none
        ("attack_text", pa.string()),
        ("attack_tokens", pa.list_(pa.int32())),
        # why the string counts as failed without being judged ("retokenisation", …); null otherwise
        ("failure", pa.string()),
        ("queries", pa.int64()),  # sequences the attack had the victim score, differentiate, … in this step
        # FLOPs of this step alone (not cumulative), by purpose and convention; null where unknown, never NaN
        ("attack_nominal", pa.float64()),  # auxiliary models of the attack included
        ("attack_executed", pa.float64()),
        ("judge_nominal", pa.float64()),  # models of the judge included
        ("judge_executed", pa.float64()),
        ("defense_nominal", pa.float64()),  # what guards and transforms added to the attack's and the judge's queries
        ("defense_executed", pa.float64()),
        # a randomised defense is judged several times, with fresh draws; a success is more than half of them
        ("draws", pa.int32()),  # how often it was judged; null when not judged
        ("broken_draws", pa.int32()),  # in how many of them the attacker succeeded
        ("seconds", pa.float64()),  # share of wall time; the only column that differs between two runs of the same cell
    ]
)

ADDED = frozenset({"draws", "broken_draws"})
"""Columns that older records of this version lack; read as nulls."""

COMPUTE = tuple(name for name in STEPS.names if name.endswith(("_nominal", "_executed")))
"""The columns of FLOPs. In memory an unknown amount is NaN, on disk it is null."""
