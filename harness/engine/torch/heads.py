"""Heads: from a Hugging Face model to what the loss is of, label logits or log-probabilities of target tokens."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from harness.api.model.backend import Target
from harness.engine.torch.devices import input_device
from harness.errors import VictimError
from harness.tokens.prompts import answer_ids

HeadName = Literal["classification", "label_tokens", "generation"]
MULTI_LABEL = "multi_label_classification"
"""``problem_type``, in config.json, of a classifier whose classes do not exclude each other."""


class Head(Protocol):
    """One way to read an answer off a model.

    Attributes:
        name: what the manifest says.
        n_labels: width of the outputs; 0 where that is the length of the target.
        extra: tokens that are appended to a row at most, those of a target left out.
    """

    name: HeadName
    n_labels: int
    extra: int

    def outputs(self, model: Any, rows: Tensor, targets: Tensor) -> Tensor:
        """Run rows of equal length [n, L]; no token of them is taken for padding.

        Args:
            targets: label indices [n], which do not matter here; or target ids [n, t] of a head without labels.

        Returns:
            what `loss_of` takes, in float32: label logits [n, labels], or log-probabilities [n, t] of the target ids
            as continuation.
        """

    def forwards(self, length: int, target: Target = 0) -> list[tuple[int, int]]:
        """What a row of ``length`` tokens runs: (tokens, positions that reach the output embedding) of each forward."""


class ClassificationHead:
    """`AutoModelForSequenceClassification`, pooled by the model's own forward.

    A model with a single output z says yes or no: for two labels that is logits 0 and z, whose softmax is sigmoid(z).

    Attributes:
        order: index among the model's own classes of each label; None where they are in the same order.
        independent: whether the labels do not exclude each other (``multi_label_classification``): the probability of
            each is the sigmoid of its own logit.
    """

    name: HeadName = "classification"
    extra = 0

    def __init__(self, model: Any, labels: Sequence[str] = ()) -> None:
        """Match the model's outputs to ``labels`` by name where the model names them, else by index.

        Raises:
            VictimError: the model has another number of outputs.
        """
        outputs = int(model.config.num_labels)
        names: dict[Any, str] = getattr(model.config, "id2label", None) or {}
        self._yes_or_no = outputs == 1 and len(labels) == 2
        self.n_labels: int = 2 if self._yes_or_no else outputs
        if labels and len(labels) != self.n_labels:
            raise VictimError(
                f"the model has {self.n_labels} classes, the task {len(labels)} labels ({', '.join(labels)}); "
                "fine-tune it on this task"
            )
        self.independent = outputs > 1 and getattr(model.config, "problem_type", None) == MULTI_LABEL
        if self._yes_or_no:  # the output is of the label that the model names, else of the second
            yes = [str(name).strip().casefold() for name in names.values()]
            self.order = [1, 0] if labels[0].strip().casefold() in yes else None
        else:
            self.order = _label_order(names, labels)

    def outputs(self, model: Any, rows: Tensor, targets: Tensor | None = None) -> Tensor:
        """Label logits [n, labels]; see `Head`."""
        with last_token_pooled(model.config):
            logits: Tensor = model(input_ids=rows, **no_cache(model)).logits.float()
        return self.of_labels(logits)

    def of_labels(self, logits: Tensor) -> Tensor:
        """Logits [n, labels] of the labels from the model's own [n, outputs]."""
        if self._yes_or_no:
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        return logits if self.order is None else logits[:, self.order]

    def forwards(self, length: int, target: Target = 0) -> list[tuple[int, int]]:
        """One forward of the row as it is; the output embedding is not run."""
        return [(length, 0)]


class LabelTokensHead:
    """`AutoModelForCausalLM`: the log-probability of each label's tokens as continuation of the row.

    A label of several tokens is scored by the sum over its tokens. Labels whose beginnings agree share a forward, so
    labels of one token cost one forward in all.

    Attributes:
        labels: ids of each label, in index order.
        label_prefixes: what is appended to a row, one forward each: labels without their last token, those left out
            that another one begins with.
        trims: whether the model computes logits of the last positions alone.
    """

    name: HeadName = "label_tokens"

    def __init__(self, model: Any, labels: Sequence[Sequence[int]]) -> None:
        """Take the token ids of each label.

        Raises:
            VictimError: a label without tokens, two labels of the same tokens, or a model that does not predict the
                next token.
        """
        self.labels = [tuple(int(i) for i in label) for label in labels]
        if len(self.labels) < 2 or not all(self.labels) or len(set(self.labels)) < len(self.labels):
            raise VictimError(f"label tokens {self.labels}: at least two labels are needed, each with different tokens")
        require_language_model(model)
        self.n_labels = len(self.labels)
        prefixes = {label[:-1] for label in self.labels}
        self.label_prefixes = sorted(
            p for p in prefixes if not any(other != p and other[: len(p)] == p for other in prefixes)
        )  # the longest ones cover the others
        self.extra = max(map(len, self.label_prefixes))
        self.trims = trims_logits(model)

    def outputs(self, model: Any, rows: Tensor, targets: Tensor | None = None) -> Tensor:
        """Log-probabilities [n, labels] of the labels, which stand for logits; see `Head`."""
        found: dict[int, Tensor] = {}
        for prefix in self.label_prefixes:
            keep = len(prefix) + 1
            ids = torch.cat([rows, rows.new_tensor(prefix).expand(len(rows), len(prefix))], 1) if prefix else rows
            trim = {"logits_to_keep": keep} if self.trims else {}
            logits = model(input_ids=ids, **trim, **no_cache(model)).logits[:, -keep:]
            log_probs = logits.float().log_softmax(-1)
            for at, label in enumerate(self.labels):
                if at not in found and prefix[: len(label) - 1] == label[:-1]:
                    found[at] = torch.stack([log_probs[:, j, token] for j, token in enumerate(label)]).sum(0)
        return torch.stack([found[at] for at in range(self.n_labels)], 1)

    def forwards(self, length: int, target: Target = 0) -> list[tuple[int, int]]:
        """A forward for each of `label_prefixes`, which is appended to the row."""
        runs = [(length + len(prefix), len(prefix) + 1) for prefix in self.label_prefixes]
        return [(tokens, read if self.trims else tokens) for tokens, read in runs]


