"""The site's numbers as files for other programs: standings as CSV and Parquet, curves as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from leaderboard.data.visible_text import cell_text
from leaderboard.site.data_format import CurveJson, SectionJson, SiteJson, StandingJson

_SCOPE = ("task", "threat", "spec_name", "spec_version", "spec_hash", "data_hash", "accounting", "judge", "space")
_ROW = (
    "id",
    "rank",
    "worst_rank",
    "ranked",
    "rank_note",
    "victim",
    "family",
    "n_params",
    "defense",
    "round",
    "near_chance",
    "seeds",
    "examples",
)
_NOT_COUNTED = ("missing_clean", "unparseable_clean", "missing_answers", "unparseable")
_RATE = ("low", "high", "trials", "seeds")
_COST = ("reached", "compute", "low", "high", "attack", "within", "queries", "seeds")
_CURVES = pa.schema(
    [(name, pa.string()) for name in ("task", "threat", "row", "victim", "defense")]
    + [("round", pa.int64()), ("attack", pa.string())]
    + [(name, pa.int64()) for name in ("step", "successes", "trials")]
    + [(name, pa.float64()) for name in ("compute", "queries", "value", "low", "high")]
)


def write_downloads(folder: Path, data: SiteJson) -> None:
    """Both forms of the standings, and the curves as drawn."""
    folder.mkdir()
    flat = [_flat(section, row) for section in data["sections"] for row in section["rows"]]
    rows = pa.Table.from_pylist(flat)
    cells = [{name: cell_text(value) if isinstance(value, str) else value for name, value in r.items()} for r in flat]
    pacsv.write_csv(pa.Table.from_pylist(cells, rows.schema), folder / "standings.csv")
    pq.write_table(rows, folder / "standings.parquet", compression="zstd")
    points = [
        point
        for section in data["sections"]
        for row in section["rows"]
        for curve in row["curves"]
        for point in _points(section, row, curve)
    ]
    pq.write_table(pa.Table.from_pylist(points, _CURVES), folder / "curves.parquet", compression="zstd")


def _flat(section: SectionJson, row: StandingJson) -> dict[str, Any]:
    flat: dict[str, Any] = {name: section.get(name) for name in (*_SCOPE, "target_asr", "rank_unit", "clean_floor")}
    flat |= {name: row.get(name) for name in _ROW}
    flat["missing_cells"] = len(row.get("missing", ()))
    flat["excluded"] = "; ".join(f"{count} {reason}" for reason, count in row.get("excluded", {}).items())
    flat |= {name: row.get(name, 0) for name in _NOT_COUNTED}
    for name, rate in (("answered", row.get("answered")), ("clean", row["clean"]), ("asr", row["asr"])):
        numbers: dict[str, Any] = {} if rate is None else {**rate}
        flat |= {name: numbers.get("value")} | {f"{name}_{part}": numbers.get(part) for part in _RATE}
    answered = row.get("answered")
    flat |= _utility(row) | _under_attack(row)
    corrected: dict[str, Any] = {**(row.get("corrected") or {})}
    flat |= {"corrected_asr": corrected.get("value")}
    flat |= {f"corrected_asr_{part}": corrected.get(part) for part in ("low", "high", "clipped", "note")}
    flat["answered_without_attack"] = None if answered is None else answered["clean"]
    flat["asr_by_direction"] = "; ".join(
        f"{each['name']}: {each['successes']} of {each['trials']}" for each in row.get("directions", ())
    )
    flat["one_direction"] = row.get("one_direction", False)
    flat["strongest_attack"] = None if row["strongest"] is None else row["strongest"]["attack"]
    flat |= {f"breaking_{name}": None if row["breaking"] is None else row["breaking"].get(name) for name in _COST}
    flat |= {"defense_compute": row["defense_compute"], "reference_compute": row["reference_compute"]}
    flat |= {name: row.get(name) for name in ("breaking_of_reference", "preparation_compute", "trained_against")}
    overhead, fit = row["overhead"], row["balance"]
    flat |= {f"overhead_{name}": None if overhead is None else overhead.get(name) for name in ("flops", "ratio")}
    flat |= {f"balance_{name}": None if fit is None else fit.get(name) for name in ("slope", "slope_low", "slope_high")}
    flat["asr_at"] = _asr_at(row)
    return flat | {"marks": ", ".join(row["marks"])}


def _utility(row: StandingJson) -> dict[str, Any]:
    """The share that held, the largest loss of utility, and every share with its interval and its loss."""
    utilities = row.get("utilities", [])
    losses = [loss for utility in utilities if (loss := utility["loss"]) is not None]
    worst: dict[str, Any] = {**max(losses, key=lambda loss: loss["value"])} if losses else {}
    held: dict[str, Any] = {**(row.get("held") or {})}
    flat: dict[str, Any] = {}
    for name, numbers in (("held", held), ("loss_of_utility", worst)):
        flat |= {name: numbers.get("value")} | {f"{name}_{end}": numbers.get(end) for end in ("low", "high")}
    shares = []
    for utility in utilities:
        rate, loss = utility["rate"], utility["loss"]
        if rate is not None:
            shares.append(f"{utility['name']}: {rate['value']:g} ({rate['low']:g} to {rate['high']:g})")
        if rate is not None and loss is not None:
            shares[-1] += f", loses {loss['value']:g} ({loss['low']:g} to {loss['high']:g})"
    return flat | {"utility": "; ".join(shares), "utility_notes": "; ".join(row.get("utility_notes", []))}


def _under_attack(row: StandingJson) -> dict[str, Any]:
    """Clean utility with its interval, and utility under each attack: ``gcg: 0.4 (0.2 to 0.6); …``."""
    found = row.get("under_attack")
    clean: dict[str, Any] = {} if found is None else {**found["clean"]}
    texts = [
        f"{rate['attack']}: {rate['value']:g} ({rate['low']:g} to {rate['high']:g})"
        for rate in ([] if found is None else found["attacked"])
    ]
    flat = {"clean_utility": clean.get("value")} | {f"clean_utility_{end}": clean.get(end) for end in ("low", "high")}
    return flat | {"utility_under_attack": "; ".join(texts)}


def _asr_at(row: StandingJson) -> str:
    """ASR@j of the strongest attack, with intervals: ``1: 0.45 (0.41 to 0.49); …``; "" where answers are greedy."""
    strongest = None if row["strongest"] is None else row["strongest"]["attack"]
    found = [curve["asr_at"] for curve in row["curves"] if curve["attack"] == strongest and "asr_at" in curve]
    return "; ".join(
        f"{asks}: {value:g} ({low:g} to {high:g})"
        for one in found
        for asks, value, low, high in zip(one["asks"], one["value"], one["low"], one["high"], strict=True)
    )


def _points(section: SectionJson, row: StandingJson, curve: CurveJson) -> list[dict[str, Any]]:
    identity: dict[str, Any] = {
        "task": section["task"],
        "threat": section["threat"],
        "row": row["id"],
        "victim": row["victim"],
    }
    identity |= {"defense": row["defense"], "round": row["round"], "attack": curve["attack"]}
    points: dict[str, Any] = {**curve["points"]}
    names = ("step", "successes", "compute", "queries", "value", "low", "high")
    return [
        identity | {"trials": points["trials"]} | {name: points[name][index] for name in names}
        for index in range(len(points["step"]))
    ]
