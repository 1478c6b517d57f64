"""Files as they are in the world: other separators, arrays, missing labels, half characters, odd values in columns that
nobody uses.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.api.task import TaskData
from harness.errors import DataError
from plugins.tasks.behaviors import Behaviors
from plugins.tasks.prompt_sets.strongreject import StrongReject
from plugins.tasks.text_classification import TextClassification

LABELS = ["ham", "spam"]
ROWS = [{"text": f"row {i}, and", "label": LABELS[i % 2]} for i in range(40)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def load(path: Path, **params: Any) -> TaskData:
    """The task on a file, or on a folder as a hub dataset."""
    source = {"dataset": str(path)} if path.is_dir() else {"path": path}
    return TextClassification(TextClassification.Params(**source | {"labels": LABELS} | params)).load()


def texts(data: TaskData) -> set[str]:
    return {example.chunks[1].text for example in (*data.train, *data.validation)}


@pytest.fixture
def plain(tmp_path: Path) -> TaskData:
    path = tmp_path / "plain.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return load(path)


@pytest.mark.parametrize("mark", [";", "|", "\t", "\u00a7"])
def test_other_delimiters(tmp_path: Path, plain: TaskData, mark: str) -> None:
    path = tmp_path / "d.csv"
    path.write_text(f"text{mark}label\n" + "".join(f"{row['text']}{mark}{row['label']}\n" for row in ROWS), "utf-8")
    assert load(path, delimiter=mark).hash == plain.hash
    assert load(path.rename(tmp_path / "d.tsv"), delimiter=mark).hash == plain.hash  # without quoting as well


@pytest.mark.parametrize("indent", [None, 2])
def test_json_arrays(tmp_path: Path, plain: TaskData, indent: int | None) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps(ROWS, indent=indent))
    assert load(path).hash == plain.hash
    assert load(path.rename(tmp_path / "d.jsonl"), format="json").hash == plain.hash


def test_objects_on_lines_may_be_called_json(tmp_path: Path, plain: TaskData) -> None:
    path = tmp_path / "d.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert load(path).hash == plain.hash


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "UTF8", "U8"])
def test_wide_encodings_are_read_where_they_are_given(tmp_path: Path, plain: TaskData, encoding: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes("".join(json.dumps(row) + "\n" for row in ROWS).encode(encoding))
    assert load(path, encoding=encoding).hash == plain.hash


@pytest.mark.parametrize("missing", [None, "", " ", float("nan")])
def test_rows_without_a_label(tmp_path: Path, plain: TaskData, missing: Any) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, {"text": "what", "label": missing}]))
    with pytest.raises(DataError, match=r"line 41: the row has no label; remove it or give `drop_unlabelled: true`"):
        load(path)
    data = load(path, drop_unlabelled=True)
    assert data.hash == plain.hash
    assert data.source["dropped, unlabelled"] == "1"


def test_prompts_of_which_nobody_says_whether_they_are_benign(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("prompt,benign\na,yes\nb,\nc,no\n")
    with pytest.raises(DataError, match=r"line 3: column 'benign' does not tell .*`drop_unlabelled: true`"):
        Behaviors(Behaviors.Params(path=path)).load()
    data = Behaviors(Behaviors.Params(path=path, drop_unlabelled=True)).load()
    assert sorted(example.chunks[1].text for example in data.validation) == ["a", "c"]


def test_na_and_null_are_texts_and_labels(tmp_path: Path) -> None:
    rows = [(text, label) for i in range(10) for text, label in ((f"NA {i}", "NA"), (f"null {i}", "null"))]
    rows += [("NA", "null"), ("null", "NA"), ("NaN", "null"), ("None", "NA"), ("n/a", "null")]
    (tmp_path / "hub").mkdir()
    path = tmp_path / "hub" / "train.csv"
    path.write_text("text,label,other\n" + "".join(f"{text},{label},\n" for text, label in rows))
    by_path = load(path, labels=["NA", "null"])
    by_dataset = load(tmp_path / "hub", labels=["NA", "null"])
    assert by_path.hash == by_dataset.hash
    assert {"NA", "null", "NaN", "None", "n/a"} <= texts(by_dataset)


def test_empty_cells_of_a_hub_folder_are_still_empty(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "train.csv").write_text(
        "text,label\n" + "".join(f"row {i},{i % 2}.0\n" for i in range(30)) + "x,\n"
    )
    with pytest.raises(DataError, match=r"hub train, row 31: the row has no label"):
        load(tmp_path / "hub", labels=[0, 1])
    data = load(tmp_path / "hub", labels=[0, 1], drop_unlabelled=True)
    assert len(texts(data)) == 30


def odd_table() -> pa.Table:
    table = pa.Table.from_pylist(ROWS)
    far = pa.array([2**60] * len(ROWS), pa.int64())
    table = table.append_column("when", far.cast(pa.timestamp("us")))
    table = table.append_column("nanoseconds", pa.array([1] * len(ROWS), pa.int64()).cast(pa.timestamp("ns")))
    table = table.append_column("day", pa.array([datetime.date(2020, 1, 1)] * len(ROWS)))
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    return table.append_column("broken", pa.concat_arrays([broken] * len(ROWS)))


@pytest.mark.parametrize("as_hub", [False, True])
def test_what_python_cannot_hold_matters_only_where_it_is_used(tmp_path: Path, plain: TaskData, as_hub: bool) -> None:
    (tmp_path / "hub").mkdir()
    path = tmp_path / "hub" / "train.parquet"
    pq.write_table(odd_table(), path)
    source = path.parent if as_hub else path
    assert load(source).hash == plain.hash
    with pytest.raises(DataError, match=r"row 1: column 'when' holds a timestamp\[us\] that cannot be read"):
        load(source, label_column="when")
    with pytest.raises(DataError, match=r"row 1: column 'broken' holds a string that cannot be read .*utf-8"):
        load(source, text_column="broken")


def test_two_columns_of_one_name_in_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"d\.parquet: two columns have one name"):
        load(tmp_path / "d.parquet")


def test_labels_that_a_hub_dataset_does_not_know(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=LABELS)})
    rows = {"text": [f"row {i}" for i in range(31)], "label": [*(i % 2 for i in range(30)), -1]}
    table = datasets.Dataset.from_dict(rows, features=features)
    (tmp_path / "hub").mkdir()
    table.to_parquet(str(tmp_path / "hub" / "train.parquet"))
    data = load(tmp_path / "hub", labels=[0, 1], drop_unlabelled=True)
    assert len(texts(data)) == 30
    with pytest.raises(DataError, match=r"row 31: the row has no label"):
        load(tmp_path / "hub", labels=[0, 1])


HALF = '"half \\ud83d pair"'


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    whole = '{"text": "whole \\ud83d\\ude00", "label": "ham"}\n'
    half = f'{{"text": {HALF}, "label": "ham"}}\n{{"text": "\\udc00 low", "label": "spam", "more": [{HALF}]}}\n'
    (tmp_path / "d.jsonl").write_text(lines + whole + half)
    data = load(tmp_path / "d.jsonl")
    assert {"half \ufffd pair", "\ufffd low", "whole \U0001f600"} <= texts(data)
    assert data.source["mended, half of a surrogate pair replaced by U+FFFD"] == "2"
    for text in texts(data):
        text.encode()


def test_half_a_pair_in_other_sources(tmp_path: Path) -> None:
    lines = [*(json.dumps(row) for row in ROWS), f'{{"text": {HALF}, "label": "ham"}}']
    (tmp_path / "d.json").write_text(f"[{', '.join(lines)}]")
    assert "half \ufffd pair" in texts(load(tmp_path / "d.json"))
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "train.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"could not be loaded .*surrogate pair .*give one file of it as `path`"):
        load(tmp_path / "hub")  # the library refuses it, and its reason is told


def test_half_a_pair_in_every_column_of_prompts(tmp_path: Path) -> None:
    row = f'{{"prompt": {HALF}, "target": {HALF}, "reply": {HALF}}}'
    (tmp_path / "d.jsonl").write_text(row)
    (example,) = Behaviors(Behaviors.Params(path=tmp_path / "d.jsonl")).load().validation
    assert example.chunks[1].text == example.target.strip() == example.reply.strip() == "half \ufffd pair"
    (tmp_path / "s.jsonl").write_text(f'{{"content": [{HALF}]}}')
    (example,) = StrongReject(StrongReject.Params(path=tmp_path / "s.jsonl")).load().validation
    assert example.chunks[1].text == "half \ufffd pair"
