"""From a Hugging Face model to one logit per label: a classification head, or a language model's label tokens."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from harness.errors import VictimError

HeadName = Literal["classification", "label_tokens"]


class Head(Protocol):
    """One way to read an answer off a model.

    Attributes:
        name: what the manifest says.
        n_labels: width of the answer.
        extra: tokens that are appended to a row at most.
    """

    name: HeadName
    n_labels: int
    extra: int

    def logits(self, model: Any, rows: Tensor) -> Tensor:
        """Label logits [n, labels] in float32 of rows of equal length [n, L]; every token of a row counts."""

    def forwards(self, length: int) -> list[tuple[int, int]]:
        """What a row of ``length`` tokens runs: (tokens, positions that reach the output embedding) of each forward."""


class ClassificationHead:
    """`AutoModelForSequenceClassification`, pooled by the model's own forward."""

    name: HeadName = "classification"
    extra = 0

    def __init__(self, model: Any, labels: Sequence[str] = ()) -> None:
        """Match the model's outputs to ``labels`` by name where the model names them, else by index.

        Raises:
            VictimError: the model has another number of outputs.
        """
        self.n_labels: int = int(model.config.num_labels)
        if labels and len(labels) != self.n_labels:
            raise VictimError(
                f"the model has {self.n_labels} classes, the task {len(labels)} labels ({', '.join(labels)}); "
                "fine-tune it on this task"
            )
        self.order = _order(getattr(model.config, "id2label", None) or {}, labels)

    def logits(self, model: Any, rows: Tensor) -> Tensor:
        """See `Head`."""
        with every_token_counts(model.config):
            logits: Tensor = model(input_ids=rows, **_no_cache(model)).logits.float()
        return logits if self.order is None else logits[:, self.order]

    def forwards(self, length: int) -> list[tuple[int, int]]:
        """See `Head`."""
        return [(length, 0)]


class LabelTokensHead:
    """`AutoModelForCausalLM`: the log-probability of each label's tokens as continuation of the row.

    A label of several tokens is scored by the sum over its tokens. Labels whose beginnings agree share a forward, so
    labels of one token cost one forward in all.
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
            raise VictimError(
                f"label tokens {self.labels}: at least two labels are needed, each of other tokens than the rest"
            )
        if model.get_output_embeddings() is None:
            raise VictimError(f"{type(model).__name__} has no language-model head; use head: sequence_classification")
        _require_causal(model)
        self.n_labels = len(self.labels)
        beginnings = {label[:-1] for label in self.labels}
        self.stems = sorted(
            s for s in beginnings if not any(t != s and t[: len(s)] == s for t in beginnings)
        )  # the longest ones cover the others
        self.extra = max(map(len, self.stems))
        self.trims = trims_logits(model)

    def logits(self, model: Any, rows: Tensor) -> Tensor:
        """See `Head`; logits are log-probabilities."""
        found: dict[int, Tensor] = {}
        for stem in self.stems:
            keep = len(stem) + 1
            ids = torch.cat([rows, rows.new_tensor(stem).expand(len(rows), len(stem))], 1) if stem else rows
            trim = {"logits_to_keep": keep} if self.trims else {}
            logits = model(input_ids=ids, **trim, **_no_cache(model)).logits[:, -keep:]
            log_probs = logits.float().log_softmax(-1)
            for at, label in enumerate(self.labels):
                if at not in found and stem[: len(label) - 1] == label[:-1]:
                    found[at] = torch.stack([log_probs[:, j, token] for j, token in enumerate(label)]).sum(0)
        return torch.stack([found[at] for at in range(self.n_labels)], 1)

    def forwards(self, length: int) -> list[tuple[int, int]]:
        """See `Head`."""
        rows = [length + len(stem) for stem in self.stems]
        return [(n, len(stem) + 1 if self.trims else n) for n, stem in zip(rows, self.stems, strict=True)]


def make_head(name: HeadName, model: Any, tokenizer: Any, labels: Sequence[str]) -> Head:
    """The head called ``name`` for label texts (with the leading space with which they would be generated)."""
    if name == "classification":
        return ClassificationHead(model, labels)
    if name == "label_tokens":
        return LabelTokensHead(model, tokenizer.encode(list(labels)))
    raise VictimError(f"head {name!r}: write classification or label_tokens")


def trims_logits(model: Any) -> bool:
    """Whether the forward can leave out the output embedding of positions that nobody reads."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


@contextmanager
def every_token_counts(config: Any) -> Iterator[None]:
    """Within, pooling takes the last token of a row even if that is the padding token: rows here are never padded."""
    text = config.get_text_config()
    before = getattr(text, "pad_token_id", None)
    text.pad_token_id = -1
    try:
        yield
    finally:
        text.pad_token_id = before


def _require_causal(model: Any) -> None:
    """Encoders with a language-model head (BERT) look at the label itself: their numbers would mean nothing."""
    device = model.get_input_embeddings().weight.device
    rows = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 0]], device=device)
    training = model.training
    model.eval()
    with torch.no_grad():
        answer = model(input_ids=rows, attention_mask=torch.ones_like(rows), **_no_cache(model))
    logits = answer.logits[:, :3].float()
    model.train(training)
    if not torch.allclose(logits[0], logits[1], rtol=0.05, atol=1e-3 * float(logits.abs().max())):
        raise VictimError(
            f"{type(model).__name__} looks at later tokens and cannot predict the next one; "
            "use head: sequence_classification"
        )


def _no_cache(model: Any) -> dict[str, bool]:
    return {"use_cache": False} if getattr(model.config, "use_cache", None) is not None else {}


def _order(names: dict[Any, str], labels: Sequence[str]) -> list[int] | None:
    """Index of each label among the model's own class names; None when they agree or are not told."""
    own = {str(name).strip().casefold(): int(at) for at, name in names.items()}
    wanted = [label.strip().casefold() for label in labels]
    if not wanted or set(own) != set(wanted) or len(set(wanted)) < len(wanted):
        return None
    order = [own[label] for label in wanted]
    return None if order == list(range(len(order))) else order
