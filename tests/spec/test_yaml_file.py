"""Hostile and mistaken YAML: refused with the line, quickly, and without building what it asks for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.spec.spec_problems import Position
from harness.spec.yaml_file import MAX_BYTES, read_yaml, read_yaml_file


def test_values_follow_yaml_1_2_core() -> None:
    text = "[no, on, yes, 2024-01-31, 1:30, 1_0, true, FALSE, ~, 010, 0x10, 0o7, 1e5, .5, -3, '3', \"true\", null]"
    expected: list[Any] = ["no", "on", "yes", "2024-01-31", "1:30", "1_0", True, False, None, 10, 16, 7, 1e5, 0.5, -3]
    found = read_yaml(text, "f").data
    assert found == [*expected, "3", "true", None]
    assert [type(value) for value in found[:15]] == [type(value) for value in expected]


def test_positions_are_those_of_keys_and_items() -> None:
    file = read_yaml("# head\na:\n  - b: 1\n  -   c:\n        2\n", "f")
    assert file.data == {"a": [{"b": 1}, {"c": 2}]}
    assert file.positions["a",] == Position(2, 1)
    assert file.positions["a", 0, "b"] == Position(3, 5)
    assert file.positions["a", 1] == Position(4, 7)
    assert file.positions["a", 1, "c"] == Position(4, 7)


def test_aliases_are_copied() -> None:
    file = read_yaml("a: &x {k: [1]}\nb: *x\n", "f")
    assert file.data == {"a": {"k": [1]}, "b": {"k": [1]}}
    assert file.data["a"] is not file.data["b"]
    assert file.positions["b", "k"].line == 1


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)

_DEEP = "a: &a [[[[[[[[[[1]]]]]]]]]]\n" + "".join(
    f"{new}: &{new} [[[[[[[[[[*{old}]]]]]]]]]]\n" for old, new in ("ab", "bc", "cd")
)

_REFUSED: list[tuple[str, str]] = [
    ("", "f:1: the file is empty"),
    ("# nothing\n", "f:1: the file is empty"),
    ("a: 1\nb: 2\na: 3\n", "f:3: a: written twice (first on line 1)"),
    ("x:\n  - {k: 1,\n     k: 2}", "f:3: x[0].k: written twice (first on line 2)"),
    ("a: 1\n2: b\n", "f:2: a key must be text, found '2'"),
    ("true: b", "f:1: a key must be text, found 'true'"),
    ("~: b", "f:1: a key must be text"),
    ("? [a]\n: b", "f:1: a key must be text, not a list"),
    ("a: 1\n<<: {b: 2}", "f:2: merge keys (<<) are not supported"),
    ("a: 1\nb: !!python/object/apply:os.system [ls]", "f:2: b: tags (!...) are not supported"),
    ("a: !!str 1", "f:1: a: tags (!...) are not supported"),
    ("!!str a: 1", "f:1: tags (!...) are not supported"),
    ("a: 1\n---\nb: 2\n", "f:2: a second document starts here"),
    ("a:\n  b: .nan", "f:2: a.b: infinity and NaN are not allowed"),
    ("a: -.inf", "f:1: a: infinity and NaN are not allowed"),
    ("a: 1e999", "f:1: a: the number is too large"),
    ("a: 9223372036854775808", "f:1: a: the integer does not fit 64 bits"),
    (f"a: {'9' * 5000}", "f:1: a: the integer does not fit 64 bits"),
    (f"a: 0x{'f' * 5000}", "f:1: a: the integer does not fit 64 bits"),
    ('a: "\\ud800"', "f:1: a: half of a surrogate pair"),
    ('a: 1\nb: "\\UFFFFFFFF"', "f:2: not valid YAML: a number or an escape sequence is out of range"),
    ("a: 1\nb: \x07", "f:2: character U+0007 is not allowed"),
    ("a: 1\nb: [1", "f:2: not valid YAML"),
    ("a: 1\n\tb: 1", "f:2: not valid YAML"),
    ("a: 1\nb: *x", "f:2: the alias refers to nothing"),
    ("a: &x [*x]", "f:1: the alias refers to nothing"),
    (_BOMB, "f:1: more than 20000 values"),
    ("x: " + "[" * 50 + "]" * 50, "f:1: nested deeper than 40 levels"),
    (_DEEP, "f:1: nested deeper than 40 levels"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), _REFUSED)
def test_refused_with_the_line(text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_yaml(text, "f")
    assert said in str(caught.value)


def test_several_mistakes_are_told_together() -> None:
    with pytest.raises(SpecError) as caught:
        read_yaml("b: .inf\na: 1\na: 2\n3: x\n", "f")
    assert [line.split(": ")[0] for line in str(caught.value).split("\n")] == ["f:1", "f:3", "f:4"]


@pytest.mark.parametrize(
    "text",
    ["[" * MAX_BYTES, "- " * (MAX_BYTES // 2), "[a," * 300_000, "a:\n" * 300_000, "? " * 500_000, "- a\n" * 250_000],
)
def test_large_hostile_text_ends_soon(text: str) -> None:
    start = time.process_time()
    with pytest.raises(SpecError):
        read_yaml(text, "f")
    assert time.process_time() - start < 30


def test_messages_cannot_drive_a_terminal() -> None:
    with pytest.raises(SpecError) as caught:
        read_yaml('"\\e[2J\\n": .nan', "f\x1b[0m")
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_files(tmp_path: Path) -> None:
    assert read_yaml_file(_write(tmp_path / "bom.yaml", b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")).data == {"a": 1, "b": 2}
    quick = _write(tmp_path / "quickstart.yaml", b"a: 1\nb: \xff\n")
    for path, said in [
        (quick, f"{quick}:2: not UTF-8 text"),
        (_write(tmp_path / "big.yaml", b"#" * (MAX_BYTES + 1)), "larger than 1048576 bytes"),
        (tmp_path / "quickstrat.yaml", "no such file (did you mean 'quickstart.yaml'?)"),
        (tmp_path / "nowhere" / "x.yaml", "no such file"),
        (tmp_path, "is not a file"),
        (Path("/dev/zero"), "is not a file"),
        (Path("a\0b"), "no such file"),
    ]:
        with pytest.raises(SpecError) as caught:
            read_yaml_file(path)
        assert said in str(caught.value), path
