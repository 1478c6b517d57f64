"""Everything that can be wrong with a local file or the parameters: an error that says where, and how to fix it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.api.task import TaskData
from harness.errors import DataError
from plugins.tasks.text_classification import TextClassification

LABELS = ["ham", "spam"]


def load(path: Path, **params) -> TaskData:
    return TextClassification(TextClassification.Params(**{"path": path, "labels": LABELS} | params)).load()


def write(folder: Path) -> Path:
    path = folder / "data.csv"
    path.write_text("text,label\n" + "".join(f"row {i},{LABELS[i % 2]}\n" for i in range(40)))
    return path


@pytest.mark.parametrize(
    ("name", "content", "params", "message"),
    [
        (
            "d.tsv",
            b"text\tlabel\nhi\tham\nyo\tsapm\n",
            {},
            r"line 3: label 'sapm' .*did you mean 'spam'.*known: \['ham', 'spam'\]",
        ),
        ("d.tsv", b"text\tlabel\n \tham\n", {}, r"line 2: the text is empty; remove the row or give `empty: drop`"),
        ("d.tsv", b"text\tlabel\nhi\tham\textra\n", {}, r"line 2: 3 fields where 2 are expected; a separator"),
        (
            "d.tsv",
            b"txt\tlabel\nhi\tham\n",
            {},
            r"line 2: no column 'text' \(did you mean 'txt'\?\); .*\['txt', 'label'\]",
        ),
        (
            "d.tsv",
            b"ham\thi\n",
            {"header": False, "text_column": 2, "label_column": 0},
            r"no column 2; columns there: \[0, 1\]",
        ),
        ("d.tsv", b"text\ttext\nhi\tham\n", {}, r"line 1: two columns have one name"),
        (
            "d.tsv",
            b"text\tlabel\nok\tham\ncaf\xe9\tham\n",
            {},
            r"line 3: bytes e9 are not utf-8; .*`encoding`, e.g. latin-1",
        ),
        (
            "d.csv",
            "text,label\nhi,ham\n".encode("utf-16"),
            {},
            r"line 1: bytes ff are not utf-8; .*`encoding`, e.g. utf-16",
        ),
        ("d.csv", "text,label\nhi,ham\n".encode("utf-16"), {"encoding": "latin-1"}, r"`encoding: utf-16`"),
        ("d.csv", "text,label\nhi,ham\n".encode("utf-16-le"), {}, r"not utf-8 but utf-16-le; .*`encoding: utf-16-le`"),
        ("d.csv", "text,label\nhi,ham\n".encode("utf-16-be"), {}, r"not utf-8 but utf-16-be"),
        ("d.csv", "text,label\nhi,ham\n".encode("utf-32"), {}, r"e.g. utf-32"),
        ("d.csv", "text,label\nhi,ham\n".encode("utf-32-be"), {}, r"not utf-8 but utf-32-be"),
        ("d.jsonl", '{"text": "hi"}\n'.encode("utf-16-le"), {}, r"`encoding: utf-16-le`"),
        ("d.csv", b"text;label\nhi;ham\n", {}, r"line 2: no column 'label'.*; if ';' stands .*`delimiter: \";\"`"),
        ("d.csv", b"text;label\nhi, you;ham\n", {}, r"line 2: 2 fields where 1 are expected.*`delimiter: \";\"`"),
        ("d.csv", b"text\tlabel\nhi\tham\n", {}, r"`delimiter: \"\\t\"`"),
        ("d.csv", b"hi|ham\n", {"header": False, "text_column": 0, "label_column": 1}, r"`delimiter: \"\|\"`"),
        ("d.json", b"[1]\n", {}, r"item 1: a int, not an object; write an array of objects"),
        ("d.json", b'[{"text": "hi"},\n', {}, r"d\.json: not JSON .*one array of objects"),
        ("d.jsonl", b'[\n{"text": "hi"}]\n', {}, r"line 1: not JSON .*give `format: json`"),
        ("d.csv", b"text,label\nhi,\n", {}, r"line 2: the row has no label"),
        ("d.tsv", b"", {}, r"contains no rows"),
        ("d.tsv", b"text\tlabel\n", {}, r"contains no rows"),
        ("d.tsv", b"text\tlabel\nhi\tham\n", {"encoding": "utf-9"}, r"unknown encoding 'utf-9'"),
        ("d.jsonl", b'{"text": "hi", "label": "ham"}\n{"text": \n', {}, r"line 2: not JSON .*one object per line"),
        ("d.jsonl", b"[1]\n", {}, r"line 1: a list, not an object"),
        ("d.jsonl", b'{"text": 5, "label": "ham"}\n', {}, r"line 1: column 'text' holds int, not text"),
        ("d.jsonl", b'{"text": null, "label": "ham"}\n', {}, r"line 1: the text is empty"),
        ("d.jsonl", b'{"text": "hi", "label": null}\n', {}, r"line 1: the row has no label; .*`drop_unlabelled: true`"),
        ("d.jsonl.gz", b"plain", {}, r"not a whole gzip file"),
        ("d.csv.gz", gzip.compress(b"text,label\n", mtime=0)[:-6], {}, r"not a whole gzip file"),
        ("d.parquet", b"plain", {}, r"not a readable Parquet file .*`format`"),
        (
            "d.txt",
            b"plain",
            {},
            r"cannot tell the format from the name; give `format`: csv, tsv, json, jsonl or parquet",
        ),
    ],
)
def test_bad_files(tmp_path, name, content, params, message) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(path, **params)
    assert name in str(caught.value)


def test_missing_file_suggests_its_neighbour(tmp_path) -> None:
    csv_file = write(tmp_path)
    with pytest.raises(DataError, match=r"date\.csv: no such file \(did you mean 'data\.csv'\?\)"):
        load(csv_file.with_name("date.csv"))
    with pytest.raises(DataError, match="is a folder; name a file"):
        load({"train": csv_file.parent, "validation": csv_file}, format="csv")
    with pytest.raises(DataError, match=r"nowhere/d\.csv: no such file; a relative path starts at the spec"):
        load(csv_file.parent / "nowhere" / "d.csv")


def test_a_label_without_rows_is_an_error(tmp_path) -> None:
    csv_file = write(tmp_path)
    with pytest.raises(DataError, match=r"none of the \d+ train rows is labelled 'EGGS'; raise train_size"):
        load(csv_file, labels=["ham", "spam", "eggs"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "no data: give `path` .* or `dataset`"),
        ({"path": "a.csv", "dataset": "who/what"}, "both `path` and `dataset` are given: keep one"),
        ({"path": "a.csv", "labels": ["ham"]}, "at least two"),
        ({"path": "a.csv", "labels": ["ham", "ham"]}, "a value appears twice"),
        ({"path": "a.csv", "labels": {"ham": 0, "spam": 2}}, "without a gap"),
        ({"path": "a.csv", "label_texts": ["HAM"]}, "must be 2 different words"),
        ({"path": "a.csv", "label_texts": ["HAM", " HAM"]}, "must be 2 different words"),
        ({"path": "a.csv", "label_texts": []}, "must be 2 different words"),
        ({"path": "a.csv", "labels": ["us", "US"]}, r"in capitals the values of `labels` are \['US', 'US'\]"),
        ({"path": "a.csv", "labels": ["", "spam"]}, r"must be 2 different words"),
        ({"path": "a.csv", "delimiter": ";;"}, "write the one character between columns"),
        ({"path": "a.csv", "delimiter": "\n"}, "write the one character between columns"),
        ({"path": "a.csv", "header": False}, "columns are numbers from 0, got"),
        ({"path": "a.csv", "validation_fraction": 1}, "less than 1"),
        ({"path": {"train": "a.csv"}}, "validation"),
        ({"path": "a.csv", "text_colum": "x"}, "Extra inputs"),
    ],
)
def test_bad_parameters(params, message) -> None:
    with pytest.raises(ValidationError, match=message):
        TextClassification.Params(**{"labels": LABELS} | params)
