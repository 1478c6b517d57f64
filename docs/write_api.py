"""Writes docs/api.md, the reference of what `harness` and `harness.testing` export, from signatures and docstrings.

python docs/write_api.py            writes docs/api.md
python docs/write_api.py --release  and tests/api/VERSION.json: what this version exports, for the next to be held to
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import harness
import harness.testing

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
RELEASES = ROOT / "tests" / "api"


def exports() -> dict[str, dict[str, str]]:
    """Signature of every exported name, and of the public members of classes, by module."""
    return {
        module.__name__: {name: signature(module, name) for name in module.__all__}
        for module in (harness, harness.testing)
    }


def signature(module: Any, name: str) -> str:
    """An exported name in a few lines that change when users would notice."""
    value = getattr(module, name)
    if name.startswith("__"):
        return name
    if inspect.isclass(value) and value.__module__.startswith("harness"):
        return "\n".join([_class_line(name, value), *(f"    {line}" for line in _members(value))])
    if inspect.isfunction(value):
        return f"def {name}{_arguments(value)}"
    return f"{name} = {_assigned(module, name)}"


def _class_line(name: str, cls: type) -> str:
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    return f"class {name}({bases})" if bases else f"class {name}"


def _members(cls: type) -> list[str]:
    found = []
    annotated = inspect.get_annotations(cls)
    for name, annotation in annotated.items():
        if not name.startswith("_"):
            default = _default(cls, name)
            found.append(f"{name}: {_text(annotation)}{default}")
    if "__init__" in vars(cls) and not is_dataclass(cls):
        found.append(f"def __init__{_arguments(vars(cls)['__init__'])}")
    for name, member in vars(cls).items():
        if name.startswith("_") or name in annotated or name in ("Params", "model_config"):
            continue
        inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if isinstance(member, property) or type(member).__name__ == "cached_property":
            found.append(f"{name} (property)")
        elif inspect.isfunction(inner):
            found.append(f"def {name}{_arguments(inner)}")
    return found


def _default(cls: type, name: str) -> str:
    """What a field or a class attribute is when nobody says, where that can be written down."""
    value = vars(cls).get(name, inspect.Parameter.empty)
    if is_dataclass(cls):
        value = next((field.default for field in fields(cls) if field.name == name), value)
    return f" = {value!r}" if isinstance(value, str | int | float | tuple | None) else ""


def _arguments(function: Any) -> str:
    try:
        return str(inspect.signature(function)).replace("'", "")
    except (TypeError, ValueError):
        return "(...)"


def _text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _homes(module: Any) -> dict[str, str]:
    """The submodule that each exported name comes from, as the stub beside the module says."""
    stub = ast.parse(Path(str(module.__file__)).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        alias.name: str(node.module) for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def _assigned(module: Any, name: str) -> str:
    """What a constant or an alias was assigned in its module, as it is written there."""
    home = importlib.import_module(f"{module.__name__}.{_homes(module)[name]}")
    for node in ast.parse(inspect.getsource(home)).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return ast.unparse(node.value)
    return "imported"


def page() -> str:
    """The text of docs/api.md."""
    lines = [
        "# What `harness` exports",
        "",
        "Written from the docstrings by `python docs/write_api.py`. What plugins import is all here: other modules may",
        "change at any time, and a change of these names is in the [changelog](../CHANGELOG.md).",
        "",
    ]
    for module in (harness, harness.testing):
        lines += [f"## `{module.__name__}`", ""]
        names = [name for name in module.__all__ if not name.startswith("__")]
        for name in sorted(names, key=str.lower):
            lines += _entry(module, name)
    lines += _record_columns()
    return "\n".join(lines).rstrip() + "\n"


def _record_columns() -> list[str]:
    """What stands in a run's files, as the sources comment it: columns of both tables, and fields of ``cell.json``."""
    lines = [
        "## Columns of records",
        "",
        "`harness.read_run(folder)` gives a `Run`. Each of its cells has `examples()` and `steps()`, which are Arrow",
        "tables, and `record`, which is what `cell.json` holds. Every column of a table may be null.",
        "",
    ]
    schema, step_row, cell = ("schema", "step_row", "cell_manifest")
    records = importlib.import_module("harness.records.schema")
    tables = {"EXAMPLES =": records.EXAMPLES, "class StepRow": records.STEPS}
    for title, module, start, end in (
        ("`examples.parquet`: a row per attacked or excluded example", schema, "EXAMPLES =", ")\n\n"),
        ("`steps.parquet`: a row per attacked example and step", step_row, "class StepRow", "    def "),
        ("`cell.json`: the cell", cell, "class CellRecord", "\n\n\n"),
    ):
        text = inspect.getsource(importlib.import_module(f"harness.records.{module}"))
        begin = text.index(start)
        stop = text.find(end, begin)
        lines += [f"### {title}", "", "| column | type | |", "|---|---|---|"]
        types = {field.name: str(field.type) for field in tables.get(start, ())}
        fields_of = _commented_fields(text[begin : stop if stop > 0 else None])
        lines += [f"| `{name}` | `{types.get(name, kind)}` | {what} |" for name, kind, what in fields_of]
        lines.append("")
    return lines


