"""The artifact store: models made once, under a key that hashes everything that can change them.

::

    STORE/KEY/           a finished artifact: its files and manifest.json
    STORE/.partial/KEY/  one being made: out/ becomes the artifact, scratch/ survives a kill
    STORE/.locks/KEY     held while it is made
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from harness.errors import RunError
from harness.store.atomic import write_json

MANIFEST = "manifest.json"


MakeArtifact = Callable[[Path, Path], dict[str, Any]]
"""Called with (folder to fill, scratch folder that survives a kill); returns facts as JSON data."""


@dataclass(frozen=True)
class Artifact:
    """A finished artifact and its manifest (``identity``, ``facts``, ``files``, ``seconds``)."""

    key: str
    manifest: dict[str, Any]
    _fetch: Callable[[], Path] = field(compare=False)

    @cached_property
    def folder(self) -> Path:
        """Its files, on this machine; they may have to be fetched first."""
        return self._fetch()

    @property
    def facts(self) -> dict[str, Any]:
        """What its maker returned: compute, notes."""
        facts: dict[str, Any] = self.manifest["facts"]
        return facts


class ArtifactStore(Protocol):
    """Keeps artifacts, each made once by whoever needs it first: `FolderStore`, `harness.store.remote.RemoteStore`."""

    def check(self) -> None:
        """Check that artifacts can be kept there.

        Raises:
            RunError: they cannot.
        """

    def find(self, key: str) -> Artifact | None:
        """The finished artifact, or None.

        Raises:
            RunError: it is there but its manifest cannot be read.
        """

    def ensure(self, key: str, identity: dict[str, Any], make: MakeArtifact) -> Artifact:
        """The artifact, made if it is missing.

        Args:
            identity: what the key hashes; kept in the manifest.
        """


class FolderStore:
    """Artifacts under one folder; safe for several processes of machines that share a file system with locks."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self) -> None:
        """Make the folder, and leave none that was not there."""
        fresh = not self.root.exists()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if fresh:
                self.root.rmdir()
        except OSError as error:
            raise RunError(
                f"{self.root}: cannot hold models ({error.strerror or error}); fix that, or give another --store"
            ) from None

    def find(self, key: str) -> Artifact | None:
        """The finished artifact, or None. Raises RunError where its manifest cannot be read."""
        folder = self.root / key
        path = folder / MANIFEST
        if not path.exists():
            return None
        try:
            return Artifact(key, read_manifest(path.read_bytes()), lambda: folder)
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path}: damaged manifest ({error}); delete the folder {folder} to have it made again"
            ) from None

    def ensure(self, key: str, identity: dict[str, Any], make: MakeArtifact) -> Artifact:
        """The artifact, made if it is missing, by one process at a time."""
        partial = self.root / ".partial" / key
        found = self.find(key)
        if found and not partial.exists():
            return found
        (self.root / ".locks").mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".locks" / key):
            found = self.find(key)  # another process may have made it while this one waited
            if found:
                shutil.rmtree(partial, ignore_errors=True)  # of one that was killed just after it had made it
                return found
            out, scratch = partial / "out", partial / "scratch"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            scratch.mkdir(exist_ok=True)
            began = time.monotonic()
            try:
                facts = make(out, scratch)
                files = {p.relative_to(out).as_posix(): sha256_of(p) for p in sorted(out.rglob("*")) if p.is_file()}
                manifest = {
                    "key": key,
                    "identity": identity,
                    "facts": facts,
                    "files": files,
                    "seconds": time.monotonic() - began,
                }
                write_json(out / MANIFEST, manifest)
            except BaseException:
                shutil.rmtree(out, ignore_errors=True)  # gives a full disk its space back
                raise
            shutil.rmtree(self.root / key, ignore_errors=True)  # a folder that lost its manifest is no artifact
            out.replace(self.root / key)  # the commit: a rename within one file system
            shutil.rmtree(partial, ignore_errors=True)
        made = self.find(key)
        assert made is not None
        return made


def read_manifest(content: bytes) -> dict[str, Any]:
    """A manifest from the bytes of its file.

    Raises:
        ValueError: they are no manifest.
    """
    manifest = json.loads(content)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("facts"), dict):
        raise ValueError("facts are missing")
    return manifest


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
