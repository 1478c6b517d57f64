"""Every attack string that succeeded, with its prompt, the right answer and what was said, as one Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.records.cell_manifest import CellRecord
from harness.records.read import Cell
from harness.records.schema import MESSAGES, STRING_AT
from leaderboard.data.attack_strings import recorded_successes
from leaderboard.data.chat_settings import chat_settings
from leaderboard.data.conversations import label_name, right_answer
from leaderboard.others.claims import Claim, successes
from leaderboard.site.data_format import SectionJson
from leaderboard.standings.standings import Standings

_SCOPE = ("task", "threat", "spec_name", "spec_version", "spec_hash", "data_hash", "judge")
_ROW = ("victim", "defense", "round")
STRINGS = pa.schema(
    [(name, pa.string()) for name in (*_SCOPE, "row", "victim", "defense")]
    + [("round", pa.int64()), ("attack", pa.string()), ("seed", pa.int64()), ("cell", pa.string())]
    + [("example", pa.string()), ("step", pa.int64()), ("string", pa.string())]
    # Where records hold the prompt: the messages as the victim got them, and which characters of which are the string.
    + [("messages", MESSAGES), ("string_at", STRING_AT)]
    + [(name, pa.string()) for name in ("right_answer", "clean_answer", "answer")]
    # Whose it is, where it was brought against the row; null where the row's own attacks found it.
    + [("claim", pa.string())]
    + [("drawn_answers", pa.list_(pa.string())), ("score", pa.float64()), ("judge_output", pa.list_(pa.string()))]
)


def write_strings(path: Path, tables: Sequence[tuple[SectionJson, Standings]], *, prompts: bool = True) -> None:
    """The strings of all rows of ``tables``, each at its first success, exactly as recorded.

    Args:
        prompts: whether with the messages that they stand in.
    """
    with pq.ParquetWriter(path, STRINGS, compression="zstd") as writer:
        for section, table in tables:
            for row, standing in zip(section["rows"], table.rows, strict=True):
                scope: dict[str, Any] = {name: section.get(name) for name in _SCOPE} | {"row": row["id"]}
                scope |= {name: row.get(name) for name in _ROW}
                _write(writer, scope, (_strings(cell, prompts=prompts) for cell in standing.cells))
                claimed = standing.others.claimed
                for one in () if claimed is None else claimed.claims:
                    found = (_strings(cell, prompts=prompts, of=one.claim) for cell in one.claim.cells)
                    _write(writer, scope | {"claim": one.claim.name}, found)


def _messages(record: CellRecord, example: Mapping[str, Any], string: str) -> dict[str, Any]:
    """The conversation as the victim got it, with the string in its place; None where records do not hold it."""
    messages, place = example["messages"], example["string_at"]
    if not messages or place is None or any(place[name] is None for name in ("message", "start", "end")):
        return {"messages": messages, "string_at": place}
    at, start, end = place["message"], place["start"], place["end"]
    whole = [dict(message) for message in messages]
    text = whole[at]["content"] or ""
    whole[at]["content"] = text[:start] + string + text[end:]
    settings = chat_settings(record)
    if settings is not None and settings.system_text and all(message["role"] != "system" for message in whole):
        whole, at = [{"role": "system", "content": settings.system_text}, *whole], at + 1
    return {"messages": whole, "string_at": {"message": at, "start": start, "end": start + len(string)}}


def _write(writer: pq.ParquetWriter, scope: dict[str, Any], found: Iterable[Iterable[dict[str, Any]]]) -> None:
    """Strings of some cells; together, since each call writes a group of rows by itself, which takes its time."""
    if rows := [scope | string for of_cell in found for string in of_cell]:
        writer.write_table(pa.Table.from_pylist(rows, STRINGS))


def _strings(cell: Cell, *, prompts: bool, of: Claim | None = None) -> Iterator[dict[str, Any]]:
    """Those of a cell; of a claim's those that it claims."""
    record = cell.record
    claimed = None if of is None else set(successes(cell, of.examples))
    for example, step in recorded_successes(cell, prompts=prompts):
        if claimed is not None and (example["example"], step["step"]) not in claimed:
            continue
        labels = record.task_kind == "labels"
        yield {
            "attack": record.attack.label,
            "seed": record.seed,
            "cell": record.key,
            "example": example["example"],
            "step": step["step"],
            "string": step["attack_text"],
            **_messages(record, example, step["attack_text"]),
            "right_answer": right_answer(record, example),
            "clean_answer": label_name(record, example["predicted"]) if labels else example["answer"],
            "answer": label_name(record, step["predicted"]) if labels else step["answer"],
            "drawn_answers": step.get("sampled_answer"),
            "score": step["score"],
            "judge_output": step["judge_output"],
        }
