"""What a benchmark asks for: shapes, where candidates differ, texts of an exact number of tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.problem.placement import allowed_tokens
from harness.bench.sizes import SIZES
from harness.bench.synthetic_text import synthetic_bpe, synthetic_text
from harness.bench.workload import WorkloadShape, attack_problems, score_items, text_of_length
from harness.errors import RunError
from harness.tokens.hf_tokenizer import HFTokenizer

TOKENIZER = HFTokenizer(synthetic_bpe(512))
ALLOWED = allowed_tokens(TOKENIZER)
SHAPES = st.builds(
    WorkloadShape,
    prefix=st.integers(0, 40),
    suffix=st.integers(1, 12),
    tail=st.integers(1, 5),
    candidates=st.integers(1, 30),
    examples=st.integers(1, 4),
    positions=st.sampled_from(["one", "all"]),
)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.booleans(), st.integers(0, 5))
def test_requests_have_the_shape_asked_for(shape: WorkloadShape, labels: bool, number: int) -> None:
    items = score_items(shape, ALLOWED, labels, number)
    assert len(items) == shape.examples
    for item in items:
        assert item.before.shape == (shape.prefix,)
        assert item.candidates.shape == (shape.candidates, shape.suffix)
        assert len(item.after) == (shape.tail if labels else 0)
        assert item.target == 0 if labels else len(item.target) == shape.tail
        if shape.positions == "one":
            assert ((item.candidates != item.near).sum(1) <= 1).all()
        else:
            assert item.near is None
        assert np.isin(item.candidates, ALLOWED).all()


def test_rounds_have_the_same_prompts_and_other_strings() -> None:
    shape = WorkloadShape(20, 8, 4, 16)
    (first,), (again,), (second,) = (score_items(shape, ALLOWED, False, number) for number in (1, 1, 2))
    assert (first.candidates == again.candidates).all()
    assert (first.before == second.before).all()
    assert first.target == second.target
    assert (first.near != second.near).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 150), st.integers(0, 50))
def test_a_text_has_exactly_so_many_tokens(tokens: int, seed: int) -> None:
    (ids,) = TOKENIZER.encode([text_of_length(TOKENIZER, tokens, seed)])
    assert len(ids) == tokens


@pytest.mark.parametrize("labels", [True, False])
def test_problems_are_of_the_shape_and_can_be_attacked(labels: bool) -> None:
    problems, target = attack_problems(WorkloadShape(30, 10, 4, 16, examples=3), TOKENIZER, ALLOWED, labels)
    assert len({problem.before_text for problem in problems}) == 3
    rng = np.random.default_rng(0)
    for problem in problems:
        assert len(problem.before) == 30
        assert len(problem.after) == (4 if labels else 0)
        assert len(problem.random_tokens(rng, 16)) == 16
    assert target == 1 if labels else len(target) == 4


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(RunError, match="124 tokens, the model takes 100"):
        WorkloadShape().check(100, labels=False)
    with pytest.raises(RunError, match="at least one"):
        WorkloadShape(tail=0).check(1000, labels=False)
    WorkloadShape(tail=0).check(1000, labels=True)


@pytest.mark.parametrize("name", ["60k", "1.7m"])
def test_a_size_has_as_many_parameters_as_it_says(name: str) -> None:
    import torch

    from harness.bench.model import random_gpt_neox

    model = random_gpt_neox(SIZES[name], torch.device("cpu"), torch.float32)
    assert sum(p.numel() for p in model.parameters()) == SIZES[name].parameters


def test_sizes_are_about_what_their_names_say() -> None:
    said = {"60k": 60e3, "1.7m": 1.7e6, "21m": 21e6, "1.4b": 1.4e9}
    for name, size in SIZES.items():
        assert size.parameters == pytest.approx(said[name], rel=0.04)


def test_text_is_the_same_every_time() -> None:
    assert synthetic_text(50, 3) == synthetic_text(50, 3) != synthetic_text(50, 4)
