"""Which cells may stand in one table: those of one task, threat, spec, data, accounting, judge, stopping rule and space
that the attacks change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from harness.errors import DataError
from harness.records.cell_manifest import CellRecord
from harness.records.compare import difference
from harness.records.exclusion import CleanMeasure, clean_measure
from harness.records.planned import PlannedCell
from harness.records.read import Cell, Run
from leaderboard.data.distinct_labels import with_distinct_labels

LATENT_NOTICE = (
    "Latent space: not comparable with text attacks. These attacks change activations; no text has this effect."
)


@dataclass(frozen=True, order=True)
class Scope:
    """What all cells of a section have in common."""

    task: str
    threat: str
    spec_name: str
    spec_version: str
    spec_hash: str
    data_hash: str
    accounting: str
    judge: str
    stop_on_success: bool
    target_asr: float
    space: str

    @property
    def notice(self) -> str:
        """What the reader must know of the attacks: `LATENT_NOTICE`, or ""."""
        return LATENT_NOTICE if self.space == "latent" else ""

    @property
    def latent_last(self) -> tuple[bool, Scope]:
        """Sorts scopes, those of latent attacks last."""
        return self.space == "latent", self


_FIELD_NAMES = {
    "spec_name": "spec",
    "spec_version": "spec version",
    "spec_hash": "spec hash",
    "data_hash": "data hash",
    "accounting": "accounting convention",
    "judge": "judge",
    "stop_on_success": "stopping rule",
    "target_asr": "target ASR",
    "space": "what the attacks change (text or activations)",
}


@dataclass(frozen=True)
class Section:
    """Cells that may be compared with each other.

    Attributes:
        scope: what they have in common.
        cells: finished cells.
        failed: cells that raised.
        missing: cells that the spec asks for and that have no numbers, the failed ones among them; as far as runs list
            what they planned (see `harness.records.read.Run.planned`).
        separation: why another section has the same task and threat model; "" when none has.
    """

    scope: Scope
    cells: tuple[Cell, ...]
    failed: tuple[CellRecord, ...]
    missing: tuple[PlannedCell, ...]
    separation: str

    @property
    def clean_measure(self) -> CleanMeasure:
        """What the share of clean examples that the victim gets right is a share of; where prompts to refuse and
        prompts to answer are mixed, of those that are right.
        """
        if self._is_mixed:
            return "clean accuracy"
        return clean_measure(labels=self.answered_with_labels, benign=self.asks_benign)

    @property
    def answered_with_labels(self) -> bool:
        """Whether its task is answered with labels."""
        return all(record.task_kind == "labels" for record in self._records)

    @property
    def asks_benign(self) -> bool:
        """Whether all its prompts are ones that a good victim answers. A cell alone may not tell: of a mixed task,
        perhaps only harmless ones were left to be attacked.
        """
        if self._is_mixed:
            return False
        if attacked := [record for record in self._records if record.n_attacked]:
            return all(record.benign for record in attacked)
        return any(_benign_clean(record) == _told_clean(record) > 0 for record in self._records)

    @property
    def _is_mixed(self) -> bool:
        """Whether some clean prompts are ones that a good victim answers, and others not."""
        return any(0 < (_benign_clean(record) or 0) < _told_clean(record) for record in self._records)

    @property
    def shows_utility(self) -> bool:
        """Whether its clean share is one of answers: of labels, or to harmless prompts alone."""
        return self.answered_with_labels or self.asks_benign

    @property
    def clean_floor(self) -> float:
        """Least share of clean examples with which the spec has a row ranked."""
        return max(record.clean_floor for record in self._records)

    @property
    def utility_tasks(self) -> tuple[str, ...]:
        """Labels of the tasks that the spec names as showing utility."""
        named = {task for record in self._records for task in (record.utility.tasks if record.utility else ())}
        return tuple(sorted(named))

    @property
    def max_loss(self) -> float | None:
        """Most utility that the spec lets a defense lose and still be ranked; None where it sets no bound."""
        bounds = [record.utility.max_loss for record in self._records if record.utility is not None]
        return min((bound for bound in bounds if bound is not None), default=None)

    @property
    def _records(self) -> list[CellRecord]:
        return [cell.record for cell in self.cells] or list(self.failed)


def sections(runs: Sequence[Run]) -> list[Section]:
    """The cells of all runs, by scope, latent ones last. A cell that several runs hold counts once. What runs call
    alike and is not the same gets labels that differ.

    Raises:
        DataError: two runs tell different things of one cell.
    """
    distinct = _distinct_cells(runs)
    done = dict(zip(distinct, with_distinct_labels(list(distinct.values())), strict=True))
    keys_done = {cell.record.key for cell in done.values()}
    failed = {record.key: record for run in reversed(runs) for record in run.failed if record.key not in keys_done}
    missing = _missing(runs)
    known_scopes = {(_task_threat_spec(cell.record), _scope(cell.record)) for cell in done.values()}

    def scope_of_failed(record: CellRecord) -> Scope:
        # A cell whose task could not be loaded has no data hash: list it with others of its task, threat and spec.
        same = _task_threat_spec(record)
        candidates = [] if record.data_hash else [scope for key, scope in known_scopes if key == same]
        return min(candidates, key=lambda scope: (scope.space != record.space, scope), default=_scope(record))

    scopes = sorted(
        {_scope(cell.record) for cell in done.values()} | {scope_of_failed(record) for record in failed.values()},
        key=lambda scope: scope.latent_last,
    )
    return [
        Section(
            scope=scope,
            cells=tuple(sorted((c for c in done.values() if _scope(c.record) == scope), key=lambda c: c.record.key)),
            failed=tuple(sorted((r for r in failed.values() if scope_of_failed(r) == scope), key=lambda r: r.key)),
            missing=tuple(missing.get((scope.spec_hash, scope.task, scope.threat, scope.space), ())),
            separation=_separation(scope, scopes),
        )
        for scope in scopes
    ]


def _distinct_cells(runs: Sequence[Run]) -> dict[tuple[Scope, str], Cell]:
    """Each cell of a scope once. Which of two that differ is right is not ours to choose."""
    found: dict[tuple[Scope, str], Cell] = {}
    for cell in (cell for run in runs for cell in run.cells):
        first = found.setdefault((_scope(cell.record), cell.record.key), cell)
        if first is not cell and (what := difference(first, cell)):
            raise DataError(
                f"{cell.folder}: its records differ from those of the same cell in {first.folder} ({what}). "
                "Leave out one of the two."
            )
    return found


_Place = tuple[str, str, str, str]


def _missing(runs: Sequence[Run]) -> dict[_Place, list[PlannedCell]]:
    """The cells that no run has numbers of, each once, by spec hash, task, threat model and space."""
    settled = _settled(runs)
    missing: dict[str, tuple[str, PlannedCell]] = {
        cell.key: (str(run.info.get("spec_hash")), cell)
        for run in runs
        for cell in run.planned
        if cell.key not in settled
    }
    for run in runs:
        for record in run.failed:
            if record.key not in settled:  # older runs list no plan; a failed cell says little, but what it was
                missing.setdefault(record.key, (record.spec_hash, _as_planned(record)))
    by_place: dict[_Place, list[PlannedCell]] = {}
    for spec_hash, cell in missing.values():
        by_place.setdefault((spec_hash, cell.task, cell.threat, cell.space), []).append(cell)
    return by_place


def missing_count(run: Run, runs: Sequence[Run]) -> int:
    """How many cells of a run's spec have no numbers in any of ``runs``: shards of a run complete each other."""
    settled = _settled(runs)
    return sum(cell.key not in settled for cell in run.planned) if run.planned else run.missing


