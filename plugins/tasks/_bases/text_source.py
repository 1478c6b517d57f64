"""Where the rows of a text task come from: local files, a hub dataset, or a folder laid out like one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from harness import Params, SpecPath, Task, host_field
from plugins.tasks._data.hub import read_hub, select_split
from plugins.tasks._data.records import RecordTable
from plugins.tasks._data.splits import Split
from plugins.tasks._data.tables import Format, read_table


class SplitPaths(Params):
    """Local files, one per split."""

    train: SpecPath = Field(description="file of the training rows")
    validation: SpecPath = Field(description="file of the validation rows")


class SourceParams(Task.Params):
    """Where the text comes from, and which of it is held out."""

    path: SpecPath | SplitPaths | None = host_field(
        None,
        description="local file (CSV, TSV, JSON, JSONL, Parquet, .gz), or {train, validation}, or a folder laid out "
        "like a hub dataset",
    )
    format: Format | None = host_field(None, description="format of local files; by default from the name")
    header: bool = host_field(
        True, description="CSV and TSV: the first row names the columns; else columns are numbers from 0"
    )
    delimiter: str | None = host_field(
        None, description="CSV and TSV: the character between columns; by default a comma, in TSV a tab"
    )
    quoting: bool | None = host_field(None, description='CSV and TSV: " encloses fields; by default in CSV only')
    encoding: str = host_field("utf-8", description="of local text files")
    dataset: str | None = Field(None, description="hub id, or absolute path of a folder laid out like a hub dataset")
    config: str | None = Field(None, description="configuration of the hub dataset")
    data_dir: str | None = Field(None, description="folder inside the hub dataset")
    revision: str | None = Field(None, description="commit, tag or branch of the hub dataset")
    train_split: str = Field("train", description="split of the hub dataset to train on")
    validation_split: str | None = Field(
        None, description="by default `validation`, else `test`, else cut from the training split"
    )
    validation_fraction: float = Field(0.2, gt=0, lt=1, description="share cut off for validation if no split is given")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.path is None and self.dataset is None:
            raise ValueError("no data: give `path` (local file) or `dataset` (hub id)")
        default = type(self).model_fields["dataset"].default  # the dataset of a preset task gives way to a path
        if self.path is not None and self.dataset not in (None, default):
            raise ValueError("both `path` and `dataset` are given: keep one")
        return self

    @model_validator(mode="before")
    @classmethod
    def _revision_of_the_preset_dataset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "revision" in given:
            return given
        preset = cls.model_fields["dataset"].default
        elsewhere = given.get("path") is not None or given.get("dataset", preset) != preset
        return given | {"revision": None} if elsewhere else given

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or value in '"\r\n'):
            raise ValueError(f'write the one character between columns, e.g. ";" or "\\t", got {value!r}')
        return value


def source_tables(p: SourceParams, *, needs_training: bool, files: str) -> dict[Split, RecordTable]:
    """The training table, and the validation table if the source has one.

    Args:
        needs_training: whether a source without training rows is an error.
        files: what the folder of the preset dataset holds; "" where none is preset.
    """
    folder = p.path if isinstance(p.path, Path) and p.path.is_dir() else None
    if p.path is not None and folder is None:
        paths: dict[Split, Path] = {"train": p.path}
        if isinstance(p.path, SplitPaths):
            paths = {"train": p.path.train, "validation": p.path.validation}
        options = {"header": p.header, "delimiter": p.delimiter, "quoting": p.quoting, "encoding": p.encoding}
        return {split: read_table(path, p.format, **options) for split, path in paths.items()}
    place = p.dataset if folder is None else str(folder)
    hub = read_hub(place, p.config, p.data_dir, p.revision, _elsewhere(p, files))
    names: dict[Split, str] = {"train": p.train_split}
    held_out = [name for name in ("validation", "test") if name in hub and name != p.train_split]
    if p.validation_split or held_out:
        names["validation"] = p.validation_split or held_out[0]
        if not needs_training and not (p.train_split in hub and hub[p.train_split].records):
            del names["train"]
    return {split: select_split(hub, name, place) for split, name in names.items()}


def _elsewhere(p: SourceParams, files: str) -> str:
    """What to give as ``path`` where there is no hub."""
    preset = type(p).model_fields["dataset"].default
    if preset is None:
        return "a local file, or a folder laid out like that dataset"
    return f"a folder with the files of {preset} as they are ({files}), or one table of them"
