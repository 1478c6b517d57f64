"""A small GPT-NeoX language model that any environment builds the same, bit by bit: for comparisons with others' code.

Weights come from numpy's `RandomState`, whose stream is frozen; the BPE is written down, not trained. Imports nothing
of this project, so that it runs where the project is not installed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers

END = "<|endoftext|>"
HIDDEN, LAYERS, HEADS, CONTEXT = 32, 2, 4, 96
WORDS = """the and you that was for are with his they this have from one had word but not what all were when your can
said there use each which she how their will other about out many then them these some her would make like him into time
has look two more write see number way could people than first water been call who oil now find long down day did get
come made may part yes no sure here good bad pick answer xx"""


def write_folder(folder: Path) -> str:
    """Write config, weights and tokenizer in hub layout, readable by transformers 4 and 5; sha256 of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_bpe()
    weights = random_weights(tokenizer.get_vocab_size())
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config(tokenizer.get_vocab_size())), encoding="utf-8")
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].tobytes())
    return digest.hexdigest()


def config(rows: int) -> dict[str, object]:
    """Configuration, the rotary settings under their old names and their new one."""
    return {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        "vocab_size": rows,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 2 * HIDDEN,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "gelu",
        "use_parallel_residual": True,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": 0,
        "rotary_pct": 0.25,
        "rotary_emb_base": 10000,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        "torch_dtype": "float32",
    }


def random_weights(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights by name, large enough that one token changes the loss visibly."""
    random = np.random.RandomState(seed)  # a newer generator may change its stream

    def normal(*shape: int, scale: float) -> np.ndarray:
        return (scale * random.standard_normal(shape)).astype(np.float32)

    found = {"gpt_neox.embed_in.weight": normal(rows, HIDDEN, scale=1.0)}
    for layer in range(LAYERS):
        for name, out, width in (
            ("attention.query_key_value", 3 * HIDDEN, HIDDEN),
            ("attention.dense", HIDDEN, HIDDEN),
            ("mlp.dense_h_to_4h", 2 * HIDDEN, HIDDEN),
            ("mlp.dense_4h_to_h", HIDDEN, 2 * HIDDEN),
        ):
            found[f"gpt_neox.layers.{layer}.{name}.weight"] = normal(out, width, scale=2.0 / width**0.5)
            found[f"gpt_neox.layers.{layer}.{name}.bias"] = normal(out, scale=0.1)
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"gpt_neox.layers.{layer}.{name}.weight"] = 1 + normal(HIDDEN, scale=0.1)
            found[f"gpt_neox.layers.{layer}.{name}.bias"] = normal(HIDDEN, scale=0.1)
    found["gpt_neox.final_layer_norm.weight"] = 1 + normal(HIDDEN, scale=0.1)
    found["gpt_neox.final_layer_norm.bias"] = normal(HIDDEN, scale=0.1)
    found["embed_out.weight"] = normal(rows, HIDDEN, scale=0.5)
    return found


def byte_bpe() -> tokenizers.Tokenizer:
    """A byte-level BPE: all bytes, and the beginnings of some words with and without a space before them."""
    vocabulary = {END: 0} | {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), 1)}
    merges: list[tuple[str, str]] = []
    for piece in [space + word for word in WORDS.split() for space in ("Ġ", "")]:  # Ġ is the byte of a space
        for end in range(1, len(piece)):
            if piece[: end + 1] not in vocabulary:
                vocabulary[piece[: end + 1]] = len(vocabulary)
                merges.append((piece[:end], piece[end]))
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END])
    return tokenizer
