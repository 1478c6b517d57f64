"""The record format: what a run leaves behind, and all that a leaderboard reads. A change here is a change of
`harness.records.VERSION`.

A run directory::

    RUN/run.json                     spec (as written and as resolved), its hash, its cells, versions
    RUN/cells/KEY/cell.json          one cell: what it is, how it ended, what it cost to prepare
    RUN/cells/KEY/examples.parquet   one row per attacked or excluded example
    RUN/cells/KEY/steps.parquet      one row per attacked example and step
    RUN/cells/KEY/journal.jsonl      only while the cell is unfinished
"""

from __future__ import annotations

import pyarrow as pa

from harness.records.step_row import SAMPLED, arrow_schema

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
STRING_AT = pa.struct([("message", pa.int32()), ("start", pa.int32()), ("end", pa.int32())])

EXAMPLES = pa.schema(
    [
        ("example", pa.string()),  # id within the task
        ("label", pa.int32()),  # null where the answer is a text
        ("target", pa.int32()),  # the label that the attacker wants; null where the answer is a text
        ("predicted", pa.int32()),  # on the clean prompt; null when blocked, not asked, or where the answer is a text
        ("answer", pa.string()),  # to the clean prompt; null when blocked, not asked, or where the answer is a label
        # whether that text is an answer, one of `AnswerState`; of labels, "failed" where there was none; else null, and
        # in older records
        ("answer_state", pa.string()),
        # whether the prompt is one that a good victim answers; null where the answer is a label, and in older records
        ("benign", pa.bool_()),
        # whether the victim got the clean prompt right (of an answer in text: no success of the attacker; of a benign
        # prompt: no refusal); null where there was no answer, verdict or room, in older records and in submissions
        ("right", pa.bool_()),
        # whether the answer to the clean prompt does what the user asked, by the example's own rules; null where it has
        # none or there is no answer, in older records and in submissions
        ("utility", pa.bool_()),
        ("attacked", pa.bool_()),
        ("excluded", pa.string()),  # why it was not attacked, e.g. "already wrong"; null when attacked
        # the clean prompt, without what a chat template or a system prompt of the victim's adds; null in older records
        # and in submissions
        ("messages", MESSAGES),
        # which characters, from start to before end, of which of these messages an attack string stands in place of;
        # null as above
        ("string_at", STRING_AT),
    ]
)

STEPS = arrow_schema()
"""The columns of `harness.records.step_row.StepRow`."""

NOT_SUBMITTED = frozenset({"messages", "string_at", "judge_output", "right", "utility"})
"""Columns of runs alone: prompts are their data set's, and no rank is computed from these."""

ADDED = frozenset({"draws", "broken_draws", "target", "answer_state", "benign", "earlier", *SAMPLED, *NOT_SUBMITTED})
"""Columns that older records of this version lack, and those of drawn answers, which others lack; read as nulls."""
