"""A YAML document as PyYAML's nodes, bounded in size and depth while it is read."""

from __future__ import annotations

from typing import Any

import yaml

from harness.spec.spec_problems import Position

MAX_NODES = 20_000
MAX_DEPTH = 40


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
    A node's ``tag`` is the one written, or "": what a scalar means is for `harness.spec.yaml_scalar` to say.

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
                raise YamlRefusedError("the alias stands for nothing; its anchor must be complete before it", at)
            return super().compose_node(parent, index)
        self.anchors.pop(event.anchor, None)  # YAML 1.2 lets an anchor be used again, PyYAML does not
        self._open.append(event.anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        assert node is not None
        node.tag = event.tag or ""
        return node
