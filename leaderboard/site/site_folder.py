"""A folder of pages that opens from disk, written all or nothing, and never over anything but an earlier site."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import vl_convert

from harness.errors import DataError

MARKER = ".harness-site.json"  # lists what is ours, so that nothing else is ever overwritten


def write_site_folder(folder: Path, data: Mapping[str, Any], write_pages: Callable[[Path], None]) -> Path:
    """Write ``data``, scripts, styles and what ``write_pages`` puts there into a new folder, put that in the place of
    ``folder``, and return its index page.

    Raises:
        DataError: ``folder`` holds something else, or cannot be written.
    """
    check_replaceable(folder)
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            new = work / "new"
            new.mkdir()
            _write_assets(new, text)
            (new / "data.json").write_text(text + "\n", encoding="utf-8")
            write_pages(new)
            files = sorted(str(file.relative_to(new)) for file in new.rglob("*") if file.is_file())
            (new / MARKER).write_text(json.dumps({"format": 1, "files": files}) + "\n", encoding="utf-8")
            check_replaceable(folder)  # again: building takes a while
            if folder.exists():
                folder.rename(work / "old")
            new.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror or error}). Free space, or give another --out."
        ) from None
    return folder / "index.html"


def check_replaceable(folder: Path) -> None:
    """Raises `DataError` where ``folder`` holds anything that is not an earlier site."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file. Give a folder for the site.")
    present = {str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir() or file.is_symlink()}
    if not present:
        return
    try:
        written = set(json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]) | {MARKER}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: is not empty and not a leaderboard site. Give a new folder.") from None
    foreign = sorted(present - written)
    if foreign:
        raise DataError(
            f"{folder}: holds {foreign[0]!r}, which is not part of the site. Move it, or give a new folder."
        )


def _write_assets(folder: Path, data: str) -> None:
    """Scripts, styles, the plotting library, and ``data`` (JSON) as a script: a page from disk may fetch nothing."""
    assets = folder / "assets"
    assets.mkdir()
    (assets / "data.js").write_text(_UNPACK.replace("PACKED", _packed(data)), encoding="utf-8")
    (assets / "vega.js").write_text(_plotting_library(), encoding="utf-8")
    for source in (resources.files("leaderboard.site") / "static").iterdir():
        if source.name.endswith((".js", ".css", ".txt")):
            (assets / source.name).write_bytes(source.read_bytes())


# Packed, a site of 200 rows stays small; unpacked by the browser itself. A promise of the data.
_UNPACK = """window.leaderboardData = ((packed) => {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
})("PACKED");
"""


def _packed(text: str) -> str:
    """``text`` as gzip in base64, the same bytes for the same text."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


@cache
def _plotting_library() -> str:
    """Vega-Lite with all that it needs; putting it together takes a second."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
