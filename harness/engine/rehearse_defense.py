"""What a pipeline of runtime defenses computes for one prompt, found by running them on made-up answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from harness.attack import Classify, Generate
from harness.defense_requests import Activations, Likelihood
from harness.flops import nominal_forward
from harness.runtime_defense import Case, GuardDefense, RuntimeDefense, TransformDefense, VoteDefense
from harness.tokens.pretend import PretendTokenizer

_TEXT = "x" * 200
_BOUND = 100  # requests about one text
_WIDTH, _CLASSES = 8, 2  # of made-up activations and logits


def pipeline_flops(
    defenses: Sequence[RuntimeDefense],
    sizes: Sequence[Mapping[str, int | None]],
    n_params: int | None,
    tokens: float,
    answer: float = 0.0,
    *,
    loss: bool = False,
) -> float:
    """Nominal FLOPs of one prompt through the defenses to the victim; NaN where a size is unknown.

    Args:
        sizes: parameters of each defense's auxiliary models by role.
        tokens, answer: of the prompt, and of an answer in text at its longest.
        loss: of one pass for a loss, in which a vote draws one copy.
    """
    behind = nominal_forward(n_params, 1) * (tokens + answer)
    for defense, own in reversed(list(zip(defenses, sizes, strict=True))):
        behind += _own(defense, {"": n_params, **own}, tokens)
        if isinstance(defense, VoteDefense) and not loss:
            behind *= defense.copies()
    return behind


def _own(defense: RuntimeDefense, sizes: Mapping[str, int | None], tokens: float) -> float:
    """Nominal FLOPs of what a defense asks about one text. One that cannot go on with made-up answers is taken to have
    asked for all it wants.
    """
    case = Case(_TEXT, {}, PretendTokenizer(), ("rehearsal",), _TEXT)
    total = 0.0
    asking: Any = iter(())
    if isinstance(defense, GuardDefense):
        asking = defense.ruling(case)
    elif isinstance(defense, TransformDefense):
        asking = defense.rewrite(case)
    elif isinstance(defense, VoteDefense):
        asking = defense.copy(case)
    answer: Any = None
    with suppress(Exception):
        for _ in range(_BOUND):
            request = asking.send(answer)
            per_token = nominal_forward(sizes.get(request.model), 1)
            if isinstance(request, Generate):
                total += per_token * len(request.prompts) * (tokens + request.max_tokens)
                answer = [_TEXT] * len(request.prompts)
            elif isinstance(request, Classify):
                total += per_token * len(request.prompts) * tokens
                answer = np.zeros((len(request.prompts), _CLASSES))
            elif isinstance(request, Likelihood | Activations):
                total += per_token * tokens
                answer = np.ones(_WIDTH)
    return total
