"""Writes a plugin package: all of it or nothing, never over anything."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.api.plugin import Kind
from harness.errors import PluginError
from harness.scaffold.names import class_name, distribution_name

_FILES = {
    "pyproject.toml": "pyproject.toml.j2",
    "README.md": "README.md.j2",
    "spec.yaml": "{kind}/spec.yaml.j2",
    "src/{name}.py": "{kind}/plugin.py.j2",
    "tests/test_{name}.py": "test.py.j2",
}


def write_package(name: str, kind: Kind, into: Path) -> list[Path]:
    """Write a package that is ready to be installed to the folder ``into/name``; the files written.

    Raises:
        PluginError: there is something of that name already, or the folder cannot be written.
    """
    target = into / name
    if target.exists() or target.is_symlink():
        raise PluginError(
            f"{target}: exists already, and nothing is written over; choose another name or --into folder"
        )
    templates = Environment(
        loader=PackageLoader("harness.scaffold"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    words = {"name": name, "kind": kind, "cls": class_name(name), "distribution": distribution_name(name)}
    texts = {
        file.format(**words): templates.get_template(template.format(**words)).render(words)
        for file, template in _FILES.items()
    }
    try:
        into.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=into))
    except OSError as error:
        raise PluginError(f"--into {into}: {error.strerror or error}") from None
    try:
        for file, text in texts.items():
            path = work / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        work.chmod(0o755)
        work.rename(target)
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise PluginError(f"{target}: {error.strerror or error}") from None
    return [target / file for file in texts]
