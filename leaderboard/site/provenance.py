"""Where the numbers of a page come from: plugins, versions, hashes, artifacts, and the command to make them again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.records.cell import CellRecord, PluginRecord
from harness.records.read import Run
from leaderboard.site.page_ids import slug


@dataclass(frozen=True)
class SpecFile:
    """A spec as it was written, kept beside the site's pages."""

    name: str
    text: str

    @property
    def command(self) -> str:
        """Runs it again."""
        return f"harness run {shlex.quote(self.name)} --out runs/again"


def spec_files(runs: Sequence[Run]) -> dict[str, SpecFile]:
    """Spec hash to file, of the runs that hold their spec's text."""
    found: dict[str, SpecFile] = {}
    for run in runs:
        text, known = run.info.get("spec"), run.info.get("spec_hash")
        if isinstance(text, str) and text.strip() and isinstance(known, str):
            name = slug(str(run.info.get("spec_name", "spec")), known).rsplit("-", 1)[0]
            found.setdefault(known, SpecFile(f"{name}-{slug('', known)[2:]}.yaml", text))
    return found


def plugins(records: Sequence[CellRecord]) -> list[dict[str, Any]]:
    """Task, victim, defense, judge and attacks with package, version and parameters, each once."""
    rows: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for record in records:
        for kind in ("task", "victim", "defense", "judge", "attack"):
            plugin: PluginRecord = getattr(record, kind)
            key = (kind, plugin.label, plugin.distribution, plugin.version)
            rows.setdefault(
                key,
                {"kind": kind, "label": plugin.label, "params": plugin.params}
                | {"package": f"{plugin.distribution} {plugin.version}"},
            )
    return list(rows.values())


def versions(records: Sequence[CellRecord]) -> dict[str, str]:
    """Library to version; several where cells were made with several."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in record.versions.items():
            found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(of)) for name, of in sorted(found.items())}


def artifacts(records: Sequence[CellRecord]) -> list[tuple[str, str]]:
    """What was attacked, and its artifact's key, by seed."""
    found: dict[tuple[str, str], None] = {}
    for record in sorted(records, key=lambda r: r.seed):
        if record.victim_facts is not None:
            found[f"victim, seed {record.seed}", record.victim_facts.artifact] = None
        if record.defense_facts is not None and record.defense_facts.artifact:
            round_ = "" if record.defense_facts.round is None else f", round {record.defense_facts.round}"
            found[f"defense, seed {record.seed}{round_}", record.defense_facts.artifact] = None
    return list(found)
