"""One reply from those to the copies that a vote draws of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.api.runtime_defense import VoteDefense
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.reply import Reply
from harness.flops import Flops
from harness.rng import named_rng
from harness.tokens.tokenizer import Floats


def combine_copies(vote: VoteDefense, item: PromptItem, copies: Sequence[Reply], *, labels: bool) -> Reply:
    """The reply that the vote gives. One copy's worth of the victim's compute is the victim's, the rest the defense's.

    Args:
        labels: whether the answers are labels, or texts.
    """
    n = len(copies)
    total = sum((reply.victim for reply in copies), Flops())
    share = total * (1 / n)
    defense = sum((reply.defense for reply in copies), Flops()) + total * (1 - 1 / n)
    fits = [reply for reply in copies if not reply.too_long]
    if not fits:
        return Reply(None, share, defense, too_long=True)
    answers = [reply for reply in fits if not reply.missing] or fits  # a copy without an answer has no vote
    blocked = [reply for reply in answers if reply.logits is None and reply.text is None]
    blocked_by = blocked[0].blocked_by if blocked else None
    if labels:
        known_logits = [reply.logits for reply in fits if reply.logits is not None]
        if len(blocked) >= len(known_logits):
            return Reply(None, share, defense, blocked_by=blocked_by, state=answers[0].state)
        logits = np.stack(known_logits)
        return Reply(_vote_shares(vote, item, logits), share, defense, copies=logits)
    chosen = answers[vote.choose([reply.text for reply in answers])]
    if chosen.text is None:
        return Reply(None, share, defense, blocked_by=blocked_by)
    known = [reply.nll for reply in fits if not np.isnan(reply.nll)]
    nll = float(np.mean(known)) if known else float("nan")
    for_loss = sum((reply.for_loss for reply in copies), Flops()) * (1 / n)
    return Reply(None, share, defense, text=chosen.text, nll=nll, state=chosen.state, for_loss=for_loss)


def _vote_shares(vote: VoteDefense, item: PromptItem, logits: Floats) -> Floats:
    """Log shares of the votes, [labels]; ties go to the higher mean probability, which counts for half a vote."""
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    if vote.temperature:
        flat = np.exp((logits - logits.max(axis=1, keepdims=True)) / vote.temperature)
        cut = np.cumsum(flat / flat.sum(axis=1, keepdims=True), axis=1)
        drawn = named_rng(*item.names, "labels").random(len(logits))[:, None]
        labels = np.minimum((drawn > cut).sum(axis=1), logits.shape[1] - 1)
    else:
        labels = logits.argmax(axis=1)
    counts = np.bincount(labels, minlength=logits.shape[1]) + 0.5 * chances.mean(axis=0)
    found: Floats = np.log(np.maximum(counts, 1e-300) / counts.sum())
    return found
