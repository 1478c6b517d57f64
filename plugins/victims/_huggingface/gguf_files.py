"""Models in GGUF files: what their metadata says, and a copy in hub layout that everything else works with.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import VictimError
from plugins.victims._huggingface.content_hashes import file_hash
from plugins.victims._huggingface.quantization import Shapes

CACHE = "HARNESS_CACHE"
"""Environment variable that names the folder of the copies; by default one in the user's cache."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_CONFIG = {  # names in config.json of what is found under the architecture's name
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "vocab_size": "vocab_size",
}
TEMPLATE = "tokenizer.chat_template"
_TABLES = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def gguf_file(path: Path) -> Path | None:
    """The GGUF file that a path names: itself, or the one in a folder without a config.json.

    Raises:
        VictimError: a folder with several.
    """
    if path.suffix.casefold() == ".gguf":
        return path
    if not path.is_dir() or (path / "config.json").exists():
        return None
    found = sorted(one for one in path.iterdir() if one.suffix.casefold() == ".gguf")
    if len(found) > 1:
        raise VictimError(f"{path}: has {len(found)} GGUF files; name one: {path / found[0].name}")
    return found[0] if found else None


def read_gguf(file: Path) -> tuple[dict[str, Any], Shapes]:
    """What a GGUF file says: a configuration as in config.json, as far as sizes go, and the shape of each parameter.

    Not gguf's own reader, which takes seconds for the vocabulary and need not be installed for a plan.

    Raises:
        VictimError: it is not there, or no GGUF file.
    """
    try:
        stat = file.stat()
    except OSError as error:
        raise VictimError(f"{file}: {error.strerror or error}") from error
    return _read(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _read(file: Path, _size: int, _changed: int) -> tuple[dict[str, Any], Shapes]:
    try:
        with file.open("rb") as stream:
            if stream.read(4) != b"GGUF" or not 2 <= _number(stream, "I") <= 3:
                raise VictimError(f"{file}: not a GGUF file of version 2 or 3; download it again")
            tensors, pairs = _number(stream, "Q"), _number(stream, "Q")
            metadata = dict(_pair(stream) for _ in range(pairs))
            shapes = dict(_tensor(stream) for _ in range(tensors))
    except (OSError, struct.error, UnicodeDecodeError, KeyError, OverflowError, MemoryError) as error:
        raise VictimError(
            f"{file}: not a complete GGUF file ({type(error).__name__}: {error}); download it again"
        ) from error
    parameters = {_plain(name): shape for name, shape in shapes.items() if name not in _TABLES}
    return _config(metadata, shapes) | {TEMPLATE: metadata.get(TEMPLATE)}, parameters


def _config(metadata: dict[str, Any], shapes: Shapes) -> dict[str, Any]:
    kind = str(metadata.get("general.architecture", "unknown"))
    sizes = {name: metadata.get(f"{kind}.{key}") for name, key in _CONFIG.items()}
    sizes["vocab_size"] = sizes["vocab_size"] or next(iter(shapes.get("token_embd.weight", ())), None)
    return {
        "model_type": kind,
        "architectures": ["ForCausalLM"],
        "tie_word_embeddings": "output.weight" not in shapes,
        **{name: max(size) if isinstance(size, list) else size for name, size in sizes.items() if size},
    }


def _plain(name: str) -> str:
    return "lm_head.weight" if name == "output.weight" else name


def _number(stream: BufferedReader, form: str) -> Any:
    form = f"<{form}"
    return struct.unpack(form, stream.read(struct.calcsize(form)))[0]


def _string(stream: BufferedReader) -> str:
    return stream.read(_number(stream, "Q")).decode("utf-8", "replace")


def _pair(stream: BufferedReader) -> tuple[str, Any]:
    return _string(stream), _value(stream, _number(stream, "I"))


def _value(stream: BufferedReader, kind: int) -> Any:
    if kind == _STRING:
        return _string(stream)
    if kind != _ARRAY:
        return _number(stream, _SCALARS[kind])
    of, count = _number(stream, "I"), _number(stream, "Q")
    if of in _SCALARS:
        form = f"<{count}{_SCALARS[of]}"
        return list(struct.unpack(form, stream.read(struct.calcsize(form))))
    return [_value(stream, of) for _ in range(count)]


def _tensor(stream: BufferedReader) -> tuple[str, tuple[int, ...]]:
    name = _string(stream)
    shape = tuple(reversed([_number(stream, "Q") for _ in range(_number(stream, "I"))]))
    stream.read(12)  # its coding, and where it lies
    return name, shape


def in_hub_layout(file: Path) -> Path:
    """A folder in hub layout with a GGUF file's model in float32, its tokenizer and chat template; made once for each
    content and version of transformers.

    Raises:
        VictimError: the package gguf is missing, or transformers cannot read the file.
    """
    read_gguf(file)  # for a better word than transformers has about other files
    folder = _cache() / "gguf" / f"{file_hash(file)[:32]}-transformers-{version('transformers')}"
    if (folder / "config.json").is_file():
        return folder
    if find_spec("gguf") is None:
        raise VictimError(f"{file}: GGUF files are read with a package that is missing; run: pip install gguf")
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "config.json").is_file():
            _write(folder, lambda partial: _convert(file, partial))
    return folder


def _write(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder that is there whole or not at all."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        fill(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from harness import no_progress_bars, save_model

    try:
        with TemporaryDirectory() as alone:  # what lies next to the file is not read
            (Path(alone) / "model.gguf").symlink_to(file.resolve())
            where = {"pretrained_model_name_or_path": alone, "gguf_file": "model.gguf", "local_files_only": True}
            with no_progress_bars():
                model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**where)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError, TypeError) as error:
        why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise VictimError(f"{file}: transformers cannot read it: {why}") from error
    template = read_gguf(file)[0][TEMPLATE]
    if template and not tokenizer.chat_template:
        tokenizer.chat_template = template
    # transformers saves nothing that it calls quantised; these weights no longer are.
    del model.config.quantization_config
    model.is_quantized, model.hf_quantizer = False, None
    save_model(model, folder)
    tokenizer.save_pretrained(str(folder))


def _cache() -> Path:
    base = os.environ.get(CACHE)
    if base:
        return Path(base).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robustness-harness"
