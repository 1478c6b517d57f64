"""The site's numbers as files for other programs: standings as CSV and Parquet, curves as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

SCOPE = ("task", "threat", "spec_name", "spec_version", "spec_hash", "data_hash", "accounting", "judge", "space")
ROW = ("id", "rank", "victim", "family", "n_params", "defense", "round", "seeds", "examples")
RATES = ("clean", "asr")
BREAKING = ("reached", "compute", "low", "high", "attack", "within", "queries")


def write_downloads(folder: Path, data: dict[str, Any]) -> None:
    """Both forms of the standings, and the curves as drawn, from the payload ``data``."""
    folder.mkdir()
    rows = pa.Table.from_pylist([_flat(section, row) for section in data["sections"] for row in section["rows"]])
    pacsv.write_csv(rows, folder / "standings.csv")
    pq.write_table(rows, folder / "standings.parquet", compression="zstd")
    points = [
        point
        for section in data["sections"]
        for row in section["rows"]
        for curve in row["curves"]
        for point in _points(section, row, curve)
    ]
    schema = pa.schema([(name, pa.string()) for name in ("task", "threat", "row", "victim", "defense")])
    schema = schema.append(pa.field("round", pa.int64())).append(pa.field("attack", pa.string()))
    for name in ("step", "successes", "trials"):
        schema = schema.append(pa.field(name, pa.int64()))
    for name in ("compute", "queries", "value", "low", "high"):
        schema = schema.append(pa.field(name, pa.float64()))
    pq.write_table(pa.Table.from_pylist(points, schema), folder / "curves.parquet", compression="zstd")


def _flat(section: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    out = {name: section[name] for name in (*SCOPE, "target_asr")} | {name: row[name] for name in ROW}
    for name in RATES:
        for part in ("value", "low", "high"):
            out[f"{name}_{part}" if part != "value" else name] = None if row[name] is None else row[name][part]
    out["strongest_attack"] = None if row["strongest"] is None else row["strongest"]["attack"]
    for name in BREAKING:
        out[f"breaking_{name}"] = None if row["breaking"] is None else row["breaking"][name]
    out |= {"defense_compute": row["defense_compute"], "reference_compute": row["reference_compute"]}
    overhead, slope = row["overhead"] or {}, row["balance"] or {}
    out |= {"overhead_flops": overhead.get("flops"), "overhead_ratio": overhead.get("ratio")}
    out |= {f"balance_{name}": slope.get(name) for name in ("slope", "slope_low", "slope_high")}
    return out | {"marks": ", ".join(row["marks"])}


def _points(section: dict[str, Any], row: dict[str, Any], curve: dict[str, Any]) -> list[dict[str, Any]]:
    of = {"task": section["task"], "threat": section["threat"], "row": row["id"], "victim": row["victim"]}
    of |= {"defense": row["defense"], "round": row["round"], "attack": curve["attack"]}
    columns = curve["points"]
    names = ("step", "successes", "compute", "queries", "value", "low", "high")
    return [
        of | {"trials": columns["trials"]} | {name: columns[name][at] for name in names}
        for at in range(len(columns["step"]))
    ]
