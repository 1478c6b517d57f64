"""Train a model that lies in a folder, and write it to another: what a defense does in a round."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness.api.victim import Progress
from harness.engine.torch.devices import resolve_device
from harness.engine.torch.heads import HeadName
from harness.engine.torch.loading import load_model, no_progress_bars
from harness.errors import VictimError
from harness.flops import Flops
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.training.config import TrainConfig
from harness.training.loop import train
from harness.training.rows import TrainRow
from harness.training.views import Views

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)


def retrain(
    source: Path,
    folder: Path,
    rows: Sequence[TrainRow] | Views,
    config: TrainConfig,
    *,
    labels: Sequence[str],
    seed: int,
    scratch: Path,
    progress: Progress,
    device: str = "auto",
    what: str = "training",
) -> Flops:
    """Train the model in ``source`` in float32 and write it to ``folder``; arguments otherwise as in `train`.

    The head is the one that ``source`` was saved with (`saved_head`).

    Raises:
        VictimError: as `train` and `load_model`.
    """
    head = saved_head(source, labels)
    where, _ = resolve_device(device)
    model, missing = load_model(source, head, dtype=torch.float32)
    if missing:
        raise VictimError(f"{source}: the file lacks weights that the model needs: {', '.join(missing)}")
    tokenizer = HFTokenizer.from_file(source / "tokenizer.json", rows=int(model.get_input_embeddings().weight.shape[0]))
    model = model.to(where)
    spent = train(
        model,
        tokenizer,
        rows,
        config,
        seed=seed,
        scratch=scratch,
        progress=progress,
        head=head,
        labels=labels,
        what=what,
    )
    save_model(model, folder, tokenizer_from=source)
    return spent


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
    own: Any = known.get(token.get("content") if isinstance(token, dict) else token)
    return int(own if own in found else found[0]) if found else None


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def save_model(model: Any, folder: Path, *, tokenizer_from: Path | None = None) -> None:
    """Write config.json and model.safetensors, and copy the tokenizer's files from another folder if given."""
    folder.mkdir(parents=True, exist_ok=True)
    with no_progress_bars():
        model.save_pretrained(str(folder))
    for name in _TOKENIZER_FILES if tokenizer_from is not None else ():
        if tokenizer_from is not None and (tokenizer_from / name).is_file():
            shutil.copyfile(tokenizer_from / name, folder / name)
