"""A page of published tables, with fitted slopes beside those that were reported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from leaderboard.site.build import publish, write_assets
from leaderboard.site.pages import PLOTTING, environment
from leaderboard.site.study import read_expected, study


def build_study(tables: Sequence[Path], out: Path, expected: Path | None = None, target: float = 0.02) -> Path:
    """Write the page of ``tables`` to folder ``out``, all or nothing, and return its path.

    Args:
        tables: CSV, TSV or Parquet, attack-scaling or offense-defense.
        out: a new or empty folder, or one that this function made.
        expected: JSON file: table name to a list of n_params, slope and intercept, shown beside ours.
        target: attack success rate that counts as broken.

    Raises:
        DataError: a file that cannot be read, or ``out`` holds something else.
    """
    found = [study(path, read_expected(expected), target) for path in tables]
    data = json.dumps(
        {"format": 1, "sections": [each.section for each in found], "fits": {each.name: each.lines for each in found}},
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )

    def write(new: Path) -> None:
        write_assets(new, data)
        (new / "data.json").write_text(data + "\n", encoding="utf-8")
        template = environment().get_template("study.html.j2")
        html = template.render(root="", scripts=[*PLOTTING, "page.js"], studies=found, target=target)
        (new / "index.html").write_text(html, encoding="utf-8")

    return publish(out.resolve(), write)
