"""What counts as success: two labels, three labels, and never a blocked prompt."""

from __future__ import annotations

import pytest

from harness.api.judge import Answer
from harness.api.task import Chunk, Edit, Example
from plugins.judges.labels import ProxyLabel, WrongLabel


def example(label: int, proxy: int) -> Example:
    return Example("e", (Chunk("", Edit.OVERWRITABLE),), label, proxy)


def answer(label: int, labels: int = 2) -> Answer:
    return Answer(label, tuple(float(i == label) for i in range(labels)), 0.3)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("said", [0, 1])
def test_with_two_labels_both_judges_agree(label: int, said: int) -> None:
    wrong, proxy = (judge().success(example(label, 1 - label), answer(said)) for judge in (WrongLabel, ProxyLabel))
    assert wrong == proxy == (said != label)


def test_with_three_labels_any_wrong_one_is_not_the_wanted_one() -> None:
    of = example(0, 2)
    assert [WrongLabel().success(of, answer(said, 3)) for said in range(3)] == [False, True, True]
    assert [ProxyLabel().success(of, answer(said, 3)) for said in range(3)] == [False, False, True]


def test_a_blocked_answer_has_no_label() -> None:
    assert Answer(None, (), float("inf")).blocked
    assert not answer(0).blocked


def test_judges_are_named_and_summed_up() -> None:
    assert {judge.name for judge in (WrongLabel, ProxyLabel)} == {"wrong_label", "proxy_label"}
    assert all(judge.__doc__ for judge in (WrongLabel, ProxyLabel))
