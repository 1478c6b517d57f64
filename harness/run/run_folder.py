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
from harness.number_format import counted
from harness.records import VERSION
from harness.records.journal import Journal
from harness.run.shards import Shard
from harness.store.atomic import write_json

if TYPE_CHECKING:
    from harness.spec.load import LoadedSpec

MAX_CHARS = 1_000_000  # of a file that is kept next to the spec
JOURNAL = "journal.jsonl"  # of a cell that is not done


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

    def journal(self, key: str) -> Journal:
        """The journal of one cell, opened to go on from and to add to."""
        return Journal(self.cell(key) / JOURNAL)

    def drop_journal(self, key: str) -> None:
        """Remove the journal of a finished cell, if it has one."""
        (self.cell(key) / JOURNAL).unlink(missing_ok=True)

    def cell_status(self, key: str) -> str:
        """``done``, ``skipped``, ``failed``, ``begun`` (a journal is there) or ``missing``."""
        path = self.cell(key) / "cell.json"
        if path.exists():
            try:
                return str(json.loads(path.read_text(encoding="utf-8"))["status"])
            except (OSError, ValueError, KeyError, TypeError):
                return "missing"  # damaged: it will be made again
        return "begun" if (self.cell(key) / JOURNAL).exists() else "missing"

    def tracebacks(self) -> list[str]:
        """Of every cell that failed, its traceback, as far as one could be written."""
        failed = [
            path for path in sorted(self.cells.glob("*/error.txt")) if self.cell_status(path.parent.name) == "failed"
        ]
        return [path.read_text(encoding="utf-8", errors="replace") for path in failed]

    def is_settled(self, key: str) -> bool:
        """Whether nothing is left to do for a cell: it is measured, or it has been found that it cannot be."""
        return self.cell_status(key) in ("done", "skipped")

    def check(self, spec: LoadedSpec, shard: Shard | None = None) -> None:
        """Check that the run here, if there is one, is of this spec, and the same shard of it (or the whole).

        Raises:
            RunError: it is of another, or its manifest is damaged.
        """
        if not self.manifest.exists():
            return
        recorded = self.read_manifest()
        if recorded["spec_hash"] != spec.hash:
            raise RunError(
                f"{self.root}: holds a run of spec {recorded['spec_name']} {recorded['spec_version']} "
                f"(hash {recorded['spec_hash'][:12]}), not of this one (hash {spec.hash[:12]}); give another --out, "
                f"with --store {self.artifacts} to reuse its trained models"
            )
        found = self.shard(recorded)
        if found != shard:
            mend = f"give --shard {found.index}/{found.of}" if found else "leave --shard out"
            raise RunError(
                f"{self.root}: holds {found or 'a whole run'} of this spec, not {shard or 'a whole run'}; {mend} to "
                "continue it, or give another --out"
            )

    def shard(self, recorded: dict[str, Any]) -> Shard | None:
        """Which shard a manifest is of; None of a whole run.

        Raises:
            RunError: it does not say that in the right form.
        """
        match recorded.get("shard"):
            case None:
                return None
            case [int(index), int(of)] if 1 <= index <= of:
                return Shard(index, of)
        raise RunError(
            f"{self.manifest}: damaged (shard is not [i, n]); restore it, or run the shard in another folder"
        )

    def check_cells(self, keys: Collection[str], digest: str | None = None) -> None:
        """Check that every finished cell here is one of the run's: records of two states of the data must not mix.

        Args:
            digest: of a shard, that of all cells of the spec; with another one the run would be cut otherwise.

        Raises:
            RunError: one is not.
        """
        there = [path.name for path in self.cells.iterdir()] if self.cells.is_dir() else []
        strange = [key for key in there if key not in keys and self.cell_status(key) == "done"]
        if digest and self.manifest.exists():
            if self.read_manifest().get("cells_digest") != digest:
                strange = [key for key in there if self.is_settled(key)]
            elif strange:
                cells = counted(len(strange), "finished cell")
                raise RunError(
                    f"{self.root}: holds {cells} that would be another shard's now (e.g. "
                    f"{self.cell(strange[0])}): another version estimates the cost of cells differently; use the "
                    f"version that began the run, or `harness merge --partial` all shards and do the rest there"
                )
        if strange:
            cells = counted(len(strange), "finished cell")
            raise RunError(
                f"{self.root}: holds {cells} of other data or another model than the spec finds "
                f"now (e.g. {self.cell(strange[0])}); put the old data back, give another --out, or delete them"
            )

    def begin(self, spec: LoadedSpec, harness_version: str, cells: dict[str, Any]) -> None:
        """Write run.json unless it is there and says the same of the cells.

        Args:
            cells: what it says of them: ``cells``, how many this run has to do, ``planned``, all cells of the spec,
                ``cells_digest``, of their keys, and of a shard ``shard`` and ``cells_of_spec``.
        """
        if self.manifest.exists():
            recorded = self.read_manifest()
            # The data had not been found when the run began, or were others.
            if "cells_digest" in cells and recorded | cells != recorded:
                write_json(self.manifest, recorded | cells)
            return
        write_json(
            self.manifest,
            {
                "format": VERSION,
                "spec_name": spec.spec.name,
                "spec_version": spec.spec.version,
                "spec_hash": spec.hash,
                "spec": spec.text,
                "harness_version": harness_version,
                "created": now(),
            }
            | ({"plain_folders": list(spec.plain_folders)} if spec.plain_folders else {})
            | ({"spec_files": beside} if (beside := files_beside(spec)) else {})
            | cells,
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
    def locked(self, option: str = "--out") -> Iterator[None]:
        """Hold the run for writing.

        Args:
            option: that named the folder, for the message.

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
                f"{self.root}: another process is running here; wait for it, or give another {option}"
            ) from None
        except OSError as error:
            raise RunError(
                f"{self.root}: cannot be written ({error.strerror or error}); fix that, or give another {option}"
            ) from None


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def files_beside(spec: LoadedSpec) -> dict[str, str]:
    """Small files that a spec's victims name, such as chat templates, without which nobody can repeat a run: their
    texts by path from the spec's folder. What lies outside it, is long or cannot be read is left out.
    """
    folder = spec.path.parent.resolve()
    found: dict[str, str] = {}
    for cell in spec.cells:
        for file in cell.victim.plugin.files_beside_spec():
            place = file.resolve()
            if not place.is_relative_to(folder):
                continue
            try:
                text = place.read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue  # whoever opens the victim says what is wrong with it
            if len(text) <= MAX_CHARS:
                found[place.relative_to(folder).as_posix()] = text
    return found
