"""Records of an Arrow table, as Parquet files and hub datasets hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import DataError
from plugins.tasks._data.records import Record, Unreadable


def arrow_records(table: Any, source: str, where: Callable[[int], str]) -> list[Record]:
    """The rows of a `pyarrow.Table`. A value that Python cannot hold (a date beyond the year 9999, bytes that are no
    UTF-8) is an error only where it is asked for.

    What is null within an object is left out of it: Arrow gives all objects of a column the same names, and those that
    a row's own object never had are null.

    Args:
        source: what the table was read from, for errors.
        where: names a row by its number from 1.

    Raises:
        DataError: two columns have one name.
    """
    names = table.column_names
    if len(set(names)) < len(names):
        raise DataError(f"{source}: two columns have one name in {names}; rename one")
    columns = [_python_values(column) for column in table.columns]
    return [
        Record(where(number), dict(zip(names, values, strict=True)))
        for number, values in enumerate(zip(*columns, strict=True), 1)
    ]


def _python_values(column: Any) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except Exception:  # OverflowError, UnicodeDecodeError, ArrowException, ImportError for nanoseconds, ...
        values = [_python_value(value) for value in column]
    return [_without_nulls(value) for value in values]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value] if value and isinstance(value[0], dict | list) else value
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return value


def _python_value(value: Any) -> Any:
    try:
        return value.as_py()
    except Exception as error:
        return Unreadable(f"a {value.type} that cannot be read ({' '.join(str(error).split())})")
