"""Signatures of all that `harness` and `harness.testing` export, for one version to be held to by the next.

python -m tests.api.exports     writes tests/api/VERSION.json, at a release
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import harness
import harness.testing


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


def main() -> None:
    """Write down what this version exports."""
    target = Path(__file__).parent / f"{harness.__version__}.json"
    target.write_text(json.dumps(exports(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
