"""Base of tasks on text from files or the Hugging Face hub: where rows come from, how they are split and capped."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import Field, PositiveInt

from harness import DataError, Example, Params, Task, TaskData, host_field
from plugins.tasks._bases.text_source import SourceParams, source_tables
from plugins.tasks._data.duplicates import Claim, ClaimedRow, contradictions, without_copies
from plugins.tasks._data.records import Record, RecordTable
from plugins.tasks._data.splits import Split, shuffled, split_by_hash

_OF_EVERY_LABEL = 32  # made-up rows among which each label stands


class HasText(Protocol):
    """What a task makes of a record: at least the text that decides its split and whether it is dropped."""

    @property
    def text(self) -> str: ...


R = TypeVar("R", bound=HasText)


@dataclass(frozen=True)
class Extent:
    """How large a published set is, for plans where it cannot be read.

    Attributes:
        train, validation: rows.
        prompt_chars: about how many characters a whole prompt has on the mean.
        source: where that is from.
    """

    train: int
    validation: int
    prompt_chars: int
    source: str


class TextTask(Task, Generic[R]):
    """Base of tasks on text from files or the hub. A subclass makes a row of each record in `row`, and examples of the
    rows in `examples`. Copies of a row are dropped; of a text that stands in both splits, the training rows are.

    Attributes:
        needs_training: whether a source without training rows is an error.
        keeps_variants: whether training rows of one claim that differ otherwise are all kept.
        files: what the folder of the preset dataset holds, for a copy of it; "" where no dataset is preset.
        extent: of the preset dataset, where it is known.
    """

    needs_training: ClassVar[bool] = True
    keeps_variants: ClassVar[bool] = False
    files: ClassVar[str] = ""
    extent: ClassVar[Extent | None] = None

    class Params(SourceParams):
        """Where the text comes from and how it is split."""

        train_size: PositiveInt | None = Field(None, description="at most this many training examples")
        validation_size: PositiveInt | None = Field(None, description="at most this many validation examples")
        max_chars: PositiveInt | None = Field(None, description="longer texts are dropped")
        empty: Literal["error", "drop"] = Field("error", description="what to do about a row without text")
        contradictions: Literal["error", "drop"] = host_field(
            "error", description="what to do about rows with one text and different labels; drop: leave out all of them"
        )
        parse_special_tokens: bool = host_field(
            False, description="special tokens that texts spell out, such as </s>, count as such; by default as text"
        )
        seed: int = Field(0, description="of the order of the rows; it does not move a row to the other split")

    @abstractmethod
    def row(self, record: Record, number: int) -> R | None:
        """The row of a record; ``number`` counts the records of its file from 0. None: it has no label, and such are to
        be dropped.

        Raises:
            DataError: a column is missing or a value is not of the stated form.
        """

    @abstractmethod
    def claim(self, row: R) -> Claim:
        """What the row says: with the same claim it is a copy, with the same question alone it contradicts."""

    @abstractmethod
    def examples(self, split: Split, rows: list[R]) -> list[Example]:
        """The examples of a split. Raises DataError where its rows do not make a task."""

    @abstractmethod
    def made_up_row(self, text: str, number: int) -> R:
        """A row that says this, for `outline`."""

    def outline(self) -> TaskData | None:
        """As `Task.outline`, of the preset dataset in its published size."""
        params, extent = self.params, self.extent
        preset = type(params).model_fields["dataset"].default
        if extent is None or params.path is not None or params.dataset != preset:
            return None
        bare = self.examples("validation", [self.made_up_row("", i) for i in range(_OF_EVERY_LABEL)])[0]
        text = ("word " * extent.prompt_chars)[: max(1, extent.prompt_chars - len(bare.text))]

        def made_up(split: Split, there: int, most: int | None) -> list[Example]:
            return self.examples(split, [self.made_up_row(text, i) for i in range(min(there, most or there))])

        train = made_up("train", extent.train, params.train_size) if extent.train else []
        return TaskData(
            self.labels(),
            train,
            made_up("validation", extent.validation, params.validation_size),
            {"made up": f"{extent.prompt_chars} characters a prompt, {extent.source}"},
            parse_special_tokens=params.parse_special_tokens,
        )

    def labels(self) -> tuple[str, ...]:
        """Label texts in index order, each with its leading space; none of a task answered in text."""
        return ()

    def select(self, rows: list[R]) -> list[R]:
        """The rows that the task consists of; all by default."""
        return rows

    def shown_with(self, rows: list[R], train: list[R]) -> list[R]:
        """The validation rows as they are asked, which may show training rows before them; by default they are alone.

        Raises:
            DataError: there are too few training rows for that.
        """
        return rows

    def load(self) -> TaskData:
        """Read the rows, split and cap them, and make examples of them.

        Raises:
            DataError: a file, split, column or value is missing or malformed; names it, and the fix.
        """
        tables = source_tables(self.params, needs_training=self.needs_training, files=self.files)
        dropped: Counter[str] = Counter()
        train = self._rows(tables["train"], dropped) if "train" in tables else []
        validation = self._rows(tables["validation"], dropped) if "validation" in tables else []
        train, validation = self._consistent(train, validation, dropped)
        if "validation" in tables:
            held_out = {_comparable(row.row.text) for row in validation}
            kept = [row for row in train if _comparable(row.row.text) not in held_out]
            dropped["train also in validation"] = len(train) - len(kept)
        else:
            splits = [split_by_hash(_comparable(row.row.text), self.params.validation_fraction) for row in train]
            kept = [row for row, split in zip(train, splits, strict=True) if split == "train"]
            validation = [row for row, split in zip(train, splits, strict=True) if split == "validation"]
        kept = self._distinct(kept, dropped, keep_variants=self.keeps_variants)
        validation = self._distinct(validation, dropped, keep_variants=False)
        source = {f"{split} {key}": text for split, table in tables.items() for key, text in table.source.items()}
        source |= {f"dropped, {reason}": str(count) for reason, count in sorted(dropped.items()) if count}
        if self.files:
            source |= {"citation": self.paper, "license": self.license}
        if mended := sum(table.mended for table in tables.values()):
            source["mended, half of a surrogate pair replaced by U+FFFD"] = str(mended)
        return TaskData(
            labels=self.labels(),
            train=self.examples("train", self._subsample(kept, "train")),
            validation=self.examples("validation", self.shown_with(self._subsample(validation, "validation"), kept)),
            source=source,
            parse_special_tokens=self.params.parse_special_tokens,
        )

    def _consistent(
        self, train: list[ClaimedRow[R]], validation: list[ClaimedRow[R]], dropped: Counter[str]
    ) -> tuple[list[ClaimedRow[R]], list[ClaimedRow[R]]]:
        """The rows that no other contradicts.

        Raises:
            DataError: some do, and they are not to be dropped.
        """
        found = contradictions([*train, *validation])
        if found and self.params.contradictions == "error":
            one, other = next(iter(found.values()))
            more = f"; {len(found) - 1} more texts are like that" if len(found) > 1 else ""
            raise DataError(
                f"{other.where}: contradicts {one.where}: the same text has a different label there{more}; fix the "
                "rows, or give `contradictions: drop` to leave out all of such a text"
            )
        dropped["contradictory"] = sum(row.claim.question in found for row in (*train, *validation))
        train, validation = ([row for row in rows if row.claim.question not in found] for rows in (train, validation))
        return train, validation

    def _distinct(self, rows: list[ClaimedRow[R]], dropped: Counter[str], *, keep_variants: bool) -> list[R]:
        kept = without_copies(rows, keep_variants=keep_variants)
        dropped["copies"] += len(rows) - len(kept)
        return [row.row for row in kept]

    def _subsample(self, rows: list[R], split: Split) -> list[R]:
        """At most ``train_size`` or ``validation_size`` of the selected rows, in the seed's order."""
        size = self.params.train_size if split == "train" else self.params.validation_size
        return shuffled(self.select(rows), f"rows/{self.params.seed}/{split}")[:size]

    def _rows(self, table: RecordTable, dropped: Counter[str]) -> list[ClaimedRow[R]]:
        rows = []
        for number, record in enumerate(table.records):
            row = self.row(record, number)
            if row is None:
                dropped["unlabelled"] += 1
            elif not row.text.strip() and self.params.empty == "error":
                raise DataError(f"{record.where}: the text is empty; remove the row or give `empty: drop`")
            elif not row.text.strip():
                dropped["empty"] += 1
            elif self.params.max_chars is not None and len(row.text) > self.params.max_chars:
                dropped["longer than max_chars"] += 1
            else:
                rows.append(ClaimedRow(row, record.where, self.claim(row)))
        return rows


def preset_field(params: type[Params], name: str, default: Any) -> Any:
    """The parameter ``name`` of a base task, described as there, with another default. It must have no limits."""
    of = params.model_fields[name]
    return Field(default, description=of.description, json_schema_extra=of.json_schema_extra)


def _comparable(text: str) -> str:
    """The text in small letters with single spaces: near-copies count as one text."""
    return " ".join(text.casefold().split())
