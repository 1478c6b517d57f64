"""The corpus, continued: what can be wrong with the table and its rows."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaderboard.submission.file_format.container import RECORDS
from leaderboard.submission.file_format.records_table import SCHEMA
from tests.leaderboard.submission.forge import Parts, forged, table_of, with_cells, with_rows, with_table
from tests.leaderboard.submission.hostile import Make

Row = dict[str, Any]


def table(change: Callable[[pa.Table], pa.Table], **options: Any) -> Make:
    """The table changed, and written as anybody might."""

    def make(parts: Parts, out: Path) -> None:
        changed = change(table_of(parts))
        sink = io.BytesIO()
        pq.write_table(changed, sink, **({"store_schema": False} | options))
        forged(with_table(parts, sink.getvalue(), len(changed)), out)

    return make


def raw(change: Callable[[bytes], bytes]) -> Make:
    """The bytes of the table changed, the hashes made to fit."""
    return lambda parts, out: forged(parts | {RECORDS: change(parts[RECORDS])}, out) and None


def column(name: str, values: Callable[[pa.Table], Any], kind: Any = None) -> Make:
    """A column replaced."""

    def change(found: pa.Table) -> pa.Table:
        new = values(found)
        at = SCHEMA.get_field_index(name)
        return found.set_column(at, pa.field(name, kind or new.type), new)

    return table(change)


def _bomb(found: pa.Table) -> pa.Array:
    """One long text in each of 65,536 rows: 4 GB in a few kilobytes."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * len(found), pa.int32()), pa.array(["x" * 60_000]))


def _annotated(parts: Parts, out: Path) -> None:
    sink, found = io.BytesIO(), table_of(parts)
    with pq.ParquetWriter(sink, SCHEMA, store_schema=False) as writer:
        writer.write_table(found)
        writer.add_key_value_metadata({"loader": "pickle"})
    forged(with_table(parts, sink.getvalue(), len(found)), out)


