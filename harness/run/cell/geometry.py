"""How clean prompts lie to each other in a model's activations, small enough to be kept: two versions of a model can be
compared by it, later and without the models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.tokens.tokenizer import Floats

MOST_LAYERS = 9
DIGITS = 7


def geometry(examples: Sequence[str], by_layer: Sequence[Sequence[Floats]]) -> dict[str, Any]:
    """JSON data: ``examples``, and ``layers``: of up to `MOST_LAYERS`, evenly spaced from the embeddings (0) to the
    last, the Gram matrix of the activations at each prompt's last token. Scalar products do not depend on the basis
    that a model writes in, nor on its width. ``gram`` is the upper triangle, row by row; a layer that overflows is left
    out.

    Args:
        examples: [E] ids.
        by_layer: of each example its activations, [layers] of [width].
    """
    last = len(by_layer[0]) - 1
    chosen = sorted({round(at) for at in np.linspace(0, last, min(last + 1, MOST_LAYERS))})
    upper = np.triu_indices(len(examples))
    layers = []
    for layer in chosen:
        rows = np.stack([of_example[layer] for of_example in by_layer]).astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            products = (rows @ rows.T)[upper]
        if np.isfinite(products).all():
            layers.append({"layer": layer, "gram": [float(f"{value:.{DIGITS}g}") for value in products]})
    return {"examples": list(examples), "layers": layers}
