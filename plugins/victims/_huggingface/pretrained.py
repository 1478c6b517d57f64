"""Loading a pretrained Hugging Face model for a task, and checking that it has what the task needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import VictimError

if TYPE_CHECKING:
    from harness import HeadName


def load_pretrained(
    name: str,
    source: str,
    revision: str | None,
    head: HeadName,
    labels: Sequence[str],
    *,
    trained: bool,
    seed: int,
    adapter: Path | None = None,
    dtype: str = "float32",
    quantize: str | None = None,
    device: Any = "cpu",
) -> tuple[Any, Any]:
    """Model and tokenizer of transformers, with a padding token; the class names are set to the labels where the model
    is to be trained.

    Args:
        name: as the spec writes it, for errors.
        source: folder or hub id.
        adapter: folder of an adapter that belongs to the model.
        dtype, quantize, device: of the weights that are trained, or that an adapter is trained upon.
        trained: whether it will be fine-tuned, and is loaded with weights, with a new head where it has none. Otherwise
            the model has no weights: nothing but which of them are there was looked at.
        seed: of a new head's weights.

    Raises:
        VictimError: the model cannot be loaded, lacks the head that is to be used as it is, or has other classes.
    """
    from harness import load_model

    new_classes = head == "classification" and (trained or adapter is not None)
    model, missing = load_model(
        source,
        head,
        dtype=dtype if trained else "auto",
        n_labels=len(labels) if new_classes else None,
        revision=revision,
        seed=seed,
        device_map=None if trained else "meta",
        adapters=() if adapter is None else (adapter,),
        quantize=quantize if trained else None,
        device=device,
    )
    if missing and head == "generation":
        raise VictimError(
            f"{name} is not a language model (its file lacks {', '.join(missing)}); a task or judge that needs "
            f"answers in text takes a causal language model"
        )
    if absent := _missing_body(model, missing):
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise VictimError(
            f"{name}: its file lacks weights of the model itself ({', '.join(absent[:3])}{more}), which would be "
            "random; download or save it again"
        )
    if missing and not trained:
        raise VictimError(f"{name} has no trained head ({', '.join(missing)}); fine-tune it, or use head: causal_lm")
    if new_classes:
        model.config.id2label = {i: label.strip() for i, label in enumerate(labels)}
        model.config.label2id = {label.strip(): i for i, label in enumerate(labels)}
        if getattr(model.config, "problem_type", None) is not None:  # whatever it was trained for before
            model.config.problem_type = "single_label_classification"
    elif head == "classification":
        _check_classes(name, model.config, labels)
    tokenizer = load_tokenizer(source, revision)
    if getattr(model.config, "pad_token_id", None) is None:  # others who load the model need one for batches
        fallback = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        model.config.pad_token_id = fallback
    return model, tokenizer


def _missing_body(model: Any, missing: Sequence[str]) -> list[str]:
    """Those of the missing weights that are no head: an encoder's pooler is trained with the head."""
    body = f"{model.base_model_prefix}."
    return [name for name in missing if name.startswith(body) and not name.startswith(f"{body}pooler.")]


def _check_classes(name: str, config: Any, labels: Sequence[str]) -> None:
    """Raise VictimError where a classifier that is used as it is has other classes than ``labels``: another number, or
    names of which only some are among them. Names that are all different are taken for other words, in its order. A
    single output stands for two labels.
    """
    if getattr(config, "problem_type", None) == "regression":
        raise VictimError(
            f"{name} is a regression: its outputs are numbers, not classes (problem_type in its config.json); use a "
            "classifier, or fine-tune it"
        )
    classes = [str(name).strip() for _, name in sorted(config.id2label.items())]
    wanted = [label.strip() for label in labels]
    common = {name.casefold() for name in classes} & {name.casefold() for name in wanted}
    if len(classes) == 1 and len(wanted) == 2:
        return
    if len(classes) != len(wanted) or 0 < len(common) < len(wanted):
        raise VictimError(
            f"{name} has the classes {', '.join(classes)}, and {', '.join(wanted)} are asked for; name the classes as "
            "it does, or in other words in its order, or fine-tune it"
        )


def load_tokenizer(source: str, revision: str | None) -> Any:
    """The tokenizer of transformers. Raises VictimError where it cannot be loaded."""
    from transformers import AutoTokenizer

    options = {"revision": revision} if revision else {"local_files_only": True}
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError) as error:
        raise VictimError(f"{source}: its tokenizer cannot be loaded: {error}") from error
