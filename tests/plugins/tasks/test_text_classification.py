"""Labelled text from local files: formats, splits, caps, labels."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.params import relative_to
from harness.api.task import NO_LABEL, Edit, TaskData
from harness.errors import DataError
from plugins.tasks.text_classification import TextClassification

SMS = Path(__file__).parents[4] / "shared" / "data" / "sms_spam" / "sms.tsv"
ROWS = [
    {"text": f"message {i}, of  some {'length ' * (i % 5)}", "label": "spam" if i % 3 == 0 else "ham"}
    for i in range(60)
]
LABELS = ["ham", "spam"]


def load(path, **params) -> TaskData:
    params = {"labels": LABELS} | params
    return TextClassification(TextClassification.Params(path=path, **params)).load()


def texts(examples) -> list[str]:
    return [example.chunks[1].text for example in examples]


def write(path: Path, rows=ROWS) -> Path:
    name = path.name.removesuffix(".gz")
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if name.endswith("jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
    elif name.endswith("csv"):
        text = "text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\r\n' for row in rows)
    else:
        text = "text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    return write(tmp_path / "data.csv")


@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.jsonl", "d.parquet", "d.csv.gz", "d.tsv.gz", "d.jsonl.gz"])
def test_every_format_gives_the_same_examples(tmp_path, csv_file, name) -> None:
    data, reference = load(write(tmp_path / name)), load(csv_file)
    assert data.hash == reference.hash
    assert data.labels == (" HAM", " SPAM")
    assert len(data.train) + len(data.validation) == 60
    assert {(t, e.label) for e in (*data.train, *data.validation) for t in [e.chunks[1].text]} == {
        (row["text"], LABELS.index(row["label"])) for row in ROWS
    }
    assert data.source["train file"] == name
    assert len(data.source["train sha256"]) == 64


def test_example_shape(csv_file) -> None:
    example = load(csv_file, instructions="Which?", answer_prompt=" A:").train[0]
    assert [chunk.edit for chunk in example.chunks] == [Edit.IMMUTABLE, Edit.PERTURBABLE, Edit.IMMUTABLE]
    assert example.text == f"Which?\n\n{example.chunks[1].text} A:"
    assert load(csv_file).train[0].chunks[0].text == (
        "Decide which label fits the text below. Answer with one word: HAM or SPAM.\n\n"
    )


def test_sms_spam_with_its_stray_quotes() -> None:
    if not SMS.exists():
        pytest.skip(f"{SMS} is not on this machine")
    data = load(SMS, header=False, text_column=1, label_column=0)
    everything = [*data.train, *data.validation]
    lines = {line for line in SMS.read_text(encoding="utf-8").split("\n") if line}
    assert Counter(example.label for example in everything) == Counter(int(line[0] == "s") for line in lines)
    assert len(everything) + int(data.source["dropped, copies"]) == 5_574
    assert not set(texts(data.train)) & set(texts(data.validation))
    assert sum('"' in text for text in texts(everything)) == sum('"' in line for line in lines) > 120
    assert 0.18 < len(data.validation) / len(everything) < 0.22


def test_duplicates_never_land_in_both_splits(tmp_path) -> None:
    copies = [
        row | {"text": variant} for row in ROWS for variant in (row["text"], f" {row['text'].upper()}\t", row["text"])
    ]
    data = load(write(tmp_path / "d.jsonl", copies))
    plain = [{" ".join(text.lower().split()) for text in texts(split)} for split in (data.train, data.validation)]
    assert not plain[0] & plain[1]
    assert len(data.train) + len(data.validation) == 120
    assert data.source["dropped, copies"] == "60"


@settings(max_examples=15, deadline=None)
@given(st.integers(18, 30), st.integers(18, 25), st.integers(0, 99))
def test_caps_keep_the_first_rows_and_the_order_is_the_seeds(tmp_path_factory, train, validation, seed) -> None:
    rows = [{"text": f"row {i}", "label": LABELS[i % 2]} for i in range(60)]
    path = write(tmp_path_factory.getbasetemp() / "caps.jsonl", rows)
    whole = load(path, seed=seed, validation_fraction=0.5)
    capped = load(path, seed=seed, validation_fraction=0.5, train_size=train, validation_size=validation)
    assert capped.train == whole.train[:train]
    assert capped.validation == whole.validation[:validation]
    other = load(path, seed=seed + 1, validation_fraction=0.5)
    assert {*texts(whole.train)} == {*texts(other.train)}
    assert texts(whole.train) != texts(other.train)


def test_own_validation_file_wins_and_what_it_shares_leaves_the_training_rows(tmp_path) -> None:
    train, validation = write(tmp_path / "a.jsonl", ROWS), write(tmp_path / "b.csv", ROWS[:10])
    data = load({"train": train, "validation": validation})
    assert (len(data.train), len(data.validation)) == (50, 10)
    assert data.source["dropped, train also in validation"] == "10"
    assert data.source["validation file"] == "b.csv"


def test_relative_path_counts_from_the_spec(csv_file) -> None:
    with relative_to(csv_file.parent):
        assert load("data.csv").hash == load(csv_file).hash
        params = TextClassification.Params(path="data.csv", labels=LABELS)
    assert params.path == csv_file
    assert "path" not in params.identity()


def test_labels_map_values_and_name_answers(tmp_path) -> None:
    names = ["one", "two", "three", "four"]
    path = write(tmp_path / "d.jsonl", [{"text": f"row {i}", "label": names[i % 4]} for i in range(80)])
    data = load(path, labels={"one": 0, "two": 1, "three": 2, "four": 1}, label_texts=["LOW", " MID", "HIGH"])
    assert data.labels == (" LOW", " MID", " HIGH")
    assert {(e.label, e.proxy_label) for e in data.train} == {(0, 1), (1, 2), (2, 0)}
    assert load(path, labels={"one": 0, "two": 1, "three": 2, "four": 1}).labels == (" ONE", " TWO", " THREE")


@pytest.mark.parametrize(
    ("raw", "labels"), [((0, 1), [0, 1]), ((0, 1), ["0", "1"]), ((False, True), [False, True]), ((0.0, 1.0), [0, 1])]
)
def test_label_values_need_not_be_text(tmp_path, raw, labels) -> None:
    rows = [{"text": f"row {i}", "label": raw[i % 2]} for i in range(40)]
    for name in ("d.jsonl", "d.parquet"):
        data = load(write(tmp_path / name, rows), labels=labels)
        assert all(int(e.chunks[1].text.split()[1]) % 2 == e.label for e in data.train)


def test_long_and_empty_rows_are_dropped_on_request_and_counted(tmp_path) -> None:
    path = write(tmp_path / "d.jsonl", [*ROWS, {"text": "x" * 400, "label": "ham"}, {"text": " ", "label": "ham"}])
    data = load(path, max_chars=399, empty="drop")
    assert data.source["dropped, longer than max_chars"] == data.source["dropped, empty"] == "1"
    assert max(map(len, texts(data.train))) < 400


def test_quoted_fields_may_hold_breaks_and_be_long(tmp_path) -> None:
    path = tmp_path / "d.csv"
    body = "".join(f'"row {i}\n""quoted"", {"long " * 40_000 if i == 5 else ""}",{LABELS[i % 2]}\n' for i in range(30))
    path.write_text("text,label\n" + body)
    found = texts([*load(path).train, *load(path).validation])
    assert 'row 3\n"quoted", ' in found
    assert max(map(len, found)) > 200_000
    path.write_text("text,label\n" + body + 'ok,ham\n"no,spa')
    with pytest.raises(DataError, match=r"d\.csv, line 63: unexpected end of data; .*`quoting: false`"):
        load(path)


def test_latin_1_and_a_byte_order_mark_are_read(tmp_path) -> None:
    rows = "".join(f"caf\xe9 {i}\t{LABELS[i % 2]}\n" for i in range(30))
    (tmp_path / "d.tsv").write_bytes(("text\tlabel\n" + rows).encode("latin-1"))
    (tmp_path / "e.tsv").write_bytes(("text\tlabel\n" + rows).encode("utf-8-sig"))
    assert load(tmp_path / "d.tsv", encoding="latin-1").hash == load(tmp_path / "e.tsv").hash


def test_what_the_attacker_wants_to_hear(tmp_path: Path) -> None:
    names = ["red", "green", "blue"]
    rows = [{"text": f"text {i}", "label": names[i % 3]} for i in range(30)]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def goals(**params: str) -> dict[int, tuple[int, bool]]:
        data = load(path, labels=names, **params)
        return {example.label: (example.proxy_label, example.attackable) for example in data.train}

    assert goals() == goals(goal="next") == {0: (1, True), 1: (2, True), 2: (0, True)}
    assert goals(goal="any") == dict.fromkeys(range(3), (NO_LABEL, True))
    assert goals(goal="GREEN") == {0: (1, True), 1: (NO_LABEL, False), 2: (1, True)}
    with pytest.raises(
        DataError, match=r"goal 'GREAN' is not a label \(did you mean 'GREEN'\?\); write next, any, or a"
    ):
        load(path, labels=names, goal="GREAN")
