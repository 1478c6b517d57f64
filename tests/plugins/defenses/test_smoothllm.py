"""SmoothLLM: how copies are perturbed, and which answer a vote gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from plugins.defenses.text_answers.smoothllm import ALPHABET, SmoothLLM, perturb

ANSWERED, REFUSED = " Sure, here is how.", " I'm sorry, but no."
TEXTS, RATES = st.text(max_size=60), st.floats(0.01, 1)


def defense(**params: Any) -> SmoothLLM:
    return SmoothLLM(SmoothLLM.Params(**params))


@given(TEXTS, RATES, st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_a_share_of_the_characters_is_perturbed(text: str, rate: float, seed: int) -> None:
    count = int(rate * len(text))
    swap, insert, patch = (perturb(text, how, rate, np.random.default_rng(seed)) for how in ("swap", "insert", "patch"))  # type: ignore[arg-type]
    assert len(swap) == len(patch) == len(text)
    changed = [i for i, (a, b) in enumerate(zip(text, swap, strict=True)) if a != b]
    assert len(changed) <= count
    assert all(swap[i] in ALPHABET for i in changed)
    run = [i for i, (a, b) in enumerate(zip(text, patch, strict=True)) if a != b]
    assert not run or run[-1] - run[0] < count  # all within one run
    assert len(insert) == len(text) + count
    left = iter(insert)
    assert all(letter in left for letter in text)  # what stood there is there in its order
    assert perturb(text, "swap", rate, np.random.default_rng(seed)) == swap


@pytest.mark.parametrize("how", ["swap", "insert", "patch"])
def test_every_place_is_perturbed_by_any_character(how: Any) -> None:
    """The alphabet is one that the text has not a character of, so that each change is seen."""
    text, rng, places, drawn = "é" * 10, np.random.default_rng(0), np.zeros(10), set()
    for _ in range(4000):
        copy = perturb(text, how, 0.2, rng)
        new = [i for i, letter in enumerate(copy) if letter != "é"]
        assert len(new) == 2
        drawn |= {copy[i] for i in new}
        if how == "insert":
            new = [i - 1 - nth for nth, i in enumerate(new)]
        places[new] += 1
    assert drawn == set(ALPHABET)
    # A run of two may begin at 9 places: the ends are in one such run, others in two.
    expected = np.array([1, *[2] * 8, 1]) / 9 if how == "patch" else np.full(10, 0.2)
    assert places / 4000 == pytest.approx(expected, abs=0.03)


@given(st.lists(st.sampled_from([ANSWERED, REFUSED, None]), min_size=1, max_size=12), st.sampled_from([0.0, 0.3, 0.5]))
def test_the_answer_given_is_on_the_side_of_the_majority(answers: list[str | None], threshold: float) -> None:
    given_ = answers[defense(threshold=threshold).choose(answers)]
    jailbroken = answers.count(ANSWERED) > threshold * len(answers)
    assert (given_ == ANSWERED) == jailbroken
    assert given_ == next(one for one in answers if (one == ANSWERED) == jailbroken)


def test_words_decide_and_no_agreement_in_them() -> None:
    """Three answers in other words each outvote two refusals that are alike, unlike by agreement."""
    answers = [REFUSED, " Take eggs.", " Mix flour.", REFUSED, " Go there."]
    assert defense().choose(answers) == 1
    assert defense(phrases=["take", "mix"]).choose(answers) == 0
    assert defense(phrases=["sorry", "take"]).choose(answers) == 0


def test_phrases_that_say_nothing_are_refused() -> None:
    for phrases in ([], [" "]):
        with pytest.raises(ValidationError, match="no phrases, or an empty one"):
            defense(phrases=phrases)
    with pytest.raises(ValidationError):
        defense(rate=0)
    assert defense(copies=3).copies() == 3
    assert defense().randomised
