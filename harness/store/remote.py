"""A store behind a URL, for machines that share no file system.

::

    URL/KEY/manifest.json    written last: names the upload that is the artifact
    URL/KEY/UPLOAD/          its files
    URL/.partial/KEY/        scratch of one being made: whoever goes on with it begins there
    URL/.leases/KEY/         who makes it, or wants to

What has been made or fetched is kept on this machine as well, in a store of its own.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from harness.errors import RunError
from harness.store.artifacts import MANIFEST, Artifact, FolderStore, MakeArtifact, read_manifest, sha256_of
from harness.store.lease import Lease
from harness.store.remote_files import RemoteFiles
from harness.store.scratch_mirror import ScratchMirror

WAIT = 2.0  # seconds between two looks at an artifact that another makes


class RemoteStore:
    """Artifacts under a URL, fetched to ``cache`` when their files are asked for.

    Args:
        beat: seconds between two heartbeats of whoever makes an artifact.
        send: seconds between two copies of its scratch folder.
    """

    def __init__(self, url: str, cache: Path, beat: float = 15.0, send: float = 60.0) -> None:
        self.url, self.local = url, FolderStore(cache)
        self._beat, self._send = beat, send
        self._files = RemoteFiles(url)
        self._known: dict[str, Artifact] = {}  # finished artifacts do not change: each is asked for once

    def check(self) -> None:
        """Check that the place can be written to, with a small file. Raises RunError."""
        probe = f".leases/probe-{secrets.token_hex(4)}"
        self._files.write(probe, b"")
        self._files.remove(probe)
        self.local.check()

    def find(self, key: str) -> Artifact | None:
        """The finished artifact, its files to be fetched when asked for, or None. Raises RunError where its manifest
        cannot be read.
        """
        if key in self._known:
            return self._known[key]
        content = self._files.read(f"{key}/{MANIFEST}")
        if content is None:
            return None
        try:
            manifest = read_manifest(content)
            upload, files = str(manifest["upload"]), dict(manifest["files"])
        except (ValueError, LookupError, TypeError) as error:
            raise RunError(
                f"{self.url}/{key}/{MANIFEST}: damaged manifest ({type(error).__name__}: {error}); delete the folder "
                f"{self.url}/{key} to have it made again"
            ) from None
        self._known[key] = Artifact(key, manifest, lambda: self._fetch(key, upload, files, content))
        return self._known[key]

    def ensure(self, key: str, identity: dict[str, Any], make: MakeArtifact) -> Artifact:
        """The artifact, made and sent if it is missing, by one machine at a time."""
        with Lease(self._files, f".leases/{key}", self._beat, 6 * self._beat) as lease:
            while True:
                if found := self.find(key):
                    return found
                if lease.try_acquire():
                    break
                time.sleep(min(WAIT, self._beat))
            if found := self.find(key):  # while the lease changed hands
                return found

            def make_mirrored(out: Path, scratch: Path) -> dict[str, Any]:
                with ScratchMirror(self._files, f".partial/{key}", scratch, self._send):
                    return make(out, scratch)

            made = self.local.ensure(key, identity, make_mirrored)
            self._upload(key, made)
            self._files.remove(f".partial/{key}")
        found = self.find(key)
        assert found is not None
        return found

    def _upload(self, key: str, made: Artifact) -> None:
        upload = secrets.token_hex(8)
        for name in made.manifest["files"]:
            self._files.put(made.folder / name, f"{key}/{upload}/{name}")
        manifest = json.dumps(made.manifest | {"upload": upload}, indent=1, sort_keys=True).encode()
        self._files.write(f"{key}/{MANIFEST}", manifest)

    def _fetch(self, key: str, upload: str, files: dict[str, str], manifest: bytes) -> Path:
        """The artifact's folder on this machine."""
        folder = self.local.root / key
        locks = self.local.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / key):
            held = self.local.find(key)
            if held is not None and held.manifest.get("files") == files:
                return folder
            partial = self.local.root / ".partial" / f"{key}-fetched"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for name, digest in files.items():
                local = partial / name
                if not local.resolve().is_relative_to(partial.resolve()):
                    raise RunError(f"{self.url}/{key}/{MANIFEST}: names the file {name!r} outside the artifact")
                self._files.get(f"{key}/{upload}/{name}", local)
                if sha256_of(local) != digest:
                    raise RunError(
                        f"{self.url}/{key}/{upload}/{name}: is not what the manifest says (sha256); delete the folder "
                        f"{self.url}/{key} to have it made again"
                    )
            (partial / MANIFEST).write_bytes(manifest)
            shutil.rmtree(folder, ignore_errors=True)
            partial.replace(folder)
        return folder
