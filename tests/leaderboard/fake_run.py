"""Run directories with made-up numbers of a known law, in the true record format."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.flops import CONVENTION
from harness.records import VERSION
from harness.records.cell_manifest import CellRecord, Compute, DefenseFacts, PartFacts, PluginRecord, VictimFacts
from harness.records.planned import PlannedCell, planned_json
from harness.records.schema import EXAMPLES, STEPS


@dataclass(frozen=True)
class FakeCell:
    """What a test may want to set. ``hardness``: log10 of the FLOPs at which half of the examples have fallen."""

    task: str = "word_length"
    victim: str = "tiny(size=small)"
    n_params: int | None = 100_000
    defense: str = "none"
    round: int | None = None
    defense_flops: float = 0.0
    per_query: float | None = None  # FLOPs that a defense at run time adds to a clean answer; None: there is none
    answer_flops: float = 1e6  # FLOPs of the victim's own answer to a clean prompt
    told: bool = True  # whether the record has the latter by itself, as newer ones do
    attack: str = "gcg"
    seed: int = 0
    against: dict[str, str] | None = None  # what the defense was trained against
    source: dict[str, Any] | None = None  # where an attack that replays strings has them from
    space: str = "text"
    task_kind: str = "labels"
    benign: bool = False
    unparseable: int = 0  # of the steps of each example, so many of the first have no verdict
    threat: str = "suffix, 10 tokens, gradient"
    judge: str = "proxy_label"
    spec_hash: str = "5" * 64
    data_hash: str = "d" * 64
    accounting: str = CONVENTION
    stop_on_success: bool = False
    target_asr: float = 0.5
    examples: int = 40
    wrong: int = 2
    steps: int = 20
    step_flops: float | None = 1e9  # None: unknown
    hardness: float = 9.8
    slope: float = 2.0
    reference_flops: float | None = 1e14
    status: str = "done"
    first_success: Sequence[int] | None = (
        None  # instead of the law: step of each attacked example's first success, 0 for never
    )
    text: str = field(default="<b>aa bb</b>", repr=False)  # every attack string
    missing: int = field(default=0, repr=False)  # of the steps of each example, so many of the first got no answer
    silent: int = field(default=0, repr=False)  # of the examples, so many of the first got none at all
    first_example: int = 0  # number of the first attacked example
    queries: int = 128  # per step
    labels: tuple[str, ...] = ()
    targets: bool = False  # whether the examples say which label the attacker wants, as newer records do
    trained_against: str = ""  # what the victim's own training hardens it with
    messages: Sequence[tuple[str, str]] = field(default=(), repr=False)  # role and text; strings end the last one
    judge_output: str | None = field(default=None, repr=False)
    drawn: Sequence[tuple[str | None, str | None, bool | None]] = field(default=(), repr=False)
    """Text, state and success of each drawn answer to a string that succeeds; of others, none does."""
    numbered_on: bool = field(default=False, repr=False)  # wrong examples bear the numbers after those of the others
    more: dict[str, Any] = field(default_factory=dict)  # overrides of the manifest

    @property
    def key(self) -> str:
        return hashlib.sha256(repr(replace(self, more={})).encode()).hexdigest()[:32]


def write_run(path: Path, cells: Sequence[FakeCell], /, unfinished: int = 0, **info: Any) -> Path:
    """A run directory with these cells."""
    path.mkdir(parents=True)
    run = {"format": VERSION, "spec_name": "fake", "spec_version": "1.0", "spec_hash": "5" * 64, "spec": "name: fake\n"}
    run |= {"harness_version": "0.1.0", "created": "2026-01-02T03:04:05Z"} | info
    (path / "run.json").write_text(json.dumps(run))
    for cell in cells:
        write_cell(path, cell)
    for at in range(unfinished):
        (path / "cells" / f"unfinished{at}").mkdir(parents=True)
    return path


def planned(cells: Sequence[FakeCell]) -> list[dict[str, Any]]:
    """What run.json says of a spec with these cells; those that are written may be fewer."""
    return planned_json(
        PlannedCell(
            cell.key, cell.task, cell.threat, cell.space, cell.victim, cell.defense, cell.round, cell.attack, cell.seed
        )
        for cell in cells
    )


def write_cell(run: Path, cell: FakeCell) -> Path:
    """One cell of a run directory."""
    folder = run / "cells" / cell.key
    folder.mkdir(parents=True)
    done = cell.status == "done"
    facts = VictimFacts(
        family="pythia",
        n_params=cell.n_params,
        n_params_non_embedding=None if cell.n_params is None else cell.n_params // 2,
        pretraining_flops=None,
        preparation=Compute(nominal=cell.reference_flops or 0.0, executed=(cell.reference_flops or 0.0) / 2),
        trained_against=cell.trained_against,
        reference_flops=cell.reference_flops,
        artifact="a" * 32,
    )
    record = CellRecord(
        key=cell.key,
        status=cell.status,  # type: ignore[arg-type]
        error=None if done else "VictimError: the model is not there",
        spec_name="fake",
        spec_version="1.0",
        spec_hash=cell.spec_hash,
        task=_plugin(cell.task),
        victim=_plugin(cell.victim),
        defense=_plugin(cell.defense),
        attack=_plugin(cell.attack),
        judge=_plugin(cell.judge),
        threat={"position": "suffix", "tokens": 10, "access": "gradient"},
        threat_label=cell.threat,
        seed=cell.seed,
        stop_on_success=cell.stop_on_success,
        target_asr=cell.target_asr,
        accounting=cell.accounting,
        data_hash=cell.data_hash,
        victim_facts=facts if done else None,
        labels=list(cell.labels),
        space=cell.space,  # type: ignore[arg-type]
        task_kind=cell.task_kind,  # type: ignore[arg-type]
        benign=cell.benign,
        attack_facts={} if cell.source is None else {"source": cell.source},
        defense_facts=_defense(cell),
        n_clean=cell.examples + cell.wrong if done else 0,
        n_clean_correct=cell.examples if done else 0,
        n_attacked=cell.examples if done else 0,
        clean_compute=_clean_compute(cell) if done else Compute(),
        attack_steps=cell.steps,
    ).model_dump(mode="json")
    (folder / "cell.json").write_text(json.dumps(record | cell.more))
    if done:
        _write_tables(folder, cell)
    return folder


def _clean_compute(cell: FakeCell) -> Compute:
    each = cell.answer_flops + (cell.per_query or 0.0)
    return Compute(nominal=each * (cell.examples + cell.wrong), executed=0.0)


def _defense(cell: FakeCell) -> DefenseFacts:
    own = Compute(nominal=cell.answer_flops, executed=cell.answer_flops / 2) if cell.told else None
    if cell.per_query is not None:
        added = Compute(nominal=cell.per_query, executed=cell.per_query / 2)
        part = PartFacts(defense=_plugin(cell.defense), sort="vote", offers="straight_through")
        return DefenseFacts(parts=[part], per_query=added, per_answer=own)
    if not cell.round:
        return DefenseFacts(per_answer=own)
    spent = Compute(nominal=cell.defense_flops * 0.98, executed=0.0)
    training = Compute(nominal=cell.defense_flops * 0.02, executed=0.0)
    return DefenseFacts(round=cell.round, search=spent, training=training, against=cell.against or {})


def first_successes(cell: FakeCell) -> list[int]:
    """Step of each attacked example's first success, 0 for never: log-odds linear in log10 compute."""
    if cell.first_success is not None:
        return list(cell.first_success)
    rng = np.random.default_rng(int(cell.key[:8], 16))
    uniform = rng.uniform(1e-6, 1 - 1e-6, cell.examples)
    log_compute = cell.hardness + np.log10(uniform / (1 - uniform)) / cell.slope
    steps = [max(1, math.ceil(10**value / (cell.step_flops or 1e9))) for value in log_compute]
    return [step if step <= cell.steps else 0 for step in steps]


