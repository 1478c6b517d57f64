"""Hub datasets, and local folders laid out like one, through the `datasets` library."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness import DataError, did_you_mean
from plugins.tasks._data.arrow_records import arrow_records
from plugins.tasks._data.records import RecordTable

_COMMIT = re.compile(r"@([0-9a-f]{40})/")


def read_hub(
    dataset: str, config: str | None, data_dir: str | None, revision: str | None, elsewhere: str
) -> dict[str, RecordTable]:
    """All splits of a dataset, by name; some may be empty.

    Args:
        dataset: hub id, or path of a folder.
        elsewhere: what may be given instead where there is no hub, for errors.

    Raises:
        DataError: it cannot be reached, or has no such configuration, folder or revision.
    """
    import datasets  # slow to import, and needed only here

    try:
        options = {"name": config, "data_dir": data_dir, "revision": revision}
        builder = datasets.load_dataset_builder(dataset, **options)
        if hasattr(builder.config, "keep_default_na"):  # CSV: "NA" and "null" are texts and labels like others
            builder = datasets.load_dataset_builder(dataset, **options, keep_default_na=False, na_values=[""])
        builder.download_and_prepare()
        # one by one, since the library refuses to load a split without rows
        splits = {name: builder.as_dataset(name) for name, info in builder.info.splits.items() if info.num_examples}
    except Exception as error:  # the library raises anything from httpx errors to plain ValueError
        root: BaseException = error
        while root.__cause__ is not None:  # "An error occurred while generating the dataset" says nothing
            root = root.__cause__
        cause = " ".join(str(root).split())
        raise DataError(
            f"dataset {dataset!r} could not be loaded ({type(root).__name__}: {cause}). {_mend(dataset, elsewhere)}"
        ) from error
    full = {str(name): _table(f"{dataset} {name}", rows, dataset, revision) for name, rows in splits.items()}
    return {str(name): RecordTable([], {}) for name in builder.info.splits} | full


def _mend(dataset: str, elsewhere: str) -> str:
    if Path(dataset).is_dir():
        return (
            "Check `config` and `data_dir`; the README.md of a hub dataset says which files belong to which. Or give "
            "one file of it as `path`"
        )
    return (
        "Check its name, `config`, `data_dir` and `revision` and the connection; without one, load it once where there "
        f"is, or give as `path` {elsewhere}"
    )


def select_split(tables: dict[str, RecordTable], split: str, dataset: str) -> RecordTable:
    """The split of this name.

    Raises:
        DataError: no such split, or it is empty.
    """
    if split not in tables:
        raise DataError(
            f"dataset {dataset!r} has no split {split!r}{did_you_mean(split, tables)}; splits there: {list(tables)}"
        )
    if not tables[split].records:
        raise DataError(f"dataset {dataset!r}: split {split!r} contains no rows")
    return tables[split]


def _table(where: str, rows: Any, dataset: str, revision: str | None) -> RecordTable:
    table = rows.with_format("arrow")[:]  # as stored: pictures and the like in other columns are not decoded
    records = arrow_records(table, where, lambda number: f"{where}, row {number}")
    for column, feature in rows.features.items():
        if type(feature).__name__ == "ClassLabel":
            for record in records:
                if record.values[column] == -1:  # the library's way to say that there is no label
                    record.values[column] = None
    source = {"dataset": dataset, "fingerprint": str(rows._fingerprint)}
    commit = _COMMIT.search(" ".join(rows.info.download_checksums or {}))  # what the revision stood for on that day
    if commit or revision:
        source["revision"] = commit[1] if commit else str(revision)
    return RecordTable.of(records, source)