class GenerationHead:
    """`AutoModelForCausalLM` that answers in text: the loss is of target tokens that each request brings.

    Attributes:
        trims: whether the model computes logits of the last positions alone.
    """

    name: HeadName = "generation"
    n_labels = 0
    extra = 0

    def __init__(self, model: Any) -> None:
        """Look at the model.

        Raises:
            VictimError: it does not predict the next token.
        """
        require_language_model(model)
        self.trims = trims_logits(model)

    def outputs(self, model: Any, rows: Tensor, targets: Tensor) -> Tensor:
        """Log-probabilities [n, t] of the target ids; see `Head`."""
        return target_log_probs(self.logits(model, rows, targets), targets)

    def logits(self, model: Any, rows: Tensor, targets: Tensor) -> Tensor:
        """Logits [n, t, vocabulary] where the target ids stand, given those before them."""
        keep = targets.shape[1]
        trim = {"logits_to_keep": keep} if self.trims else {}
        ids = torch.cat([rows, targets[:, :-1]], 1)
        logits: Tensor = model(input_ids=ids, **trim, **no_cache(model)).logits[:, -keep:]
        return logits

    def forwards(self, length: int, target: Target = 0) -> list[tuple[int, int]]:
        """One forward of the row and all but the last id of the target."""
        assert isinstance(target, tuple)
        tokens = length + len(target) - 1
        return [(tokens, len(target) if self.trims else tokens)]


def outputs_and_wrong(head: Head, model: Any, rows: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """As `Head.outputs`, and of each row [n] how many tokens of the target are not the likeliest where they stand; of a
    label 1 where it is not the likeliest.
    """
    if isinstance(head, GenerationHead):
        logits = head.logits(model, rows, targets)
        wrong = logits.detach().argmax(-1) != targets.to(logits.device)
        return target_log_probs(logits, targets), wrong.sum(-1)
    outputs = head.outputs(model, rows, targets)
    return outputs, (outputs.detach().argmax(-1) != targets.to(outputs.device)).long()


def target_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities [..., t] in float32 of target ids [..., t] under logits [..., t, vocabulary]."""
    flat = logits.float().flatten(0, -2)  # the fused kernel takes half the time of `logsumexp`
    losses = torch.nn.functional.cross_entropy(flat, targets.to(logits.device).flatten(), reduction="none")
    return -losses.view(targets.shape)


def make_head(name: HeadName, model: Any, tokenizer: Any, labels: Sequence[str]) -> Head:
    """The head called ``name`` for label texts (with the leading space with which they would be generated)."""
    if name == "classification":
        return ClassificationHead(model, labels)
    if name == "label_tokens":
        return LabelTokensHead(model, [answer_ids(tokenizer, label) for label in labels])
    if name == "generation":
        return GenerationHead(model)
    raise VictimError(f"head {name!r}: write classification, label_tokens or generation")


def trims_logits(model: Any) -> bool:
    """Whether the forward can leave out the output embedding of positions that nobody reads."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


@contextmanager
def last_token_pooled(config: Any) -> Iterator[None]:
    """Within, pooling takes the last token of a row even if that is the padding token: rows here are never padded."""
    text = config.get_text_config()
    before = getattr(text, "pad_token_id", None)
    text.pad_token_id = -1
    try:
        yield
    finally:
        text.pad_token_id = before


def require_language_model(model: Any) -> None:
    """Raise VictimError for a model that does not predict the next token.

    Encoders with a language-model head (BERT) look at the label itself: their numbers would mean nothing.
    """
    if model.get_output_embeddings() is None:
        raise VictimError(f"{type(model).__name__} has no language-model head; use head: sequence_classification")
    device = input_device(model)
    rows = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 0]], device=device)
    training = model.training
    model.eval()
    with torch.no_grad():
        answer = model(input_ids=rows, attention_mask=torch.ones_like(rows), **no_cache(model))
    logits = answer.logits[:, :3].float()
    model.train(training)
    if not torch.allclose(logits[0], logits[1], rtol=0.05, atol=1e-3 * float(logits.abs().max())):
        raise VictimError(
            f"{type(model).__name__} looks at later tokens and cannot predict the next one; use a decoder, or for a "
            "task with labels head: sequence_classification"
        )


def no_cache(model: Any) -> dict[str, bool]:
    """The argument that keeps a forward from building a cache, for models that take it."""
    return {"use_cache": False} if getattr(model.config, "use_cache", None) is not None else {}


def _label_order(names: dict[Any, str], labels: Sequence[str]) -> list[int] | None:
    """Index of each label among the model's own class names; None where the order is the same or they are unknown."""
    index = {str(name).strip().casefold(): int(at) for at, name in names.items()}
    wanted = [label.strip().casefold() for label in labels]
    if not wanted or set(index) != set(wanted) or len(set(wanted)) < len(wanted):
        return None
    order = [index[label] for label in wanted]
    return None if order == list(range(len(order))) else order
