"""A model's folder in hub layout: which head and ending token it was saved with, and writing one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.engine.torch.heads import HeadName
from harness.engine.torch.loading import no_progress_bars
from harness.errors import VictimError

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.model",
    "spiece.model",
)
_TEMPLATES = "additional_chat_templates"


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy a tokenizer's files, its chat templates among them."""
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if (source / _TEMPLATES).is_dir():
        shutil.copytree(source / _TEMPLATES, folder / _TEMPLATES, dirs_exist_ok=True)


def saved_head(folder: Path, labels: Sequence[str]) -> HeadName:
    """Which head the model in ``folder`` was saved with, from its config.json.

    Args:
        labels: of the task; where there are none, a language model answers in text.

    Raises:
        VictimError: no config.json, or an architecture of another sort.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise VictimError(f"{path}: no such file; a model folder needs a config.json")
    names = json.loads(path.read_text(encoding="utf-8")).get("architectures") or []
    if any(str(name).endswith("ForSequenceClassification") for name in names):
        return "classification"
    if any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return "label_tokens" if labels else "generation"
    raise VictimError(f"{path}: architectures {names} have neither a classification nor a language-model head")


def saved_ending(folder: Path) -> int | None:
    """Id of the token that ends an answer of the language model in ``folder``; None where it has none.

    Of several the one that its tokenizer ends a text with, or else the first.
    """
    config = _json(folder / "config.json")
    found: Any = config.get("eos_token_id", config.get("text_config", {}).get("eos_token_id"))
    found = _json(folder / "generation_config.json").get("eos_token_id", found)  # what generation goes by
    if not isinstance(found, list):
        return None if found is None else int(found)
    token = _json(folder / "tokenizer_config.json").get("eos_token")
    known = {one["content"]: one["id"] for one in _json(folder / "tokenizer.json").get("added_tokens", ())}
    tokenizers: Any = known.get(token.get("content") if isinstance(token, dict) else token)
    return int(tokenizers if tokenizers in found else found[0]) if found else None


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def save_description(model: Any, folder: Path) -> None:
    """Write config.json and generation_config.json of a model whose weights stay where they lie."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(str(folder))
    if model.can_generate() and getattr(model, "generation_config", None) is not None:
        model.generation_config.save_pretrained(str(folder))


def save_model(model: Any, folder: Path, *, tokenizer_from: Path | None = None) -> None:
    """Write config.json and model.safetensors, and copy the tokenizer's files from another folder if given, its chat
    templates among them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with no_progress_bars():
        model.save_pretrained(str(folder))
    if tokenizer_from is not None:
        copy_tokenizer(tokenizer_from, folder)
