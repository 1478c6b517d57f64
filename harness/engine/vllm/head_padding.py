"""Attention heads of widths that vLLM's CPU kernels lack, padded with zeros to the next width that they have.

Zeros add nothing to a product of queries and keys and the padded part of the values is cut off again, so the answers
are the same. Runs in the engine's process, before the model is made; imports vLLM.
"""

from __future__ import annotations

from typing import Any


def pad_narrow_heads() -> list[int]:
    """Make vLLM's attention layers pad themselves where they must.

    Returns:
        a list that fills with the widths of the heads, as the model states them and as they are computed, in turn,
        when the model is made.
    """
    import torch
    from vllm.model_executor.layers.attention.attention import Attention
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    widths: list[int] = []
    plain_init, plain_forward = Attention.__init__, Attention.forward

    def padded_init(self: Any, num_heads: int, head_size: int, *args: Any, **kwargs: Any) -> None:
        wide = next((w for w in sorted(CPUAttentionBackend.get_supported_head_sizes()) if w >= head_size), head_size)
        if kwargs.get("head_size_v") not in (None, head_size):
            wide = head_size  # keys and values of different widths: vLLM's own word stands
        widths[:] = [head_size, wide]
        plain_init(self, num_heads, wide, *args, **kwargs)
        self.stated_head_size = head_size

    def pad(self: Any, x: Any, heads: int) -> Any:
        split = x.reshape(-1, heads, self.stated_head_size)
        return torch.nn.functional.pad(split, (0, self.head_size - self.stated_head_size)).flatten(1)

    def padded_forward(
        self: Any, query: Any, key: Any, value: Any, output_shape: Any = None, output_dtype: Any = None
    ) -> Any:
        if self.stated_head_size == self.head_size:
            return plain_forward(self, query, key, value, output_shape, output_dtype)
        query = pad(self, query, self.num_heads)
        key, value = (x if x is None else pad(self, x, self.num_kv_heads) for x in (key, value))
        wide = plain_forward(self, query, key, value, None, output_dtype).view(-1, self.num_heads, self.head_size)
        return wide[..., : self.stated_head_size].reshape(output_shape or (len(wide), -1))

    Attention.__init__, Attention.forward = padded_init, padded_forward
    return widths
