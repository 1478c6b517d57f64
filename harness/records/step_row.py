"""One row of ``steps.parquet``: what came of one example at one step of an attack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from harness.flops import UNKNOWN
from harness.records.answer_state import NO_ANSWER, AnswerState

if TYPE_CHECKING:
    import pyarrow as pa

# Each is marked with the names of its Arrow type, and of the one inside it; Arrow itself takes long to import.
Text = Annotated[str, ("string",)]
State = Annotated[AnswerState, ("string",)]
Flag = Annotated[bool, ("bool_",)]
Whole = Annotated[int, ("int32",)]
Count = Annotated[int, ("int64",)]
Real = Annotated[float, ("float64",)]
Texts = Annotated[list[str], ("list_", "string")]
TokenIds = Annotated[list[int], ("list_", "int32")]
TextsOrNulls = Annotated[list[str | None], ("list_", "string")]
Flags = Annotated[list[bool | None], ("list_", "bool_")]
Reals = Annotated[list[float | None], ("list_", "float64")]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """What came of one example at one step. The fields, in this order, are the columns of ``steps.parquet``; every
    column may be null there.

    FLOPs are those of this step alone, not cumulative. An unknown amount is NaN here, so that sums carry it on, and
    null in files; it is never 0.
    """

    example: Text
    step: Whole  # 1, 2, …
    # the harness's verdict on this step's attack string (ASR at_step); so_far is its running maximum
    success: Flag
    score: Real | None = None  # how far the attacker got, 0 to 1, where the judge says more than yes or no
    unparseable: Flag | None = None  # a judging model said something that is no verdict; null when not judged
    # what a judging model said of the answer below, [1], or of each drawn one, [k]; null where none was asked for a
    # text, in older records and in submissions
    judge_output: Texts | None = None
    # cross-entropy to the proxy label, or mean NLL of the target text, of the judged prompt; inf when blocked, null
    # when not judged or where the victim does not tell
    loss: Real | None = None
    predicted: Whole | None = None  # label said; null when blocked, not judged, or where the answer is a text
    answer: Text | None = None  # text said; null when blocked, not judged, or where the answer is a label
    # whether that text is an answer; where it is none, it was not judged. "failed" too where a label was asked for and
    # there is none. Else null, and in older records
    answer_state: State | None = None
    # whether that answer does what the user asked, by the example's rules (utility under attack); a blocked one does
    # not. Null where there are no rules, nothing was judged or there is no answer, in older records and in submissions
    utility: Flag | None = None
    attack_loss: Real | None = None  # the loss that the attack itself knows; null when none
    attack_text: Text | None = None
    attack_tokens: TokenIds
    # why the string counts as failed without being judged ("retokenisation", …); null otherwise
    failure: Text | None = None
    queries: Count  # sequences the attack had the victim score, differentiate, … in this step
    attack_nominal: Real  # auxiliary models of the attack included
    attack_executed: Real
    judge_nominal: Real  # models of the judge included
    judge_executed: Real
    defense_nominal: Real  # what guards and transforms added to the attack's and the judge's queries
    defense_executed: Real
    # a randomised defense is judged several times, with fresh draws; a success is more than half of those answered. Of
    # several drawn answers: see `sampled_success`
    draws: Whole | None = None  # how often it was judged; null when not judged
    broken_draws: Whole | None = None  # in how many of them the attacker succeeded
    earlier: Texts | None = None  # what the attacker said in the turns before; null where there are none
    seconds: Real = 0.0  # share of wall time; the only column that differs between two runs of the same cell
    # Where answers are drawn: each answer to the string in turn, [k]; columns that other cells lack. The columns above
    # (success, score, unparseable, answer, answer_state) are of the first answer, or of as many as the threat model's
    # `asks`, of which one success is enough; draws and broken_draws count all k.
    sampled_answer: TextsOrNulls | None = None  # an entry is null where a guard blocked
    sampled_state: TextsOrNulls | None = None  # as `answer_state`
    sampled_success: Flags | None = None  # an entry is null where there was nothing to judge
    sampled_score: Reals | None = None
    sampled_unparseable: Flags | None = None
    sampled_nominal: Reals | None = None  # what the victim's answer took, FLOPs; an entry is null where unknown

    @property
    def is_untold(self) -> bool:
        """Whether the victim was asked about the string and there is no verdict: no answer, or none to be judged."""
        return self.failure is None and (self.answer_state in NO_ANSWER or bool(self.unparseable))

    def to_record(self) -> dict[str, Any]:
        """The row as it stands in files, by column: unknown compute is None."""
        record = {name: getattr(self, name) for name in NAMES}
        record |= {name: None for name in COMPUTE if _is_nan(record[name])}
        return {name: value for name, value in record.items() if value is not None or name not in SAMPLED}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> StepRow:
        """Inverse of `to_record`. Raises TypeError where a column is missing or is none of ours."""
        unknown = {name: UNKNOWN for name in COMPUTE if name in record and record[name] is None}
        return cls(**{**record, **unknown})


NAMES = tuple(field.name for field in fields(StepRow))
"""The columns, in order."""

SAMPLED = tuple(name for name in NAMES if name.startswith("sampled_"))
"""The columns of cells with drawn answers alone."""

COMPUTE = tuple(name for name in NAMES if name.endswith(("_nominal", "_executed")) and name not in SAMPLED)
"""The columns of FLOPs."""


def untold_examples(rows: Sequence[StepRow]) -> set[str]:
    """The examples whose strings got no answer at all, or none that could be judged: they tell nothing, and count in no
    rate.
    """
    asked = [row for row in rows if row.failure is None]
    untold = {row.example for row in asked if row.is_untold}
    return untold - {row.example for row in asked if not row.is_untold}


def verdict_counts(rows: Sequence[StepRow]) -> dict[str, int]:
    """The counts of `harness.records.cell_manifest.CellRecord` that say how many strings have no verdict."""
    asked = [row for row in rows if row.failure is None]
    return {
        "n_asked": len(asked),
        "n_missing": sum(row.answer_state in NO_ANSWER for row in asked),
        "n_unparseable": sum(bool(row.unparseable) for row in asked),
    }


def arrow_schema() -> pa.Schema:
    """The table's schema: each field's column type is the mark on its annotation."""
    import pyarrow as pa

    hints = get_type_hints(StepRow, include_extras=True)
    return pa.schema([(name, _column_type(hints[name])) for name in NAMES])


def _column_type(hint: Any) -> pa.DataType:
    """The Arrow type that marks an annotation, or the only marked member of a union with None."""
    import pyarrow as pa

    marked = [one for one in (hint, *getattr(hint, "__args__", ())) if hasattr(one, "__metadata__")]
    name, *inside = marked[0].__metadata__[0]
    column: pa.DataType = getattr(pa, name)(*(getattr(pa, one)() for one in inside))
    return column


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
