"""The rows of standings as one CSV for other programs: numbers with intervals, units in the names of the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import DataError
from leaderboard.data.visible_text import cell_text
from leaderboard.site.data_format import SectionJson, StandingJson
from leaderboard.site.downloads.write_export import write_export

LICENSE = "CC0-1.0"
"""Under which results are published: no rights reserved."""
_SCOPE = ("task", "threat", "spec_name", "spec_version", "spec_hash", "data_hash", "judge", "accounting")
_COST = {"compute": "flops_per_example", "low": "flops_per_example_low", "high": "flops_per_example_high"}


def export_rows(sections: Sequence[SectionJson]) -> list[dict[str, Any]]:
    """A flat row per row of the standings. Shares are from 0 to 1, intervals are of 95%, compute is nominal FLOPs; what
    is unknown is empty.
    """
    return [_flat(section, row) for section in sections for row in section["rows"]]


def write_csv(path: Path, sections: Sequence[SectionJson]) -> None:
    """Write the rows, all or nothing. Raises DataError where there is none, or the file cannot be written."""
    rows = export_rows(sections)
    if not rows:
        raise DataError("Nothing to export: no row of standings. Give entries with finished cells.")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_export(path, text.getvalue(), "--csv")


def _flat(section: SectionJson, row: StandingJson) -> dict[str, Any]:
    flat: dict[str, Any] = {name: section.get(name) for name in _SCOPE}
    flat |= {name: row.get(name) for name in ("victim", "family")} | {"parameters": row["n_params"]}
    flat |= {name: row.get(name) for name in ("defense", "round", "seeds", "examples")}
    flat |= {"rank_best": row["rank"], "rank_worst": row.get("worst_rank"), "ranked_rows": row.get("ranked")}
    flat |= {"rank_note": row.get("rank_note", ""), "marks": ", ".join(row["marks"])}
    rates = {"clean_share": row["clean"], "asr_share": row["asr"], "answered_share": row.get("answered")}
    for name, rate in rates.items():
        flat |= _rate(name, rate)
    others = row.get("others")
    claimed = None if others is None else others.get("claimed")
    cost = None if claimed is None else claimed["cost"]
    flat |= _rate("asr_with_claims_share", None if claimed is None else claimed["asr"])
    flat["target_asr_share"] = section["target_asr"]
    breaking: Mapping[str, Any] = {**(row["breaking"] or {})}
    flat["target_reached"] = breaking.get("reached")
    flat |= {f"to_target_{unit}": breaking.get(name) for name, unit in _COST.items()}
    flat |= {"to_target_queries_per_example": breaking.get("queries"), "to_target_attack": breaking.get("attack")}
    flat["to_target_with_claims_declared_flops_per_example"] = None if cost is None else cost["compute"]
    flat["budget_flops_per_example"] = breaking.get("within")
    flat |= {f"{name}_flops": row.get(f"{name}_compute") for name in ("defense", "preparation", "reference")}
    flat["overhead_flops_per_answer"] = None if row["overhead"] is None else row["overhead"].get("flops")
    flat["license"] = LICENSE
    return {name: cell_text(value) if isinstance(value, str) else value for name, value in flat.items()}


def _rate(name: str, rate: Mapping[str, Any] | None) -> dict[str, Any]:
    numbers: Mapping[str, Any] = rate or {}
    columns = {f"{name}_{end}": numbers.get(end) for end in ("low", "high", "successes", "trials")}
    return {name: numbers.get("value")} | columns
