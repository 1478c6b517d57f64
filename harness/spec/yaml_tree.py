"""A YAML document as a tree of nodes with positions, bounded in size and depth while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from harness.spec.problems import Position

MAX_NODES = 20_000
MAX_DEPTH = 40


@dataclass(slots=True)
class Scalar:
    """A word. ``plain`` when it stands without quotes and so may be a number."""

    at: Position
    tagged: bool
    text: str
    plain: bool


@dataclass(slots=True)
class Sequence:
    """A list."""

    at: Position
    tagged: bool
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """Keys and values in the order of the file; keys may repeat."""

    at: Position
    tagged: bool
    pairs: list[tuple[Node, Node]] = field(default_factory=list)


Node = Scalar | Sequence | Mapping


class YamlRefusedError(Exception):
    """Reading cannot go on; ``at`` says where."""

    def __init__(self, message: str, at: Position) -> None:
        super().__init__(message)
        self.at = at


def check_bounds(nodes: int, depth: int, at: Position) -> None:
    """Raise `YamlRefusedError` when there are too many nodes or they nest too deep."""
    if nodes > MAX_NODES:
        raise YamlRefusedError(
            f"more than {MAX_NODES} values (aliases counted each time); a spec is smaller than that", at
        )
    if depth > MAX_DEPTH:
        raise YamlRefusedError(f"nested deeper than {MAX_DEPTH} levels; flatten it", at)


def compose(text: str) -> Node:
    """The one document in ``text``. An alias gives the same node object again, so the tree stays as small as the file.

    Raises:
        RefusedError: bad syntax, no document or several, an alias of nothing or of what contains it, bounds exceeded.
    """
    return _Composer(text).document()


def position(mark: Any) -> Position:
    """A PyYAML mark, counted from 1."""
    return Position(mark.line + 1, mark.column + 1)


class _Composer:
    def __init__(self, text: str) -> None:
        self._events = _events(text)
        self._anchors: dict[str, Node] = {}
        self._nodes = 0

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise YamlRefusedError(
                        "a second document starts here; keep one document per file", position(event.start_mark)
                    )
                root = self._node(next(self._events), 0)
        if root is None:
            raise YamlRefusedError(
                "the file is empty; a spec needs at least name, version, tasks, victims and attacks", Position(1, 1)
            )
        return root

    def _node(self, event: Any, depth: int) -> Node:
        at = position(event.start_mark)
        self._nodes += 1
        check_bounds(self._nodes, depth, at)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise YamlRefusedError("the alias stands for nothing; its anchor must be complete before it", at)
            return self._anchors[event.anchor]
        tagged = event.tag is not None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(at, tagged, event.value, plain=event.style is None)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Sequence(at, tagged)
            while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                node.items.append(self._node(inner, depth + 1))
        else:
            node = Mapping(at, tagged)
            while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
                key = self._node(inner, depth + 1)
                node.pairs.append((key, self._node(next(self._events), depth + 1)))
        if event.anchor is not None:
            self._anchors[event.anchor] = node  # only now: a node cannot contain itself
        return node


def _events(text: str) -> Iterator[Any]:
    at = Position(1, 1)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            at = position(event.end_mark)
            yield event
    except yaml.MarkedYAMLError as cause:
        mark = cause.problem_mark or cause.context_mark
        said = ", ".join(part for part in (cause.context, cause.problem) if part)
        raise YamlRefusedError(f"not valid YAML: {said}", position(mark) if mark else at) from None
    except yaml.reader.ReaderError as cause:
        before = text[: cause.position]
        code = cause.character if isinstance(cause.character, int) else ord(cause.character)
        raise YamlRefusedError(
            f"character U+{code:04X} is not allowed in YAML; remove it or write it as an escape in double quotes",
            Position(before.count("\n") + 1, len(before) - before.rfind("\n")),
        ) from None
    except (ValueError, OverflowError):  # PyYAML lets these out, e.g. for the escape "\UFFFFFFFF"
        raise YamlRefusedError("not valid YAML: a number or an escape sequence is out of range", at) from None
