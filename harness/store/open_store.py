"""Opens a store by its place: a folder, or a URL of any file system that fsspec knows."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness.store.artifacts import ArtifactStore, FolderStore


def is_url(place: str | Path) -> bool:
    """Whether a place is a URL; ``file://`` ones are folders written otherwise."""
    return isinstance(place, str) and "://" in place and not place.startswith("file://")


def open_store(place: str | Path) -> ArtifactStore:
    """The store there; nothing is made or asked for yet.

    Raises:
        RunError: nothing is installed here that knows such URLs.
    """
    if not is_url(place):
        return FolderStore(Path(str(place).removeprefix("file://")))
    from harness.store.remote import RemoteStore

    url = str(place).rstrip("/")
    return RemoteStore(url, cache_folder() / "artifacts" / hashlib.sha256(url.encode()).hexdigest()[:16])


def cache_folder() -> Path:
    """Where this machine keeps what it has fetched: ``HARNESS_CACHE``, or ``harness`` in the user's cache folder."""
    named = os.environ.get("HARNESS_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harness"
