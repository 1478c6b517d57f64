"""Whatever happens to a journal's end, what is given back is a prefix of what was written, and writing goes on."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from harness.errors import DataError
from harness.records.journal import Journal

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=5)


def write(path: Path, entries: list[dict[str, Any]]) -> bytes:
    with Journal(path) as journal:
        for entry in entries:
            journal.append(entry)
    return path.read_bytes()


@settings(deadline=None, max_examples=60)
@given(ENTRIES, ENTRIES, st.data())
def test_any_cut_gives_back_whole_entries_and_writing_goes_on(
    entries: list[dict[str, Any]], later: list[dict[str, Any]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        content = write(path, entries)
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:cut])
        whole = content[:cut].count(b"\n")
        with Journal(path) as journal:
            assert journal.entries == entries[:whole]
            for entry in later:
                journal.append(entry)
            assert journal.entries == entries[:whole] + later
        with Journal(path) as journal:
            assert journal.entries == entries[:whole] + later


@settings(deadline=None, max_examples=60)
@given(ENTRIES, st.binary(max_size=40))
def test_garbage_at_the_end_is_dropped(entries: list[dict[str, Any]], garbage: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        content = write(path, entries)
        path.write_bytes(content + garbage)
        with Journal(path) as journal:
            assert journal.entries[: len(entries)] == entries
            assert all(isinstance(entry, dict) for entry in journal.entries)
            journal.append({"next": 1})
        with Journal(path) as journal:
            assert journal.entries[-1] == {"next": 1}


@settings(deadline=None, max_examples=60)
@given(ENTRIES, ENTRIES, st.dictionaries(TEXTS, VALUES, max_size=2), st.data())
def test_damage_before_whole_lines_is_an_error_and_loses_nothing(
    before: list[dict[str, Any]], behind: list[dict[str, Any]], damaged: dict[str, Any], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        write(path, [*before, damaged, {"last": True}, *behind])
        lines = path.read_bytes().splitlines(keepends=True)
        line = bytearray(lines[len(before)])
        line[data.draw(st.integers(0, len(line) - 2))] = data.draw(st.sampled_from(b"\x00\xff\n}"))
        content = b"".join([*lines[: len(before)], line, *lines[len(before) + 1 :]])
        path.write_bytes(content)
        if all(_is_entry(each) for each in content.splitlines()):  # another text in the same place
            assert len(Journal(path).entries) >= len(before) + 2 + len(behind)
        else:
            with pytest.raises(DataError, match=rf"{path}: line {len(before) + 1} is damaged, and "):
                Journal(path)
        assert path.read_bytes() == content


def _is_entry(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def test_infinite_losses_come_back(tmp_path: Path) -> None:
    entry = {"loss": float("inf"), "text": "\r\n\x85\u2028\ud800", "deep": [{"a": None}]}
    write(tmp_path / "journal", [entry, entry])
    with Journal(tmp_path / "journal") as journal:
        assert journal.entries == [entry, entry]


class Full:
    """A file on a disk that takes ``room`` more bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        if self.room == 0:
            raise OSError(28, "No space left on device")
        taken = min(self.room, len(data))
        self.room -= taken
        return int(self.file.write(bytes(data)[:taken]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 10])
@pytest.mark.parametrize("tail", [b"", b'{"cut'])
def test_a_full_disk_leaves_no_half_line(tmp_path: Path, room: int, tail: bytes) -> None:
    path = tmp_path / "journal"
    content = write(path, [{"round": 1}])
    path.write_bytes(content + tail)
    with Journal(path) as journal:
        file = journal._file
        journal._file = Full(file, room)  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space left"):
            journal.append({"round": 2, "text": "long enough"})
        assert journal.entries == [{"round": 1}]
        assert path.read_bytes() == content
        journal._file = file
        journal.append({"round": 2})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"round": 1}, {"round": 2}]
