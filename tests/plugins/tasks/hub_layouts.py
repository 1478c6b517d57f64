"""Folders in the layouts of the named sets on the hub, with rows made up here."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]
STUDY_SCHEMA = pa.schema([("content", pa.list_(pa.string())), ("clf_label", pa.int64()), ("gen_target", pa.string())])


def numbered(count: int, make: Callable[[int], Row]) -> list[Row]:
    return [make(i) for i in range(count)]


def labelled(count: int, classes: int, column: str = "text", first: int = 0) -> list[Row]:
    return numbered(count, lambda i: {column: f"text {first + i}", "label": i % classes})


def prompts(count: int, more: Callable[[int], Row] = lambda _: {}, first: int = 0) -> list[Row]:
    return numbered(count, lambda i: {"prompt": f"Do thing {first + i}"} | more(first + i))


def behaviors(count: int, sort: str) -> list[Row]:
    return numbered(
        count, lambda i: {"Index": i, "Goal": f"Do {sort} {i}", "Target": f"Sure, {sort} {i}", "Category": "c"}
    )


def chunked(count: int) -> list[Row]:
    return numbered(
        count, lambda i: {"content": [f"Do thing {i}"], "clf_label": 1, "gen_target": "I can't help with that."}
    )


def compared(count: int, first: int) -> list[Row]:
    talk = "\n\nHuman: {}\n\nAssistant: {}"
    return numbered(
        count, lambda i: {"chosen": talk.format(first + i, "good"), "rejected": talk.format(first + i, "bad")}
    )


def questions(count: int, first: int = 0) -> list[Row]:
    return numbered(
        count,
        lambda i: {
            "question": f"What is {first + i} and 1?",
            "subject": "sums",
            "choices": [str(first + i + 1 + (at - i) % 4) for at in range(4)],
            "answer": i % 4,
        },
    )


def hub_folder(path: Path, files: dict[str, list[Row]], configs: dict[str, dict[str, str]] | None = None) -> Path:
    """A folder with these tables, and the card that says which file belongs to which configuration and split."""
    for name, rows in files.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            if rows:
                pq.write_table(pa.Table.from_pylist(rows), place)
            else:  # as `datasets` writes a split without rows: no row group at all
                pq.ParquetWriter(place, STUDY_SCHEMA).close()
        elif name.endswith(".csv"):
            with place.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        else:
            place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if configs:
        lines = ["---", "configs:"]
        for config, splits in configs.items():
            lines += [f"- config_name: {config}", "  data_files:"]
            lines += [line for s, file in splits.items() for line in (f"  - split: {s}", f"    path: {file}")]
        (path / "README.md").write_text("\n".join([*lines, "---", "A card.", ""]))
    return path


SHARD = "{}-00000-of-00001.parquet"
TRAIN, VALIDATION, TEST = (SHARD.format(split) for split in ("train", "validation", "test"))


def write_set(name: str, path: Path) -> Path:
    """The folder of one of the named sets."""
    files, configs = LAYOUTS[name]
    return hub_folder(path, files, configs)


def _one_file(rows: list[Row], name: str, config: str = "default") -> tuple[dict[str, list[Row]], Any]:
    return {name: rows}, {config: {"train": name}}


def _splits(folder: str, **splits: list[Row]) -> tuple[dict[str, list[Row]], Any]:
    files = {f"{folder}/{SHARD.format(split)}": rows for split, rows in splits.items()}
    return files, {"default": {split: f"{folder}/{split}-*" for split in splits}}


_CONTEXT = lambda i: {"context": f"About {i}.", "category": "c"}  # noqa: E731
LAYOUTS: dict[str, tuple[dict[str, list[Row]], Any]] = {
    "advbench": _one_file(prompts(8, lambda i: {"target": f"Sure, thing {i}"}), f"data/{TRAIN}"),
    "harmbench": (
        {
            f"standard/{TRAIN}": prompts(6, lambda _: {"category": "c"}),
            f"contextual/{TRAIN}": prompts(5, _CONTEXT),
            f"copyright/{TRAIN}": prompts(4, lambda _: {"tags": ["t"]}),
        },
        {config: {"train": f"{config}/train-*"} for config in ("standard", "contextual", "copyright")},
    ),
    "jbb": (
        {"data/harmful-behaviors.csv": behaviors(7, "harm"), "data/benign-behaviors.csv": behaviors(5, "good")},
        {"behaviors": {"harmful": "data/harmful-behaviors.csv", "benign": "data/benign-behaviors.csv"}},
    ),
    "clearharm": _splits("data", train=chunked(6), validation=[]),
    "strongreject": _splits("data", train=[], validation=chunked(6)),
    "xstest": _one_file(
        prompts(9, lambda i: {"label": "unsafe" if i % 3 else "safe", "note": ""}), "xstest_prompts.csv"
    ),
    "or_bench": (
        {
            f"or-bench-{config}.csv": prompts(count, lambda _: {"category": "c"})
            for config, count in (("80k", 9), ("hard-1k", 6), ("toxic", 4))
        },
        {f"or-bench-{config}": {"train": f"or-bench-{config}.csv"} for config in ("80k", "hard-1k", "toxic")},
    ),
    "sst2": _splits(
        "data",
        train=labelled(8, 2, "sentence"),
        validation=labelled(4, 2, "sentence", 8),
        test=numbered(3, lambda i: {"sentence": f"unlabelled {i}", "label": -1}),
    ),
    "ag_news": _splits("data", train=labelled(12, 4), test=labelled(8, 4, first=12)),
    "spam": ({"train.jsonl": labelled(8, 2), "test.jsonl": labelled(4, 2, first=8)}, None),
    "enron_spam": ({"train.jsonl": labelled(8, 2), "test.jsonl": labelled(4, 2, first=8)}, None),
    "imdb": _splits("plain_text", train=labelled(8, 2), test=labelled(4, 2, first=8), unsupervised=labelled(3, 1)),
    "helpful": ({f"helpful-base/{s}.jsonl": compared(6, i) for i, s in ((0, "train"), (6, "test"))}, None),
    "harmless": ({f"harmless-base/{s}.jsonl": compared(6, i) for i, s in ((0, "train"), (6, "test"))}, None),
    "mmlu": (
        {f"all/{TEST}": questions(8), f"all/{SHARD.format('dev')}": questions(5, 8)},
        {"all": {"test": "all/test-*", "dev": "all/dev-*"}},
    ),
}
"""Of each set the files with their rows, and the configurations of its card."""