def _write_tables(folder: Path, cell: FakeCell) -> None:
    first = first_successes(cell)
    examples = [
        {"example": f"e{at}", "label": at % 2, "predicted": at % 2, "attacked": True, "excluded": None}
        for at in range(cell.first_example, cell.first_example + len(first))
    ]
    examples += [
        {
            "example": f"e{len(first) + at}" if cell.numbered_on else f"w{at}",
            "label": 0,
            "predicted": 1,
            "attacked": False,
            "excluded": "already wrong",
        }
        for at in range(cell.wrong)
    ]
    if cell.targets:
        several = max(2, len(cell.labels))
        examples = [
            row | {"label": at % several, "predicted": at % several, "target": (at + 1) % several}
            for at, row in enumerate(examples)
        ]
    if cell.messages:
        end = len(cell.messages[-1][1])
        prompt = {
            "messages": [{"role": role, "content": text} for role, text in cell.messages],
            "string_at": {"message": len(cell.messages) - 1, "start": end, "end": end},
        }
        examples = [row | prompt for row in examples]
    if cell.task_kind == "text":
        examples = [row | {"label": None, "predicted": None, "answer": "I will not."} for row in examples]
    steps = []
    for at, hit in enumerate(first, cell.first_example):
        last = hit if cell.stop_on_success and hit else cell.steps
        for step in range(1, last + 1):
            row = _step(f"e{at}", step, success=0 < hit <= step, flops=cell.step_flops)
            row |= {"attack_text": cell.text, "queries": cell.queries}
            text = (
                {"answer": "Yes", "unparseable": step <= cell.unparseable and not row["success"]}
                if cell.task_kind == "text"
                else {}
            )
            if step <= cell.missing or at - cell.first_example < cell.silent:
                text = {"answer": "", "answer_state": ("cut_off", "empty", "failed")[step % 3], "success": False}
            if cell.judge_output is not None:
                text["judge_output"] = [cell.judge_output] * max(1, len(cell.drawn))
            if cell.drawn:
                text |= _drawn(cell.drawn, success=row["success"])
            steps.append(row | text)
    pq.write_table(pa.Table.from_pylist(examples, EXAMPLES), folder / "examples.parquet")
    pq.write_table(pa.Table.from_pylist(steps, STEPS), folder / "steps.parquet")


