"""What a victim promises: it can be prepared, says what that costs, and opens what its card says."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np

from harness.api.model.backend import ScoreItem
from harness.api.threat import Access
from harness.api.training import TrainConfig, TrainRow
from harness.api.victim import RetrainJob, VictimCard
from harness.flops import Flops
from harness.hashing import canonical_json
from harness.isolation.process_state import global_seed
from harness.testing.checks import victim_backends
from harness.testing.checks.prepared_victims import (
    PreparedVictim,
    preparable_kinds,
    prepared_victim,
    prepared_victims,
)
from harness.testing.checks.victim_backends import expect_close, score_items
from harness.testing.plugin_under_test import Subject
from harness.testing.results import Check, NotApplicableError, UnmetError
from harness.testing.toys.task_data import toy_task_data
from harness.training.training_rows import render, reply_ids, reply_row


def _check_preparation(subject: Subject) -> None:
    preparable_kinds(subject)


def _check_card(subject: Subject) -> None:
    for kind in preparable_kinds(subject):
        card = subject.fresh().card(toy_task_data(kind))
        if not isinstance(card, VictimCard):
            raise UnmetError("card() gives a VictimCard", type(card).__name__, "return VictimCard(...)")
        wrong = []
        if card.access not in get_args(Access):
            wrong.append(f"access {card.access!r}")
        if card.n_params is not None and card.n_params < 1:
            wrong.append(f"n_params {card.n_params}")
        if card.context < 1 or not card.chars_per_token > 0:
            wrong.append(f"context {card.context}, chars_per_token {card.chars_per_token}")
        if wrong:
            raise UnmetError("a card that a plan can use", ", ".join(wrong), "see harness.VictimCard")
        stated = subject.fresh().family()
        if stated not in (None, card.family):
            raise UnmetError("family() is the card's, or None", repr(stated), "return None where it depends on more")
        canonical_json(asdict(card))
        said = subject.fresh().trained_against(toy_task_data(kind))
        if not isinstance(said, str):
            raise UnmetError("trained_against() gives words", repr(said), 'return "" where nothing hardens the model')


def _check_estimate(subject: Subject) -> None:
    for victim in prepared_victims(subject):
        estimate = subject.fresh().estimate(victim.data)
        if not (isinstance(estimate, int | float) and math.isfinite(estimate) and estimate >= 0):
            raise UnmetError("estimate() gives FLOPs, 0 or more", repr(estimate), "0 where nothing is trained")
        spent = victim.spent.nominal
        if not isinstance(victim.spent, Flops) or spent < 0 or victim.spent.executed < 0:
            raise UnmetError("prepare() gives the Flops spent", repr(victim.spent), "return Flops(nominal, executed)")
        if not math.isnan(spent) and (estimate > 0) != (spent > 0):
            raise UnmetError(
                "estimate() and prepare() agree on whether anything is spent",
                f"estimated {estimate:.3g}, spent {spent:.3g}",
                "count the same thing in both",
            )


def _check_opening(subject: Subject) -> None:
    for victim in prepared_victims(subject):
        backend, card = victim.backend, subject.fresh().card(victim.data)
        numbers = {
            "n_labels": (len(victim.data.labels), backend.n_labels),
            "n_params": (card.n_params, backend.n_params),
        }
        for name, (expected, actual) in numbers.items():
            if expected != actual:
                raise UnmetError(
                    f"{name} {expected}, as card and data say", repr(actual), f"fix `card` or the backend's {name}"
                )
        if backend.context < min(card.context, 64):
            raise UnmetError(f"a context of {card.context}, as the card says", str(backend.context), "fix `card`")
        promised = {"text": set(), "scores": {"score"}, "gradient": {"score", "gradient"}}.get(
            card.access, {"score", "gradient", "perturb"}
        )
        lacking = promised - backend.abilities
        if lacking:
            raise UnmetError(
                f"a backend that answers what access {card.access!r} promises",
                f"it lacks {', '.join(sorted(lacking))}",
                "add it to `abilities`, or give the card less access",
            )
        canonical_json({k: v for k, v in backend.describe().items() if isinstance(v, str | int | None)})


def _check_same_model(subject: Subject) -> None:
    for kind in preparable_kinds(subject):
        one = prepared_victim(subject, kind)
        with global_seed(1):
            other = prepared_victim(subject, kind, again=1)
        texts = [example.text for example in one.data.validation[:4]]
        if one.backend.tokenizer.encode(texts) != other.backend.tokenizer.encode(texts):
            raise UnmetError("the same tokenizer from the same seed", "another", "order what it is made from")
        mend = "draw everything from job.seed (harness.named_rng, named_seed), and shuffle by it"
        if "score" in one.backend.abilities:
            for (_, a), (_, b) in zip(score_items(one), score_items(other), strict=True):
                losses, again = one.backend.score([a])[0].losses, other.backend.score([b])[0].losses
                expect_close(losses, again, one, "the same model from the same seed", mend)


def _check_retraining(subject: Subject) -> None:
    if not subject.fresh().retrains:
        raise NotApplicableError("it has no training of its own for defenses; those of transformers have the harness's")
    for victim in prepared_victims(subject):
        rows = _rows_of(victim)
        losses = [_mean_loss(victim.backend, rows)]
        for turn in ("one", "other"):
            with tempfile.TemporaryDirectory(prefix="harness-check-") as work, global_seed(len(losses)):
                folder, scratch = Path(work) / turn, Path(work) / "scratch"
                folder.mkdir()
                scratch.mkdir()
                recipe = TrainConfig.model_validate({})
                job = RetrainJob(victim.folder, folder, rows, recipe, victim.data, 0, scratch, lambda *_: None)
                spent = subject.fresh().retrain(job)
                if not isinstance(spent, Flops) or not spent.nominal > 0:
                    raise UnmetError("the compute of the training", repr(spent), "return Flops(nominal, executed)")
                losses.append(_mean_loss(subject.fresh().open(folder, victim.data), rows))
        if not losses[1] < losses[0]:
            raise UnmetError(
                "a lower loss on the rows that were learnt", f"{losses[0]:.4g} before, {losses[1]:.4g} after", "learn"
            )
        if abs(losses[1] - losses[2]) > victim.tolerance * max(1.0, abs(losses[1])):
            raise UnmetError("the same model from the same seed", "another", "draw everything from job.seed")


def _rows_of(victim: PreparedVictim) -> list[TrainRow]:
    """The training split in the victim's tokens."""
    tokenizer, examples = victim.backend.tokenizer, list(victim.data.train)
    if victim.data.labels:
        return [TrainRow(render(example.text, tokenizer), example.label) for example in examples]
    replies = [reply_ids(example.reply, tokenizer, None) for example in examples]
    return [reply_row(render(example.text, tokenizer), own) for example, own in zip(examples, replies, strict=True)]


def _mean_loss(backend: Any, rows: Sequence[TrainRow]) -> float:
    """In nats, of the right labels, or of the replies."""
    nothing, losses = np.empty(0, dtype=np.int64), []
    for row in rows:
        ids = np.asarray(row.ids, dtype=np.int64)
        prompt = ids if row.start is None else ids[: row.start]
        target = row.label if row.start is None else tuple(int(i) for i in ids[row.start :])
        (scored,) = backend.score([ScoreItem(nothing, prompt[None], nothing, target)])
        losses.append(float(scored.losses[0]))
    return float(np.mean(losses))


CHECKS = (
    Check("prepares", "it can be made ready for labels, for text, or for both", _check_preparation),
    Check("card", "its card has what a plan needs", _check_card),
    Check("estimate", "it says what making it ready costs, and what it did cost", _check_estimate),
    Check("opens", "the opened model is what the card says", _check_opening),
    *victim_backends.CHECKS,
    Check(
        "retrains", "its own training for defenses learns the rows, identically for the same seed", _check_retraining
    ),
    Check("same_model", "the same seed gives the same model", _check_same_model),
)
