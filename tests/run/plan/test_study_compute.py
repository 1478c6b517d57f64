"""What the study's specs are planned to compute, against the compute that the study published.

The tables (`../shared/data/scaling_trends`) give compute as a fraction of pretraining: of an attack on Spam and IMDB
summed over the examples attacked, of one on Harmless per example. Ratios are ours / the study's, and stand in
docs/suite.md.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from harness.engine.dry_run import dry_run_attack
from harness.registry.loader import load_plugins
from harness.run.plan.estimate import prompt_tokens
from harness.run.prepare.resolved_cell import CellResolver
from harness.spec.cells import CellSpec
from harness.spec.load import load_spec
from plugins.victims._huggingface.published.presets import PRESETS, PYTHIA_TOKENS, Preset
from tests.leaderboard.published_tables import STUDY

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow  # each spec is large, and takes a second or two to read
needs_tables = pytest.mark.skipif(not STUDY.is_dir(), reason="no tables of the study in ../shared/data/scaling_trends")
PYTHIA = [preset for preset in PRESETS.values() if preset.family == "pythia"]
QWEN = [PRESETS[f"qwen2.5-{size}b"] for size in ("0.5", "1.5", "3", "7")]
TOKENS_FORWARD = 130  # per token of a prompt and step of GCG, as the study counts: 128 candidates, a gradient


@cache
def cells(task: str) -> dict[tuple[str, str], CellSpec]:
    """Of the spec, by attack and victim: undefended or last in training; GCG at the end of the text alone."""
    found = load_spec(ROOT / "specs/study" / f"{task}.yaml", load_plugins().registry).cells
    return {
        (f"{cell.attack.plugin.params.steps} steps", cell.victim.plugin.params.model): cell
        for cell in found
        if cell.attack.name == "gcg" and cell.threat.position == "suffix"
    }


@cache
def outline(task: str) -> Any:
    """What a plan takes for the set where there is no hub."""
    return next(iter(cells(task).values())).task.plugin.outline()


@dataclass(frozen=True)
class Published:
    """A row of a table, its compute in FLOPs."""

    seed: str
    round: int
    iteration: int
    trials: int
    attack: float
    defense: float


@cache
def published(task: str, preset: Preset) -> list[Published]:
    name = f"attack_scaling_pythia_gcg_{task}" if preset.family == "pythia" else f"offense_defense_qwen_gcg_{task}"
    with (STUDY / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["n_params"]) == preset.as_classifier(2)]
    assert rows
    pretraining = studys_pretraining(preset)
    return [
        Published(
            row["seed"],
            int(row.get("round") or 0),
            int(row["iteration"]),
            int(row["trials"]),
            float(row["attack_compute"]) * pretraining,
            float(row.get("defense_compute") or 0) * pretraining,
        )
        for row in rows
    ]


def studys_pretraining(preset: Preset) -> float:
    """6·N·D as the study took them: of Qwen2.5 10.5T tokens above 0.5B, and the sizes of 3B and 7B swapped."""
    if preset.family == "pythia":
        return 6.0 * preset.as_classifier(2) * PYTHIA_TOKENS
    swapped = {"qwen2.5-3b": PRESETS["qwen2.5-7b"], "qwen2.5-7b": PRESETS["qwen2.5-3b"]}
    tokens = 18e12 if preset.name == "qwen2.5-0.5b" else 10.5e12
    return 6.0 * swapped.get(preset.name, preset).as_language_model * tokens


def studys_step(task: str, preset: Preset) -> float:
    """FLOPs of a step of GCG on one example, as published."""
    per_example = 1 if preset.family == "qwen2.5" else None
    return fmean(
        row.attack / row.iteration / (per_example or row.trials) for row in published(task, preset) if row.iteration
    )


def our_step(cell: CellSpec, preset: Preset) -> float:
    """The same as a plan has it without the set itself."""
    data = outline(cell.task.name)
    card = cell.victim.plugin.card(data)
    assert card.n_params == preset.as_classifier(2)
    tokens = prompt_tokens(data, card, cell.threat.tokens)
    return dry_run_attack(cell.attack.plugin, cell.threat, data).nominal(card.n_params, tokens)


ATTACKED = [("spam", preset) for preset in PYTHIA] + [("imdb", p) for p in PYTHIA] + [("harmless", p) for p in QWEN]


def attack_ratio(task: str, preset: Preset) -> float:
    steps = "10 steps" if preset.family == "pythia" else "128 steps"
    return our_step(cells(task)[steps, preset.name], preset) / studys_step(task, preset)


def our_rounds(preset: Preset, tokens: float) -> Iterator[float]:
    """FLOPs spent after each round of the spec's adversarial training on Harmless."""
    cell = cells("harmless")["128 steps", preset.name]
    defense = cell.trained_plugin
    assert defense is not None
    resolve, spent = CellResolver(load_plugins().registry).attack, 0.0
    for number in range(1, defense.rounds() + 1):
        spent += defense.estimate(preset.as_classifier(2), tokens, number, cell.threat, resolve)
        yield spent


