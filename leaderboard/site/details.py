"""What stands on the page of one victim and defense, and on that of an attack, beyond the data of the plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.records.cell import CellRecord, DefenseFacts
from leaderboard.data.attack_strings import FoundString, found_strings
from leaderboard.number_format import UNKNOWN_COMPUTE, amount, multiple, percent, plain_number, scientific
from leaderboard.site.cell_text import breaking_pair, counted, rate_pair
from leaderboard.site.page_ids import attack_id, entry_id, row_id
from leaderboard.site.provenance import artifacts, plugins, versions
from leaderboard.standings.standings import Standing, Standings


@dataclass(frozen=True)
class DetailEntry:
    """A victim and defense in one table.

    Attributes:
        id: names its page.
        table: where it stands.
        rows: one, or one per round, by round.
    """

    id: str
    table: Standings
    rows: tuple[Standing, ...]

    @property
    def last(self) -> Standing:
        """The row of the last round."""
        return self.rows[-1]

    @property
    def records(self) -> list[CellRecord]:
        """Behind all rows."""
        return [cell.record for row in self.rows for cell in row.cells]


def entries(section: str, table: Standings) -> list[DetailEntry]:
    """The victims and defenses of a table, in its order."""
    found: dict[str, list[Standing]] = {}
    for row in table.rows:
        found.setdefault(entry_id(section, row), []).append(row)
    return [
        DetailEntry(name, table, tuple(sorted(rows, key=lambda row: row.round or 0))) for name, rows in found.items()
    ]


def entry_page(entry: DetailEntry) -> dict[str, Any]:
    """Everything that the template of an entry shows besides the standings' own cells."""
    records = entry.records
    cells = list(entry.last.cells)
    return {
        "ids": [row_id(entry.id, row) for row in entry.rows],
        "attacks": [attack_line(row, curve.attack) for row in entry.rows for curve in row.curves],
        "costs": costs(entry),
        "diagnostics": diagnostics(entry),
        "strings": strings(found_strings(cells)),
        "plugins": plugins(records),
        "versions": versions(records),
        "artifacts": artifacts(records),
        "keys": sorted({record.key for record in records}),
    }


def attack_line(row: Standing, attack: str) -> dict[str, Any]:
    """One attack against one row: texts of its cells."""
    curve = next(curve for curve in row.curves if curve.attack == attack)
    line: dict[str, Any] = {"attack": attack, "page": attack_id(attack), "round": row.round, "seeds": curve.seeds}
    line |= {"elsewhere": attack in row.replayed, "asr": ("–", "nothing was attacked"), "spent": ("–", "")}
    if curve.points:
        last = curve.points[-1]
        spent = UNKNOWN_COMPUTE.lower() if last.compute is None else f"{scientific(last.compute)} FLOPs"
        line |= {"asr": rate_pair(last.asr), "spent": (spent, f"{amount(last.queries)} queries, {last.step} steps")}
        line |= {"value": last.asr.value, "compute": last.compute, "trials": last.asr.trials}
    found = row.each.get(attack)
    line["breaking"] = ("–", "") if found is None else breaking_pair(found)
    return line


def costs(entry: DetailEntry) -> list[tuple[str, str]]:
    """What was spent on the last round, mean over seeds: label and text."""
    row = entry.last
    seeds = {cell.record.seed: cell.record for cell in row.cells}
    out = []
    for label, part in (("Search of the defense", "search"), ("Training of the defense", "training")):
        amounts = [getattr(r.defense_facts, part) for r in seeds.values() if r.defense_facts is not None]
        if not amounts or not any(amount.nominal is None or amount.nominal for amount in amounts):
            continue
        out.append((label, _mean_flops([amount.nominal for amount in amounts])))
    if row.overhead is not None:
        more = "" if row.overhead.ratio is None else f", {multiple(row.overhead.ratio)} an undefended answer"
        out.append(("Defense, for each answer", f"{scientific(row.overhead.flops)} FLOPs{more}"))
    facts = [r.victim_facts for r in seeds.values() if r.victim_facts is not None]
    out.append(("Preparation of the victim", _mean_flops([f.preparation.nominal for f in facts])))
    reference = UNKNOWN_COMPUTE.lower()
    if row.reference_compute is not None:
        reference = f"{scientific(row.reference_compute)} FLOPs"
    out.append(("Reference compute", reference))
    return out


