"""Between which characters a tokenizer splits every text, whatever stands around them.

Byte-level BPE tokenizers split a text by a regular expression and merge within the parts alone. Of the expressions in
use it can be said which pairs of neighbouring ASCII characters no match spans, and that matches on neither side of
such a pair depend on the other side: there the text may be split, and its halves tokenise as they do together. NFC
leaves such places alone, because an ASCII character composes with nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from string import ascii_letters, digits, punctuation
from typing import Any

import numpy as np
from numpy.typing import NDArray

NON_ASCII = 128  # stands for every character that is not ASCII and for fragments of characters

SplitTable = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SplitRule:
    """What a regular expression splits, besides digits from all else, and letters and digits from the white space after
    them.

    Attributes:
        spaces: white space that begins a new part after anything that is none.
        before_letters: punctuation that is split from a letter after it.
        after_letters: punctuation that is split from a letter before it.
    """

    spaces: str
    before_letters: str
    after_letters: str

    def table(self) -> SplitTable:
        """Whether a text is always split between a character (row) and the next (column), shape [129, 129]."""
        table = np.zeros((NON_ASCII + 1, NON_ASCII + 1), dtype=bool)
        table[np.ix_(_codes(ascii_letters + digits + punctuation), _codes(self.spaces))] = True
        table[np.ix_(_codes(ascii_letters), _codes(digits + self.after_letters))] = True
        table[np.ix_(_codes(digits), _codes(ascii_letters + punctuation))] = True
        table[np.ix_(_codes(punctuation), _codes(digits))] = True
        table[np.ix_(_codes(self.before_letters), _codes(ascii_letters))] = True
        return table


_NO_QUOTE = punctuation.replace("'", "")  # 's and the like are parts of their own, or go with the word
_GPT2 = SplitRule(" \t\n\r", _NO_QUOTE, punctuation)
_CL100K = SplitRule(
    " \t", "", punctuation
)  # a mark goes with the letters after it, line ends with the mark before them
_O200K = SplitRule(" \t", "", _NO_QUOTE)

_ENDS = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_QUOTES = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_HIGH, _LOW = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_MAYBE_MARK = r"[^\r\n\p{L}\p{N}]?"
PATTERNS = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": _GPT2,
    # Llama 3, Qwen 2 and 3, Qwen 3.5
    _QUOTES + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _ENDS: _CL100K,
    _QUOTES + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _ENDS: _CL100K,
    _QUOTES + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + _ENDS: _CL100K,
    # GPT-4o and its kin
    f"{_MAYBE_MARK}{_HIGH}*{_LOW}+{_QUOTES}?|{_MAYBE_MARK}{_HIGH}+{_LOW}*{_QUOTES}?"
    + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
    + _ENDS: _O200K,
}


def split_table(serialised: dict[str, Any]) -> SplitTable | None:
    """Where a tokenizer splits every text, as `SplitRule.table`; None where nothing can be said of it.

    Args:
        serialised: a ``tokenizer.json``.
    """
    model, decoder, normalizer = (serialised.get(key) or {} for key in ("model", "decoder", "normalizer"))
    if model.get("type") != "BPE" or model.get("dropout") or decoder.get("type") != "ByteLevel":
        return None
    if normalizer.get("type", "NFC") != "NFC":
        return None
    rule = _rule(list(_flat(serialised.get("pre_tokenizer"))))
    if rule is None:
        return None
    table = rule.table()
    for token in serialised.get("added_tokens", []):
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            return None
        # Added tokens are found before the text is split: none may reach across a split point.
        codes = _codes(token["content"])
        for one, two in pairwise(codes):
            table[one, slice(None) if two == NON_ASCII else two] = False  # NFC may have made it of an ASCII character
    return table


def _flat(part: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    if part and part["type"] == "Sequence":
        for inner in part["pretokenizers"]:
            yield from _flat(inner)
    elif part:
        yield part


def _rule(parts: list[dict[str, Any]]) -> SplitRule | None:
    """Of the first expression in a chain of splits: what comes after only splits further.

    Digits may be set apart before it: that looks at two neighbours at a time.
    """
    if not parts or parts[-1]["type"] != "ByteLevel" or parts[-1]["add_prefix_space"]:
        return None
    rule = None
    for part in parts[:-1]:
        if part["type"] == "Split" and part["behavior"] == "Isolated" and not part["invert"]:
            found = PATTERNS.get(part["pattern"].get("Regex", ""))
            if found is None:
                return None
            rule = rule or found
        elif part["type"] != "Digits":
            return None
    return rule or (_GPT2 if parts[-1]["use_regex"] else None)


def _codes(text: str) -> list[int]:
    return [min(ord(character), NON_ASCII) for character in text]
