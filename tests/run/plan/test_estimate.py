"""A plan's estimates against what a run then records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness.api.attack import Attack
from harness.api.requests import Score
from harness.api.threat import Threat
from harness.engine.dry_run import dry_run_attack
from harness.errors import PluginError
from harness.flops import nominal_backward, nominal_forward
from harness.records.read import Cell, read_run
from harness.run.plan.estimate import prompt_tokens
from plugins.attacks.gcg import GCG
from plugins.attacks.random_token import RandomToken
from plugins.tasks.password_match import PasswordMatch
from plugins.tasks.word_length import WordLength
from plugins.victims._tiny.bpe import bpe_from_texts
from plugins.victims.tiny import BPE_EXAMPLES, Tiny
from tests.run.runs import FAST, FROM_FILES, TINY, harness_here

NEAR = pytest.approx(1.0, abs=0.25)


def stages(folder: Path, *options: object) -> dict[str, dict[str, Any]]:
    """What `harness plan` says, by key."""
    done = harness_here("plan", "spec.yaml", "--out", "out", "--json", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return {stage["key"]: stage for stage in json.loads(done.stdout)["stages"]}


def spent(cell: Cell) -> float:
    """Nominal FLOPs of a cell: its clean check, attack steps, judging and diagnostics."""
    steps = cell.steps(["attack_nominal", "judge_nominal"]).to_pydict()
    return (
        cell.record.clean_compute.nominal + sum(steps["attack_nominal"]) + sum(steps["judge_nominal"]) + diagnosed(cell)
    )


def diagnosed(cell: Cell) -> float:
    """Nominal FLOPs of a cell's diagnostics."""
    return float(cell.record.defense_facts.diagnostics["compute"]["nominal"])


def test_the_estimate_of_a_cell_is_what_it_costs(tmp_path: Path) -> None:
    attacks = [{"random_token": {"steps": 5, "draws": 12}}, {"gcg": {"steps": 5, "candidates": 12, "topk": 16}}]
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(yaml.safe_load(FAST) | {"attacks": attacks}))
    before = stages(tmp_path, *FROM_FILES)
    assert {stage["status"] for stage in before.values()} == {"missing"}
    assert harness_here("run", "spec.yaml", "--out", "out", "--quiet", *FROM_FILES, cwd=tmp_path).returncode == 0
    cells = read_run(tmp_path / "out").cells
    assert len(cells) == 2
    for cell in cells:
        assert cell.record.n_attacked == 6, "the estimate is for all of them"
        assert before[cell.record.key]["flops"] / spent(cell) == NEAR
        assert before[cell.record.key]["diagnostics"] / diagnosed(cell) == NEAR
    after = stages(tmp_path, *FROM_FILES)
    assert {stage["status"] for stage in after.values()} == {"done"}
    assert {key: stage["flops"] for key, stage in after.items()} == {k: stage["flops"] for k, stage in before.items()}


READERS = '''
from harness import Attack, Generate, VoteDefense, hookimpl


class Phrases(Attack):
    """Tries phrases of its own, and words of the prompt, until the label is the wanted one."""

    name = "phrases"
    access = "text"

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        words = problem.prompt("").split()
        texts = [" now", " please", " never mind", *(f" {words[i]}" for i in rng.integers(len(words), size=5))]
        strings = [tokens for text in texts if (tokens := problem.fitted(text)) is not None]
        answers = yield Generate(tuple(problem.prompts(tokens[None])[0] for tokens in strings))
        wanted = [t for t, answer in zip(strings, answers) if answer and answer.strip() == problem.wanted.strip()]
        return problem.state((wanted or strings)[0])


class Echo(VoteDefense):
    """Copies as they are."""

    name = "echo"

    def copies(self):
        return 3


@hookimpl
def harness_register_attacks(register):
    register(Phrases)


@hookimpl
def harness_register_defenses(register):
    register(Echo)
'''


def test_text_attacks_are_planned_as_they_read_behind_defenses_as_well(tmp_path: Path) -> None:
    (tmp_path / "readers.py").write_text(READERS)
    changes = {"attacks": [{"phrases": {"steps": 4}}], "defenses": ["none", "echo"], "stop_on_success": False}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(yaml.safe_load(FAST) | changes))
    plugins = [*FROM_FILES, f"--plugin={tmp_path / 'readers.py'}"]
    planned = stages(tmp_path, *plugins)
    assert harness_here("run", "spec.yaml", "--out", "out", "--quiet", *plugins, cwd=tmp_path).returncode == 0
    cells = read_run(tmp_path / "out").cells
    assert len(cells) == 2
    for cell in cells:
        whole = spent(cell) + sum(cell.steps(["defense_nominal"]).to_pydict()["defense_nominal"])
        assert planned[cell.record.key]["flops"] / whole == NEAR


