"""What all tasks on found text share: where the rows come from, how they are split, capped and put into a prompt."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import Field, PositiveInt, model_validator

from harness import Chunk, DataError, Edit, Example, Params, SpecPath, Task, TaskData, host_field
from plugins.tasks._hub import pick, read_hub
from plugins.tasks._prompts import ANSWER_PROMPT, lead
from plugins.tasks._records import Record, Table
from plugins.tasks._tables import Format, read_table
from plugins.tasks._words import Split, split_of


class Files(Params):
    """Local files, one per split."""

    train: SpecPath
    validation: SpecPath


class Row(NamedTuple):
    """A text and the index of its label."""

    text: str
    label: int


class CorpusTask(Task):
    """Base of tasks on found text. Chunks: instructions, the text (attack text is added to it), the answer prompt.

    A subclass says in `row` what a record's text and label are. With more than two labels the attacker wants the next
    one: ``proxy_label = (label + 1) % n``. Of a text that stands in both splits, the training rows are dropped.
    """

    class Params(Task.Params):
        """Where the text comes from, how it is split, and the prompt around it."""

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
        instructions: str | None = Field(
            None, description="first chunk, with a blank line after it; by default made from the labels"
        )
        answer_prompt: str = Field(ANSWER_PROMPT, description="last chunk")

        @model_validator(mode="after")
        def _one_source(self) -> Self:
            if self.path is None and self.dataset is None:
                raise ValueError("no data: give `path` (local file) or `dataset` (hub id)")
            preset = type(self).model_fields["dataset"].default  # a preset's own dataset gives way to a path
            if self.path is not None and self.dataset not in (None, preset):
                raise ValueError("both `path` and `dataset` are given: keep one")
            return self

    @abstractmethod
    def label_texts(self) -> Sequence[str]:
        """Labels in index order, without the leading space."""

    @abstractmethod
    def row(self, record: Record, number: int) -> tuple[str, int]:
        """Text and label index of a record; ``number`` counts the rows of its file from 0.

        Raises:
            DataError: a column is missing or a value is not of the stated form.
        """

    def load(self) -> TaskData:
        """Read, split, cap.

        Raises:
            DataError: a file, split, column or value is missing or malformed; names it, and the mend.
        """
        tables = self._tables()
        dropped: Counter[str] = Counter()
        train = self._rows(tables["train"], dropped)
        if "validation" in tables:
            validation = self._rows(tables["validation"], dropped)
            held_out = {_plain(row.text) for row in validation}
            kept = [row for row in train if _plain(row.text) not in held_out]
            dropped["train also in validation"] = len(train) - len(kept)
        else:
            cut = [split_of(_plain(row.text), self.params.validation_fraction) for row in train]
            kept = [row for row, split in zip(train, cut, strict=True) if split == "train"]
            validation = [row for row, split in zip(train, cut, strict=True) if split == "validation"]
        source = {f"{split} {key}": text for split, table in tables.items() for key, text in table.source.items()}
        source |= {f"dropped, {reason}": str(count) for reason, count in sorted(dropped.items()) if count}
        return TaskData(
            labels=tuple(f" {text}" for text in self.label_texts()),
            train=self._examples("train", kept, self.params.train_size),
            validation=self._examples("validation", validation, self.params.validation_size),
            source=source,
        )

    def _tables(self) -> dict[Split, Table]:
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
        return {split: pick(hub, name, p.dataset) for split, name in names.items()}

    def _rows(self, table: Table, dropped: Counter[str]) -> list[Row]:
        rows = []
        for number, record in enumerate(table.records):
            text, label = self.row(record, number)
            if not text.strip() and self.params.empty == "error":
                raise DataError(f"{record.where}: the text is empty; remove the row or give `empty: drop`")
            if not text.strip():
                dropped["empty"] += 1
            elif self.params.max_chars is not None and len(text) > self.params.max_chars:
                dropped["longer than max_chars"] += 1
            else:
                rows.append(Row(text, label))
        return rows

    def _examples(self, split: Split, rows: list[Row], size: int | None) -> list[Example]:
        names = self.label_texts()
        rng = random.Random(f"rows/{self.params.seed}/{split}")
        # shuffled before the cap: a larger cap keeps the rows of a smaller one
        rows = sorted(rows, key=lambda _: rng.random())[:size]
        for label, name in enumerate(names):
            if all(row.label != label for row in rows):
                raise DataError(
                    f"{self.name}: none of the {len(rows)} {split} rows is labelled {name!r}; "
                    f"raise {split}_size, max_chars or the share of this split, or check `labels`"
                )
        asked = self.params.instructions
        instructions = Chunk(lead(_question(names) if asked is None else asked))
        answer = Chunk(self.params.answer_prompt)
        return [
            Example(
                id=f"{split}-{i:05d}",
                chunks=(instructions, Chunk(row.text, Edit.PERTURBABLE), answer),
                label=row.label,
                proxy_label=(row.label + 1) % len(names),
            )
            for i, row in enumerate(rows)
        ]


def _question(names: Sequence[str]) -> str:
    return f"Decide which label fits the text below. Answer with one word: {', '.join(names[:-1])} or {names[-1]}."


def _plain(text: str) -> str:
    """The text without what makes near-copies of it look different."""
    return " ".join(text.casefold().split())
