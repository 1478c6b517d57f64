"""YAML from strangers: plain data and the position of every field, or a clear error for all that could hurt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import did_you_mean
from harness.spec.problems import DataPath, InvalidSpecError, Position, SpecProblem, shown
from harness.spec.yaml_scalar import plain_scalar
from harness.spec.yaml_tree import Mapping, Node, Scalar, Sequence, YamlRefusedError, check_bounds, compose

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
    build = _Build()
    try:
        data = build.data(compose(text), (), 0)
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


class _Build:
    """From nodes to data; notes what is wrong and goes on where it can."""

    def __init__(self) -> None:
        self.positions: dict[DataPath, Position] = {}
        self.problems: list[SpecProblem] = []
        self._nodes = 0

    def data(self, node: Node, path: DataPath, depth: int) -> Any:
        self._nodes += 1
        check_bounds(self._nodes, depth, node.at)  # again: here an alias counts as everything it stands for
        self.positions.setdefault(path, node.at)
        if node.tagged:
            self._problem(path, "tags (!...) are not supported; write the plain value", node)
        if isinstance(node, Scalar):
            return self._scalar(node, path)
        if isinstance(node, Sequence):
            return [self.data(item, (*path, index), depth + 1) for index, item in enumerate(node.items)]
        return self._mapping(node, path, depth)

    def _mapping(self, node: Mapping, path: DataPath, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first: dict[str, Position] = {}
        for key_node, value_node in node.pairs:
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in result:
                line = first[key].line
                self._problem((*path, key), f"written twice (first on line {line}); keep one of the two", key_node)
                continue
            first[key] = self.positions[(*path, key)] = key_node.at
            result[key] = self.data(value_node, (*path, key), depth + 1)
        return result

    def _key(self, node: Node, path: DataPath) -> str | None:
        if not isinstance(node, Scalar):
            self._problem(path, "a key must be text, not a list or a mapping", node)
            return None
        if node.tagged:
            self._problem(path, "tags (!...) are not supported; write the plain key", node)
            return None
        if node.plain and node.text == "<<":
            self._problem(path, "merge keys (<<) are not supported; write the fields out", node)
            return None
        value = self._scalar(node, path)
        if not isinstance(value, str):
            self._problem(
                path, f"a key must be text, found {shown(node.text)}; put it in quotes if it is meant as text", node
            )
            return None
        return value

    def _scalar(self, node: Scalar, path: DataPath) -> Any:
        if any("\ud800" <= character <= "\udfff" for character in node.text):
            self._problem(path, "half of a surrogate pair is no character; write the character itself", node)
            return ""
        if not node.plain:
            return node.text
        try:
            return plain_scalar(node.text)
        except ValueError as cause:
            self._problem(path, str(cause), node)
            return 0

    def _problem(self, path: DataPath, message: str, node: Node) -> None:
        self.problems.append(SpecProblem(path, message, at=node.at))
