"""Which token a number in (0, 1) draws from logits at a temperature. vLLM's process uses it too."""

from __future__ import annotations

import torch
from torch import Tensor


def drawn_tokens(logits: Tensor, temperatures: Tensor, top_ps: Tensor | None, chances: Tensor) -> Tensor:
    """Ids [n, 1], one for each row.

    Args:
        logits: [n, vocabulary].
        temperatures: above 0, [n, 1].
        top_ps: of each row, a token is drawn among the likeliest ones that have this probability together (nucleus
            sampling, Holtzman et al. 2020, arXiv 1904.09751; of equally likely ones the lower ids), [n, 1]; None: among
            all.
        chances: the numbers that decide, [n, 1].
    """
    logits = logits.double()
    # The largest becomes 0, so that a small temperature makes no infinity of it.
    weights = ((logits - logits.amax(-1, keepdim=True)) / temperatures).exp()
    if top_ps is not None:
        likeliest, ids = torch.sort(weights, dim=-1, descending=True, stable=True)
        likelier = likeliest.cumsum(-1) - likeliest  # of the tokens before each
        likeliest = likeliest.where(likelier < top_ps * likeliest.sum(-1, keepdim=True), 0.0)
        weights = torch.zeros_like(weights).scatter_(-1, ids, likeliest)
    sums = weights.cumsum(-1)
    drawn = torch.searchsorted(sums, chances.to(sums.dtype) * sums[:, -1:], right=True)
    last = weights.shape[-1] - 1 - (weights > 0).flip(-1).int().argmax(-1, keepdim=True)  # rounding may reach the end
    return drawn.minimum(last)
