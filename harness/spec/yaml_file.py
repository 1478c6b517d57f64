"""A YAML file that anyone may have written: plain data and the position of every field, or clear errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import did_you_mean
from harness.spec.spec_problems import DataPath, InvalidSpecError, Position, SpecProblem, printable_value
from harness.spec.yaml_nodes import YamlRefusedError, check_bounds, compose, plain_scalar, position

MAX_BYTES = 2**20


@dataclass(frozen=True)
class YamlFile:
    """A file that has been read.

    Attributes:
        name: the path as the user wrote it.
        text: the whole content.
        data: dict, list, str, int, float, bool or None.
        positions: where each field (its key) and each list item stands.
    """

    name: str
    text: str
    data: Any
    positions: dict[DataPath, Position]


def read_yaml_file(path: Path) -> YamlFile:
    """Read one YAML file of at most `MAX_BYTES`.

    Raises:
        SpecError: the file is missing, too large, not UTF-8, or not acceptable YAML (see `read_yaml`).
    """
    name = str(path)
    try:
        if not path.is_file():  # also keeps us from waiting on a pipe
            what = "is not a file; name a spec file" if path.exists() else f"no such file{_neighbour(path)}"
            raise InvalidSpecError(name, [SpecProblem((), what)])
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as cause:
        raise InvalidSpecError(name, [SpecProblem((), f"cannot be read: {cause}")]) from None
    if len(raw) > MAX_BYTES:
        at = Position(raw.count(b"\n") + 1, 1)
        raise InvalidSpecError(
            name, [SpecProblem((), f"larger than {MAX_BYTES} bytes; a spec holds settings, not data", at=at)]
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        at = Position(raw.count(b"\n", 0, cause.start) + 1, 1)
        raise InvalidSpecError(name, [SpecProblem((), "not UTF-8 text; save the file as UTF-8", at=at)]) from None
    return read_yaml(text, name)


def read_yaml(text: str, name: str) -> YamlFile:
    """Plain data and positions from one YAML document.

    Raises:
        InvalidSpecError: bad syntax, several documents, keys twice or not text, tags, merge keys, numbers that are
            not finite or do not fit 64 bits, lone surrogates, too many values (aliases expanded) or too deep.
    """
    build = _DataBuilder()
    try:
        data = build.value(compose(text), (), 0)
    except YamlRefusedError as stop:
        problems = [*build.problems, SpecProblem((), str(stop), at=stop.at)]
        raise InvalidSpecError(name, problems, build.positions) from None
    if build.problems:
        raise InvalidSpecError(name, build.problems, build.positions)
    return YamlFile(name, text, data, build.positions)


def _neighbour(path: Path) -> str:
    try:
        return did_you_mean(
            path.name, [other.name for other in path.parent.iterdir() if other.suffix in (".yaml", ".yml")]
        )
    except OSError:
        return ""


class _DataBuilder:
    """From nodes to data; notes what is wrong and goes on where it can.

    PyYAML's own constructor stops at the first error, keeps the last of equal keys, and knows YAML 1.1 alone.
    """

    def __init__(self) -> None:
        self.positions: dict[DataPath, Position] = {}
        self.problems: list[SpecProblem] = []
        self._nodes = 0

    def value(self, node: yaml.Node, path: DataPath, depth: int) -> Any:
        """The data of a node, which stands at a path."""
        at = position(node.start_mark)
        self._nodes += 1
        check_bounds(self._nodes, depth, at)  # again: here an alias counts as everything it stands for
        self.positions.setdefault(path, at)
        if node.tag:
            self._problem(path, "tags (!...) are not supported; write the plain value", node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return self._mapping(node, path, depth)

    def _mapping(self, node: yaml.Node, path: DataPath, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first: dict[str, Position] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in result:
                line = first[key].line
                self._problem((*path, key), f"written twice (first on line {line}); keep one of the two", key_node)
                continue
            first[key] = self.positions[(*path, key)] = position(key_node.start_mark)
            result[key] = self.value(value_node, (*path, key), depth + 1)
        return result

    def _key(self, node: yaml.Node, path: DataPath) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._problem(path, "a key must be text, not a list or a mapping", node)
            return None
        if node.tag:
            self._problem(path, "tags (!...) are not supported; write the plain key", node)
            return None
        if _is_plain(node) and node.value == "<<":
            self._problem(path, "merge keys (<<) are not supported; write the fields out", node)
            return None
        value = self._scalar(node, path)
        if not isinstance(value, str):
            found = printable_value(node.value)
            self._problem(path, f"a key must be text, found {found}; put it in quotes if it is meant as text", node)
            return None
        return value

    def _scalar(self, node: yaml.ScalarNode, path: DataPath) -> Any:
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            self._problem(path, "half of a surrogate pair is not a character; write the character itself", node)
            return ""
        if not _is_plain(node):
            return node.value
        try:
            return plain_scalar(node.value)
        except ValueError as cause:
            self._problem(path, str(cause), node)
            return 0

    def _problem(self, path: DataPath, message: str, node: yaml.Node) -> None:
        self.problems.append(SpecProblem(path, message, at=position(node.start_mark)))


def _is_plain(node: yaml.ScalarNode) -> bool:
    """Whether it stands without quotes and so may be a number."""
    return node.style is None
