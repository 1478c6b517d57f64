"""Perturbation training: the curriculum, where views differ from their example, and what the manifest says of them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

import harness
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.open_backend import open_folder
from harness.flops import Flops
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins._common.typos import PRINTABLE, add_typos
from plugins.defenses._training.augmented_views import Curriculum, ViewSampler
from plugins.defenses.perturbation_training import PerturbationTraining
from tests.engine.hub_models import byte_bpe, write_folder
from tests.plugins.defenses.test_adversarial_training import resolve
from tests.plugins.defenses.test_rounds import DATA, LABELS, Rounds

TOKENIZER = HFTokenizer(byte_bpe())
SMALL = {"rounds": 2, "examples_per_round": 12, "batch_size": 4, "strength": {"rounds": 2}}


def defense(**params: Any) -> PerturbationTraining:
    return PerturbationTraining(PerturbationTraining.Params(**params))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 6), st.sampled_from(["linear", "cosine"]), st.integers(1, 8))
def test_strength_grows_from_start_to_end(one: float, other: float, rounds: int, shape: Any, round: int) -> None:
    ramp = Curriculum(start=min(one, other), end=max(one, other), rounds=rounds, shape=shape)
    course = [ramp.strength(r, share) for r in range(1, round + 1) for share in (0.0, 0.3, 0.9)]
    assert all(a <= b + 1e-12 for a, b in pairwise(course))
    assert course[0] == pytest.approx(ramp.start)
    assert ramp.strength(rounds, 1.0) == pytest.approx(ramp.end)
    assert ramp.strength(rounds + 3, 0.5) == pytest.approx(ramp.end)


def test_curriculum_at_its_corners() -> None:
    assert [Curriculum(rounds=2).strength(*at) for at in ((1, 0.0), (2, 0.0), (2, 1.0))] == pytest.approx(
        [0.1, 0.55, 1]
    )
    assert Curriculum(shape="constant").strength(1, 0.0) == 1.0
    with pytest.raises(ValidationError, match="strength grows with training"):
        Curriculum(start=0.5, end=0.2)


@given(st.text(min_size=1, max_size=60), st.floats(0.01, 1), st.integers(0, 100))
@settings(deadline=None)
def test_mistyped_changes_about_a_share(text: str, share: float, seed: int) -> None:
    found = add_typos(text, share, np.random.default_rng(seed))
    changes = max(1, int(share * len(text) + 0.5))
    assert abs(len(found) - len(text)) <= changes
    assert set(found) <= set(text) | set(PRINTABLE)


def test_views_differ_only_where_an_attacker_may_write() -> None:
    rng = np.random.default_rng(0)
    threat = Threat(tokens=4)
    overwritten = Example("a", (Chunk("Say: "), Chunk("old", Edit.OVERWRITABLE), Chunk("\nAnswer:")), 0, 1)
    viewer = ViewSampler(TOKENIZER, threat, 4, 0.5)
    for example in (DATA.train[0], overwritten):
        before, after = example.chunks[0].text, example.chunks[-1].text
        for kind in ("random_tokens", "characters"):
            views = {viewer.view(example, kind, 1.0, rng) for _ in range(6)}  # type: ignore[arg-type]
            assert all(view.startswith(before) and view.endswith(after) for view in views)
            assert len(views) > 1
    lengths = [
        np.mean([len(viewer.view(DATA.train[0], "random_tokens", s, rng)) for _ in range(40)]) for s in (0.0, 1.0)
    ]
    assert lengths[0] < lengths[1]


def test_the_schedule_is_what_is_drawn() -> None:
    viewer = ViewSampler(TOKENIZER, Threat(), 4, 0.2)
    trail = viewer.schedule([0.0, 0.0, 0.5, 1.0])
    assert trail == [
        {"update": 1, "strength": 0.0, "tokens": 1, "characters": 0.0},
        {"update": 3, "strength": 0.5, "tokens": 2, "characters": 0.1},
        {"update": 4, "strength": 1.0, "tokens": 4, "characters": 0.2},
    ]


def test_parameters_that_do_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="nothing to agree with"):
        PerturbationTraining.Params(views=1, clean=False)
    assert defense(views=1, clean=False, loss={"consistency": 0}).evaluated() == (1, 2, 3, 4)
    with pytest.raises(ValidationError, match="name rounds from 1 to 4"):
        PerturbationTraining.Params(evaluate=(5,))
    with pytest.raises(ValidationError):
        PerturbationTraining.Params(perturbations=("typos",))  # type: ignore[arg-type]


def test_what_changes_weights_changes_the_key() -> None:
    def of(**params: Any) -> Any:
        made = defense(**params)
        return made.round_identity(made.params.identity(), 2, Threat())

    assert of() == of(rounds=9) == of(evaluate="last") == of(budget=1e12)
    changes: list[dict[str, Any]] = [
        {"strength": {"end": 0.5}},
        {"loss": {"contrastive": 1}},
        {"views": 3},
        {"tokens": 5},
    ]
    changes += [{"perturbations": ["characters"]}, {"clean": False}, {"epochs": 2}]
    assert all(of(**change) != of() for change in changes)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("victim"), "gpt_neox", scale=2.0)


def test_a_round_trains_on_its_views_and_leaves_a_trail(tmp_path: Path, victim: Path, monkeypatch: Any) -> None:
    seen: list[Any] = []
    real = harness.retrain
    monkeypatch.setattr(harness, "retrain", lambda *a, **k: (seen.append(a[2]), real(*a, **k))[1])
    rounds, made = Rounds(tmp_path, victim), defense(**SMALL)
    costs = [rounds.run(made, round) for round in (1, 2)]  # type: ignore[arg-type]
    n = open_folder(victim, labels=LABELS, device="cpu").n_params
    strengths = []
    for cost, views in zip(costs, seen, strict=True):
        assert cost.search == Flops()  # no attack is run
        assert cost.training.nominal == pytest.approx(6 * n * sum(len(row.ids) for row in views.rows))
        notes = json.loads(json.dumps(cost.notes))
        assert notes["views"]["clean"] == 12
        assert sum(notes["views"].values()) == 36
        assert notes["rows_sha256"] == harness.rows_hash(views.rows)
        assert len(views.groups) == 12
        clean = {harness.render(e.text, TOKENIZER) for e in DATA.train}
        assert all(group[0].ids in clean for group in views.groups)
        assert {row.label for group in views.groups for row in group} == {0, 1}
        strengths += [entry["strength"] for entry in notes["schedule"]]
    assert strengths == sorted(strengths)
    assert strengths[0] == pytest.approx(0.1)
    assert seen[0].groups != seen[1].groups


def test_the_estimate_is_what_it_takes(tmp_path: Path, victim: Path) -> None:
    made, rounds = defense(**SMALL), Rounds(tmp_path, victim)
    cost = rounds.run(made, 1)  # type: ignore[arg-type]
    model = open_folder(victim, labels=LABELS, device="cpu")
    tokens = float(np.mean([len(harness.render(e.text, TOKENIZER)) for e in DATA.train])) + 4
    guess = made.estimate(model.n_params or 0, tokens, 1, Threat(tokens=4), resolve)
    assert guess == pytest.approx(cost.training.nominal, rel=0.3)
