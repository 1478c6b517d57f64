"""Writes a plugin package, or a plugin into one: all of it or nothing, never over anything."""

from __future__ import annotations

import re
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.errors import PluginError
from harness.scaffold.names import TEMPLATES, class_name, distribution_name

_FILES = {
    "pyproject.toml": "pyproject.toml.j2",
    "README.md": "README.md.j2",
    "spec.yaml": "{template}/spec.yaml.j2",
    "src/{name}.py": "{template}/plugin.py.j2",
    "tests/test_{name}.py": "test.py.j2",
}


def write_package(name: str, template: str, into: Path) -> list[Path]:
    """Write a package that is ready to be installed to the folder ``into/name``; the files written.

    Args:
        template: one of `TEMPLATES`.

    Raises:
        PluginError: there is something of that name already, or the folder cannot be written.
    """
    target = into / name
    if target.exists() or target.is_symlink():
        raise PluginError(f"{target}: already exists and is not overwritten; choose another name or --into folder")
    words = _words(name, template, name)
    texts = {file.format(**words): _rendered(source.format(**words), words) for file, source in _FILES.items()}
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


def write_into_package(name: str, template: str, package: Path) -> list[Path]:
    """Write a plugin into a package that has plugins already, and name its module in ``pyproject.toml``, so that it is
    found once the package is installed again; the files written or changed.

    Raises:
        PluginError: the package's layout is none that is known here, or there is something of that name already; then
            nothing is written.
    """
    project = package / "pyproject.toml"
    try:
        text = project.read_text(encoding="utf-8")
        described = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        what = "has no pyproject.toml, so it is not a package" if package.is_dir() else "no such folder"
        raise PluginError(
            f"--into-package {package}: {what}; give the folder of a package with plugins, or use --into to write one"
        ) from None
    except OSError as error:
        raise PluginError(f"--into-package {package}: pyproject.toml cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise PluginError(f"--into-package {package}: pyproject.toml cannot be read: {error}") from None
    home, module = _home(package, described, name)
    words = _words(name, template, module)
    files = {
        home / f"{name}.py": f"{template}/plugin.py.j2",
        package / "tests" / f"test_{name}.py": "test.py.j2",
        package / f"spec_{name}.yaml": f"{template}/spec.yaml.j2",
    }
    for path in files:
        if path.exists() or path.is_symlink():
            raise PluginError(f"{path}: already exists and is not overwritten; choose another name")
    changed = _with_entry(text, described, name, module, package)
    written: list[Path] = []
    try:
        for path, source in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append(path)
            path.write_text(_rendered(source, words), encoding="utf-8")
        project.write_text(changed, encoding="utf-8")
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise PluginError(f"{package}: {error.strerror or error}") from None
    return [*files, project]


def _home(package: Path, described: dict[str, Any], name: str) -> tuple[Path, str]:
    """The folder of the package's plugins, and the new module's dotted name: next to those that it names already."""
    modules = sorted(str(module) for module in _entries(described).values())
    for module in modules:
        for root in (package / "src", package):
            place = root.joinpath(*module.split("."))
            if (place / "__init__.py").is_file():
                return place, f"{module}.{name}"
            if place.with_suffix(".py").is_file():
                parent = module.rpartition(".")[0]
                return place.parent, f"{parent}.{name}" if parent else name
    raise PluginError(
        f"--into-package {package}: no module that its pyproject.toml names under [project.entry-points.harness] is in "
        f"src/ or next to it ({', '.join(modules) or 'it names none'}); use --into to write a package of its own"
    )


def _entries(described: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = described.get("project", {}).get("entry-points", {}).get("harness", {})
    return found


def _with_entry(text: str, described: dict[str, Any], name: str, module: str, package: Path) -> str:
    """The text of ``pyproject.toml`` with the module among the entry points, and among ``py-modules`` where those are
    listed.
    """
    line = f'{name} = "{module}"'
    header = r"(?m)^\[project\.entry-points\.harness\][ \t]*\n"
    changed = re.sub(header, lambda found: f"{found[0]}{line}\n", text, count=1)
    listed = described.get("tool", {}).get("setuptools", {}).get("py-modules")
    if listed is not None and "." not in module:
        changed = re.sub(r"(?m)^(py-modules\s*=\s*\[)", lambda found: f'{found[1]}"{module}", ', changed, count=1)
    try:
        now = tomllib.loads(changed)
        found = _entries(now).get(name) == module
        modules = now.get("tool", {}).get("setuptools", {}).get("py-modules")
        found = found and (listed is None or "." in module or module in modules)
    except ValueError:
        found = False
    if name in _entries(described) or not found:
        raise PluginError(
            f"--into-package {package}: {line} cannot be added to [project.entry-points.harness] of pyproject.toml, "
            "which has that name or is written in another form; use --into to write a package of its own"
        )
    return changed


def _words(name: str, template: str, module: str) -> dict[str, str]:
    """What stands in templates."""
    return {
        "name": name,
        "kind": TEMPLATES[template],
        "template": template,
        "cls": class_name(name),
        "distribution": distribution_name(name),
        "module": module,
    }


def _rendered(source: str, words: dict[str, str]) -> str:
    templates = Environment(
        loader=PackageLoader("harness.scaffold"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    return templates.get_template(source).render(words)
