"""The tokenizer of a served model: a tokenizer.json from a folder or the hub."""

from __future__ import annotations

import json
from pathlib import Path

from harness import VictimError
from plugins.victims._huggingface.model_files import check_hub_id, first_line, is_local, local_folder

_CHAT_FILES = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def tokenizer_file(tokenizer: str, revision: str | None) -> Path:
    """The tokenizer.json of a folder or hub id.

    Raises:
        VictimError: there is none, or the hub cannot be reached and it is not in the cache.
    """
    if is_local(tokenizer):
        folder = local_folder(tokenizer)
        if not (folder / "tokenizer.json").is_file():
            raise VictimError(f"{folder}: no tokenizer.json; save the model's fast tokenizer into it")
        return folder / "tokenizer.json"
    from huggingface_hub import hf_hub_download

    check_hub_id(tokenizer)
    try:
        return Path(hf_hub_download(tokenizer, "tokenizer.json", revision=revision, etag_timeout=5.0))
    except Exception as error:  # network and hub errors of many unrelated classes
        raise VictimError(
            f"tokenizer {tokenizer}: not a folder, and neither hub nor local cache has its tokenizer.json "
            f"({first_line(error)})"
        ) from error


def template_files(file: Path, tokenizer: str, revision: str | None) -> list[Path]:
    """The files next to a tokenizer.json that tell its chat template and its special tokens by name, those there are.

    Args:
        file: the tokenizer.json.
        tokenizer, revision: as in `tokenizer_file`.
    """
    if is_local(tokenizer):
        return [file.parent / name for name in _CHAT_FILES if (file.parent / name).is_file()]
    from huggingface_hub import hf_hub_download

    found = []
    for name in _CHAT_FILES:
        try:
            found.append(Path(hf_hub_download(tokenizer, name, revision=revision, etag_timeout=5.0)))
        except Exception:  # most repositories lack some of them
            continue
    return found


def vocabulary_size(tokenizer: Path) -> int | None:
    """Rows of the model's embedding, by a config.json next to its tokenizer.json; None where there is none."""
    config = tokenizer.parent / "config.json"
    if not config.is_file():
        return None
    data = json.loads(config.read_text(encoding="utf-8"))
    rows = (data.get("text_config") or data).get("vocab_size")
    return rows if isinstance(rows, int) else None
