"""Special tokens that are spelled out in a text, such as ``</s>``: in data they are text, in the prompt's own fixed
parts they are the tokens (as chat markers are written).

A tokenizer that reads texts so is the given one with another spelling for its special tokens, which no text has; where
they count, the texts are spelled so. The switch of `tokenizers` (``encode_special_tokens``, transformers'
``split_special_tokens``) does not do: it is for whole texts, and Unigram models find the tokens in their vocabulary
all the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tokenizers

_MARK = "\ue0a5\ue0a7"  # private characters
_HIDDEN = "\ue0a5\ue0a8"
_FIRST = 0xF0000  # of the private characters that tell special tokens apart


@dataclass(frozen=True)
class FixedParts:
    """What every prompt of a task begins and ends with: special tokens that are spelled out there are meant.

    Attributes:
        everywhere: they are meant wherever they stand.
    """

    prefix: str = ""
    suffix: str = ""
    everywhere: bool = False


EVERYWHERE = FixedParts(everywhere=True)

NOWHERE = FixedParts()
_parts: ContextVar[FixedParts] = ContextVar("_parts", default=NOWHERE)


@contextmanager
def special_tokens_in(parts: FixedParts) -> Iterator[None]:
    """Within this block tokenizers are made that take special tokens for such in these parts of a text alone."""
    token = _parts.set(parts)
    try:
        yield
    finally:
        _parts.reset(token)


def current_parts() -> FixedParts:
    """Where tokenizers that are made now find special tokens: nowhere, unless within `special_tokens_in`."""
    return _parts.get()


class SpecialTokenSpelling:
    """How special tokens are spelled for the tokenizer that takes none of their usual spellings.

    Attributes:
        rust: that tokenizer; ids are those of the one it was made of.
        unspelled: special ids that count as such in fixed parts alone.
        everywhere: they count wherever they are spelled.
    """

    def __init__(self, rust: tokenizers.Tokenizer, special: Iterable[int], parts: FixedParts) -> None:
        """Take a tokenizer whose special tokens are those that it says, and these ids."""
        import tokenizers

        data = json.loads(rust.to_str())
        ids = frozenset(special)
        found = [token for token in data["added_tokens"] if token["special"] or token["id"] in ids]
        if parts.everywhere:
            found = []  # then the tokenizer reads them itself
        self.unspelled = frozenset(int(token["id"]) for token in found)
        self._spelled = {token["content"]: f"{_MARK}{chr(_FIRST + at)}" for at, token in enumerate(found)}
        self._pattern = re.compile("|".join(map(re.escape, sorted(self._spelled, key=len, reverse=True))) or r"(?!)")
        self.everywhere = parts.everywhere
        self._parts, self._prefix, self._suffix = parts, self.marked(parts.prefix), self.marked(parts.suffix)
        self.rust = tokenizers.Tokenizer.from_str(json.dumps(_respelled(data, self._spelled))) if found else rust

    def text(self, text: str) -> str:
        """A text as `rust` is to read it."""
        parts, before, after = self._parts, "", ""
        if self._prefix != parts.prefix and text.startswith(parts.prefix):
            before, text = self._prefix, text[len(parts.prefix) :]
        if self._suffix != parts.suffix and text.endswith(parts.suffix):
            after, text = self._suffix, text[: len(text) - len(parts.suffix)]
        return before + text + after

    def marked(self, text: str) -> str:
        """The text with our spelling of all special tokens in it."""
        return self._pattern.sub(lambda match: self._spelled[match[0]], text)

    def rendered(self, render: Callable[[Callable[[str], str]], str]) -> str:
        """What a template makes of data, as `rust` is to read it: its own special tokens are meant, those that the data
        spell are text.

        Args:
            render: called with what is to be done to data before they are put into the template.
        """
        return self._read(render(self._hidden))

    def with_data(self, text: str, data: Iterable[str]) -> str | None:
        """A text in which special tokens are meant, but for those that these parts of it spell, as `rust` is to read
        it; None where they spell none.
        """
        hidden = text
        for part in sorted(set(data), key=len, reverse=True):
            if part:
                hidden = hidden.replace(part, self._hidden(part))
        return None if hidden == text else self._read(hidden)

    def _hidden(self, text: str) -> str:
        """A text whose special tokens are told apart from those around it."""
        return self._pattern.sub(lambda match: _HIDDEN + self._spelled[match[0]][len(_MARK) :], text)

    def _read(self, rendered: str) -> str:
        """The text with our spelling of all special tokens but the hidden ones, which are spelled as ever."""
        marked = self.marked(rendered)
        if _HIDDEN in marked:
            for content, spelled in self._spelled.items():
                marked = marked.replace(_HIDDEN + spelled[len(_MARK) :], content)
        return marked


def _respelled(data: dict[str, Any], spelled: Mapping[str, str]) -> dict[str, Any]:
    """A ``tokenizer.json`` with other spellings for some of its tokens."""
    model = data["model"]
    for token in data["added_tokens"]:
        token["content"] = spelled.get(token["content"], token["content"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {spelled.get(text, text): i for text, i in model["vocab"].items()}
    else:  # Unigram: pieces with their scores
        model["vocab"] = [[spelled.get(text, text), score] for text, score in model["vocab"]]
    if model.get("unk_token") in spelled:
        model["unk_token"] = spelled[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if not _made_of(merge) & spelled.keys()]
    return data


def _made_of(merge: str | list[str]) -> set[str]:
    """The two tokens of a merge, and the one that it makes."""
    one, other = merge.split(" ", 1) if isinstance(merge, str) else merge
    return {one, other, one + other}
