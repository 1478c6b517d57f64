"""What all tasks on found text share: where the rows come from, how they are split, ordered and capped."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Literal, Protocol, Self, TypeVar

from pydantic import Field, PositiveInt, model_validator

from harness import DataError, Params, SpecPath, Task, host_field
from plugins.tasks._data.hub import pick, read_hub
from plugins.tasks._data.records import Record, RecordTable
from plugins.tasks._data.tables import Format, read_table
from plugins.tasks._words.pseudo_words import Split, split_of


class Files(Params):
    """Local files, one per split."""

    train: SpecPath
    validation: SpecPath


class HasText(Protocol):
    """What a task makes of a record: at least the text that the split and the limits go by."""

    @property
    def text(self) -> str: ...


R = TypeVar("R", bound=HasText)


@dataclass(frozen=True)
class TextFiles(Generic[R]):
    """The rows of both splits, in the order of the source, and where they came from."""

    train: list[R]
    validation: list[R]
    source: dict[str, str]


class TextTask(Task):
    """Base of tasks on found text. Of a text that stands in both splits, the training rows are dropped.

    Attributes:
        needs_training: whether a source without training rows is an error.
    """

    needs_training: ClassVar[bool] = True

    class Params(Task.Params):
        """Where the text comes from and how it is split."""

        path: SpecPath | Files | None = host_field(
            None, description="local file (CSV, TSV, JSONL, Parquet, .gz), or {train, validation}"
        )
        format: Format | None = host_field(None, description="of local files; by default from the name")
        header: bool = host_field(
            True, description="CSV and TSV: the first row names the columns; else columns are numbers from 0"
        )
        quoting: bool | None = host_field(None, description='CSV and TSV: " encloses fields; by default in CSV only')
        encoding: str = host_field("utf-8", description="of local text files")
        dataset: str | None = Field(
            None, description="hub id, or absolute path of a folder laid out like a hub dataset"
        )
        config: str | None = Field(None, description="configuration of the hub dataset")
        data_dir: str | None = Field(None, description="folder inside the hub dataset")
        revision: str | None = Field(None, description="commit, tag or branch of the hub dataset")
        train_split: str = Field("train", description="split of the hub dataset to train on")
        validation_split: str | None = Field(
            None, description="by default `validation`, else `test`, else cut from the training split"
        )
        validation_fraction: float = Field(
            0.2, gt=0, lt=1, description="share cut off for validation where no split is given"
        )
        train_size: PositiveInt | None = Field(None, description="at most so many training examples")
        validation_size: PositiveInt | None = Field(None, description="at most so many validation examples")
        max_chars: PositiveInt | None = Field(None, description="longer texts are dropped")
        empty: Literal["error", "drop"] = Field("error", description="what to do about a row without text")
        seed: int = Field(0, description="of the order of the rows; it does not move a row to the other split")

        @model_validator(mode="after")
        def _one_source(self) -> Self:
            if self.path is None and self.dataset is None:
                raise ValueError("no data: give `path` (local file) or `dataset` (hub id)")
            preset = type(self).model_fields["dataset"].default  # a preset's own dataset gives way to a path
            if self.path is not None and self.dataset not in (None, preset):
                raise ValueError("both `path` and `dataset` are given: keep one")
            return self

    def found(self, read: Callable[[Record, int], R]) -> TextFiles[R]:
        """The rows of both splits.

        Args:
            read: makes a row of a record; its number counts the rows of the file from 0.

        Raises:
            DataError: a file, split, column or value is missing or malformed; names it, and the mend.
        """
        tables = self._tables()
        dropped: Counter[str] = Counter()
        train = self._rows(tables["train"], read, dropped) if "train" in tables else []
        if "validation" in tables:
            validation = self._rows(tables["validation"], read, dropped)
            held_out = {_plain(row.text) for row in validation}
            kept = [row for row in train if _plain(row.text) not in held_out]
            dropped["train also in validation"] = len(train) - len(kept)
        else:
            cut = [split_of(_plain(row.text), self.params.validation_fraction) for row in train]
            kept = [row for row, split in zip(train, cut, strict=True) if split == "train"]
            validation = [row for row, split in zip(train, cut, strict=True) if split == "validation"]
        source = {f"{split} {key}": text for split, table in tables.items() for key, text in table.source.items()}
        source |= {f"dropped, {reason}": str(count) for reason, count in sorted(dropped.items()) if count}
        return TextFiles(kept, validation, source)

    def chosen(self, rows: list[R], split: Split) -> list[R]:
        """At most as many rows as are asked for of that split, in the seed's order."""
        size = self.params.train_size if split == "train" else self.params.validation_size
        rng = random.Random(f"rows/{self.params.seed}/{split}")
        # shuffled before the cap: a larger cap keeps the rows of a smaller one
        return sorted(rows, key=lambda _: rng.random())[:size]

    def _tables(self) -> dict[Split, RecordTable]:
        """The training table, and the validation table if the source has one."""
        p = self.params
        if p.path is not None:
            files: dict[Split, Path] = {"train": p.path}
            if isinstance(p.path, Files):
                files = {"train": p.path.train, "validation": p.path.validation}
            form = {"header": p.header, "quoting": p.quoting, "encoding": p.encoding}
            return {split: read_table(file, p.format, **form) for split, file in files.items()}
        hub = read_hub(p.dataset, p.config, p.data_dir, p.revision)
        names: dict[Split, str] = {"train": p.train_split}
        held_out = [name for name in ("validation", "test") if name in hub and name != p.train_split]
        if p.validation_split or held_out:
            names["validation"] = p.validation_split or held_out[0]
            if not self.needs_training and not (p.train_split in hub and hub[p.train_split].records):
                del names["train"]
        return {split: pick(hub, name, p.dataset) for split, name in names.items()}

    def _rows(self, table: RecordTable, read: Callable[[Record, int], R], dropped: Counter[str]) -> list[R]:
        rows = []
        for number, record in enumerate(table.records):
            row = read(record, number)
            if not row.text.strip() and self.params.empty == "error":
                raise DataError(f"{record.where}: the text is empty; remove the row or give `empty: drop`")
            if not row.text.strip():
                dropped["empty"] += 1
            elif self.params.max_chars is not None and len(row.text) > self.params.max_chars:
                dropped["longer than max_chars"] += 1
            else:
                rows.append(row)
        return rows


def _plain(text: str) -> str:
    """The text without what makes near-copies of it look different."""
    return " ".join(text.casefold().split())
