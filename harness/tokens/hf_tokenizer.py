"""Hugging Face fast tokenizers behind the `Tokenizer` protocol. Imports `tokenizers`, not torch or transformers."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from harness.errors import VictimError
from harness.tokens.chat_format import ChatFormat
from harness.tokens.chat_prompts import ChatPrompts
from harness.tokens.roundtrip import SegmentRoundTrip
from harness.tokens.special_tokens import EVERYWHERE, NOWHERE, FixedParts, SpecialTokenSpelling, current_parts

_PROBE = "a"  # any text that is at least one token in every tokenizer


class HFTokenizer:
    """A Rust tokenizer, with nothing added, cut, padded or cleaned up. Special tokens that are spelled out in a text,
    such as ``</s>``, are text, but in the fixed parts of a task's prompts (see `harness.tokens.special_tokens`).

    Special ids (which no attack may use) are: special tokens, added control tokens (any added token that is more than
    white space), ids without a text, and rows of the embedding beyond the tokenizer (padded vocabularies).

    Attributes:
        vocabulary: number of ids: rows of the model's embedding where known, else highest id + 1.
        special: ids that no attack may use.
        left, right: special ids that the model expects around every prompt. A text that begins with those on the left
            as text (``<s>``) is tokenised without them, so that a prompt has them once.
        left_text: text of those on the left.
        appended: what the tokenizer puts behind every text; `right`, unless an answer is to follow (`open_ended`).
        takes_messages: whether conversations may be put to its model although nothing here renders them.
        chat: how prompts are written for a chat model; None: as they are. Then nothing is put around prompts: their
            ids are whole.
    """

    chat: ChatPrompts | None = None
    takes_messages = False
    own_system: str | None = None

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        *,
        rows: int | None = None,
        special: Iterable[int] = (),
        parts: FixedParts | None = None,
    ) -> None:
        """Copy ``tokenizer``.

        Args:
            rows: rows of the model's input embedding; ids at or beyond it do not exist for the model.
            special: further ids that no attack may use.
            parts: where special tokens that are spelled out count as such; None: in the parts of the task in hand.

        Raises:
            VictimError: the ids around a prompt cannot be told from the prompt's own.
        """
        self._rust = tokenizers.Tokenizer.from_str(_plain(tokenizer.to_str()))
        self._rust.no_padding()
        self._rust.no_truncation()
        self._declared = special = frozenset(int(i) for i in special)
        self.spelling = SpecialTokenSpelling(self._rust, special, current_parts() if parts is None else parts)
        self.reader = self.spelling.rust
        known = self._rust.get_vocab(with_added_tokens=True).values()
        self.vocabulary: int = rows if rows is not None else max(known, default=-1) + 1
        self.left, self.right = self._around()
        self.appended = self.right
        left = "".join(str(self._rust.id_to_token(i)) for i in self.left)
        self.left_text, self._left_spelled = left, self.spelling.marked(left)
        self.special: frozenset[int] = frozenset(self._special(set(known)) | special)

    @classmethod
    def from_file(cls, path: Path | str, *, rows: int | None = None) -> HFTokenizer:
        """Read a ``tokenizer.json``.

        Raises:
            VictimError: the file is missing or is no tokenizer.
        """
        if not Path(path).is_file():
            raise VictimError(
                f"{path}: no such file; a model folder needs a tokenizer.json (save a fast tokenizer into it)"
            )
        try:
            rust = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise VictimError(f"{path}: not a tokenizer.json that `tokenizers` can read: {error}") from error
        return cls(rust, rows=rows)

    @classmethod
    def from_folder(cls, folder: Path | str) -> HFTokenizer:
        """Read ``tokenizer.json`` of a model folder, and the embedding rows from its ``config.json``, if any."""
        config = Path(folder) / "config.json"
        rows = json.loads(config.read_text(encoding="utf-8")).get("vocab_size") if config.is_file() else None
        return cls.from_file(Path(folder) / "tokenizer.json", rows=rows if isinstance(rows, int) else None)

    @classmethod
    def from_transformers(cls, tokenizer: Any, *, rows: int | None = None) -> HFTokenizer:
        """Take the Rust backend of a `transformers.PreTrainedTokenizerFast`.

        Raises:
            VictimError: the tokenizer has no Rust backend.
        """
        rust = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(rust, tokenizers.Tokenizer):
            raise VictimError(f"{type(tokenizer).__name__} has no fast (Rust) backend; convert it to a tokenizer.json")
        return cls(rust, rows=rows, special=tokenizer.all_special_ids)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of each text, without special ids around it; nor those that its fixed part begins with."""
        spelled = [self.spelling.text(text).removeprefix(self._left_spelled) for text in texts]
        return [e.ids for e in self.reader.encode_batch_fast(spelled, add_special_tokens=False)]

    def parsed(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of each text with all special tokens in it taken for such, without special ids around it."""
        return [encoding.ids for encoding in self._rust.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_with_data(self, text: str, data: Iterable[str]) -> list[int] | None:
        """Tokens of a text, without special ids around it, of which some parts are data: special tokens in these are
        text. None where that makes no difference.
        """
        if not self.spelling.everywhere or self.chat is not None:
            return None
        spelling = self._respelled
        spelled = spelling.with_data(text, data)
        if spelled is None:
            return None
        spelled = spelled.removeprefix(spelling.marked(self.left_text))
        return list(spelling.rust.encode(spelled, add_special_tokens=False).ids)

    @cached_property
    def _respelled(self) -> SpecialTokenSpelling:
        return SpecialTokenSpelling(self._rust, self._declared, NOWHERE)

    def bare(self, text: str) -> str:
        """A prompt without the special tokens on its left, where its fixed part begins with them: they are put there
        anyway.
        """
        begun = self.spelling.text(text).startswith(self._left_spelled)
        return text.removeprefix(self.left_text) if begun else text

    def open_ended(self) -> HFTokenizer:
        """The same for prompts that an answer follows: nothing stands behind them, also where the tokenizer ends each
        text with a token, after which a language model would begin another text.
        """
        if not self.right:
            return self
        twin = copy.copy(self)
        twin.right = ()
        return twin

    def for_messages(self, system: str | None = None) -> HFTokenizer:
        """The same for a model whose server renders conversations itself.

        Args:
            system: the system prompt that it is sent with conversations that bring none.
        """
        twin = copy.copy(self)
        twin.takes_messages, twin.own_system = True, system
        return twin

    def with_chat(self, chat: ChatFormat, *, parse_special_tokens: bool = False) -> HFTokenizer:
        """The same for a chat model, whose prompts go through its template.

        Args:
            chat: its template and settings.
            parse_special_tokens: special tokens that messages spell count as such; else they are text.
        """
        plain = copy.copy(self)
        added = self._rust.get_added_tokens_decoder().items()
        # As transformers' `sanitize_control_tokens`: those that the template writes, special or not, but white space.
        written = {i for i, token in added if token.content.strip() and token.content in chat.template.text}
        plain.spelling = SpecialTokenSpelling(
            self._rust, self._declared | written, EVERYWHERE if parse_special_tokens else NOWHERE
        )
        plain.reader = plain.spelling.rust
        plain._left_spelled = plain.spelling.marked(self.left_text)
        for kept in ("segments", "_serialised_reader"):
            plain.__dict__.pop(kept, None)
        twin = copy.copy(plain)
        twin.left = twin.right = ()
        twin.chat = ChatPrompts(plain, chat)
        return twin

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Text of each row of ids, special ones included, nothing cleaned up."""
        rows = [row.tolist() if hasattr(row, "tolist") else list(row) for row in ids]
        return self._rust.decode_batch(rows, skip_special_tokens=False)

    def to_json(self) -> str:
        """The tokenizer as the text of a ``tokenizer.json``, as used here."""
        return self._serialised

    @property
    def reader_json(self) -> str:
        """The same as it reads texts that went through `spelled`: special tokens have a spelling that no text has."""
        return self._serialised_reader

    def spelled(self, text: str) -> str:
        """A text with the other spelling of the special tokens that count as such in it."""
        return self.spelling.text(text)

    @cached_property
    def _serialised(self) -> str:
        return self._rust.to_str()

    @cached_property
    def _serialised_reader(self) -> str:
        return self.reader.to_str()

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of ``text``, leading white space included where it belongs to the token."""
        return list(self.reader.encode(text, add_special_tokens=False).offsets)

    @cached_property
    def segments(self) -> SegmentRoundTrip | None:
        """Checks whether rows of ids survive tokenisation, segment by segment; None where no split points are known."""
        return SegmentRoundTrip.of(self.reader, self.spelling.unspelled)

    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        plain = self._rust.encode(_PROBE, add_special_tokens=False).ids
        full = self._rust.encode(_PROBE, add_special_tokens=True).ids
        for at in range(len(full) - len(plain) + 1):
            if full[at : at + len(plain)] == plain:
                return tuple(full[:at]), tuple(full[at + len(plain) :])
        raise VictimError(f"the tokenizer changes a prompt when it adds special tokens ({plain} became {full})")

    def _special(self, known: set[int]) -> set[int]:
        added = self._rust.get_added_tokens_decoder()
        special = {i for i, token in added.items() if token.special or token.content.strip()}
        inside = [i for i in range(self.vocabulary) if i in known]
        return special | set(self._without_text(inside)) | (set(range(self.vocabulary)) - known)

    def _without_text(self, ids: list[int]) -> list[int]:
        """Those that no text has: alone a space has none either where the decoder drops the first space of a text."""
        texts = self.decode([[i] for i in ids])
        alone = [i for i, text in zip(ids, texts, strict=True) if not text]
        start = self._rust.encode(_PROBE, add_special_tokens=False).ids
        bare, *behind = self.decode([start, *([*start, i] for i in alone)])
        return [i for i, text in zip(alone, behind, strict=True) if text == bare]


def _plain(serialised: str) -> str:
    """The same tokenizer without clean-up in its decoder and with spans that keep leading white space."""
    data = json.loads(serialised)

    def visit(part: Any) -> None:
        if isinstance(part, list):
            for item in part:
                visit(item)
        elif isinstance(part, dict):
            if part.get("type") in {"WordPiece", "CTC"} and "cleanup" in part:
                part["cleanup"] = False
            if "trim_offsets" in part:
                part["trim_offsets"] = False
            for key in ("decoders", "pretokenizers", "processors"):
                visit(part.get(key))

    for key in ("decoder", "pre_tokenizer", "post_processor"):
        visit(data.get(key))
    return json.dumps(data)
