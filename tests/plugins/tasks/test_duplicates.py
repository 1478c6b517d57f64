"""Rows that stand twice, and rows that contradict each other, from every source of every task that reads rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.task import TaskData
from harness.errors import DataError
from plugins.tasks.behaviors import Behaviors
from plugins.tasks.label_sets.harmless import Harmless
from plugins.tasks.label_sets.imdb import IMDB
from plugins.tasks.label_sets.spam import Spam
from plugins.tasks.prompt_sets.strongreject import StrongReject
from plugins.tasks.text_classification import TextClassification

LABELS = ["ham", "spam"]
ROWS = [{"text": f"row {i}", "label": LABELS[i % 2]} for i in range(40)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def classify(path: Any, **params: Any) -> TaskData:
    return TextClassification(TextClassification.Params(path=path, labels=LABELS, **params)).load()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(ROWS), max_size=60), st.randoms(use_true_random=False))
def test_copies_leave_no_trace_but_their_count(tmp_path_factory, copies, random) -> None:
    folder = tmp_path_factory.mktemp("copies")
    plain = classify(write(folder / "plain.jsonl", ROWS))
    data = classify(write(folder / "copies.jsonl", [*ROWS, *copies]))
    assert data.hash == plain.hash
    assert int(data.source.get("dropped, copies", 0)) == len(copies)
    mixed = [*ROWS, *copies]
    random.shuffle(mixed)
    shuffled = classify(write(folder / "mixed.jsonl", mixed))
    assert len(shuffled.train) + len(shuffled.validation) == len(ROWS)


def test_ten_times_the_rows_are_no_more_examples(tmp_path: Path) -> None:
    ten = {
        "train": write(tmp_path / "t.jsonl", ROWS[:20] * 10),
        "validation": write(tmp_path / "v.jsonl", ROWS[20:] * 10),
    }
    data = classify(ten)
    assert (len(data.train), len(data.validation)) == (20, 20)
    assert data.source["dropped, copies"] == "360"


def test_a_contradiction_is_refused_with_both_rows_or_left_out(tmp_path: Path) -> None:
    rows = [*ROWS, {"text": "row 3", "label": "ham"}, {"text": "row 4", "label": "spam"}, ROWS[4]]
    path = write(tmp_path / "d.jsonl", rows)
    message = (
        r"d\.jsonl, line 41: contradicts .*d\.jsonl, line 4: .*; 1 more texts are like that; .*`contradictions: drop`"
    )
    with pytest.raises(DataError, match=message):
        classify(path)
    data = classify(path, contradictions="drop")
    assert {example.chunks[1].text for example in (*data.train, *data.validation)} == {
        row["text"] for i, row in enumerate(ROWS) if i not in (3, 4)
    }
    assert data.source["dropped, contradictory"] == "5"


def test_a_contradiction_between_two_files_names_both(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", ROWS)
    validation = write(tmp_path / "val.jsonl", [{"text": "other", "label": "ham"}, {"text": "row 0", "label": "spam"}])
    with pytest.raises(DataError, match=r"val\.jsonl, line 2: contradicts .*train\.jsonl, line 1"):
        classify({"train": train, "validation": validation})


def test_case_and_white_space_may_be_what_tells_labels_apart(tmp_path: Path) -> None:
    rows = [{"text": text, "label": LABELS[text.isupper()]} for i in range(20) for text in (f"row {i}", f"ROW {i}")]
    data = classify(write(tmp_path / "d.jsonl", rows))
    assert len(data.train) + len(data.validation) == 40
    assert "dropped, copies" not in data.source


def test_several_values_of_one_label_do_not_contradict(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [*ROWS, {"text": "row 1", "label": "fraud"}])
    labels = {"ham": 0, "spam": 1, "fraud": 1}
    data = TextClassification(TextClassification.Params(path=path, labels=labels)).load()
    assert data.source["dropped, copies"] == "1"


def test_prompts_stand_once_and_are_benign_or_not(tmp_path: Path) -> None:
    rows = [{"prompt": f"do {i}", "target": f"Sure {i}", "benign": False} for i in range(20)]
    again = [row | {"target": "Yes"} for row in rows]
    data = Behaviors(Behaviors.Params(path=write(tmp_path / "d.jsonl", [*rows, *again]))).load()
    assert [example.target for example in sorted(data.validation, key=lambda e: int(e.text.split()[1]))] == [
        f" Sure {i}" for i in range(20)
    ]
    assert data.source["dropped, copies"] == "20"
    trained = Behaviors(
        Behaviors.Params(path=write(tmp_path / "e.jsonl", [*rows, *again, *rows]), validation_fraction=0.4)
    )
    split = trained.load()
    assert len(split.train) == 2 * (20 - len(split.validation))  # a prompt may be trained on with several replies
    path = write(tmp_path / "f.jsonl", [*rows, rows[7] | {"benign": True}])
    with pytest.raises(DataError, match=r"line 21: contradicts .*line 8"):
        Behaviors(Behaviors.Params(path=path)).load()
    assert len(Behaviors(Behaviors.Params(path=path, contradictions="drop")).load().validation) == 19


def test_published_prompts_stand_once(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [{"forbidden_prompt": f"do {i % 5}"} for i in range(10)])
    assert len(StrongReject(StrongReject.Params(path=path)).load().validation) == 5


def test_preferences_in_either_order_are_copies_or_contradict(tmp_path: Path) -> None:
    rows = [{"chosen": f"{i} good", "rejected": f"{i} bad"} for i in range(40)]
    plain = Harmless(Harmless.Params(path=write(tmp_path / "p.jsonl", rows))).load()
    copies = [*rows, rows[2], rows[1]]  # side by side in the other order
    data = Harmless(Harmless.Params(path=write(tmp_path / "c.jsonl", copies))).load()
    assert data.hash == plain.hash
    assert data.source["dropped, copies"] == "2"
    turned = {"chosen": rows[5]["rejected"], "rejected": rows[5]["chosen"]}
    path = write(tmp_path / "d.jsonl", [*rows, turned, {"chosen": "same", "rejected": "same"}])
    data = Harmless(Harmless.Params(path=path)).load()
    assert len(data.train) + len(data.validation) == 39
    assert (data.source["dropped, contradictory"], data.source["dropped, unlabelled"]) == ("2", "1")
    with pytest.raises(DataError, match=r"line 42: both conversations are the same"):
        Harmless(Harmless.Params(path=path, contradictions="error")).load()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"line 41: contradicts .*line 6"):
        Harmless(Harmless.Params(path=path, contradictions="error")).load()


@pytest.mark.parametrize("task", [Spam, IMDB])
def test_published_corpora_leave_contradictions_out(tmp_path: Path, task) -> None:
    rows = [{"text": f"row {i}", "label": i % 2} for i in range(40)]
    pq.write_table(pa.Table.from_pylist([*rows, {"text": "row 0", "label": 1}]), tmp_path / "d.parquet")
    data = task(task.Params(path=tmp_path / "d.parquet")).load()
    assert len(data.train) + len(data.validation) == 39
    assert data.source["dropped, contradictory"] == "2"


def test_how_rows_are_read_is_no_part_of_a_key() -> None:
    new = {"contradictions", "drop_unlabelled", "delimiter"}
    for task in (Spam, IMDB, Harmless, StrongReject):
        assert not new & set(task.Params(path="x").identity())
    assert not new & set(TextClassification.Params(path="x", labels=LABELS).identity())
    assert not new & set(Behaviors.Params(path="x").identity())
