"""Candidates that derive from several strings, as beams do: the same losses, each string computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.model.backend import ScoreItem
from harness.engine.torch.scoring.head_reader import ItemOutputs
from harness.engine.torch.scoring.packed.beam_groups import merge_groups, split_by_string
from tests.engine.torch.scoring.test_packed import backend


def beams(rng: np.random.Generator, usable: np.ndarray, width: int, branching: int, length: int) -> ScoreItem:
    strings = rng.choice(usable, size=(width, length - 1))
    last = rng.choice(usable, size=(width * branching, 1))
    candidates = np.concatenate([np.repeat(strings, branching, axis=0), last], axis=1)
    before, after = rng.choice(usable, size=(2, 5))
    return ScoreItem(before, candidates, after, 0, candidates[::branching])


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 40), st.integers(0, 5))
def test_groups_hold_each_candidate_once_and_come_back_in_order(
    width: int, branching: int, length: int, overhead: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    items = [beams(rng, np.arange(4), width, branching, length) for _ in range(2)]
    groups = split_by_string(items, overhead)
    for i, item in enumerate(items):
        rows = np.concatenate([group.rows for group in groups if group.item == i])
        assert sorted(rows.tolist()) == list(range(len(item.candidates)))
    assert all(group.subitem.near is None or group.subitem.near.ndim == 1 for group in groups)
    answers = [ItemOutputs(group.subitem.candidates.astype(float), float(len(group.rows))) for group in groups]
    for item, answer in zip(items, merge_groups(groups, answers, 2), strict=True):
        assert (answer.values == item.candidates).all()
        assert answer.executed == len(item.candidates)


@pytest.mark.parametrize("head", ["classification", "generation"])
def test_losses_are_those_of_full_forwards_and_cost_less_than_behind_one_string(head: str) -> None:
    made, plain = backend("gpt_neox", head), backend("gpt_neox", head, "full")
    rng = np.random.default_rng(0)
    items = [beams(rng, made._ordinary_ids, 4, 12, 20) for _ in range(2)]
    if head == "generation":
        items = [replace(item, target=(5, 6)) for item in items]
    scorer = made.scorer.packed
    assert scorer is not None
    assert len(split_by_string(items, scorer.flops.piece_overhead)) in (2, 8)  # what pays depends on the model's size
    assert len(split_by_string(items, 1.0)) == 8
    rows = [np.concatenate([np.tile(i.before, (48, 1)), i.candidates, np.tile(i.after, (48, 1))], 1) for i in items]
    single = scorer.score([replace(item, near=item.near[0]) for item in items], rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(scorer.flops), "piece_overhead", property(lambda _: 1.0))
        several = scorer.score(items, rows)
        answers = made.score(items)
    for answer, wanted in zip(answers, plain.score(items), strict=True):
        np.testing.assert_allclose(answer.losses, wanted.losses, atol=1e-4)
    for found, known in zip(several, single, strict=True):
        np.testing.assert_allclose(found.values, known.values, atol=1e-4)
        assert found.executed < 0.75 * known.executed


def test_strings_of_another_length_are_not_looked_at() -> None:
    item = beams(np.random.default_rng(0), np.arange(9), 2, 2, 4)
    for near in (np.empty((0, 4), dtype=np.int64), item.near[:, 1:]):
        (group,) = split_by_string([replace(item, near=near)], 0.0)
        assert group.subitem.near is None
