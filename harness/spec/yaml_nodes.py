"""A YAML document as PyYAML's nodes, bounded in size and depth while it is read, and what its plain words mean: by the
core schema of YAML 1.2, so that ``no`` and ``2024-01-31`` are text. PyYAML has only that of YAML 1.1, where they are
not.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from harness.spec.spec_problems import Position

MAX_NODES = 20_000
MAX_DEPTH = 40
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST = 40  # digits; longer ones cannot be in range, and Python refuses to convert very long ones
_RANGE = 2**63


class YamlRefusedError(Exception):
    """A YAML document that cannot be read any further; ``at`` is the position reached."""

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


def position(mark: Any) -> Position:
    """The position of a PyYAML mark: line and column, counted from 1."""
    return Position(mark.line + 1, mark.column + 1)


def compose(text: str) -> yaml.Node:
    """The one document in ``text``. An alias gives the same node object again, so the tree stays as small as the file.
    A node's ``tag`` is the one written, or "": what a scalar means is for `plain_scalar` to say.

    Raises:
        YamlRefusedError: bad syntax, no document or several, an alias of nothing or of what contains it, bounds
            exceeded.
    """
    loader: Any = None
    try:
        loader = _Loader(text)
        if not loader.check_node():
            raise YamlRefusedError(
                "the file is empty; a spec needs at least name, version, tasks, victims and attacks", Position(1, 1)
            )
        root: yaml.Node = loader.get_node()
        if loader.check_node():
            second = position(loader.peek_event().start_mark)
            raise YamlRefusedError("a second document starts here; keep one document per file", second)
        return root
    except yaml.MarkedYAMLError as cause:
        mark = cause.problem_mark or cause.context_mark
        message = ", ".join(part for part in (cause.context, cause.problem) if part)
        raise YamlRefusedError(f"not valid YAML: {message}", position(mark or loader.get_mark())) from None
    except yaml.reader.ReaderError as cause:
        before = text[: cause.position]
        code = cause.character if isinstance(cause.character, int) else ord(cause.character)
        raise YamlRefusedError(
            f"character U+{code:04X} is not allowed in YAML; remove it or write it as an escape in double quotes",
            Position(before.count("\n") + 1, len(before) - before.rfind("\n")),
        ) from None
    except (ValueError, OverflowError):  # PyYAML lets these out, e.g. for the escape "\UFFFFFFFF"
        reached = position(loader.get_mark())
        raise YamlRefusedError("not valid YAML: a number or an escape sequence is out of range", reached) from None


class _Loader(yaml.BaseLoader):
    """PyYAML's composer with bounds, so that no file makes it build more than a spec needs."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._open: list[str | None] = []  # the anchors of the nodes that are being composed, from the root on

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        at = position(event.start_mark)
        self._nodes += 1
        check_bounds(self._nodes, len(self._open), at)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors or event.anchor in self._open:
                raise YamlRefusedError("the alias refers to nothing; its anchor must be complete before it", at)
            return super().compose_node(parent, index)
        self.anchors.pop(event.anchor, None)  # YAML 1.2 lets an anchor be used again, PyYAML does not
        self._open.append(event.anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        assert node is not None
        node.tag = event.tag or ""
        return node


def plain_scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar.

    Raises:
        ValueError: a number that is not finite, or an integer beyond 64 bits; says how to fix it.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return _in_range(text, 10)
    if _BASED.fullmatch(text):
        return _in_range(text, 0)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("infinity and NaN are not allowed; write a finite number, or quote it if it is text")
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError("the number is too large; write a smaller one, or quote it if it is text")
        return number
    return text


def _in_range(text: str, base: int) -> int:
    number = int(text, base) if len(text) <= _LONGEST else _RANGE
    if not -_RANGE <= number < _RANGE:
        raise ValueError("the integer does not fit 64 bits; write a smaller one, or quote it if it is text")
    return number
