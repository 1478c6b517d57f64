"""The loss of a batch in which each example stands in several views."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from harness.training.objective import Batch, BatchOutput
from harness.training.views import ViewLoss, row_answer


def view_loss(output: BatchOutput, batch: Batch, views: int, loss: ViewLoss) -> Tensor:
    """The weighted terms of `ViewLoss`, which are added to the mean loss of all views.

    Args:
        output: of the batch, with its states where the contrastive term is asked for.
        batch: the views of an example stand one after another.
        views: of each example.
    """
    total = output.logits.new_zeros(())
    if loss.consistency and views > 1:
        total = total + loss.consistency * consistency_loss(output, views)
    if loss.contrastive and views > 1:
        assert output.states is not None
        answers = [row_answer(row) for row in batch.rows]
        total = total + loss.contrastive * contrastive_loss(output.states, answers, views, loss.temperature)
    return total


def consistency_loss(output: BatchOutput, views: int) -> Tensor:
    """Jensen-Shannon divergence between the answers to the views of an example, in nats, 0 to ln(views): the mean over
    examples, or over all tokens that are to be generated.
    """
    log_probs = output.logits.log_softmax(-1)
    counts = output.counts[::views]  # the views of an example have equally many places
    parts = []
    for part, count in zip(torch.split(log_probs, [count * views for count in counts]), counts, strict=True):
        of_views = part.view(views, count, -1)
        mixture = of_views.logsumexp(0) - math.log(views)
        parts.append((of_views.exp() * (of_views - mixture)).sum(-1).mean(0))  # [count]
    return torch.cat(parts).mean()


def contrastive_loss(states: Tensor, answers: list[tuple[object, ...]], views: int, temperature: float) -> Tensor:
    """Mean over rows and their positives of −log(e^p / (e^p + Σ e^n)): p the similarity to another view of the example,
    n those to rows of examples with other answers; cosines over ``temperature``. Zero where there are no others.

    Args:
        states: shape [B, H].
        answers: of each row.
    """
    rows = len(answers)
    units = normalize(states, dim=-1)
    similarity = units @ units.T / temperature
    numbers = {answer: i for i, answer in enumerate(dict.fromkeys(answers))}
    number = torch.tensor([numbers[answer] for answer in answers], device=states.device)
    example = torch.arange(rows, device=states.device) // views
    negative = number[:, None] != number[None]
    negatives = similarity.masked_fill(~negative, -torch.inf).logsumexp(1, keepdim=True)  # [B, 1], −inf without any
    losses = torch.logaddexp(similarity, negatives) - similarity
    positive = (example[:, None] == example[None]) & ~torch.eye(rows, dtype=torch.bool, device=states.device)
    return losses[positive].mean()
