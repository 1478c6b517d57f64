"""The run directory: where things lie, and who may write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from harness.errors import RunError
from harness.records.schema import VERSION
from harness.store.atomic import write_json

if TYPE_CHECKING:
    from harness.spec.load import LoadedSpec


class RunFolder:
    """Paths of one run; see `harness.records.schema` for the format."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = root / "run.json"
        self.cells = root / "cells"
        self.artifacts = root / "artifacts"  # unless the store is given

    def cell(self, key: str) -> Path:
        """Folder of one cell."""
        return self.cells / key

    def cell_status(self, key: str) -> str:
        """``done``, ``failed``, ``begun`` (a journal is there) or ``missing``."""
        path = self.cell(key) / "cell.json"
        if path.exists():
            try:
                return str(json.loads(path.read_text(encoding="utf-8"))["status"])
            except (OSError, ValueError, KeyError, TypeError):
                return "missing"  # damaged: it will be made again
        return "begun" if (self.cell(key) / "journal.jsonl").exists() else "missing"

    def begin(self, spec: LoadedSpec, harness_version: str) -> None:
        """Write run.json, or check that the one there belongs to the same spec.

        Raises:
            RunError: the folder holds a run of another spec, or cannot be written.
        """
        if self.manifest.exists():
            held = self.read_manifest()
            if held["spec_hash"] != spec.hash:
                raise RunError(
                    f"{self.root}: holds a run of spec {held['spec_name']} {held['spec_version']} (hash {held['spec_hash'][:12]}), not of this one "
                    f"(hash {spec.hash[:12]}); give another --out, with --store {self.artifacts} to reuse its trained models"
                )
            return
        write_json(
            self.manifest,
            {
                "format": VERSION,
                "spec_name": spec.spec.name,
                "spec_version": spec.spec.version,
                "spec_hash": spec.hash,
                "spec": spec.text,
                "cells": len(spec.cells),
                "harness_version": harness_version,
                "created": now(),
            },
        )

    def read_manifest(self) -> dict[str, Any]:
        """run.json as a dictionary.

        Raises:
            RunError: it is missing or damaged.
        """
        try:
            data = json.loads(self.manifest.read_text(encoding="utf-8"))
            if not isinstance(data, dict) or not {"spec_hash", "spec_name", "spec_version"} <= data.keys():
                raise ValueError("fields are missing")
        except FileNotFoundError:
            raise RunError(
                f"{self.root}: no run there (run.json is missing); name the folder given to `harness run --out`"
            ) from None
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.manifest}: damaged ({error}); restore it, or start a new run with another --out"
            ) from None
        return data

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for writing.

        Raises:
            RunError: another process holds it.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".lock", timeout=0)
            with lock:
                yield
        except Timeout:
            raise RunError(
                f"{self.root}: another process is running here; wait for it, or give another --out"
            ) from None
        except PermissionError as error:
            raise RunError(f"{self.root}: cannot be written ({error.strerror}); give another --out") from None


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