def _commented_fields(source: str) -> list[tuple[str, str, str]]:
    """Name, type and comment of each field of a class, or entry of a schema, in its source."""
    of_class = re.compile(r"    (\w+): ([\w\[\], |\".]+?)(?: = .*?)?(?:  # (.*))?")
    of_schema = re.compile(r'        \("(\w+)", (?:pa\.)?(\w+?)_?(?:\(\))?\),(?:  # (.*))?')
    found, before = [], []
    for line in source.splitlines():
        field = of_class.fullmatch(line) or of_schema.fullmatch(line)
        if line.strip().startswith("# "):
            before.append(line.strip()[2:])
        elif field and field[1] != "model_config":
            comment = "; ".join(filter(None, [" ".join(before), field[3]])).replace("|", "\\|")
            found.append((field[1], field[2].replace(" | None", "").replace("|", "or"), comment))
        if not line.strip().startswith("# "):
            before = []
    return found


def _entry(module: Any, name: str) -> list[str]:
    value = getattr(module, name)
    text = [f"### `{name}`", "", "```python", signature(module, name), "```", ""]
    documented = inspect.isclass(value) or inspect.isfunction(value)
    own = vars(value).get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
    if documented and own and value.__module__.startswith("harness"):
        text += [_markdown(inspect.cleandoc(own)), ""]
    if inspect.isclass(value) and value.__module__.startswith("harness"):
        for member_name, member in vars(value).items():
            function = _function_of(member)
            doc = inspect.cleandoc(function.__doc__ or "") if inspect.isfunction(function) else ""
            if doc and not member_name.startswith("_") and not doc.startswith("As `"):
                text += [f"**`{member_name}`** {_markdown(doc)}", ""]
    elif not documented and not name.startswith("__") and (doc := _doc_of_constant(module, name)):
        text += [_markdown(doc), ""]
    return text


def _function_of(member: Any) -> Any:
    """The function behind a member of a class: of a method, or of a property."""
    if isinstance(member, property):
        return member.fget
    if type(member).__name__ == "cached_property":
        return member.func
    return member.__func__ if isinstance(member, classmethod | staticmethod) else member


def _doc_of_constant(module: Any, name: str) -> str:
    """The text below the assignment of a constant or an alias in its module; "" where there is none."""
    home = importlib.import_module(f"{module.__name__}.{_homes(module)[name]}")
    body = ast.parse(inspect.getsource(home)).body
    for node, after in pairwise(body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
        if named and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            return inspect.cleandoc(str(after.value.value))
    return ""


def _markdown(doc: str) -> str:
    """A docstring as Markdown: double backquotes become single ones, sections such as ``Args:`` become code blocks."""
    lines, fenced = [], False
    for line in doc.replace("``", "`").replace("::\n", ":\n").split("\n"):
        section = line.rstrip() in ("Attributes:", "Args:", "Returns:", "Raises:")
        if section and not fenced:
            lines.append("```text")
            fenced = True
        elif fenced and line and not line.startswith(" ") and not section:
            lines.append("```")
            fenced = False
        lines.append(line)
    return "\n".join([*lines, "```"] if fenced else lines).rstrip()


def main() -> None:
    """Write the page, and at a release what it exports."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    if "--release" in sys.argv[1:]:
        target = RELEASES / f"{harness.__version__}.json"
        target.write_text(json.dumps(exports(), indent=1) + "\n", encoding="utf-8")
        print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
