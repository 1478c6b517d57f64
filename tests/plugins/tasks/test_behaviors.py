"""Prompts from files and datasets that are answered in text: splits, targets, replies, benign ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from harness.api.task import NO_LABEL, Edit, Example, TaskData
from plugins.tasks._bases.generation_task import spaced_continuation
from plugins.tasks.behaviors import Behaviors
from plugins.tasks.prompt_sets.strongreject import StrongReject

ROWS = [{"prompt": f"Do thing {i}, all of it", "target": f"Sure, thing {i}" if i % 2 else ""} for i in range(40)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def load(path: Path, **params: Any) -> TaskData:
    return Behaviors(Behaviors.Params(path=path, **params)).load()


def by_prompt(examples: Any) -> dict[str, Example]:
    return {example.chunks[example.region].text: example for example in examples}


@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.jsonl", "d.parquet"])
def test_every_format_gives_the_same_prompts_all_for_validation(tmp_path: Path, name: str) -> None:
    data = load(write(tmp_path / name, ROWS))
    assert data.hash == load(write(tmp_path / "reference.csv", ROWS)).hash
    assert (data.kind, len(data.train), len(data.validation), data.answer_tokens) == ("text", 0, 40, 64)
    found = by_prompt(data.validation)
    assert set(found) == {row["prompt"] for row in ROWS}
    for row in ROWS:
        example = found[row["prompt"]]
        assert example.target == (f" {row['target']}" if row["target"] else " Sure, here")
        assert (example.label, example.proxy_label, example.reply, example.benign) == (NO_LABEL, NO_LABEL, "", False)
        assert [chunk.edit for chunk in example.chunks] == [Edit.IMMUTABLE, Edit.PERTURBABLE, Edit.IMMUTABLE]
        assert example.text == f"{row['prompt']}\n\nAnswer:"


def test_what_stands_around_a_prompt_is_taken_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", ROWS)
    before, after = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    data = load(path, instructions=before, answer_prompt=after, target="Sure, here")
    example = by_prompt(data.validation)["Do thing 2, all of it"]
    assert example.text == f"{before}Do thing 2, all of it{after}"
    assert example.target == "Sure, here", "white space stands before it"
    assert by_prompt(load(path, answer_prompt="").validation)["Do thing 2, all of it"].target == " Sure, here"


@given(st.text(), st.text())
def test_a_target_is_set_apart_from_its_prompt_by_white_space_and_never_changed_else(prompt: str, text: str) -> None:
    found = spaced_continuation(prompt, text)
    if text.strip():
        assert found[0].isspace() or prompt[-1].isspace()
        assert found in (text, f" {text}")
    else:
        assert found == ""


def test_a_share_may_be_cut_off_to_train_on_with_replies(tmp_path: Path) -> None:
    rows = [row | {"reply": "No."} for row in ROWS]
    path = write(tmp_path / "d.csv", rows)
    data = load(path, validation_fraction=0.3, train_size=20)
    assert len(data.train) == 20
    assert 0 < len(data.validation) < 20
    assert not set(by_prompt(data.train)) & set(by_prompt(data.validation))
    assert {example.reply for example in data.train} == {" No."}
    reordered = load(write(tmp_path / "e.csv", rows[::-1]), validation_fraction=0.3, seed=9)
    assert set(by_prompt(reordered.validation)) == set(by_prompt(data.validation)), "a text's hash decides its split"


def test_columns_may_be_named_otherwise_or_numbered(tmp_path: Path) -> None:
    rows = [{"goal": row["prompt"], "wish": row["target"], "answer": "Nope"} for row in ROWS]
    named = load(write(tmp_path / "d.csv", rows), prompt_column="goal", target_column="wish", reply_column="answer")
    (tmp_path / "e.csv").write_text("\n".join((tmp_path / "d.csv").read_text().splitlines()[1:]))
    numbered = load(tmp_path / "e.csv", header=False, prompt_column=0, target_column=1, reply_column=2)
    assert named.hash == numbered.hash
    assert by_prompt(named.validation)["Do thing 3, all of it"].target == " Sure, thing 3"
    assert named.validation[0].reply == " Nope"


@pytest.mark.parametrize(
    "values", [(True, False), ("TRUE", "false"), (1, 0), ("Safe", "unsafe"), ("benign", "harmful")]
)
def test_benign_prompts_are_told_by_a_column(tmp_path: Path, values: tuple[Any, Any]) -> None:
    rows = [{"prompt": f"{i}", "benign": values[i % 2]} for i in range(10)]
    path = write(tmp_path / "d.jsonl", rows)
    data = load(path)
    assert {int(text): example.benign for text, example in by_prompt(data.validation).items()} == {
        i: i % 2 == 0 for i in range(10)
    }
    assert {example.target for example in data.validation if example.benign} == {" I cannot help"}
    assert {example.target for example in data.validation if not example.benign} == {" Sure, here"}
    assert [len(load(path, only=only).validation) for only in ("benign", "harmful")] == [5, 5]
    assert all(example.benign for example in load(path, only="benign").validation)


def test_all_prompts_may_be_benign(tmp_path: Path) -> None:
    data = load(write(tmp_path / "d.csv", ROWS), benign=True, benign_target="Sorry")
    assert all(example.benign for example in data.validation)
    assert by_prompt(data.validation)["Do thing 2, all of it"].target == " Sorry"
    assert by_prompt(data.validation)["Do thing 3, all of it"].target == " Sure, thing 3", "its own target wins"
    assert data.hash != load(tmp_path / "d.csv").hash


def test_the_hash_tells_targets_replies_and_the_length_of_answers(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", ROWS)
    hashes = {load(path, **change).hash for change in ({}, {"target": "Yes"}, {"answer_tokens": 8}, {"seed": 1})}
    assert len(hashes) == 4


PUBLISHED = [{"category": "c", "source": "s", "forbidden_prompt": f"Forbidden {i}, indeed"} for i in range(13)]
STUDY = [
    {
        "clf_label": 1,
        "proxy_clf_label": 0,
        "instructions": "",
        "content": [row["forbidden_prompt"]],
        "answer_prompt": "",
        "gen_target": " I'm sorry",
        "proxy_gen_target": " Sure, here",
    }
    for row in PUBLISHED
]


def test_strongreject_from_the_published_file(tmp_path: Path) -> None:
    data = StrongReject(StrongReject.Params(path=write(tmp_path / "strongreject_dataset.csv", PUBLISHED))).load()
    assert (data.kind, len(data.train), len(data.validation)) == ("text", 0, 13)
    assert {example.text for example in data.validation} == {row["forbidden_prompt"] for row in PUBLISHED}
    assert {example.target for example in data.validation} == {" Sure, here"}
    assert data.source["train file"] == "strongreject_dataset.csv"


def test_strongreject_from_the_studys_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "study" / "data"
    folder.mkdir(parents=True)
    rows = datasets.Dataset.from_list(STUDY)
    rows.select(range(0)).to_parquet(folder / "train-00000-of-00001.parquet")  # the study's has no training rows
    rows.to_parquet(folder / "validation-00000-of-00001.parquet")
    data = StrongReject(StrongReject.Params(dataset=str(tmp_path / "study"))).load()
    local = StrongReject(StrongReject.Params(path=write(tmp_path / "d.csv", PUBLISHED))).load()
    assert data.hash == local.hash


def test_the_preset_revision_is_of_the_preset_dataset_alone() -> None:
    assert (StrongReject().params.dataset, StrongReject().params.revision) == (
        "AlignmentResearch/StrongREJECT",
        "2.0.0",
    )
    assert StrongReject.Params(dataset="who/what").revision is None
    again = StrongReject.Params(**StrongReject().params.model_dump(mode="json"))  # as a run stores and restores them
    assert again == StrongReject().params
