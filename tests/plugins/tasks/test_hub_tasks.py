"""The `datasets` path and the four presets, against folders laid out like their hub datasets; no network."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.api.task import TaskData
from harness.errors import DataError
from plugins.tasks.label_sets.harmless import Harmless
from plugins.tasks.label_sets.helpful import Helpful
from plugins.tasks.label_sets.imdb import IMDB
from plugins.tasks.label_sets.spam import Spam
from plugins.tasks.text_classification import TextClassification


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch) -> None:
    """No look-ups, and a cache of this test's own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def folder(path: Path, **splits: list[dict]) -> Path:
    path.mkdir(parents=True)
    for split, rows in splits.items():
        (path / f"{split}.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    return path


def labelled(start: int, count: int) -> list[dict]:
    return [{"message_id": i, "text": f"mail {i}", "label": i % 2} for i in range(start, start + count)]


def load(task, dataset: Path, **params) -> TaskData:
    return task(task.Params(dataset=str(dataset), **params)).load()


@pytest.mark.parametrize("held_out", ["validation", "test"])
def test_splits_of_the_dataset_are_used(tmp_path, held_out) -> None:
    dataset = folder(tmp_path / "mail", train=labelled(0, 30), **{held_out: labelled(30, 10)})
    data = load(TextClassification, dataset, labels=[0, 1], label_texts=["NO", "YES"])
    assert (len(data.train), len(data.validation)) == (30, 10)
    assert {int(e.chunks[1].text.split()[1]) for e in data.validation} == {*range(30, 40)}
    assert data.source["train dataset"] == str(dataset)
    assert data.source["train fingerprint"]


def test_without_a_validation_split_one_is_cut(tmp_path) -> None:
    dataset = folder(tmp_path / "mail", train=labelled(0, 60))
    data = load(TextClassification, dataset, labels=[0, 1], validation_fraction=0.5)
    assert len(data.train) + len(data.validation) == 60
    assert len(data.validation) > 15


def test_unknown_split_and_column(tmp_path) -> None:
    dataset = folder(tmp_path / "mail", train=labelled(0, 6), test=labelled(6, 6))
    with pytest.raises(
        DataError, match=r"no split 'trian' \(did you mean 'train'\?\); splits there: \['train', 'test'\]"
    ):
        load(TextClassification, dataset, labels=[0, 1], train_split="trian")
    with pytest.raises(DataError, match=r"mail train, row 1: no column 'texts' \(did you mean 'text'\?\)"):
        load(TextClassification, dataset, labels=[0, 1], text_column="texts")


def test_spam_preset_drops_empty_mails(tmp_path) -> None:
    empty = [{"message_id": 99, "text": "", "label": 0}]
    data = load(Spam, folder(tmp_path / "mail", train=labelled(0, 9) + empty, test=labelled(9, 4)))
    assert data.labels == (" HAM", " SPAM")
    assert len(data.train) == 9
    assert data.source["dropped, empty"] == "1"


def test_imdb_preset(tmp_path) -> None:
    data = load(
        IMDB, folder(tmp_path / "films", train=labelled(0, 9), test=labelled(9, 4), unsupervised=labelled(50, 4))
    )
    assert data.labels == (" NEGATIVE", " POSITIVE")
    assert (len(data.train), len(data.validation)) == (9, 4)


@pytest.mark.parametrize(("task", "data_dir"), [(Helpful, "helpful-base"), (Harmless, "harmless-base")])
def test_preferences_alternate(tmp_path, task, data_dir) -> None:
    rows = [
        {"chosen": f"\n\nHuman: {i}\n\nAssistant: good", "rejected": f"\n\nHuman: {i}\n\nAssistant: bad"}
        for i in range(16)
    ]
    folder(tmp_path / "hh" / "other", train=labelled(0, 4))
    folder(tmp_path / "hh" / data_dir, train=rows[:10], test=rows[10:])
    data = load(task, tmp_path / "hh")
    assert data.labels == (" FIRST", " SECOND")
    assert (len(data.train), len(data.validation)) == (10, 6)
    for example in (*data.train, *data.validation):
        text = example.chunks[1].text
        assert (
            example.label == int(text.index("good") > text.index("bad")) == int(text.split("Human: ")[1].split()[0]) % 2
        )
    many = [{key: f"{text} {i}" for key, text in row.items()} for i in range(4) for row in rows]
    many[2]["rejected"] = " "
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in many))
    local = task(task.Params(path=path)).load()  # a local file takes the place of the preset's dataset
    assert local.source["dropped, empty"] == "1"
    again = task.Params(**task.Params(path=path).model_dump(mode="json"))  # as a run stores and restores them
    assert task(again).load().hash == local.hash


def test_presets_differ_in_prompt_and_cite_their_source() -> None:
    tasks = [Spam, IMDB, Helpful, Harmless]
    assert len({task().params.instructions for task in tasks}) == 4
    assert all("2407.18213" in task.paper and task.summary() for task in tasks)
    assert all(word in Spam().params.instructions for word in Spam().label_texts())


def test_unreachable_hub_says_what_to_do(tmp_path) -> None:
    with pytest.raises(
        DataError, match=r"'no-one/nothing' could not be loaded .*give as `path` a local file, or a folder"
    ):
        TextClassification(TextClassification.Params(dataset="no-one/nothing", labels=[0, 1])).load()


def test_plugin_modules_import_nothing_heavy() -> None:
    names = ["password_match", "text_classification", "label_sets.spam", "label_sets.helpful", "prompt_sets.jbb"]
    code = (
        f"import sys, importlib\nfor name in {names}: importlib.import_module('plugins.tasks.' + name)\n"
        "print(sorted({'torch', 'datasets', 'pyarrow', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
