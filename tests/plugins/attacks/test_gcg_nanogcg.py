"""GCG against nanogcg 0.3.0: given the same candidates it takes the same steps, and its own are drawn the same way.

What nanogcg did is in nanogcg_steps.json; nanogcg_record.py says how that was made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Gradient, Score
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from plugins.attacks import gcg as module
from plugins.attacks.gcg import GCG
from tests.engine.toy import searching
from tests.plugins.attacks.recorder import RecordingVictim
from tests.plugins.attacks.same_model import write_folder

RECORD: dict[str, Any] = json.loads(Path(__file__).with_name("nanogcg_steps.json").read_text(encoding="utf-8"))
RUNS = pytest.mark.parametrize("run", RECORD["runs"], ids=lambda run: f"swaps-{run['swaps']}")
INITIAL = RECORD["prompt"]["initial"]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model that nanogcg attacked."""
    from harness.engine.open_backend import open_folder

    folder = tmp_path_factory.mktemp("same")
    assert write_folder(folder) == RECORD["weights"], "the model is another one than the figures are of: record anew"
    return open_folder(folder, "generation", dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def problem(backend: Any) -> Problem:
    """The prompt that nanogcg attacked; nanogcg allows printable ASCII alone unless told otherwise."""
    prompt = RECORD["prompt"]
    chunks = (Chunk(prompt["before"]), Chunk("", Edit.OVERWRITABLE), Chunk(prompt["after"]))
    threat = Threat(tokens=len(RECORD["runs"][0]["steps"][0]["ids"]), alphabet="printable_ascii")
    allowed = allowed_tokens(backend.tokenizer, threat)
    return place(Example("same", chunks, target=prompt["target"]), threat, backend.tokenizer, allowed)


def same_tokens(ours: Any, theirs: np.ndarray) -> None:
    """The same tokens at each position [S, topk], but for those whose gradients equal the last one's to rounding."""
    assert ours.tokens.shape == theirs.shape
    scale = np.abs(ours.values).max()
    for tokens, values, wanted in zip(ours.tokens, ours.values, theirs, strict=True):
        other = ~np.isin(tokens, wanted)
        np.testing.assert_allclose(values[other], values[-1], atol=1e-5 * scale)


@RUNS
def test_given_the_same_candidates_the_steps_are_the_same(
    backend: Any, problem: Problem, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = run["steps"]
    assert len(steps) >= 10
    draws = iter([np.asarray(step["candidates"]) for step in steps])
    asked: list[np.ndarray] = []

    def recorded(tokens: np.ndarray, gradient: Any, rng: Any, count: int, swaps: int = 1) -> np.ndarray:
        if asked and asked[-1] is gradient:  # asked again, because nanogcg's filter left fewer than it drew
            return np.empty((0, len(tokens)), dtype=np.int64)
        asked.append(gradient)
        return next(draws)

    monkeypatch.setattr(module, "substitutions", recorded)
    victim = RecordingVictim(backend)
    params = {"candidates": max(len(step["candidates"]) for step in steps), "topk": RECORD["topk"], "initial": INITIAL}
    attack = GCG(GCG.Params(steps=len(steps), swaps=run["swaps"], **params))
    rows = searching(victim, attack, granted="gradient").run([problem]).rows

    known = run["first_loss"]
    furthest = 0.0
    for step, row, gradient, score in zip(steps, rows, victim.gradients, victim.scores, strict=True):
        assert gradient.request.tokens.tolist() == step["ids"]
        assert gradient.answer.loss == pytest.approx(known, abs=1e-4)
        same_tokens(gradient.answer, np.asarray(step["top"]))
        assert score.request.candidates.tolist() == step["candidates"]  # they survive tokenisation in context as well
        np.testing.assert_allclose(score.answer, step["losses"], atol=1e-3, rtol=0)
        furthest = max(furthest, np.abs(score.answer - step["losses"]).max())
        assert row.attack_loss == pytest.approx(step["best"], abs=1e-3)
        known = step["best"]
    assert backend.tokenizer.decode([rows[-1].attack_tokens]) == run["strings"][-1:]
    assert min(step["best"] for step in steps) < run["first_loss"] - 1  # it is a search that gets somewhere
    print(f"largest difference of a loss: {furthest:.1e}")


@RUNS
def test_its_own_candidates_are_drawn_as_nanogcg_draws_them(
    backend: Any, problem: Problem, run: dict[str, Any]
) -> None:
    """Positions uniform, tokens uniform among the top ones, of what survives tokenisation."""
    step = run["steps"][5]
    current, top, swaps = np.asarray(step["ids"]), np.asarray(step["top"]), run["swaps"]
    attack = GCG(GCG.Params(candidates=20_000, topk=RECORD["topk"], swaps=swaps))
    asking = attack.step(State(tuple(step["ids"])), problem, np.random.default_rng(0))
    asked = next(asking)
    assert isinstance(asked, Gradient)
    item = [(problem, asked, _meter())]
    scored = asking.send(DefendedVictim(backend).gradient(item)[0])
    assert isinstance(scored, Score)
    ours, theirs = scored.candidates, np.concatenate([np.asarray(s["candidates"]) for s in run["steps"]])
    assert len(ours) == 20_000

    changed = ours != current
    assert (changed.sum(axis=1) == swaps).all()
    starts = np.concatenate([np.tile(s["ids"], (len(s["candidates"]), 1)) for s in run["steps"]])
    assert (theirs != starts).sum(axis=1).max() == swaps  # nanogcg may draw the token that is there, and change fewer
    for k, position in np.argwhere(changed):
        assert ours[k, position] in top[position]

    if swaps == 1:  # every pair of position and token that survives, equally often
        pairs = [(p, int(token)) for p in range(len(current)) for token in top[p] if token != current[p]]
        rows = np.tile(current, (len(pairs), 1))
        rows[np.arange(len(pairs)), [p for p, _ in pairs]] = [token for _, token in pairs]
        chance = np.asarray([1 / (top[p] != current[p]).sum() for p, _ in pairs]) * problem.survives(rows)
        index = {pair: i for i, pair in enumerate(pairs)}
        counts = np.zeros(len(pairs))
        for position, token in zip(changed.argmax(axis=1), ours[changed], strict=True):
            counts[index[int(position), int(token)]] += 1
        alive = chance > 0
        assert 100 < alive.sum() < len(pairs)
        assert counts[~alive].sum() == 0
        expected = chance[alive] / chance.sum() * len(ours)
        assert chisquare(counts[alive], expected).pvalue > 1e-6


def _meter() -> Any:
    from harness.engine.meter import StepMeter

    return StepMeter()


def test_the_repeated_text_is_nanogcgs_first_string(problem: Problem) -> None:
    first = RECORD["runs"][0]["steps"][0]["ids"]
    for initial in (INITIAL, "x "):
        state = GCG(GCG.Params(initial=initial)).start(problem, np.random.default_rng(0))
        assert list(state.tokens) == first
