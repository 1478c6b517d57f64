"""What `mkdocs build` does beyond Markdown: links out of docs/, pages of the root, dark pictures, the leaderboard."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ENTRIES = ROOT / "leaderboard" / "entries"
BESIDE = {f"--{name}": ROOT / "leaderboard" / name for name in ("verified", "claims")}
BESIDE["--errata"] = ROOT / "leaderboard" / "errata.yaml"
FROM_ROOT = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
MARKER = "<!-- entries -->"  # in docs/results.md
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")

log = logging.getLogger("mkdocs.hooks.site")


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages of the root that readers look for, such as the changelog."""
    for name, page in FROM_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Resolve links to files outside docs/, and show each picture in the reader's colours."""
    source = page.file.src_uri
    home = ROOT if source in FROM_ROOT.values() else (DOCS / source).parent

    def linked(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = Path(os.path.normpath(home / target))
        if not path.exists():
            log.warning(f"{source} links to {target}, which is not there")
        if path.is_dir() and (path / "README.md").exists() and path.is_relative_to(DOCS):
            path = path / "README.md"
        inside = path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else FROM_ROOT.get(path.name)
        if path == ROOT / "README.md":
            inside = "README.md"
        if inside is not None and not path.is_dir():
            dark = _dark(text, path, source)
            anchor = "#only-light" if dark else anchor
            return f"{text}({os.path.relpath(inside, Path(source).parent)}{anchor})" + dark
        if not config.repo_url:
            return text[1:-1]
        return f"{text}({config.repo_url.rstrip('/')}/blob/main/{path.relative_to(ROOT).as_posix()}{anchor})"

    return _outside_code(markdown, lambda prose: LINK.sub(linked, prose)).replace(MARKER, _table_of_entries())


def _table_of_entries() -> str:
    """The link to the leaderboard, and a row for each entry."""
    entries = _entries()
    if not entries:
        return "There is no entry yet."
    lines = [
        # HTML, since mkdocs does not know of a page that is built after its own.
        '<a href="leaderboard/index.html" target="_self"><strong>Open the leaderboard</strong></a>',
        "",
        "| spec | version | cells | attack strings |",
        "|---|---|---:|---:|",
    ]
    for path in entries:
        held = json.loads(path.read_text(encoding="utf-8"))
        run, rows = held["run"], held["rows"]
        lines.append(f"| {run['spec_name']} | {run['spec_version']} | {len(held['cells']):,} | {rows:,} |")
    return "\n".join(lines)


def _entries() -> list[Path]:
    return sorted(ENTRIES.glob("*.json")) if ENTRIES.is_dir() else []


def _dark(text: str, path: Path, source: str) -> str:
    """The same picture for dark pages, if there is one beside it; "" otherwise."""
    if not text.startswith("!") or not (dark := path.with_name(f"{path.stem}_dark{path.suffix}")).exists():
        return ""
    return f"\n{text}({os.path.relpath(dark.relative_to(DOCS), Path(source).parent)}#only-dark)"


def _outside_code(markdown: str, change: Any) -> str:
    """Apply `change` to what is not in a code block or between backquotes."""
    parts = re.split(r"(^```.*?^```|`[^`\n]*`(?!\]))", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


def on_post_build(*, config: Any) -> None:
    """Build the leaderboard of all entries into the site."""
    if not _entries():
        return
    out = Path(config.site_dir) / "leaderboard"
    command = [sys.executable, "-m", "harness", "leaderboard", "build", "--entries", str(ENTRIES), "--out", str(out)]
    for option, path in BESIDE.items():
        command += [option, str(path)] if path.exists() else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        log.error(f"the leaderboard was not built: {(done.stderr or done.stdout).strip()}")
