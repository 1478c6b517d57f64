"""Tiny random models and real small tokenizers in hub layout, for tests; nothing is downloaded."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    GPTNeoXConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

torch.set_num_threads(1)  # at these sizes threads cost more than they bring

CORPUS = [
    "The quick brown fox jumps over the lazy dog.",
    "System password: apple User password: pear",
    "Is the first word at least as long as the second word? Answer: FIRST or SECOND",
    "good great fine bad awful poor POSITIVE NEGATIVE",
    string.printable,
] * 4
LABELS = (" NEGATIVE", " POSITIVE")
KINDS = ("gpt_neox", "qwen2", "bert")


def byte_bpe(vocabulary: int = 400, *, bos: bool = False) -> tokenizers.Tokenizer:
    """A byte-level BPE tokenizer like GPT-NeoX's (``bos``: a special token before every prompt, like Llama's)."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>", "<|padding|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([tokenizers.AddedToken("        ", normalized=True), tokenizers.AddedToken("<tool>")])
    if bos:
        template = processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
        tokenizer.post_processor = template
    return tokenizer


def word_piece() -> tokenizers.Tokenizer:
    """A lower-casing WordPiece tokenizer with [CLS] and [SEP], like BERT's."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    ids = {name: tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]")}
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=list(ids.items()))
    return tokenizer


def config_of(kind: str, rows: int, *, hidden: int = 32, layers: int = 2, labels: int = 2, context: int = 128) -> Any:
    """Configuration of a tiny model with ``rows`` embedding rows."""
    common: dict[str, Any] = {
        "vocab_size": rows,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": context,
        "num_labels": labels,
    }
    if kind == "gpt_neox":
        return GPTNeoXConfig(**common, bos_token_id=0, eos_token_id=0, pad_token_id=1)
    if kind == "qwen2":
        return Qwen2Config(**common, num_key_value_heads=2, tie_word_embeddings=True, pad_token_id=1)
    return BertConfig(**common, pad_token_id=0)


def random_model(kind: str, head: str, rows: int, *, seed: int = 0, scale: float = 5.0, **sizes: int) -> Any:
    """A model with random weights, made large enough that its answers differ visibly between inputs."""
    language = head == "label_tokens"
    return scaled_model(config_of(kind, rows, **sizes), language, seed=seed, scale=scale).eval()


def scaled_model(config: Any, language: bool, *, seed: int = 0, scale: float = 5.0) -> Any:
    """A language model, or a classifier, whose random matrices are made larger."""
    auto = AutoModelForCausalLM if language else AutoModelForSequenceClassification
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = auto.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(scale)
    return model


def fast_tokenizer(kind: str, *, bos: bool = False) -> PreTrainedTokenizerFast:
    """The transformers tokenizer that goes with a kind of model."""
    if kind == "bert":
        special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        return PreTrainedTokenizerFast(tokenizer_object=word_piece(), mask_token="[MASK]", **special)
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_bpe(bos=bos), eos_token="<|endoftext|>", pad_token="<|padding|>"
    )


def write_folder(
    folder: Path, kind: str, head: str = "classification", *, padded_rows: int = 8, **options: Any
) -> Path:
    """A model folder as `save_pretrained` writes it; the embedding has some rows more than the tokenizer has tokens."""
    tokenizer = fast_tokenizer(kind)
    model = random_model(kind, head, len(tokenizer) + padded_rows, **options)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder
