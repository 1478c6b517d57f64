"""The static site: a page, its data and the plotting library, in one folder that opens from disk, no network."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.errors import DataError
from harness.records.read import Run
from leaderboard import cells_text, words
from leaderboard.payload import payload
from leaderboard.standings import Standings, standings
from leaderboard.transfer import transfer_matrices

MARKER = ".harness-site.json"  # lists what is ours, so that nothing else is ever overwritten
STATIC = ("site.js", "table.js", "plot.js", "style.css", "vega.LICENSE.txt")


def build_site(runs: Sequence[Run], out: str | Path, target: float | None = None) -> Path:
    """Write the site of ``runs`` to folder ``out``, all or nothing, and return its index page.

    Args:
        runs: run directories, read.
        out: a new or empty folder, or a site that this function made and nobody added to.
        target: attack success rate that counts as broken; each spec's own when None.

    Raises:
        DataError: ``out`` holds something else, cannot be written, or the runs have no finished cell.
    """
    # A link is followed: what is replaced is the folder, not the link.
    folder = Path(out).resolve()
    _check_replaceable(folder)
    tables = standings(runs, target)
    if not tables:
        raise DataError("Not enough data: the runs have no finished cell. See `harness status RUN`.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            new = work / "new"
            _write(new, runs, tables)
            _check_replaceable(folder)  # again: building takes a while
            if folder.exists():
                folder.rename(work / "old")
            new.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error}). Free space, or give another --out.") from None
    return folder / "index.html"


def _write(folder: Path, runs: Sequence[Run], tables: Sequence[Standings]) -> None:
    data = payload(runs, tables, transfer_matrices(runs))
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    assets = folder / "assets"
    assets.mkdir(parents=True)
    (folder / "index.html").write_text(_page(data, text, tables), encoding="utf-8")
    (folder / "data.json").write_text(text + "\n", encoding="utf-8")
    (assets / "vega.js").write_text(_plotting(), encoding="utf-8")
    for name in STATIC:
        content = (resources.files("leaderboard") / "static" / name).read_bytes()
        (assets / name).write_bytes(content)
    ours = sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())
    (folder / MARKER).write_text(json.dumps({"format": 1, "files": ours}) + "\n", encoding="utf-8")


@cache
def _plotting() -> str:
    """The plotting library; putting it together takes a second."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _page(data: dict[str, Any], text: str, tables: Sequence[Standings]) -> str:
    env = Environment(
        loader=PackageLoader("leaderboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals |= {
        "clean_text": cells_text.clean_text,
        "asr_text": cells_text.asr_text,
        "worst_text": cells_text.worst_text,
        "examples_text": cells_text.examples_text,
        "breaking_text": cells_text.breaking_text,
        "defense_text": cells_text.defense_text,
    }
    env.filters |= {"parameters": words.parameters, "signed": words.signed, "percent": words.percent}
    # No tag can open or close inside the data block.
    embedded = Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
    return env.get_template("index.html.j2").render(
        data=data, embedded=embedded, sections=list(zip(data["sections"], tables, strict=True))
    )


def _check_replaceable(folder: Path) -> None:
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