@pytest.mark.slow
def test_the_estimates_of_every_stage_are_what_they_cost(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(yaml.safe_load(TINY) | {"seeds": [0]}))
    planned = stages(tmp_path)
    assert harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=tmp_path).returncode == 0
    seen = set()
    for cell in read_run(tmp_path / "out"):
        # A victim that has learnt little gets only some examples right, and the others are not attacked.
        part = cell.record.n_attacked / 16
        clean = cell.record.clean_compute.nominal
        assert part * (planned[cell.record.key]["flops"] - clean) / (spent(cell) - clean) == NEAR
        seen.add(cell.record.key)
    for path in (tmp_path / "out/artifacts").glob("*/manifest.json"):
        facts = json.loads(path.read_text())["facts"]
        costs = [facts["compute"]] if "compute" in facts else list(facts["this_round"].values())
        assert planned[path.parent.name]["flops"] / sum(cost["nominal"] for cost in costs) == NEAR
        seen.add(path.parent.name)
    assert seen == set(planned)
    assert [stage["what"] for stage in planned.values()] == ["prepare"] + ["defend"] * 2 + ["attack"] * 6


@pytest.mark.parametrize("task", [WordLength, PasswordMatch])
@pytest.mark.parametrize("plain", [True, False])
def test_prompt_lengths_are_near_the_truth(task: type[Any], plain: bool) -> None:
    sizes = {"train_size": 2000, "validation_size": 100}
    data = task(task.Params(**sizes, **({"instructions": "Say which."} if plain else {}))).load()
    tokenizer = bpe_from_texts((example.text for example in data.train[:BPE_EXAMPLES]), 1024)
    lengths = [len(tokenizer.encode(example.text).ids) for example in data.validation]
    card = Tiny(Tiny.Params(vocabulary=1024)).card(data)
    assert prompt_tokens(data, card, 0) / np.mean(lengths) == NEAR


@pytest.mark.parametrize("draws", [1, 7, 300])
def test_a_random_attack_is_counted_to_its_draws(draws: int) -> None:
    found = dry_run_attack(RandomToken(RandomToken.Params(draws=draws)), Threat(tokens=5))
    assert (found.scored, found.differentiated) == (draws, 0)
    assert found.nominal(1000, 20.0) == draws * nominal_forward(1000, 20)


@pytest.mark.parametrize("tokens", [1, 10])
@pytest.mark.parametrize("topk", [1, 5000])
def test_gcg_is_counted_to_its_candidates_and_a_gradient(tokens: int, topk: int) -> None:
    found = dry_run_attack(GCG(GCG.Params(candidates=64, topk=topk)), Threat(tokens=tokens))
    assert found.differentiated == 1
    assert found.scored == 64
    both = nominal_forward(1000, 20) + nominal_backward(1000, 20)
    assert found.nominal(1000, 20.0) == 64 * nominal_forward(1000, 20) + both


class Scripted(Attack):
    """An attack whose step is given by the test."""

    name = "scripted"

    def __init__(self, script: Any) -> None:
        super().__init__()
        self.script = script

    def start(self, problem: Any, rng: Any) -> Any:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: Any, problem: Any, rng: Any) -> Any:
        return (yield from self.script(state))


def endless(state: Any) -> Any:
    while True:
        yield Score(state.array[None])


def no_request(state: Any) -> Any:
    yield "score, please"
    return state


def no_state(state: Any) -> Any:
    yield Score(state.array[None])


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (endless, "attack scripted: a step does not end"),
        (
            no_request,
            "attack scripted: a step yielded str; a step may yield Score, .* or RelaxedGradient",
        ),
        (no_state, "attack scripted: a step returned NoneType, not a State"),
    ],
)
def test_an_attack_that_breaks_the_rules_is_caught_in_a_dry_run(script: Any, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        dry_run_attack(Scripted(script), Threat(tokens=3))


def test_a_plan_goes_on_without_an_estimate(tmp_path: Path) -> None:
    """An attack that never ends, and a victim that cannot say what it costs."""
    odd = f"--plugin={Path(__file__).parents[1] / 'odd_plugins.py'}"
    changes = {"attacks": ["endless", "random_token"], "victims": [{"unprepared": {"tries": "x"}}]}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(yaml.safe_load(FAST) | changes))
    found = [(stage["what"], stage["flops"]) for stage in stages(tmp_path, *FROM_FILES, odd).values()]
    assert found[:2] == [("prepare", None), ("attack", None)]
    assert found[2][1] > 0
    shown = harness_here("plan", "spec.yaml", *FROM_FILES, odd, cwd=tmp_path)
    assert shown.returncode == 0
    assert "unknown" in shown.stdout


def test_a_measured_rate_takes_the_place_of_the_guess(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FAST)
    plan = ("plan", "spec.yaml", "--out", "out", "--json", *FROM_FILES)
    guess = json.loads(harness_here(*plan, cwd=tmp_path).stdout)["rates"]["cpu"]
    assert guess["source"].startswith("a guess: 20% of the ")
    assert harness_here("run", "spec.yaml", "--out", "out", "--quiet", *FROM_FILES, cwd=tmp_path).returncode == 0
    found = json.loads(harness_here(*plan, cwd=tmp_path).stdout)
    assert found["rates"]["cpu"]["source"] == "measured over 2 cells of this run"
    assert found["rates"]["cpu"]["flops_per_second"] > 0
    assert found["remaining_flops"] == found["remaining_seconds"] == 0
