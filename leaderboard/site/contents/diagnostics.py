"""What records tell of a victim and defense beyond success and compute, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.records.cell_manifest import CellRecord, DefenseFacts
from leaderboard.site.texts.standing_text import counted
from leaderboard.standings.standing import Standing
from leaderboard.table_numbers import UNKNOWN_COMPUTE, percent, plain_number, scientific

LabelledText = tuple[str, str]
"""What a line is about, and what it says."""
MAX_LISTED = 12  # numbers of a list


def diagnostics(rows: Sequence[Standing]) -> list[tuple[str, list[str]]]:
    """Label, and a text for each of ``rows``, the rounds of a defense. Only what is there."""
    columns = [dict(_diagnostics_of_row(row)) for row in rows]
    labels = dict.fromkeys(label for column in columns for label in column)
    return [(label, [column.get(label, "–") for column in columns]) for label in labels]


def _diagnostics_of_row(row: Standing) -> Iterator[LabelledText]:
    records = {cell.record.seed: cell.record for cell in row.cells}
    for seed, record in sorted(records.items()):
        facts = record.defense_facts
        suffix = f", seed {seed}" if len(records) > 1 else ""
        if facts is not None and facts.against and seed == min(records):
            against = [facts.against.get("attack"), facts.against.get("threat")]
            yield "trained against", " · ".join(filter(None, against))
        for label, text in flattened(facts.notes if facts is not None else {}):
            yield f"{label}{suffix}", text
        for label, text in _defense_diagnostics(facts):
            yield f"{label}{suffix}", text
        of_seed = [cell for cell in row.cells if cell.record.seed == seed]
        for cell in sorted(of_seed, key=lambda cell: cell.record.attack.label):
            for label, text in _attack_diagnostics(cell.record):
                yield f"{label}{suffix}", text
        if record.n_clean_missing:
            yield f"clean prompts without an answer{suffix}", f"{record.n_clean_missing} of {record.n_clean}"
        if record.n_clean_unparseable:
            yield f"clean answers that could not be judged{suffix}", f"{record.n_clean_unparseable} of {record.n_clean}"
        if record.n_too_long:
            yield f"clean examples too long for the context{suffix}", f"{record.n_too_long} of {record.n_clean}"
        if record.n_truncated:
            yield f"clean examples cut to fit{suffix}", str(record.n_truncated)
    for reason, count in row.failures.items():
        yield f"strings not judged: {reason}", counted(count, "step")
    if row.missing_answers:
        yield "answers missing (cut off, empty or failed)", f"{row.missing_answers} of {row.asked}"
    if row.unparseable:
        yield "answers that could not be judged", str(row.unparseable)


def _defense_diagnostics(facts: DefenseFacts | None) -> Iterator[LabelledText]:
    """What records say of guards, refusals and certificates."""
    if facts is None:
        return
    for part in facts.parts:
        if part.reached:
            yield f"{part.defense.label}: clean prompts refused", f"{part.blocked} of {part.reached}"
        if part.unread:
            yield f"{part.defense.label}: clean prompts about which its model said nothing readable", str(part.unread)
    if facts.benign_clean:
        yield "over-refusal of clean prompts", f"{facts.over_refused} of {facts.benign_clean}"
    if facts.certificate is not None:
        certified = sum(radius >= 0 for radius in facts.certificate.radii)
        yield "clean prompts with a certified answer", f"{certified} of {len(facts.certificate.radii)}"


def _attack_diagnostics(record: CellRecord) -> Iterator[LabelledText]:
    """Calibration, worst-case accuracy and how far activations move, under the cell's own attack."""
    facts = record.defense_facts
    measured = {} if facts is None else facts.diagnostics
    ece, attack = measured.get("ece") or {}, record.attack.label
    if ece.get("clean") is not None:
        yield "calibration error (ECE), clean", plain_number(ece["clean"])
    if ece.get("attacked") is not None:
        yield f"calibration error (ECE) under {attack}", plain_number(ece["attacked"])
    if measured.get("worst_case"):
        last = measured["worst_case"][-1]
        yield f"accuracy left after {counted(last['step'], 'step')} of {attack}", percent(last["accuracy"])
    if measured.get("shift"):
        layers = (f"{layer['layer']}: {percent(layer['moved'])}" for layer in measured["shift"])
        yield f"activations moved by {attack}, per layer (of their norm)", ", ".join(layers)
    if (spent := measured.get("compute", {}).get("nominal")) != 0 and measured:
        amount = UNKNOWN_COMPUTE.lower() if spent is None else f"{scientific(spent)} FLOPs"
        yield f"compute of these diagnostics under {attack}, part of no other", amount


def flattened(value: Any, label: str = "") -> list[LabelledText]:
    """Nested JSON data as lines of label and text."""
    if isinstance(value, Mapping):
        labels = {key: f"{label} {key}".strip().replace("_", " ") for key in value}
        return [line for key, inner in value.items() for line in flattened(inner, labels[key])]
    if isinstance(value, list):
        listed = ", ".join(plain_number(item) for item in value[:MAX_LISTED])
        return [(label, listed + (" …" if len(value) > MAX_LISTED else ""))]
    return [(label, plain_number(value))]
