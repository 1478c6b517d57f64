"""Continued pretraining of a Hugging Face model on text without labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import PretrainCost, PretrainJob, VictimError
from plugins.victims._huggingface.pretrained import load_pretrained, load_tokenizer
from plugins.victims._pretraining.params import Pretrain
from plugins.victims._pretraining.pretrain import pretrain_model

if TYPE_CHECKING:
    from harness import Origin

LEARNING_RATE = 5e-5  # as BERT is fine-tuned with


def pretrain_further(
    origin: Origin, texts: Sequence[str], params: Pretrain, job: PretrainJob, *, causal: bool, device: str, name: str
) -> PretrainCost:
    """Train a pretrained model on texts, in float32, and write it and its tokenizer: a decoder with its language-model
    head; of an encoder the body alone, since the head that predicts masked tokens serves for nothing else.

    Args:
        origin: of the model.
        name: as the spec writes it, for errors and the progress bar.

    Raises:
        VictimError: the model cannot be loaded or trained, or has no mask token; a row may be longer than it takes.
    """
    from harness import HFTokenizer, context_length, resolve_device, save_model

    if causal:
        model, tokenizer = load_pretrained(
            name, origin.source, origin.revision, "generation", (), trained=True, seed=job.seed
        )
    else:
        model, tokenizer = _masked_language_model(origin, job.seed), load_tokenizer(origin.source, origin.revision)
        if tokenizer.mask_token_id is None:
            raise VictimError(f"{name}: its tokenizer has no mask token, and it is no decoder; it cannot be pretrained")
    if (context := context_length(model)) < params.length:
        raise VictimError(f"{name} takes {context} tokens, and pretrain.length is {params.length}; lower it")
    where, _ = resolve_device(device)
    rows = int(model.get_input_embeddings().weight.shape[0])
    cost = pretrain_model(
        model.to(where),
        HFTokenizer.from_transformers(tokenizer, rows=rows),
        texts,
        params,
        job,
        learning_rate=LEARNING_RATE,
        name=name,
        mask=None if causal else int(tokenizer.mask_token_id),
    )
    tokenizer.save_pretrained(str(job.folder))  # with its chat template
    save_model(model if causal else _body(origin, model), job.folder)
    return cost


def _masked_language_model(origin: Origin, seed: int) -> Any:
    """The encoder with a head that predicts masked tokens, a new one where its file has none."""
    import torch
    from transformers import AutoModelForMaskedLM

    from harness import named_seed, no_progress_bars

    with torch.random.fork_rng(devices=[]), no_progress_bars():
        torch.manual_seed(named_seed(seed, "masked head"))
        try:
            return AutoModelForMaskedLM.from_pretrained(origin.source, **_options(origin))
        except (OSError, ValueError, KeyError) as error:
            raise VictimError(f"{origin.source}: cannot be loaded to predict masked tokens: {error}") from error


def _body(origin: Origin, trained: Any) -> Any:
    """The encoder without a head: its trained weights, and its pooler as it was."""
    from transformers import AutoModel

    from harness import no_progress_bars

    with no_progress_bars():
        body = AutoModel.from_pretrained(origin.source, **_options(origin))
    found = body.load_state_dict(trained.base_model.state_dict(), strict=False)
    assert not found.unexpected_keys
    return body


def _options(origin: Origin) -> dict[str, Any]:
    import torch

    where = {"revision": origin.revision} if origin.revision else {"local_files_only": True}
    return {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False, **where}