def _drawn(answers: Sequence[tuple[str | None, str | None, bool | None]], *, success: bool) -> dict[str, Any]:
    broken = [None if won is None else won and success for _, _, won in answers]
    return {
        "answer": answers[0][0],
        "draws": sum(won is not None for won in broken),
        "broken_draws": sum(map(bool, broken)),
        "sampled_answer": [text for text, _, _ in answers],
        "sampled_state": [state for _, state, _ in answers],
        "sampled_success": broken,
        "sampled_score": [None if won is None else float(won) for won in broken],
        "sampled_unparseable": [None if won is None else False for won in broken],
        "sampled_nominal": [1e6] * len(answers),
    }


def _step(example: str, step: int, *, success: bool, flops: float | None) -> dict[str, Any]:
    share = dict(
        zip((1, 2, 100, 200), (None if flops is None else flops / part for part in (1, 2, 100, 200)), strict=True)
    )
    return {
        "example": example,
        "step": step,
        "success": success,
        "loss": 1.0 / step,
        "attack_loss": None,
        "attack_tokens": [1, 2, 3],
        "failure": None,
        "queries": 128,
        "attack_nominal": share[1],
        "attack_executed": share[2],
        "judge_nominal": share[100],
        "judge_executed": share[200],
        "defense_nominal": 0.0,
        "defense_executed": 0.0,
        "seconds": 0.01,
    }


def _plugin(label: str) -> PluginRecord:
    return PluginRecord(
        name=label.split("(")[0], label=label, params={}, distribution="robustness-harness", version="0.1.0"
    )