def _settled(runs: Sequence[Run]) -> set[str]:
    """Keys of the cells that any run has numbers of, or has found that there is nothing to measure in."""
    done = {cell.record.key for run in runs for cell in run.cells}
    return done | {record.key for run in runs for record in run.skipped}


def _as_planned(record: CellRecord) -> PlannedCell:
    labels = (record.task.label, record.threat_label, record.space, record.victim.label, record.defense.label)
    return PlannedCell(record.key, *labels, None, record.attack.label, record.seed)


def section_target(section: Section, target: float | None) -> float:
    """The target ASR of a section: the one given, else the spec's. Raises `DataError` when it is no rate."""
    value = section.scope.target_asr if target is None else target
    if not 0 < value <= 1:
        raise DataError(f"target ASR {value} is not above 0 and at most 1. Give a rate such as 0.5.")
    return value


def _scope(record: CellRecord) -> Scope:
    return Scope(
        task=record.task.label,
        threat=record.threat_label,
        spec_name=record.spec_name,
        spec_version=record.spec_version,
        spec_hash=record.spec_hash,
        data_hash=record.data_hash,
        accounting=record.accounting,
        judge=record.judge.label,
        stop_on_success=record.stop_on_success,
        target_asr=record.target_asr,
        space=record.space,
    )


def _task_threat_spec(record: CellRecord) -> tuple[str, str, str]:
    return record.task.label, record.threat_label, record.spec_hash


def _separation(scope: Scope, scopes: Sequence[Scope]) -> str:
    others = [other for other in scopes if other != scope and (other.task, other.threat) == (scope.task, scope.threat)]
    if not others:
        return ""
    names = [field.name for field in fields(Scope)]
    different = [name for name in names if any(getattr(other, name) != getattr(scope, name) for other in others)]
    listed = ", ".join(_FIELD_NAMES[name] for name in different)
    return (
        f"{len(others) + 1} tables have this task and threat model. They are not comparable: they differ in {listed}."
    )


def _benign_clean(record: CellRecord) -> int | None:
    """Clean prompts that a good victim answers; None in older records, which do not say."""
    return None if record.defense_facts is None else record.defense_facts.benign_clean


def _told_clean(record: CellRecord) -> int:
    """Clean prompts with an answer or a refusal that counts."""
    return record.n_clean_told - record.n_too_long
