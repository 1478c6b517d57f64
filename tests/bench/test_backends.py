"""Which ways to score `--path` names: by name or letter, each once."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, strategies as st

from harness.bench.backends import parse_paths, path_code
from harness.engine.torch.scoring.strategy_names import LETTERS, StrategyName, strategy_named
from harness.errors import RunError

NAMES = {"A": "full", "B": "copied_prefix", "C": "packed", "D": "packed_reuse"}


def test_every_strategy_has_one_letter() -> None:
    assert {letter: name for name, letter in LETTERS.items()} == NAMES
    assert set(LETTERS) == set(get_args(StrategyName))


@given(st.lists(st.sampled_from([*NAMES, *NAMES.values(), "auto", "vllm"]), min_size=1))
def test_a_letter_means_its_name(texts: list[str]) -> None:
    names = [NAMES.get(text, text) for text in texts]
    assert parse_paths(texts) == list(dict.fromkeys(names))
    assert [strategy_named(text) for text in texts if text in NAMES] == [NAMES[t] for t in texts if t in NAMES]


def test_without_names_all_are_meant_but_the_choice_itself() -> None:
    assert parse_paths(()) == ["full", "copied_prefix", "packed", "packed_reuse", "vllm"]
    assert [path_code(path) for path in (*parse_paths(()), "auto")] == ["A", "B", "C", "D", "vllm", "auto"]


@pytest.mark.parametrize("text", ["E", "a", "", "packed reuse", "AB"])
def test_anything_else_is_one_clear_error(text: str) -> None:
    words = r"no such path; write one of auto, full \(A\), copied_prefix \(B\), packed \(C\), packed_reuse \(D\), vllm"
    with pytest.raises(RunError, match=words):
        parse_paths(["A", text])
