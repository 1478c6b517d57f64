"""The run directory: where things lie, and who may write."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
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
        """``done``, ``skipped``, ``failed``, ``begun`` (a journal is there) or ``missing``."""
        path = self.cell(key) / "cell.json"
        if path.exists():
            try:
                return str(json.loads(path.read_text(encoding="utf-8"))["status"])
            except (OSError, ValueError, KeyError, TypeError):
                return "missing"  # damaged: it will be made again
        return "begun" if (self.cell(key) / "journal.jsonl").exists() else "missing"

    def is_settled(self, key: str) -> bool:
        """Whether nothing is left to do for a cell: it is measured, or it has been found that it cannot be."""
        return self.cell_status(key) in ("done", "skipped")

    def check(self, spec: LoadedSpec) -> None:
        """Check that the run here, if there is one, is of this spec.

        Raises:
            RunError: it is of another, or its manifest is damaged.
        """
        if self.manifest.exists():
            held = self.read_manifest()
            if held["spec_hash"] != spec.hash:
                raise RunError(
                    f"{self.root}: holds a run of spec {held['spec_name']} {held['spec_version']} "
                    f"(hash {held['spec_hash'][:12]}), not of this one (hash {spec.hash[:12]}); give another --out, "
                    f"with --store {self.artifacts} to reuse its trained models"
                )

    def check_cells(self, keys: Collection[str]) -> None:
        """Check that every finished cell here is one of the spec's: records of two states of the data must not mix.

        Raises:
            RunError: one is not.
        """
        held = [path.name for path in self.cells.iterdir()] if self.cells.is_dir() else []
        strange = [key for key in held if key not in keys and self.cell_status(key) == "done"]
        if strange:
            raise RunError(
                f"{self.root}: holds {len(strange)} finished cells of other data or another model than the spec finds "
                f"now (e.g. {self.cell(strange[0])}); put the old data back, give another --out, or delete them"
            )

    def begin(self, spec: LoadedSpec, harness_version: str, cells: int) -> None:
        """Write run.json unless it is there."""
        if self.manifest.exists():
            return
        write_json(
            self.manifest,
            {
                "format": VERSION,
                "spec_name": spec.spec.name,
                "spec_version": spec.spec.version,
                "spec_hash": spec.hash,
                "spec": spec.text,
                "cells": cells,
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
            RunError: another process holds it, or the folder cannot be written.
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
        except OSError as error:
            raise RunError(
                f"{self.root}: cannot be written ({error.strerror or error}); mend that, or give another --out"
            ) from None


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