def _mean_flops(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not values or len(known) < len(values):
        return UNKNOWN_COMPUTE.lower()
    return f"{scientific(sum(known) / len(known))} FLOPs"


def diagnostics(entry: DetailEntry) -> list[tuple[str, list[str]]]:
    """What records tell beyond their numbers: label, and a text per round. Only what is there."""
    columns = [dict(_told(row)) for row in entry.rows]
    labels = dict.fromkeys(label for column in columns for label in column)
    return [(label, [column.get(label, "–") for column in columns]) for label in labels]


def _told(row: Standing) -> Iterator[tuple[str, str]]:
    records = {cell.record.seed: cell.record for cell in row.cells}
    for seed, record in sorted(records.items()):
        found = record.defense_facts
        of = f", seed {seed}" if len(records) > 1 else ""
        if found is not None and found.against and seed == min(records):
            named = [found.against.get("attack"), found.against.get("threat")]
            yield "trained against", " · ".join(filter(None, named))
        for label, text in flat(found.notes if found is not None else {}):
            yield f"{label}{of}", text
        for label, text in _of_defense(found):
            yield f"{label}{of}", text
        for cell in sorted((c for c in row.cells if c.record.seed == seed), key=lambda c: c.record.attack.label):
            for label, text in _diagnosed(cell.record):
                yield f"{label}{of}", text
        if record.n_truncated:
            yield f"clean examples cut to fit{of}", str(record.n_truncated)
    for why, count in row.failures.items():
        yield f"strings not judged: {why}", counted(count, "step")
    if row.unparseable:
        yield "answers that could not be judged", str(row.unparseable)


def _of_defense(found: DefenseFacts | None) -> Iterator[tuple[str, str]]:
    """What records say of guards, refusals and certificates."""
    if found is None:
        return
    for part in found.parts:
        if part.reached:
            yield f"{part.defense.label}: clean prompts refused", f"{part.blocked} of {part.reached}"
    if found.benign_clean:
        yield "over-refusal of clean prompts", f"{found.over_refused} of {found.benign_clean}"
    if found.certificate is not None:
        certified = sum(radius >= 0 for radius in found.certificate.radii)
        yield "clean prompts with a certified answer", f"{certified} of {len(found.certificate.radii)}"


def _diagnosed(record: CellRecord) -> Iterator[tuple[str, str]]:
    """Calibration, worst-case accuracy and how far activations move, under the cell's own attack."""
    facts = record.defense_facts
    told = {} if facts is None else facts.diagnostics
    ece, attack = told.get("ece") or {}, record.attack.label
    if ece.get("clean") is not None:
        yield "calibration error (ECE), clean", plain_number(ece["clean"])
    if ece.get("attacked") is not None:
        yield f"calibration error (ECE) under {attack}", plain_number(ece["attacked"])
    if told.get("worst_case"):
        left = told["worst_case"][-1]
        yield f"accuracy left after {left['step']} steps of {attack}", percent(left["accuracy"])
    if told.get("shift"):
        moved = (f"{each['layer']}: {percent(each['moved'])}" for each in told["shift"])
        yield f"activations moved by {attack}, per layer (of their norm)", ", ".join(moved)


def flat(notes: Any, label: str = "") -> list[tuple[str, str]]:
    """Nested JSON data as lines of label and text."""
    if isinstance(notes, Mapping):
        names = {key: f"{label} {key}".strip().replace("_", " ") for key in notes}
        return [line for key, value in notes.items() for line in flat(value, names[key])]
    if isinstance(notes, list):
        return [(label, ", ".join(plain_number(value) for value in notes[:12]) + (" …" if len(notes) > 12 else ""))]
    return [(label, plain_number(notes))]


def strings(found: Sequence[FoundString]) -> list[tuple[str, list[FoundString]]]:
    """By attack."""
    out: dict[str, list[FoundString]] = {}
    for each in found:
        out.setdefault(each.attack, []).append(each)
    return list(out.items())
