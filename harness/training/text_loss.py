"""The loss of a batch of texts: language model, consistency, contrast, mixed and adversarial embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness.engine.torch.heads import no_cache
from harness.training.objective import Batch
from harness.training.text_views import TextLoss, TextView
from harness.training.view_loss import contrastive_loss


class TextBatch:
    """Views of some texts, padded, and where their tokens are predicted.

    Attributes:
        ids, mask: shape [B, L].
    """

    def __init__(self, batch: Batch, groups: Sequence[tuple[TextView, ...]], *, causal: bool) -> None:
        """
        Args:
            batch: the rows of the views, one group after another.
        """
        self.ids, self.mask, self.lengths = batch.ids, batch.mask, batch.lengths
        self.each = len(groups[0])
        self._views = [view for group in groups for view in group]
        self._shift, self._causal = (1 if causal else 0), causal

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, position that is read, and right token, of all that is predicted; each [n]."""
        found = [
            (i, place - self._shift, token)
            for i, view in enumerate(self._views)
            for place, token in zip(view.places, view.tokens, strict=True)
        ]
        rows, positions, tokens = zip(*found, strict=True)
        device = self.ids.device
        return (*(torch.tensor(one, device=device) for one in (rows, positions, tokens)),)  # type: ignore[return-value]

    def common(self) -> tuple[Tensor, Tensor]:
        """Row and position of what all views of a text predict, [views, n] each: a column holds one token's."""
        by_view = [
            [
                (at * self.each + which, self._views[at * self.each + which].places[i] - self._shift)
                for at in range(len(self._views) // self.each)
                for i in self._views[at * self.each + which].common
            ]
            for which in range(self.each)
        ]
        both = torch.tensor(by_view, device=self.ids.device, dtype=torch.long).view(self.each, -1, 2)
        return both[..., 0], both[..., 1]

    def summaries(self, last: Tensor) -> Tensor:
        """The state that stands for each row, [B, H], out of the last hidden states [B, L, H]."""
        at = [length - 1 if self._causal else 0 for length in self.lengths]
        return last[list(range(len(at))), at].float()

    def texts(self) -> list[tuple[object, ...]]:
        """What each row is a view of."""
        first = [self._views[i - i % self.each] for i in range(len(self._views))]
        return [(view.row.ids, view.places, view.tokens) for view in first]


def text_batch_loss(model: Any, batch: TextBatch, loss: TextLoss) -> Tensor:
    """The mean loss over all tokens that are predicted, and the weighted terms of `TextLoss`.

    Random numbers come from torch's global generator.
    """
    rows, positions, tokens = batch.places()
    states = loss.contrastive > 0 and batch.each > 1
    output = _forward(model, batch.mask, states=states, input_ids=batch.ids)
    total = cross_entropy(output.logits[rows, positions].float(), tokens)
    if loss.consistency and batch.each > 1:
        at, where = batch.common()
        if at.numel():
            total = total + loss.consistency * divergence(output.logits[at, where].float())
    if states:
        summaries = batch.summaries(output.hidden_states[-1])
        total = total + loss.contrastive * contrastive_loss(summaries, batch.texts(), batch.each, loss.temperature)
    if loss.mixup:
        total = total + loss.mixup * mixup_loss(model, batch, loss.mixup_alpha)
    if loss.adversarial:
        total = total + loss.adversarial * adversarial_loss(model, batch, loss.radius)
    return total


def divergence(logits: Tensor) -> Tensor:
    """Mean Jensen-Shannon divergence of predictions, logits [views, n, vocabulary]; in nats, 0 to ln(views)."""
    log_probs = logits.log_softmax(-1)
    mixture = log_probs.logsumexp(0) - math.log(len(logits))
    return (log_probs.exp() * (log_probs - mixture)).sum(-1).mean()


def mixup_loss(model: Any, batch: TextBatch, alpha: float) -> Tensor:
    """λ · loss to the tokens of each row + (1 − λ) · loss to those of another row, on λ · its embeddings + (1 − λ) ·
    the other's; one λ ~ Beta(alpha, alpha) for the batch. A shorter row is continued by its padding.
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    texts = len(batch.ids) // batch.each
    shift = int(torch.randint(1, texts, ())) if texts > 1 else 0  # every text with another one, in the same view
    order = torch.arange(len(batch.ids), device=batch.ids.device).roll(shift * batch.each)
    embeddings = model.get_input_embeddings()(batch.ids)
    mixed = share * embeddings + (1 - share) * embeddings[order]
    logits = _forward(model, batch.mask | batch.mask[order], inputs_embeds=mixed).logits
    rows, positions, tokens = batch.places()
    holder = order.argsort()  # row i of the batch is mixed into this row
    own = cross_entropy(logits[rows, positions].float(), tokens)
    other = cross_entropy(logits[holder[rows], positions].float(), tokens)
    return share * own + (1 - share) * other


def adversarial_loss(model: Any, batch: TextBatch, radius: float) -> Tensor:
    """The loss with each token's embedding moved along its gradient, by ``radius`` times the mean norm of its row's
    embeddings (fast gradient method).
    """
    rows, positions, tokens = batch.places()
    embeddings = model.get_input_embeddings()(batch.ids)
    moved = embeddings.detach().requires_grad_(True)
    logits = _forward(model, batch.mask, inputs_embeds=moved).logits
    (gradient,) = torch.autograd.grad(cross_entropy(logits[rows, positions].float(), tokens), moved)
    mask = batch.mask[..., None]
    norms = embeddings.detach().norm(dim=-1, keepdim=True) * mask
    size = radius * norms.sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    step = size * gradient / gradient.norm(dim=-1, keepdim=True).clamp_min(1e-20) * mask
    logits = _forward(model, batch.mask, inputs_embeds=embeddings + step).logits
    return cross_entropy(logits[rows, positions].float(), tokens)


def _forward(model: Any, mask: Tensor, *, states: bool = False, **given: Tensor) -> Any:
    options = {"output_hidden_states": True} if states else {}
    return model(attention_mask=mask, **given, **options, **no_cache(model))