def _repeated(found: pa.Table) -> pa.Table:
    return pa.concat_tables([found] * (2**16 // len(found) + 1)).slice(0, 2**16).combine_chunks()


def _long_list(found: pa.Table) -> pa.Array:
    sizes = np.zeros(len(found) + 1, dtype=np.int32)
    sizes[1:] = 30_000_000
    return pa.ListArray.from_arrays(pa.array(sizes), pa.array(np.zeros(30_000_000, dtype=np.int32)))


def _not_text(found: pa.Table) -> pa.Array:
    return pa.array([b"\xff\xfe\x00"] * len(found), pa.binary()).view(pa.string())


TABLES: dict[str, tuple[Make, str]] = {
    "no Parquet": (raw(lambda _: b"cell,example\n" * 100), "is not a Parquet file"),
    "an empty table": (raw(lambda _: b""), "its table is empty"),
    "a cut table": (raw(lambda whole: whole[:-9]), "is not a Parquet file"),
    "an encrypted table": (raw(lambda whole: whole[:-4] + b"PARE"), "encrypted Parquet"),
    "a footer of gigabytes": (raw(lambda whole: whole[:-8] + b"\xff\xff\xff\x7f" + whole[-4:]), "footer claims"),
    "a footer of noise": (raw(lambda whole: whole[:-300] + bytes(292) + whole[-8:]), "cannot be read as Parquet"),
    "pages of noise": (raw(lambda whole: whole[:4] + b"\xa5" * 2000 + whole[2004:]), "cannot be read as Parquet"),
    "a stored schema, which may name types": (table(lambda found: found, store_schema=True), "has metadata besides"),
    "metadata of its own": (lambda parts, out: _annotated(parts, out), "has metadata besides"),
    "one column more": (table(lambda found: found.append_column("code", found["cell"])), "columns"),
    "one column less": (table(lambda found: found.drop_columns(["seconds"])), "columns"),
    "a column of another name": (
        table(lambda found: found.rename_columns([n if n != "seconds" else "hours" for n in found.column_names])),
        "'hours'",
    ),
    "columns in another order": (table(lambda found: found.select(found.column_names[::-1])), "'order'|order"),
    "texts for numbers": (column("loss", lambda t: pa.array(["1"] * len(t))), "column loss is 'string'"),
    "bytes for texts": (column("answer", lambda t: pa.array([b"1"] * len(t))), "column answer is 'binary'"),
    "long numbers": (column("step", lambda t: t["step"].cast(pa.int64())), "column step is 'int64'"),
    "texts that are no UTF-8": (column("attack_text", _not_text), "cannot be read as Parquet"),
    "a text of a megabyte": (
        column("answer", lambda t: pa.array(["x" * 2**20] + [None] * (len(t) - 1))),
        "a text of 1,048,576 bytes",
    ),
    "a bomb of one text": (
        table(lambda found: _repeated(found).set_column(8, "answer", _bomb(_repeated(found))), row_group_size=2**16),
        "when decoded|column",
    ),
    "a bomb of one list": (column("attack_tokens", _long_list), "values in a column|bytes; at most"),
    "a row group too long": (
        table(lambda found: pa.concat_tables([found] * (2**17 // len(found))), row_group_size=2**20),
        "row group 0 has",
    ),
    "rows without a cell": (column("cell", lambda t: pa.array([None] * len(t), pa.string())), "a row has no cell"),
    "rows without an example": (
        column("example", lambda t: pa.array([None] * len(t), pa.string())),
        "a row has no example",
    ),
}


def rows(change: Callable[[list[Row]], Any]) -> Make:
    """Rows changed, written as they should be."""
    return lambda parts, out: forged(with_rows(parts, change), out) and None


def _step(found: list[Row], success: bool | None = None) -> Row:
    """The first step whose string was judged, of that verdict."""
    return next(
        row
        for row in found
        if row["step"] > 0 and row["failure"] is None and (success is None or row["success"] == success)
    )


def _clean(found: list[Row], attacked: bool) -> Row:
    return next(row for row in found if row["step"] == 0 and row["attacked"] == attacked)


def step(success: bool | None = None, /, **fields: Any) -> Make:
    """Fields of a judged step replaced."""
    return rows(lambda found: _step(found, success).update(fields))


def clean(attacked: bool = True, /, **fields: Any) -> Make:
    """Fields of a clean example replaced."""
    return rows(lambda found: _clean(found, attacked).update(fields))


def every(**fields: Any) -> Make:
    """Fields of all steps replaced."""
    return rows(lambda found: [row.update(fields) for row in found if row["step"] > 0] and None)


SAID = ("attack_text", "loss", "predicted", "answer", "score", "unparseable", "draws", "broken_draws")


def failed(reason: str, keep: tuple[str, ...] = (), **fields: Any) -> Make:
    """A judged step that counts as failed for a reason, without all that was said of its string."""
    gone = {name: None for name in SAID if name not in keep}
    return step(False, success=False, failure=reason, **gone, **fields)


def _unlisted(found: list[Row]) -> list[Row]:
    """An example that fell is struck from both tables."""
    gone = _step(found, success=True)
    return [row for row in found if (row["cell"], row["example"]) != (gone["cell"], gone["example"])]


def _left_out_once(parts: Parts, out: Path) -> None:
    """An example that fell is already wrong in the cell in which it did; all counts fit."""
    found = table_of(parts).to_pylist()
    gone = _step(found, success=True)
    own = gone["cell"], gone["example"]

    def without(rows: list[Row]) -> list[Row]:
        kept = [row for row in rows if (row["cell"], row["example"]) != own or row["step"] == 0]
        for row in kept:
            if (row["cell"], row["example"]) == own:
                row |= {"attacked": False, "excluded": "too long: 90 tokens with the attack string, context 80"}
        return kept

    def fewer(cells: list[Row]) -> None:
        next(cell for cell in cells if cell["key"] == own[0])["n_attacked"] -= 1

    forged(with_cells(with_rows(parts, without), fewer), out)


def _answered_once(parts: Parts, out: Path) -> None:
    """An example is wrong in one cell, and left out there."""
    key = table_of(parts)["cell"][0].as_py()

    def wrong(rows: list[Row]) -> list[Row]:
        listed = _clean(rows, attacked=True)
        listed |= {"attacked": False, "excluded": "already wrong", "predicted": 1 - listed["label"]}
        return [row for row in rows if row["step"] == 0 or (row["cell"], row["example"]) != (key, listed["example"])]

    def counted(cells: list[Row]) -> None:
        for cell in cells:
            cell["n_clean_correct"] -= 1
        next(cell for cell in cells if cell["key"] == key)["n_attacked"] -= 1

    forged(with_cells(with_rows(parts, wrong), counted), out)


def _without_step(number: int) -> Callable[[list[Row]], list[Row]]:
    def change(found: list[Row]) -> list[Row]:
        gone = _step(found)
        return [r for r in found if (r["cell"], r["example"], r["step"]) != (gone["cell"], gone["example"], number)]

    return change


ROWS: dict[str, tuple[Make, str]] = {
    "a success without a string": (step(True, attack_text=None, attack_tokens=None), "without an attack string"),
    "a success without a text": (step(True, attack_text=None), "without an attack string"),
    "a success without tokens": (step(True, attack_tokens=None), "without an attack string"),
    "a success that failed": (step(True, failure="token not allowed"), "breaks the threat model"),
    "tokens beyond the budget": (step(True, attack_tokens=[1] * 400), "a string of more than 4 tokens"),
    "a token below 0": (step(None, attack_tokens=[-5]), "token id"),
    "a step without a verdict": (step(None, success=None), "does not say whether it succeeded"),
    "a string that is nowhere": (step(False, attack_text=None), "no attack string, and no reason"),
    "a step left out": (rows(_without_step(2)), "not 1, 2, 3"),
    "the last step left out": (rows(_without_step(3)), "ends after step 2 of 3"),
    "a step too many": (rows(lambda found: _last_of_first(found)), "4 steps, and its manifest says 3"),
    "steps of an unknown example": (step(None, example="nobody"), "which was not attacked"),
    "a fallen example struck out": (rows(_unlisted), "its manifest says"),
    "an attacked example declared not attacked": (
        clean(True, attacked=False, excluded="already wrong"),
        "its manifest says",
    ),
    "a reason of its own": (clean(True, attacked=False, excluded="felt unfair"), "none that the harness gives"),
    "a wrong example attacked": (clean(True, predicted=7), "got it wrong when clean"),
    "a reason of a task of texts": (
        clean(True, attacked=False, excluded="already broken when clean"),
        "none that the harness gives",
    ),
    "a reason with an addition": (
        clean(True, attacked=False, excluded="too long: 9 tokens with the attack string, context 8, or so"),
        "none that the harness gives",
    ),
    "a blocked prompt with an answer": (
        clean(True, attacked=False, excluded="blocked when clean"),
        "and has an answer",
    ),
    "an example left out by one attack alone": (_left_out_once, "answered the same clean examples differently"),
    "an answer that one attack alone has seen": (_answered_once, "answered the same clean examples differently"),
    "a loss that is NaN": (step(None, loss=float("nan")), "loss that is NaN"),
    "a loss below 0": (step(None, loss=-4.0), "NaN or negative"),
    "a score above 1": (step(None, score=3.0), "from 0 to 1"),
    "a verdict against its draws": (step(True, broken_draws=0), "more than half of its draws"),
    "more draws broken than drawn": (step(True, broken_draws=2), "more broken than drawn"),
    "draws without those broken": (step(True, broken_draws=None), "draws without a count of those broken"),
    "a success nobody could read": (step(True, unparseable=True), "could not be read"),
    "a success with the right label": (rows(lambda found: _right(found)), "gave the right label"),
    "a verdict on no answer": (step(True, answer_state="empty"), "a verdict without an answer"),
    "an unheard-of state": (step(None, answer_state="asleep"), "a state that no answer has"),
    "clean answers that are none": (clean(True, answer_state="empty"), "1 of its clean examples have no answer"),
    "an answer in text": (step(None, answer="yes"), "an answer in text"),
    "a failure for a reason of its own": (failed("out of luck"), "reason why its string failed is not one"),
    "a failure of other tokens than it has": (failed("9 tokens, budget 4"), "reason why its string failed is not one"),
    "a failure of too many, which are not": (failed("4 tokens, budget 4"), "reason why its string failed is not one"),
    "a perturbation of no string": (
        failed("perturbation beyond the radius", keep=("attack_text",)),
        "reason why its string failed is not one",
    ),
    "a failure without its tokens": (failed("retokenisation", attack_tokens=None), "no tokens of its string"),
    "a failure with a text nobody saw": (failed("retokenisation", keep=("attack_text",)), "does not survive as text"),
    "a failure with an answer nobody gave": (failed("token not allowed", keep=("loss",)), "not given to the victim"),
    "a string too long without a text": (failed("longer than the context"), "has no text"),
    "a verdict on a string too long": (
        failed("longer than the context", keep=("attack_text", "draws", "broken_draws")),
        "without one",
    ),
    "neither answer nor reason": (step(False, predicted=None), "neither an answer"),
    "infinite compute": (step(None, attack_nominal=float("inf")), "attack_nominal is negative or not finite"),
    "compute that is NaN": (step(None, attack_nominal=float("nan")), "attack_nominal is negative or not finite"),
    "negative compute": (step(None, judge_executed=-1.0), "judge_executed is negative"),
    "negative queries": (step(None, queries=-1), "queries is empty or negative"),
    "no queries": (step(None, queries=None), "queries is empty or negative"),
    "negative seconds": (step(None, seconds=-1.0), "seconds is negative"),
    "compute unknown": (step(None, attack_nominal=None), "although the size of every model is known"),
    "attacks for nothing": (every(attack_nominal=0.0), "they take at least"),
    "judging for nothing": (every(judge_nominal=0.0), "judging took 0 FLOPs"),
    "queries for nothing": (every(queries=10**12), "they take at least"),
    "rows of two cells mixed": (
        rows(lambda found: sorted(found, key=lambda row: row["step"])),
        "has no step",
    ),
    "steps before examples": (rows(lambda found: found[::-1]), "before its steps|order"),
    "an example twice": (rows(lambda found: [found[0], *found]), "listed twice|its manifest says"),
    "no label of a model that gives one to each": (
        step(False, answer_state="failed", predicted=None, loss=None, draws=None, broken_draws=None),
        "no label, from a model that gives one",
    ),
    "wrong clean prompts that count neither way": (
        lambda parts, out: _cells(_unanswered)(parts, out),
        "clean prompts got no label, from a model that gives each one",
    ),
    "other labels of the same task": (
        lambda parts, out: _cells(lambda found: found[0].update(labels=["SAFE", "SAFER"]))(parts, out),
        "disagree about a task's labels",
    ),
    "the price of a defense that is not there": (
        every(defense_nominal=1e12),
        "a defense took FLOPs, and there is none",
    ),
    "a clean row with a verdict": (clean(True, success=True), "what only a step has"),
}


def _cells(change: Callable[[list[Row]], Any]) -> Make:
    return lambda parts, out: forged(with_cells(parts, change), out) and None


def _unanswered(found: list[Row]) -> None:
    """A clean prompt that was wrong counts neither way."""
    for cell in found:
        cell["n_clean_missing"] = 1
        cell["n_clean_correct"] -= 1


def _last_of_first(found: list[Row]) -> list[Row]:
    gone = _step(found)
    at = max(i for i, row in enumerate(found) if (row["cell"], row["example"]) == (gone["cell"], gone["example"]))
    return [*found[: at + 1], found[at] | {"step": 4}, *found[at + 1 :]]


def _right(found: list[Row]) -> None:
    row = _step(found, success=True)
    own = (row["cell"], row["example"])
    row["predicted"] = next(r["label"] for r in found if r["step"] == 0 and (r["cell"], r["example"]) == own)
