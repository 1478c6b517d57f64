"""Which strings survive tokenisation: put as text between two other texts, they tokenise back to themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.tokens.tokenizer import RoundTrip, SegmentedTokenizer, Tokenizer, Tokens

_MIDDLES = ("a", ":")  # stand for the string; not every text leaves its neighbours as they are


@dataclass(frozen=True)
class StringInPrompt:
    """The place of a string between two texts, which together are a prompt.

    Attributes:
        before_text, after_text: the texts around the string.
        before, after: their ids, without the special ones around a prompt; shapes [P] and [T].
    """

    before_text: str
    after_text: str
    before: Tokens
    after: Tokens
    tokenizer: Tokenizer

    def prompt(self, text: str) -> str:
        """The prompt with this text in the string's place."""
        return self.before_text + text + self.after_text

    def survives(self, candidates: Tokens) -> NDArray[np.bool_]:
        """Whether each string, put into the prompt as text, tokenises back to before + string + after unchanged; shape
        [K].
        """
        rows = np.asarray(candidates)
        if rows.ndim == 2 and rows.shape[1] == 0:  # the prompt without a string, however it is tokenised
            return np.ones(len(rows), dtype=bool)
        if self._margins is None or rows.ndim != 2:
            return np.asarray([text is not None for text in self._texts_of_prompts(rows)], dtype=bool)
        *sides, round_trip = self._margins
        left, right = (np.broadcast_to(side, (len(rows), len(side))) for side in sides)
        stable = round_trip.stable(np.concatenate([left, rows, right], axis=1))
        return stable & ~np.isin(rows, round_trip.unspelled).any(axis=1)

    def texts(self, candidates: Tokens) -> list[str | None]:
        """The text of each string in its place, or None where it does not survive; length K."""
        rows = np.asarray(candidates)
        if rows.ndim == 2 and rows.shape[1] == 0:
            return [""] * len(rows)
        if self._margins is None or rows.ndim != 2:
            return self._texts_of_prompts(rows)
        fits = self.survives(rows)
        texts = iter(self.tokenizer.decode(rows[fits]))  # type: ignore[arg-type]
        return [next(texts) if fit else None for fit in fits]

    def prompts(self, candidates: Tokens) -> list[str]:
        """The whole prompts of candidates, surviving or not; length K."""
        decoded = self.tokenizer.decode(self._rows(np.asarray(candidates)))
        texts = self._likeliest(candidates, decoded)
        return [whole if text is None else self.prompt(text) for text, whole in zip(texts, decoded, strict=True)]

    def strings(self, candidates: Tokens) -> list[str | None]:
        """The text of each candidate in its place, surviving or not; None where it merges with what stands around it;
        length K.
        """
        return self._likeliest(candidates, self.tokenizer.decode(self._rows(np.asarray(candidates))))

    def ids(self, text: str) -> list[int]:
        """Ids of the whole prompt with this text in the string's place, without the special ones around a prompt."""
        return self.tokenizer.encode([self.prompt(text)])[0]

    def _likeliest(self, candidates: Tokens, decoded: list[str]) -> list[str | None]:
        (head, tail), *others = self._decoded_sides
        texts = [_between(text, head, tail) for text in decoded]
        if others:  # it may survive in another way than the likeliest
            surviving = self._surviving(self._rows(np.asarray(candidates)), decoded)
            texts = [likeliest if text is None else text for text, likeliest in zip(surviving, texts, strict=True)]
        return texts

    def _texts_of_prompts(self, candidates: Tokens) -> list[str | None]:
        """As `texts`, whole prompts being decoded and tokenised: right for every tokenizer."""
        rows = self._rows(candidates)
        return self._surviving(rows, self.tokenizer.decode(rows))

    def _surviving(self, rows: list[list[int]], decoded: list[str]) -> list[str | None]:
        """The text of the string in each prompt, given in ids and as the tokenizer decodes them; None where it does not
        survive.
        """
        found: list[str | None] = [None] * len(rows)
        for head, tail in self._decoded_sides:
            texts = {i: _between(decoded[i], head, tail) for i, text in enumerate(found) if text is None}
            prompts = {i: self.prompt(text) for i, text in texts.items() if text is not None}
            for i, ids in zip(prompts, self.tokenizer.encode(list(prompts.values())), strict=True):
                if ids == rows[i]:
                    found[i] = texts[i]
        return found

    def _rows(self, candidates: Tokens) -> list[list[int]]:
        before, after = self.before.tolist(), self.after.tolist()
        return [before + row + after for row in candidates.tolist()]

    @cached_property
    def _decoded_sides(self) -> list[tuple[str, str]]:
        """How the texts before and after may stand in a decoded prompt, the likeliest first: some tokenizers turn
        capitals to small letters, drop a space, or put one before a text or before some (as WordPiece's decoder does
        before all but the rest of a word).
        """
        before, after = [], []
        for middle in _MIDDLES:
            texts = [middle, self.before_text + middle, middle + self.after_text]
            alone, head, tail = self.tokenizer.decode(self.tokenizer.encode(texts))
            before += [head.removesuffix(middle)] if head.endswith(middle) else []
            after += [tail.removeprefix(alone)] if tail.startswith(alone) else []
        before.append(self.before_text)
        after.append(self.after_text)
        if not self.before_text.endswith(" "):
            before += [head.removesuffix(" ") for head in before]
        if not self.after_text.startswith(" "):
            after += [tail.removeprefix(" ") for tail in after]
        return [(head, tail) for head in dict.fromkeys(before) for tail in dict.fromkeys(after)]

    @cached_property
    def _margins(self) -> tuple[Tokens, Tokens, RoundTrip] | None:
        """What of before and after can merge with the string, and what checks it; None where the tokenizer is not known
        to split anywhere, or does not return the texts as they are.
        """
        round_trip = self.tokenizer.segments if isinstance(self.tokenizer, SegmentedTokenizer) else None
        before, after = self.before, self.after
        if round_trip is None:
            return None
        head, tail = self.tokenizer.decode([before, after])  # type: ignore[list-item]
        # What of the prompt's beginning has no tokens of its own stands for the special ids around a prompt.
        own = self.before_text.endswith(head) and self.tokenizer.encode([self.before_text.removesuffix(head)]) == [[]]
        if not own or tail != self.after_text:
            return None
        if not (round_trip.stable(before[None])[0] and round_trip.stable(after[None])[0]):
            return None
        starts = np.flatnonzero(round_trip.splits(before[None])[0])
        ends = np.flatnonzero(round_trip.splits(after[None])[0])
        left = before[starts[-1] :] if len(starts) else before
        return left, after[: ends[1]] if len(ends) > 1 else after, round_trip


def _between(text: str, head: str, tail: str) -> str | None:
    """What stands between two texts in a third; None where it does not begin and end with them."""
    if len(text) < len(head) + len(tail) or not (text.startswith(head) and text.endswith(tail)):
        return None
    return text[len(head) : len(text) - len(tail)]
