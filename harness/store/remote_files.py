"""Files of a remote store: a thin layer over fsspec that turns the errors of every file system into one clear error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec

from harness.errors import RunError, first_line


class RemoteFiles:
    """Files below a URL. Where the place cannot be used every method raises RunError, with the URL and what to fix."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            with self._clear_errors():
                self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise RunError(f"--store {url}: {error}; install the package for such URLs, or give a folder") from None

    def read(self, path: str) -> bytes | None:
        """A file's content, or None where there is none."""
        with self._clear_errors():
            try:
                content: bytes = self._fs.cat_file(self._at(path))
            except FileNotFoundError:
                return None
        return content

    def write(self, path: str, content: bytes) -> None:
        """Write a small file."""
        self._sent(path, lambda at: self._fs.pipe_file(at, content))

    def put(self, local: Path, path: str) -> None:
        """Send a file of this machine to ``path``."""
        self._sent(path, lambda at: self._fs.put_file(str(local), at))

    def get(self, path: str, local: Path) -> None:
        """Fetch the file at ``path`` to this machine."""
        local.parent.mkdir(parents=True, exist_ok=True)
        with self._clear_errors():
            self._fs.get_file(self._at(path), str(local))

    def below(self, path: str) -> list[str]:
        """All files below a folder, as paths in it."""
        with self._clear_errors():
            self._fs.invalidate_cache()
            root = self._at(path)
            found = self._fs.find(root)
        # Some file systems give paths with a leading slash that others leave out.
        return sorted(name.lstrip("/").removeprefix(root.lstrip("/")).lstrip("/") for name in found)

    def remove(self, path: str) -> None:
        """Remove a file or a folder, if it is there."""
        with self._clear_errors():
            with suppress(FileNotFoundError):
                self._fs.rm(self._at(path), recursive=True)
            self._fs.invalidate_cache()

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _sent(self, path: str, send: Callable[[str], object]) -> None:
        with self._clear_errors():
            try:
                send(self._at(path))
            except FileNotFoundError:  # where there are folders, they have to be made
                self._make_folders(path)
                send(self._at(path))

    def _make_folders(self, path: str) -> None:
        """The folders of a file, from the store's own on; never what holds the store: a bucket may be misspelt."""
        parts = path.split("/")[:-1]
        for count in range(len(parts) + 1):
            folder = "/".join([self._root, *parts[:count]])
            if "/" in folder.strip("/"):
                with suppress(FileExistsError):
                    self._fs.mkdir(folder, create_parents=False)

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (RunError, ImportError, ValueError, KeyboardInterrupt):
            raise
        except Exception as error:  # each file system has errors of its own
            raise RunError(
                f"--store {self.url}: {type(error).__name__}: {first_line(error)}; check that it exists and can "
                "be read and written from here"
            ) from error
