"""The texts of a pretraining: read, put in turns, and cut to length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness import TaskData, Tokenizer, VictimError
from plugins.victims._pretraining.params import Pretrain

_GAP = re.compile(r"\s+")


def read_texts(params: Pretrain, tasks: Sequence[TaskData]) -> list[str]:
    """All texts of all sources, a text of each source in turn, so that the first ones are a sample of all.

    Args:
        tasks: data of ``params.tasks``.

    Raises:
        VictimError: a source cannot be read, or has no text.
    """
    sources: list[list[str]] = []
    if params.file is not None:
        sources.append(_lines(params.file))
    for ref, data in zip(params.tasks, tasks, strict=True):
        prompts = [example.text for example in data.train if example.text.strip()]
        if not prompts:
            raise VictimError(f"pretrain.tasks: {ref.name} has no training prompts; name a task that has, or a file")
        sources.append(prompts)
    if params.words is not None:
        sources.append(params.words.texts())
    return list(_in_turns(sources))


def cut_texts(texts: Iterable[str], tokenizer: Tokenizer, longest: int) -> tuple[list[str], int]:
    """The texts in their order, those of more than ``longest`` tokens cut at white space near their middle, and again;
    and how many pieces were left out, which have less than two tokens or no white space to cut at.
    """
    found: list[str] = []
    dropped, given = 0, list(texts)
    for text, ids in zip(given, tokenizer.encode(given), strict=True):
        todo = [(text, len(ids))]
        while todo:
            piece, tokens = todo.pop()
            if 2 <= tokens <= longest:
                found.append(piece)
            elif tokens > longest and (halves := _halves(piece)):
                counts = [len(half) for half in tokenizer.encode(halves)]
                todo += reversed([*zip(halves, counts, strict=True)])
            else:
                dropped += 1
    return found, dropped


def _halves(text: str) -> tuple[str, str] | None:
    gaps = [gap.start() for gap in _GAP.finditer(text) if gap.start() > 0 and gap.end() < len(text)]
    if not gaps:
        return None
    at = min(gaps, key=lambda gap: abs(2 * gap - len(text)))
    return text[:at], text[at:].lstrip()


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise VictimError(
            f"pretrain.file: {path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except OSError as error:
        raise VictimError(
            f"pretrain.file: {path} cannot be read ({error.strerror or error}); correct the path"
        ) from None
    found = [line for line in lines if line.strip()]
    if not found:
        raise VictimError(f"pretrain.file: {path} holds no text; give a file with a text on each line")
    return found


def _in_turns(sources: Sequence[Sequence[str]]) -> Iterable[str]:
    for at in range(max(map(len, sources))):
        for source in sources:
            if at < len(source):
                yield source[at]
