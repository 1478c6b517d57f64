"""Relaxed attack strings, by what a backend can do already: perturb the embeddings of a string of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.api.model.backend import Perturbed, PerturbItem, Relaxed, RelaxedItem
from harness.api.requests import RelaxedAnswer
from harness.tokens.tokenizer import Floats, Tokens


def relaxed_answers(
    items: Sequence[RelaxedItem],
    perturb: Callable[[Sequence[PerturbItem]], list[Perturbed]],
    mixed: Callable[[Tokens, Floats], Floats],
    entries: Callable[[Tokens, Floats], Floats],
) -> list[Relaxed]:
    """Loss and gradient of each relaxed string: the string of its heaviest tokens, moved to the mixtures' embeddings.

    Args:
        perturb: of the backend; of layer 0, the embeddings, alone.
        mixed: from allowed ids [A] and weights [S, A] to the sums of the ids' embeddings under them, [S, H].
        entries: from allowed ids [A] and a gradient by the embeddings [S, H] to that by the weights, [S, A].
    """
    moved = []
    for item in items:
        heaviest = item.weights.argmax(axis=1)
        difference = item.weights.copy()
        difference[np.arange(len(heaviest)), heaviest] -= 1.0
        delta = mixed(item.allowed, difference)
        moved.append(PerturbItem(item.before, item.allowed[heaviest], item.after, item.target, 0, delta))
    answers = []
    for item, found, place in zip(items, perturb(moved), moved, strict=True):
        assert place.delta is not None
        flops = found.executed + 2 * 2.0 * len(item.allowed) * place.delta.size  # the mixture, and back to its weights
        gradient = entries(item.allowed, found.answer.gradient)
        answers.append(Relaxed(RelaxedAnswer(found.answer.loss, gradient, found.wrong), flops))
    return answers
