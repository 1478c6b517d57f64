"""Files of strings: the same from CSV, JSON lines and Parquet, and mistakes told with their line."""

from __future__ import annotations

import csv
import json
import math
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from harness.errors import DataError
from leaderboard.submission.claims.given_file import read_given_strings

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
ROWS = st.lists(st.tuples(st.sampled_from("abc"), TEXTS, st.none() | st.floats(0, 1e20)), min_size=1, max_size=8)


@given(ROWS)
def test_three_forms_say_the_same(rows: list[tuple[str, str, float | None]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "s.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerows(
                [("example", "string", "flops"), *((e, s, "" if f is None else repr(f)) for e, s, f in rows)]
            )
        records = [{"example": e, "string": s, "flops": f} for e, s, f in rows]
        (folder / "s.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
        schema = pa.schema([("example", pa.string()), ("string", pa.string()), ("flops", pa.float64())])
        pq.write_table(pa.Table.from_pylist(records, schema), folder / "s.parquet")
        read = [read_given_strings(folder / f"s.{ending}") for ending in ("csv", "jsonl", "parquet")]
    assert read[0] == read[1] == read[2]
    for example, one in read[0].items():
        of_example = [(s, f) for e, s, f in rows if e == example]
        assert list(one.strings) == [s for s, _ in of_example]
        spent = [f for _, f in of_example if f is not None]
        assert one.flops == (math.fsum(spent) if len(spent) == len(of_example) else None)  # unknown is not zero


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.csv", "example,text\na,b\n", "has no string"),
        ("s.csv", "example,string,note\na,b,c\n", "'note' is not read here"),
        ("s.csv", "example,string\na,b,c\n", "line 2: has other columns"),
        ("s.csv", "example,string\n,b\n", "line 2: example is empty"),
        ("s.csv", "example,string,flops\na,b,-1\n", "line 2: flops is '-1'"),
        ("s.csv", "example,string,flops\na,b,nan\n", "line 2: flops is 'nan'"),
        ("s.csv", "example,string\n", "holds no string"),
        ("s.jsonl", '{"example": "a", "string": 1}', "line 1: string is int, not a text"),
        ("s.jsonl", '{"example": "a", "string": "\\ud800"}', "half of a character"),
        ("s.jsonl", "[]", "line 1: not an object"),
        ("s.jsonl", "{", "line 1: not JSON"),
        ("s.jsonl", json.dumps({"example": "a", "string": "x" * 70_000}), "longer than 65,536 bytes"),
        ("s.parquet", "PAR1", "cannot be read"),
        ("s.txt", "a", "not a kind of file"),
    ],
)
def test_mistakes(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said) as caught:
        read_given_strings(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_given_strings(tmp_path / "s.csv")
