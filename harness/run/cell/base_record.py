"""What is known of a cell before it has run, as its manifest has it."""

from __future__ import annotations

from typing import Any, Literal

from harness.flops import CONVENTION, Flops, known
from harness.records.cell_manifest import AnswersRecord, CellRecord, Compute, PluginRecord, UtilityRecord
from harness.records.planned import PlannedCell
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.spec.cells import CellSpec
from harness.spec.load import LoadedSpec


def base_record(cell: CellSpec, spec: LoadedSpec, key: str) -> CellRecord:
    """What is known of a cell before it has run; status ``failed`` until told otherwise."""
    answers = cell.answers.identity()
    return CellRecord(
        key=key,
        status="failed",
        spec_name=spec.spec.name,
        spec_version=spec.spec.version,
        spec_hash=spec.hash,
        task=plugin_record(cell.task),
        victim=plugin_record(cell.victim),
        defense=plugin_record(cell.defense),
        attack=plugin_record(cell.attack),
        judge=plugin_record(cell.judge),
        judge_calibration=_calibration(cell, spec),
        threat=cell.threat.model_dump(mode="json"),
        threat_label=cell.threat.label(),
        answers=None if answers is None else AnswersRecord.model_validate(answers),
        seed=cell.seed,
        stop_on_success=cell.stop_on_success,
        target_asr=spec.spec.target_asr,
        accounting=CONVENTION,
        data_hash="",
        task_kind=cell.task.plugin.answers,
        space=attack_space(cell),
        tuning=cell.tuned,
        clean_floor=spec.spec.clean_floor,
        utility=_utility(spec),
    )


def _calibration(cell: CellSpec, spec: LoadedSpec) -> dict[str, Any] | None:
    """Of the cell's judge; a task of labels among others has another judge than the spec names."""
    known = spec.calibration
    return known.model_dump(mode="json") if known is not None and known.judge.name == cell.judge.name else None


def _utility(spec: LoadedSpec) -> UtilityRecord | None:
    bound = spec.spec.utility
    return None if bound is None else UtilityRecord(tasks=list(spec.utility_tasks), max_loss=bound.max_loss)


def attack_space(cell: CellSpec) -> Literal["text", "latent"]:
    """What the cell's attack changes: text, or activations."""
    return "latent" if cell.attack.plugin.access == "latent" else "text"


def plugin_record(plugin: ResolvedPlugin) -> PluginRecord:
    """A plugin as the manifest has it: parameters, without places of files, label, package and version."""
    return PluginRecord(
        name=plugin.name,
        label=plugin.label,
        params=plugin.recorded(),
        distribution=plugin.distribution,
        version=plugin.version,
    )


def compute(flops: Flops) -> Compute:
    """FLOPs as the manifest has them."""
    return Compute(nominal=known(flops.nominal), executed=known(flops.executed))


def planned_cell(key: str, cell: CellSpec) -> PlannedCell:
    """A cell of a spec as `run.json` lists it."""
    labels = (cell.task.label, cell.threat.label(), attack_space(cell), cell.victim.label, cell.defense.label)
    return PlannedCell(key, *labels, cell.round, cell.attack.label, cell.seed)
