"""What vLLM draws and writes against what torch does: the same tokens, greedy ones and drawn ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.api.model.backend import GenerateItem, SampleItem
from harness.errors import AccessError, VictimError
from tests.engine.vllm.conftest import Both, tokens

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
PROMPTS = ("The quick brown fox", "Is the first word", "System password: apple")


@pytest.mark.parametrize("top", [None, 1, 7, 40])
def test_the_same_tokens_are_drawn(writer: Both, top: int | None) -> None:
    allowed = np.arange(10, 300, 3)  # two thirds of the most likely tokens may not be drawn
    items = [
        SampleItem(tokens(50), tokens(5, 4), allowed, 4, 3, top),
        SampleItem(tokens(7), np.empty((2, 0), dtype=np.int64), allowed, 200, -1, top),
        SampleItem(tokens(7), np.empty((0, 2), dtype=np.int64), allowed, 2, 0, top),
    ]
    for ours, theirs in zip(writer[0].sample(items), writer[1].sample(items), strict=True):
        assert ours.answer.tokens.shape == theirs.answer.tokens.shape
        np.testing.assert_array_equal(ours.answer.tokens, theirs.answer.tokens)
        np.testing.assert_allclose(ours.answer.log_probs, theirs.answer.log_probs, atol=1e-4)
        assert (ours.executed > 0) == (ours.answer.tokens.size > 0)


@pytest.mark.parametrize("temperature", [0.0, 0.5, 2.0])
def test_the_same_text_is_written(writer: Both, temperature: float) -> None:
    items = [GenerateItem(prompt, 5 + 9 * i, temperature, i) for i, prompt in enumerate((*PROMPTS, *PROMPTS))]
    items += [replace(item, top_p=0.7) for item in items if temperature]
    ours, theirs = writer[0].generate(items), writer[1].generate(items)
    assert [a.text for a in ours] == [a.text for a in theirs]
    assert [a.finished for a in ours] == [a.finished for a in theirs]
    assert [(a.prompt_tokens, a.new_tokens) for a in ours] == [(a.prompt_tokens, a.new_tokens) for a in theirs]
    assert len({a.text for a in ours}) > 1
    assert all(a.executed > 0 for a in ours)


def test_seeds_and_temperatures_matter(writer: Both) -> None:
    drawn = writer[0].generate([GenerateItem(PROMPTS[0], 20, 2.0, seed) for seed in (1, 1, 2)])
    assert drawn[0].text == drawn[1].text
    assert drawn[0].text != drawn[2].text


def test_an_answer_ends_at_the_ending_token(writer: Both) -> None:
    """High temperatures reach every token, so some answers end before their time."""
    items = [GenerateItem(PROMPTS[0], 150, 50.0, seed) for seed in range(24)]
    ours, theirs = writer[0].generate(items), writer[1].generate(items)
    assert [(a.finished, a.new_tokens) for a in ours] == [(a.finished, a.new_tokens) for a in theirs]
    assert any(a.finished for a in ours)
    assert not all(a.finished for a in ours)


def test_answers_end_with_the_context(writer: Both) -> None:
    ours, theirs = writer
    prompt = "fox " * 70
    items = [GenerateItem(prompt, 10_000)]
    (a,), (b,) = ours.generate(items), theirs.generate(items)
    assert a.prompt_tokens + a.new_tokens == ours.context or a.finished
    assert (a.text, a.new_tokens) == (b.text, b.new_tokens)
    with pytest.raises(VictimError, match="leaves no room"):
        ours.generate([GenerateItem("fox " * 500, 1)])
    with pytest.raises(VictimError, match="without tokens"):
        ours.generate([GenerateItem("", 1)])


def test_labels_can_be_sampled_too_but_not_classes(labels: Both, classifier: Both) -> None:
    item = SampleItem(tokens(50), tokens(2, 4), np.arange(10, 300), 4, 3)
    (ours,), (theirs,) = labels[0].sample([item]), labels[1].sample([item])
    np.testing.assert_array_equal(ours.answer.tokens, theirs.answer.tokens)
    with pytest.raises(AccessError, match="sample"):
        classifier[0].sample([item])
    with pytest.raises(AccessError, match="generate"):
        classifier[0].generate([GenerateItem("a", 1)])
    with pytest.raises(AccessError, match="answers in text"):
        both_text_classify(labels, classifier)


def both_text_classify(labels: Both, classifier: Both) -> None:
    from harness.engine.vllm.backend import VLLMBackend

    torch = labels[1]
    VLLMBackend(labels[0].folder, type(torch)(torch.model, torch.tokenizer, "generation")).classify([tokens(3)])