def defense_ratios(preset: Preset, tokens: float) -> dict[int, float]:
    ours = dict(enumerate(our_rounds(preset, tokens), start=1))
    theirs = {row.round: row.defense for row in published("harmless", preset)}
    return {number: ours[number] / flops for number, flops in sorted(theirs.items())}


def validation_tokens(preset: Preset) -> float:
    """Tokens of a prompt of Harmless, as a plan has it."""
    data = outline("harmless")
    return prompt_tokens(data, cells("harmless")["128 steps", preset.name].victim.plugin.card(data), 10)


@needs_tables
@pytest.mark.parametrize(("task", "preset"), ATTACKED, ids=lambda value: getattr(value, "name", value))
def test_a_step_of_the_attack_takes_what_the_study_published(task: str, preset: Preset) -> None:
    assert 0.8 < attack_ratio(task, preset) < 1.2


@needs_tables
@pytest.mark.parametrize(("task", "preset"), ATTACKED, ids=lambda value: getattr(value, "name", value))
def test_published_compute_is_one_prompt_length_for_all_sizes(task: str, preset: Preset) -> None:
    """So the ratio says something of each size: the length is one number for a task, not fitted to each."""
    length = {"spam": 318, "imdb": 313, "harmless": 249}[task]
    assert studys_step(task, preset) == pytest.approx(TOKENS_FORWARD * length * 2 * preset.as_classifier(2), rel=0.04)


@needs_tables
@pytest.mark.parametrize("preset", QWEN, ids=lambda preset: preset.name)
def test_rounds_grow_as_the_study_published(preset: Preset) -> None:
    """The published compute of the defense is that of 200 prompts a round, attacked for 8 to 64 steps over the model's
    own rounds. These prompts, or their padding, are longer than those of the evaluation, by one factor for all rounds.
    """
    plain = defense_ratios(preset, validation_tokens(preset))
    last = max(plain)
    assert 0.6 < plain[last] < 0.8, "within 20% now? then say so in docs/suite.md"
    alike = defense_ratios(preset, validation_tokens(preset) / plain[last])
    if preset.name == "qwen2.5-7b":  # published round 1 alone is 1.6 times what the growth to round 3 makes of it
        assert alike.pop(1) < 0.7
    assert all(0.9 < ratio < 1.1 for ratio in alike.values()), alike


@needs_tables
def test_the_page_has_these_ratios() -> None:
    page = (ROOT / "docs/suite.md").read_text(encoding="utf-8")
    for preset in PYTHIA:
        assert f"| {preset.name} | {attack_ratio('spam', preset):.2f} | {attack_ratio('imdb', preset):.2f} |" in page
    for preset in QWEN:
        ratios: dict[int, Any] = defense_ratios(preset, validation_tokens(preset))
        step = attack_ratio("harmless", preset)
        assert f"| {preset.name} | {step:.2f} | {ratios[max(ratios)]:.2f} |" in page


@pytest.mark.parametrize("task", ["spam", "word_length"])
def test_a_step_of_gcg_reads_a_prompt_130_times(task: str) -> None:
    """With tables or without: the rule that the published compute follows."""
    cell = cells(task)["128 steps", "pythia-70m"]
    data = cell.task.plugin.outline() or cell.task.plugin.load()
    n_params = PRESETS["pythia-70m"].as_classifier(2)
    step = dry_run_attack(cell.attack.plugin, cell.threat, data).nominal(n_params, 100.0)
    assert step / (2 * n_params * 100.0) == pytest.approx(TOKENS_FORWARD, rel=0.02)
