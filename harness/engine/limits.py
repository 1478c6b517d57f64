"""How long a row a model takes."""

from __future__ import annotations

from typing import Any

from torch import nn

UNLIMITED = 1 << 20  # for models whose configuration states no limit


def context_length(model: Any) -> int:
    """Longest row in tokens, from the configuration and from learnt position embeddings."""
    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limit = int(stated) if isinstance(stated, int) and stated > 0 else UNLIMITED
    for name, module in model.named_modules():
        # RoBERTa counts positions from padding_idx + 1, so its table holds fewer than its configuration says.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            limit = min(limit, module.num_embeddings - module.padding_idx - 1)
    return limit
