"""The training loop, shared by victims and defenses: deterministic from its seed, resumable, metered."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.api.training import TrainConfig, TrainRow
from harness.api.victim import Progress
from harness.engine.torch.activations.hidden_layers import LayerPerturbation, layer_perturbations, perturbed_layers
from harness.engine.torch.devices import is_out_of_memory
from harness.engine.torch.flop_counter import count_parameters, measure_flops
from harness.engine.torch.heads import HeadName, make_head
from harness.engine.torch.weights.adapters import is_adapted
from harness.errors import VictimError
from harness.flops import Flops, nominal_backward, nominal_forward
from harness.hashing import content_key
from harness.rng import named_rng, named_seed
from harness.tokens.tokenizer import Tokenizer
from harness.training import checkpoint
from harness.training.objective import Batch, collate, forward_batch, mean_loss
from harness.training.optimizers import learning_rate_at, make_optimizer
from harness.training.rerouting import Rerouting
from harness.training.rerouting_loss import Original, hidden_states, rerouting_loss
from harness.training.text_loss import TextBatch, text_batch_loss
from harness.training.text_views import TextView, TextViews
from harness.training.training_rows import check_rows, rows_hash
from harness.training.view_loss import view_loss
from harness.training.views import Views

CHECKPOINT_SECONDS = 20.0
_SAVE_SHARE = 0.05  # at most this share of the time goes into checkpoints


def train(
    model: Any,
    tokenizer: Tokenizer,
    rows: Sequence[TrainRow] | Views | Rerouting | TextViews,
    config: TrainConfig,
    *,
    seed: int,
    scratch: Path,
    progress: Progress,
    head: HeadName = "classification",
    labels: Sequence[str] = (),
    what: str = "training",
    frozen: bool = False,
) -> Flops:
    """Train ``model`` in place on ``rows``; of one with an adapter, the adapter.

    The result depends on model, rows, config and seed alone: on a CPU it is bit-identical whether or not training was
    stopped and started again, with the same number of threads, which `harness run` fixes. The global random state is
    left as it was. Compute of updates that were lost in an interruption is not counted.

    Args:
        model: on its device, in the precision to train in.
        rows: to be shuffled for each epoch; or views, pairs to reroute or texts to pretrain on, taken in their order,
            ``batch_size`` of them at a time.
        scratch: where a checkpoint is kept about every 20 seconds, so that a killed training goes on.
        progress: called after each update with ``what``, updates done and in all.
        head, labels: how an answer is read off the model, as in `TorchBackend`; of no account for texts.
        frozen: whether all but the classification head stays as it is.

    Returns:
        nominal compute of real tokens (6·N each; 4·N where an adapter is trained, and 2 more for each of its
        parameters; 2·N more for states of the model as it was; 2·N of a frozen model, and 4 for each parameter of its
        head; of texts `TextLoss.further_passes` as often again), and executed compute, padding included.

    Raises:
        VictimError: no rows, a row without ids, a row of another sort than the head, a perturbation that does not fit
            the model, a loss that is not a number, or no memory for one batch; a frozen model without a
            classification head.
    """
    groups = rows if isinstance(rows, (Views, Rerouting, TextViews)) else None
    flat = rows.rows if isinstance(rows, (Views, Rerouting, TextViews)) else rows
    texts = rows if isinstance(rows, TextViews) else None
    if isinstance(groups, (Views, TextViews)):
        groups.check()
    if texts is None:
        check_rows(flat, labelled=head != "generation")
    adapted = is_adapted(model)
    if not adapted:  # of an adapted one, what is trained is set already
        model.requires_grad_(True)
    if frozen:
        freeze_body(model, head)
    reader = None if texts is not None else make_head(head, model, tokenizer, labels)
    optimizer = make_optimizer([p for p in model.parameters() if p.requires_grad], config)
    batches = _Batches(flat, config, seed, groups)
    total = batches.total
    of_groups = [len(groups.groups[0]), groups.loss.model_dump(mode="json")] if groups else []
    of_groups += [texts.hash] if texts is not None else []
    of_groups += ["frozen"] if frozen else []
    key = content_key([config.model_dump(mode="json"), seed, head, list(labels), rows_hash(flat), *of_groups])
    original = Original.of(model) if isinstance(groups, Rerouting) else None  # before a checkpoint changes it
    done = checkpoint.load(scratch, key, model, optimizer)
    spent = done.spent
    n_params, _ = count_parameters(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) if adapted or frozen else None
    passes = 1.0 + (texts.loss.further_passes if texts is not None else 0.0)
    device = model.get_input_embeddings().weight.device
    model.eval()
    probe = torch.tensor([flat[0].ids[0]] * 8, device=device)
    executed = measure_flops(model, lambda ids: model(input_ids=ids), probe)
    model.train()
    saved_at, save_took, saved_any = time.monotonic(), 0.0, done.step > 0
    progress(what, done.step, total)
    with _private_randomness(device):
        for step, batch_rows in batches.after(done.step):
            batch = collate(batch_rows, reader, _pad_id(model), device)
            torch.manual_seed(named_seed(seed, "dropout", step))
            rate = learning_rate_at(step, total, config)
            loss = _BatchLoss(model, reader, batch, groups, original, step, total, config.batch_size)
            outputs = _update(loss, optimizer, rate, config)
            tokens, length = sum(batch.lengths), batch.ids.shape[1]
            if frozen:  # gradients end at the head
                backward = partial(nominal_backward, trained)
                per_row = executed.forward(length) + backward(length)
                spent += Flops(nominal_forward(n_params, tokens) + backward(tokens), len(batch.rows) * per_row)
            else:
                forward_and_backward = Flops(
                    nominal_forward(n_params, tokens) + nominal_backward(n_params, tokens, trained),
                    len(batch.rows) * executed.training(length, outputs),
                )
                spent += forward_and_backward * passes
            if original is not None:
                spent += Flops(nominal_forward(n_params, tokens), len(batch.rows) * executed.forward(length))
            now = time.monotonic()
            if now - saved_at >= max(CHECKPOINT_SECONDS, save_took / _SAVE_SHARE) or (saved_any and step + 1 == total):
                checkpoint.save(scratch, key, model, optimizer, step + 1, spent)
                saved_at, saved_any = time.monotonic(), True
                save_took = saved_at - now
            progress(what, step + 1, total)
    model.eval()
    return spent


@dataclass(frozen=True)
class _Batches:
    """The order of training: which rows each update learns from."""

    rows: Sequence[TrainRow]
    config: TrainConfig
    seed: int
    groups: Views | Rerouting | TextViews | None

    @property
    def total(self) -> int:
        """Updates in all; with views or pairs as many as there are batches."""
        if self.groups is None:
            return self.config.total_steps(len(self.rows))
        return -(-len(self.groups.groups) // self.config.batch_size)

    def after(self, first: int) -> Iterator[tuple[int, list[TrainRow]]]:
        """(update, its rows) from update ``first`` on."""
        size = self.config.batch_size
        if self.groups is not None:
            for step in range(first, self.total):
                group: Iterable[TrainRow | TextView] = chain.from_iterable(
                    self.groups.groups[step * size : (step + 1) * size]
                )
                yield step, [row.row if isinstance(row, TextView) else row for row in group]
            return
        per_epoch = -(-len(self.rows) // size)
        for epoch in range(first // per_epoch, -(-self.total // per_epoch)):
            for at, batch in enumerate(epoch_batches(len(self.rows), size, self.seed, epoch)):
                step = epoch * per_epoch + at
                if first <= step < self.total:
                    yield step, [self.rows[i] for i in batch]


@dataclass(frozen=True)
class _BatchLoss:
    """What an update makes smaller."""

    model: Any
    head: Any
    batch: Batch
    groups: Views | Rerouting | TextViews | None
    original: Original | None
    step: int
    total: int
    size: int  # groups of an update

    def forward(self) -> tuple[Tensor, int]:
        """The loss, and how many positions per row reached the output embedding."""
        model, batch, groups = self.model, self.batch, self.groups
        if isinstance(groups, TextViews):
            own = groups.groups[self.step * self.size : (self.step + 1) * self.size]
            return text_batch_loss(model, TextBatch(batch, own, causal=groups.causal), groups.loss), batch.ids.shape[1]
        if isinstance(groups, Rerouting):
            assert self.original is not None
            originals = self.original.states(model, batch)
            states = hidden_states(model, batch)
            return rerouting_loss(states, originals, batch, groups.loss, self.step, self.total), 0
        with perturbed_layers(model, _perturbations(batch)):
            output = forward_batch(model, self.head, batch, states=groups is not None and groups.loss.contrastive > 0)
        loss = mean_loss(self.head, output)
        if groups is not None:
            loss = loss + view_loss(output, batch, groups.each, groups.loss)
        return loss, output.outputs


def _update(of: _BatchLoss, optimizer: torch.optim.Optimizer, rate: float, config: TrainConfig) -> int:
    for group in optimizer.param_groups:
        group["lr"] = rate
    try:
        loss, outputs = of.forward()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(of.model.parameters(), config.max_grad_norm)
        if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
            raise VictimError(
                f"training failed: loss {float(loss.detach()):.3g}, gradient norm {float(norm):.3g} "
                f"at update {of.step + 1} with learning rate {rate:.3g}; use a lower learning_rate, or warmup_steps"
            )
        optimizer.step()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise VictimError(
            f"out of memory while training on {len(of.batch.rows)} rows of {of.batch.ids.shape[1]} tokens; "
            "use a smaller batch_size, a smaller model or a larger device"
        ) from error
    return outputs


def freeze_body(model: Any, head: HeadName) -> None:
    """Let training change a classifier's head alone: what lies outside the body that pretraining gave it.

    Raises:
        VictimError: another head than classification.
    """
    if head != "classification":
        raise VictimError("only a classification head can be trained upon a frozen model")
    inside = f"{model.base_model_prefix}."
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(inside))


def _perturbations(batch: Batch) -> list[LayerPerturbation]:
    """What perturbs the rows that are learnt under a perturbation."""
    latents = [(i, row.latent_at, row.latent) for i, row in enumerate(batch.rows) if row.latent is not None]
    return layer_perturbations(latents, batch.ids.device)


def _pad_id(model: Any) -> int:
    pad = getattr(model.config.get_text_config(), "pad_token_id", None)
    return pad if isinstance(pad, int) and pad >= 0 else 0


@contextmanager
def _private_randomness(device: torch.device) -> Iterator[None]:
    """While this lasts, torch's random state may be set; then it is as before."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def epoch_batches(rows: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each batch of one epoch: a plain shuffle that depends on the arguments alone.

    Rows are not sorted by length to save padding: where length tells something of the label, as in word_length, batches
    of one length cost several points of accuracy (91% instead of 98% for a model of 26 thousand parameters).
    """
    order = [int(i) for i in named_rng(seed, "training order", epoch).permutation(rows)]
    return [order[at : at + batch_size] for at in range(0, rows, batch_size)]
