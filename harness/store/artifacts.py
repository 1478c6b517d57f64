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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from harness.errors import RunError
from harness.store.atomic import write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: its folder and its manifest (``identity``, ``facts``, ``files``, ``seconds``)."""

    key: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """What its maker had to say: compute, notes."""
        facts: dict[str, Any] = self.manifest["facts"]
        return facts


class Store:
    """Artifacts under one folder; safe for several processes on one machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: str) -> Artifact | None:
        """The finished artifact, or None.

        Raises:
            RunError: it is there but its manifest cannot be read.
        """
        folder = self.root / key
        path = folder / MANIFEST
        if not path.exists():
            return None
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(manifest, dict) or not isinstance(manifest.get("facts"), dict):
                raise ValueError("facts are missing")
            return Artifact(key, folder, manifest)
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path}: damaged manifest ({error}); delete the folder {folder} to have it made again"
            ) from None

    def ensure(self, key: str, identity: dict[str, Any], make: Callable[[Path, Path], dict[str, Any]]) -> Artifact:
        """The artifact, made if it is missing.

        Args:
            identity: what the key hashes; kept in the manifest.
            make: called with (folder to fill, scratch folder that survives a kill); returns facts as JSON data.
        """
        found = self.find(key)
        if found:
            return found
        (self.root / ".locks").mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".locks" / key):
            found = self.find(key)  # another process may have made it while this one waited
            if found:
                return found
            partial = self.root / ".partial" / key
            out, scratch = partial / "out", partial / "scratch"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            scratch.mkdir(exist_ok=True)
            began = time.monotonic()
            try:
                facts = make(out, scratch)
                files = {str(p.relative_to(out)): _sha256(p) for p in sorted(out.rglob("*")) if p.is_file()}
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


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
