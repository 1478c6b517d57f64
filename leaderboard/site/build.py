"""The static site: pages, their data and the plotting library, in one folder that opens from disk, no network."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import vl_convert

from harness.errors import DataError
from harness.records.read import Run
from leaderboard.site.downloads import write_downloads
from leaderboard.site.pages import Site, write_pages
from leaderboard.site.payload import payload
from leaderboard.standings.standings import standings
from leaderboard.standings.transfer import transfer_matrices

MARKER = ".harness-site.json"  # lists what is ours, so that nothing else is ever overwritten


def build_site(runs: Sequence[Run], out: str | Path, target: float | None = None, processes: int = 1) -> Path:
    """Write the site of ``runs`` to folder ``out``, all or nothing, and return its index page.

    Args:
        runs: run directories, read.
        out: a new or empty folder, or a site that this function made and nobody added to.
        target: attack success rate that counts as broken; each spec's own when None.
        processes: how many may share the work of many cells; above 1, the calling script must be one that can be
            imported (``if __name__ == "__main__":``).

    Raises:
        DataError: ``out`` holds something else, cannot be written, or the runs have no finished cell.
    """
    # A link is followed: what is replaced is the folder, not the link.
    folder = Path(out).resolve()
    check_replaceable(folder)
    tables = standings(runs, target, processes)
    if not tables:
        raise DataError("Not enough data: the runs have no finished cell. See `harness status RUN`.")
    site = Site(runs, tables, payload(runs, tables, transfer_matrices(runs)))

    def write(new: Path) -> None:
        text = json.dumps(site.data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        write_assets(new, text)
        (new / "data.json").write_text(text + "\n", encoding="utf-8")
        write_downloads(new / "downloads", site.data)
        write_pages(new, site)

    return publish(folder, write)


def publish(folder: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a new folder, put it in the place of ``folder``, and return its index page. Raises `DataError`
    where ``folder`` holds something else, or cannot be written.
    """
    check_replaceable(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            new = work / "new"
            new.mkdir()
            write(new)
            ours = sorted(str(f.relative_to(new)) for f in new.rglob("*") if f.is_file())
            (new / MARKER).write_text(json.dumps({"format": 1, "files": ours}) + "\n", encoding="utf-8")
            check_replaceable(folder)  # again: building takes a while
            if folder.exists():
                folder.rename(work / "old")
            new.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error}). Free space, or give another --out.") from None
    return folder / "index.html"


def write_assets(folder: Path, data: str) -> None:
    """Scripts, styles, the plotting library, and ``data`` (JSON) as a script: a page from disk may fetch nothing."""
    assets = folder / "assets"
    assets.mkdir()
    (assets / "data.js").write_text(UNPACK.replace("PACKED", packed(data)), encoding="utf-8")
    (assets / "vega.js").write_text(plotting_library(), encoding="utf-8")
    for source in (resources.files("leaderboard.site") / "static").iterdir():
        if source.name.endswith((".js", ".css", ".txt")):
            (assets / source.name).write_bytes(source.read_bytes())


# Packed, a site of 200 rows stays small; unpacked by the browser itself. A promise of the data.
UNPACK = """window.leaderboardData = ((packed) => {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
})("PACKED");
"""


def packed(text: str) -> str:
    """``text`` as gzip in base64, the same bytes for the same text."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


@cache
def plotting_library() -> str:
    """Vega-Lite with all that it needs; putting it together takes a second."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def check_replaceable(folder: Path) -> None:
    """Raises `DataError` where ``folder`` holds anything that is not an earlier site."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file. Give a folder for the site.")
    found = {str(f.relative_to(folder)) for f in folder.rglob("*") if not f.is_dir() or f.is_symlink()}
    if not found:
        return
    try:
        ours = set(json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]) | {MARKER}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: is not empty and not a leaderboard site. Give a new folder.") from None
    strange = sorted(found - ours)
    if strange:
        raise DataError(
            f"{folder}: holds {strange[0]!r}, which is not part of the site. Move it, or give a new folder."
        )
