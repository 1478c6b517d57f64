"""A plugin in a single file, named on the command line: no packaging needed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType

from harness.errors import PluginError
from harness.isolation.import_limits import stdout_to_stderr
from harness.registry.package_imports import PluginModule
from harness.registry.plugin_problem import error_with_place


def import_file(path: Path) -> PluginModule:
    """Run the file as a module.

    Its version is a hash of its content, so that results of an edited file are not taken for the old one's.

    Raises:
        PluginError: no such file, or it cannot be imported.
    """
    if path.is_dir():
        raise PluginError(f"--plugin {path}: this is a folder; name one Python file, or install the package")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PluginError(f"--plugin {path}: {error.strerror or error}") from error
    version = hashlib.sha256(content).hexdigest()[:12]
    name = f"harness_file_{version}_{path.stem}"
    if name not in sys.modules:
        _run(path, content, name)
    return PluginModule(sys.modules[name], path.name, f"file:{path.name}", version)


def _run(path: Path, content: bytes, name: str) -> None:
    module = ModuleType(name)
    module.__file__ = str(path.resolve())
    sys.modules[name] = module  # dataclasses and pydantic look a class's module up while it is being made
    try:
        with stdout_to_stderr():
            # Compiled from the bytes that were hashed, with no cache file left next to the user's.
            exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(f"--plugin {path}: {error_with_place(error)}") from error
