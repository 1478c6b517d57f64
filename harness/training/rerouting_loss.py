"""The loss of a batch of pairs whose hidden states are held against those of the model as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cosine_similarity

from harness.training.objective import Batch
from harness.training.rerouting import ReroutingLoss


@dataclass(frozen=True)
class Original:
    """A model as it was before its training: a copy of what is trained, in whose place it is run."""

    weights: dict[str, Tensor]

    @classmethod
    def of(cls, model: Any) -> Original:
        """A copy of those of the model's weights that are trained: all, or an adapter's."""
        named = model.base_model.named_parameters()
        return cls({name: weight.detach().clone() for name, weight in named if weight.requires_grad})

    def states(self, model: Any, batch: Batch) -> list[Tensor]:
        """As `hidden_states`, of the model as it was; without dropout, and without a gradient."""
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                output = functional_call(model.base_model, self.weights, (), _inputs(batch))
        finally:
            model.train(training)
        return [states.float() for states in output.hidden_states]


def hidden_states(model: Any, batch: Batch) -> list[Tensor]:
    """Activations of the embeddings and of each layer, the last one as its model gives it, float32, each [B, L, H]."""
    return [states.float() for states in model.base_model(**_inputs(batch)).hidden_states]


def rerouting_loss(
    states: list[Tensor], originals: list[Tensor], batch: Batch, loss: ReroutingLoss, step: int, total: int
) -> Tensor:
    """The loss of `ReroutingLoss` at update ``step``, from 0, of ``total``.

    Args:
        states, originals: of the model and of the model as it was, a tensor [B, L, H] for each layer.
        batch: rows that are rerouted and rows that are retained, in turns.

    Raises:
        VictimError: a layer that the model has not.
    """
    mask = batch.mask.bool()
    away = mask[::2]
    if loss.tokens == "answer":
        places = torch.arange(mask.shape[1], device=mask.device)
        starts = torch.tensor([row.start or 0 for row in batch.rows[::2]], device=mask.device)
        away = away & (places >= starts[:, None])
    rerouted = [
        cosine_similarity(states[layer][::2], originals[layer][::2], dim=-1).relu()[away].mean()
        for layer in loss.layers_of(len(states) - 1)
    ]
    kept = mask[1::2]
    retained = [
        torch.linalg.vector_norm((here[1::2] - there[1::2])[kept], dim=-1).mean()
        for here, there in zip(states, originals, strict=True)
    ]
    c_rr, c_retain = loss.coefficients(step, total)
    return c_rr * torch.stack(rerouted).mean() + c_retain * torch.stack(retained).mean()


def _inputs(batch: Batch) -> dict[str, Any]:
    common = {"output_hidden_states": True, "use_cache": False, "return_dict": True}
    return {"input_ids": batch.ids, "attention_mask": batch.mask, **common}
