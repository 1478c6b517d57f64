"""The undefended rows of standings in the hub's form of evaluation results: a YAML file per victim, and one of the
benchmark.

A victim's file belongs into the folder ``.eval_results`` of the model's repository, that of the benchmark is
``eval.yaml`` of a dataset repository, and lists the tasks; see https://huggingface.co/docs/hub/eval-results.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from harness.errors import DataError
from harness.records.visible_text import file_name
from leaderboard.site.data_format import SectionJson, StandingJson
from leaderboard.site.downloads.write_export import write_export
from leaderboard.table_numbers import percent, scientific

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def eval_results(sections: Sequence[SectionJson], benchmark: str) -> dict[str, list[EvalResultEntry]]:
    """Results by victim. A value is the share in percent of attacked examples that the strongest attack did not break.

    Only rows without a defense are here: a defended victim is another model than the one in the repository.

    Args:
        benchmark: id of the dataset repository, OWNER/NAME.
    Raises:
        DataError: ``benchmark`` is no such id, or no row without a defense was attacked.
    """
    if not _REPOSITORY.fullmatch(benchmark):
        raise DataError(f"--benchmark {benchmark}: write OWNER/NAME, the dataset repository on the hub.")
    found: dict[str, list[EvalResultEntry]] = {}
    for section in sections:
        for row in section["rows"]:
            if row["defense"] == "none" and row["asr"] is not None:
                found.setdefault(row["victim"], []).append(_entry(section, row, benchmark))
    if not found:
        raise DataError(
            "Nothing to export: no row without a defense was attacked, and only those say what a model does."
        )
    return found


def task_id(section: SectionJson) -> str:
    """What ``eval.yaml`` must call a table: spec, version, task and threat, in letters that ids have."""
    parts = (section.get("spec_name"), section.get("spec_version"), section["task"], section["threat"])
    return re.sub(r"[^\w.-]+", "-", "_".join(str(part) for part in parts if part)).strip("-")


def _entry(section: SectionJson, row: StandingJson, benchmark: str) -> EvalResultEntry:
    asr, breaking, strongest = row["asr"], row["breaking"], row["strongest"]
    assert asr is not None
    notes = [
        f"100 - ASR of {'the strongest attack' if strongest is None else strongest['attack']}",
        f"ASR {percent(asr['value'])} (95%: {percent(asr['low'])} to {percent(asr['high'])}), "
        f"{asr['successes']} of {asr['trials']}",
    ]
    if breaking is not None and breaking["reached"] and breaking["compute"] is not None:
        target = percent(section["target_asr"])
        notes += [f"{scientific(breaking['compute'])} FLOPs per example to an ASR of {target}"]
    notes += [f"spec hash {section.get('spec_hash', 'unknown')}", *row["marks"]]
    return EvalResultEntry(
        dataset_id=benchmark, task_id=task_id(section), value=round(100 * (1 - asr["value"]), 4), notes="; ".join(notes)
    )


def write_eval_results(folder: Path, sections: Sequence[SectionJson], benchmark: str) -> list[Path]:
    """Write ``VICTIM.yaml`` for each victim into the folder, each all or nothing; the files that were written.

    Raises:
        DataError: as `eval_results`; or the folder cannot be written.
    """
    written = []
    for victim, entries in eval_results(sections, benchmark).items():
        text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
        path = folder / f"{file_name(victim)}.yaml"
        write_export(path, text, "--eval-results")
        written.append(path)
    return written


def benchmark_file(sections: Sequence[SectionJson]) -> dict[str, Any]:
    """What ``eval.yaml`` of the benchmark's repository holds: each table is a task, whose data are the repository's
    only configuration and split.

    Raises:
        DataError: there is no table.
    """
    tasks = {task_id(section): section for section in sections}
    if not tasks:
        raise DataError("Nothing to export: no table of standings. Give entries with finished cells.")
    specs = dict.fromkeys(
        f"{section['spec_name']} {section['spec_version']}" for section in sections if section.get("spec_name")
    )
    return {
        "name": "Robustness Harness",
        "description": "Robustness of language models, measured in compute: the share of examples that the strongest "
        f"attack does not break, and what breaking them costs. Specs: {', '.join(specs)}.",
        "evaluation_framework": "robustness-harness",
        "tasks": [{"id": name, "config": "default", "split": "test"} for name in tasks],
    }


def write_benchmark_file(path: Path, sections: Sequence[SectionJson]) -> None:
    """Write `benchmark_file`, all or nothing. Raises DataError as it does, or where the file cannot be written."""
    text = yaml.safe_dump(benchmark_file(sections), sort_keys=False, allow_unicode=True)
    write_export(path, text, "--eval-yaml")
