"""Chat templates of the families in use, in our own words, each with a small trained tokenizer of its kind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from harness.tokens.split_points import PATTERNS
from tests.engine.hub_models import CORPUS

_GPT2, _LLAMA3, _QWEN, *_ = PATTERNS


@dataclass(frozen=True)
class Family:
    """A family of chat models.

    Attributes:
        template: Jinja.
        special: its special tokens; the first begins a text where ``bos`` says so.
        pattern: of a byte-level tokenizer; None: one like SentencePiece's.
        bos, eos: special tokens.
        added: tokens that are no special ones.
        system: whether it takes a system message; ``tool``: a tool's result.
    """

    template: str
    special: tuple[str, ...]
    eos: str
    bos: str | None = None
    pattern: str | None = _LLAMA3
    added: tuple[str, ...] = ()
    rstrip: bool = False
    system: bool = True
    tool: bool = False


_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_SMOLLM2 = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a small model that helps.<|im_end|>\\n' }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set lead = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set lead = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must take turns') }}{% endif %}"
    "{% if m.role == 'user' %}{% set said = (lead if loop.first else '') + m.content %}"
    "{{ bos_token + '[INST] ' + said.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
_LLAMA3 = (
    "{{ bos_token }}{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    "{% endif %}"
    "{% if messages[0].role == 'system' %}{% set said = messages[0].content | trim %}{% set rest = messages[1:] %}"
    "{% else %}{% set said = '' %}{% set rest = messages %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday: {{ date_string }}\n\n{{ said }}<|eot_id|>"
    "{% for m in rest %}{{ '<|start_header_id|>' + ('ipython' if m.role == 'tool' else m.role)"
    " + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
_MISTRAL = (
    "{% if messages[0].role == 'system' %}{% set lead = messages[0].content + '\\n\\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set lead = '' %}{% set rest = messages %}{% endif %}{{ bos_token }}"
    "{% for m in rest %}{% if m.role == 'user' %}"
    "{{ '[INST] ' + (lead if loop.last else '') + m.content + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
_GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n'"
    " + m.content | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
_PHI3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
_QWEN3 = (
    "{% for m in messages %}{% set text = m.content %}{% if m.role == 'assistant' and '</think>' in text %}"
    "{% set text = text.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "{% if m.role == 'tool' %}"
    "{{ '<|im_start|>user\\n<tool_response>\\n' + text + '\\n</tool_response><|im_end|>\\n' }}"
    "{% elif m.role == 'assistant' and loop.last %}"
    "{{ '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + text + '<|im_end|>\\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\\n' + text + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{% endif %}"
)
_R1 = (
    "{{ bos_token }}{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% elif m.role == 'assistant' %}"
    "{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}"
    "{% elif m.role == 'tool' %}{{ '<｜tool▁output｜>' + m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"
)
_ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + eos_token + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
_IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
FAMILIES = {
    "chatml": Family(_CHATML, _IM, "<|im_end|>", pattern=_QWEN, tool=True),
    "llama2": Family(_LLAMA2, ("<s>", "</s>"), "</s>", "<s>", pattern=None),
    "llama3": Family(
        _LLAMA3,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>",
        "<|begin_of_text|>",
        tool=True,
    ),
    "mistral": Family(_MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", "<s>", pattern=None),
    "gemma": Family(
        _GEMMA, ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<eos>", "<bos>", pattern=None, system=False
    ),
    "phi3": Family(
        _PHI3,
        ("<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        "<|endoftext|>",
        "<s>",
        pattern=None,
        rstrip=True,
    ),
    "qwen3": Family(_QWEN3, _IM, "<|im_end|>", pattern=_QWEN, added=("<think>", "</think>"), tool=True),
    "deepseek_r1": Family(
        _R1,
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        "<｜end▁of▁sentence｜>",
        "<｜begin▁of▁sentence｜>",
        added=("<think>", "</think>"),
        tool=True,
    ),
    "zephyr": Family(_ZEPHYR, ("<s>", "</s>"), "</s>", "<s>", pattern=None),
    "smollm2": Family(_SMOLLM2, _IM, "<|im_end|>", "<|im_start|>", pattern=_GPT2, tool=True),
}
TEXTS = [*CORPUS, "system user assistant model tool think You are a small model that helps. Today: 26 Jul 2024"] * 2


def _byte_level(family: Family) -> tokenizers.Tokenizer:
    rust = tokenizers.Tokenizer(models.BPE())
    assert family.pattern is not None
    split = pre_tokenizers.Split(Regex(family.pattern), "isolated")
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    rust.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=list(family.special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    rust.train_from_iterator(TEXTS, trainer)
    return rust


def _sentence_pieces(family: Family) -> tokenizers.Tokenizer:
    fallback = [f"<0x{i:02X}>" for i in range(256)]
    special = ["<unk>", *family.special]
    rust = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    rust.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    rust.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(vocab_size=520, special_tokens=[*special, *fallback], show_progress=False)
    rust.train_from_iterator(TEXTS, trainer)
    rust.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    data = json.loads(rust.to_str())
    data["pre_tokenizer"] = None
    data["model"]["byte_fallback"] = True
    data["added_tokens"] = data["added_tokens"][: len(special)]  # as in real files the bytes are ordinary tokens
    for token in data["added_tokens"]:
        token["rstrip"] = family.rstrip and token["content"].startswith("<|")
    return tokenizers.Tokenizer.from_str(json.dumps(data))


@cache
def tokenizer_of(name: str) -> Any:
    """The tokenizer of a family, as transformers has it."""
    family = FAMILIES[name]
    rust = _byte_level(family) if family.pattern else _sentence_pieces(family)
    rust.add_tokens([AddedToken(text, special=False, normalized=False) for text in family.added])
    if family.bos and name != "smollm2":
        first = rust.token_to_id(family.bos)
        rust.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, first)]
        )
    others = [token for token in family.special if token not in (family.bos, family.eos)]
    return PreTrainedTokenizerFast(
        tokenizer_object=rust,
        bos_token=family.bos,
        eos_token=family.eos,
        additional_special_tokens=others,
        chat_template=family.template,
        clean_up_tokenization_spaces=False,
    )
