"""What is known of a model before it is loaded: its size, its family, and what memory it needs."""

from __future__ import annotations

from dataclasses import replace

from harness import MemoryFacts, ModelShape, TaskData, VictimCard
from plugins.victims._huggingface import model_files as model_files
from plugins.victims._huggingface.adapter_files import adapter_parameters
from plugins.victims._huggingface.fine_tuning import FineTune, trained_share
from plugins.victims._huggingface.given_model import GivenModel
from plugins.victims._huggingface.published.presets import find_preset
from plugins.victims._huggingface.quantization import gives_gradients
from plugins.victims._text_lengths import mean_reply_chars

_SCALES = 0.07  # bytes per weight, of the scales of its block; as bitsandbytes keeps them


def model_card(given: GivenModel, classes: int | None) -> VictimCard:
    """Facts from the preset table, or from config.json and the header of the weights. Of quantised weights the size is
    that of the model they stand for, or unknown.

    Args:
        classes: of a classification head; None: it is a language model.

    Raises:
        VictimError: a folder without them, or a hub that cannot be reached.
    """
    params = given.params
    preset = find_preset(params.model)
    if preset is not None:
        n_params = preset.as_language_model if classes is None else preset.as_classifier(classes)
        body, tokens = preset.non_embedding + preset.embedding, preset.pretraining_tokens
        return _card(given, preset.family, n_params, body, tokens, preset.context, classes)
    config = model_files.read_config(given.place, given.revision)
    shapes = model_files.read_shapes(given.place, given.revision)
    if classes == 2 and params.fine_tune is None and model_files.class_count(config) == 1:
        classes = 1  # a single output that says yes or no
    n_params = model_files.count_parameters(shapes, config, classes=classes)
    text = config.get("text_config") or config
    context = int(text.get("max_position_embeddings") or text.get("n_positions") or 2048)
    family = str(config.get("model_type", "unknown"))
    quantised = model_files.read_quantization(given.place, given.revision)
    if params.adapter is not None and (quantised or params.quantize) and n_params is not None:
        n_params += adapter_parameters(params.adapter, params.adapter_revision)  # it cannot be merged
    card = _card(given, family, n_params, n_params, None, context, classes)
    return card if gives_gradients(quantised) else replace(card, access="scores")


def _card(
    given: GivenModel,
    family: str,
    n_params: int | None,
    body: int | None,
    tokens: float | None,
    context: int,
    classes: int | None,
) -> VictimCard:
    params = given.params
    tokens = params.pretraining_tokens or tokens
    flops = params.pretraining_flops or (6.0 * body * tokens if body and tokens else None)
    return VictimCard(params.family or family, n_params, flops, "latent", context, language_model=classes is None)


def memory_facts(given: GivenModel, card: VictimCard, data: TaskData) -> MemoryFacts | None:
    """What its need of memory follows from: the preset table or config.json, and how it is trained and used."""
    params = given.params
    training: FineTune | None = params.fine_tune
    preset = find_preset(params.model)
    config = {} if preset else model_files.read_config(given.place, given.revision)
    shape, n_params = preset.shape if preset else ModelShape.from_config(config), card.n_params
    if shape is None or n_params is None:
        return None
    return MemoryFacts(
        n_params,
        shape,
        batch=training.batch_size if training else 0,
        states=2.0 if training and training.optimizer == "adamw" else 0.0,
        trained=trained_share(training, shape, n_params),
        reads_vocabulary=card.language_model,
        reply_tokens=None if data.labels else mean_reply_chars(data) / card.chars_per_token,
        dtype=params.dtype,
        device=params.device,
        engine=params.backend != "torch",
        weight_bytes=_bytes_of_weights(params.quantize, shape, n_params),
    )


def _bytes_of_weights(quantize: str | None, shape: ModelShape, n_params: int) -> float | None:
    """Bytes per parameter of weights that are quantised on load, embeddings, which are not, among them."""
    if quantize is None:
        return None
    per_weight = {"int8": 1.0, "int8_torchao": 1.0}.get(quantize, 0.5) + _SCALES
    whole = min(n_params, 2 * shape.vocabulary * shape.hidden)  # the output embedding may be a matrix of its own
    return (per_weight * (n_params - whole) + 4.0 * whole) / n_params
