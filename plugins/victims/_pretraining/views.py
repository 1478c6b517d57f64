"""From texts to rows: which tokens of each view are predicted, and how strong the views are when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from harness import NO_LABEL, TextView, TextViews, Tokenizer, TrainRow, VictimError, endless_permutation, named_rng
from plugins.victims._pretraining.params import Pretrain
from plugins.victims._pretraining.perturbations import TextPerturber

MASKED, RANDOM = 0.8, 0.1  # of the tokens that are predicted, how many are masked and how many replaced, as in BERT


@dataclass
class PretrainRows:
    """All that a pretraining learns, and what was drawn for it.

    Attributes:
        views: the rows.
        clean_tokens, tokens: of the unchanged rows, and of all.
        drawn: how many views of each kind there are.
        schedule: strength and size of views from which update on.
    """

    views: TextViews
    clean_tokens: int
    tokens: int
    drawn: Counter[str]
    schedule: list[dict[str, float]]


@dataclass
class RowMaker:
    """Makes rows of texts for one tokenizer.

    Attributes:
        mask: id of the mask token of a masked language model; None: the model is causal.
    """

    tokenizer: Tokenizer
    params: Pretrain
    mask: int | None
    drawn: Counter[str] = field(default_factory=Counter)

    def make(self, texts: Sequence[str], seed: int) -> PretrainRows:
        """Rows for the whole budget of tokens: texts in random order, all before any comes again.

        Raises:
            VictimError: there are none.
        """
        if not texts:
            raise VictimError("pretrain: no text has at least two tokens and fits `length`; give longer texts")
        params, rng = self.params, named_rng("pretraining", seed, "views")
        perturber = TextPerturber(self.tokenizer, params)
        order = endless_permutation(len(texts), named_rng("pretraining", seed, "order"))
        passes = 1.0 + params.loss.further_passes
        groups: list[tuple[TextView, ...]] = []
        schedule: list[dict[str, float]] = []
        tokens = clean_tokens = 0
        while tokens * passes < params.tokens:
            strength = params.strength.at(tokens * passes / params.tokens)
            count = perturber.token_count(strength)
            if params.views and (not schedule or schedule[-1]["tokens"] != count):
                at = {"update": len(groups) // params.batch_size + 1, "strength": round(strength, 4), "tokens": count}
                shares = {"characters": params.characters, "words": params.rewritten}
                schedule.append(at | {name: round(strength * share, 4) for name, share in shares.items()})
            for _ in range(params.batch_size):
                if tokens * passes >= params.tokens:
                    break
                group = self.group(texts[next(order)], perturber, strength, rng)
                groups.append(group)
                lengths = [len(view.row.ids) for view in group]
                tokens += sum(lengths)
                clean_tokens += lengths[0] if params.clean else 0
        views = TextViews(groups, params.loss, self.mask is None)
        return PretrainRows(views, clean_tokens, tokens, self.drawn, schedule)

    def group(
        self, text: str, perturber: TextPerturber, strength: float, rng: np.random.Generator
    ) -> tuple[TextView, ...]:
        """The views of a text. One that is too long, or keeps nothing of the text, is left as the text is."""
        params = self.params
        kinds = [params.perturbations[int(i)] for i in rng.integers(len(params.perturbations), size=params.views)]
        texts = [perturber.view(text, kind, strength, rng) for kind in kinds]
        clean, *others = (tuple(ids) for ids in self.tokenizer.encode([text, *texts]))
        whole = {at: at for at in range(len(clean))}
        views = [(clean, whole)] * params.clean
        self.drawn["clean"] += len(views)
        around = len(self.tokenizer.left) + len(self.tokenizer.right)
        for kind, ids in zip(kinds, others, strict=True):
            kept = kept_tokens(clean, ids) if len(ids) + around <= params.length else {}
            fits = any(self._predictable(at) for at in kept.values())
            self.drawn[kind if fits else "left as it is"] += 1
            views.append((ids, kept) if fits else (clean, whole))
        common = [at for at in whole if all(self._predictable(kept.get(at, -1)) for _, kept in views)]
        if self.mask is None:
            return tuple(self._causal(ids, kept, common) for ids, kept in views)
        if not common:
            views, common = [(clean, whole)] * len(views), list(whole)
        count = max(1, int(params.masked * len(clean) + 0.5))
        chosen = sorted(int(i) for i in rng.choice(common, size=min(count, len(common)), replace=False))
        shown = {at: self._shown(clean[at], rng) for at in chosen}
        return tuple(self._masked(ids, kept, shown, clean) for ids, kept in views)

    def _predictable(self, place: int) -> bool:
        """Whether a token of the text there is predicted: of a causal model, not the first of the row."""
        return place >= 0 and (self.mask is not None or place + len(self.tokenizer.left) > 0)

    def _row(self, ids: Sequence[int]) -> TrainRow:
        return TrainRow((*self.tokenizer.left, *ids, *self.tokenizer.right), NO_LABEL, 1)

    def _causal(self, ids: Sequence[int], kept: dict[int, int], common: Sequence[int]) -> TextView:
        left = len(self.tokenizer.left)
        learnt = [at for at, place in kept.items() if self._predictable(place)]
        index = {at: i for i, at in enumerate(learnt)}
        places = tuple(left + kept[at] for at in learnt)
        tokens = tuple(ids[kept[at]] for at in learnt)
        return TextView(self._row(ids), places, tokens, tuple(index[at] for at in common))

    def _masked(
        self, ids: Sequence[int], kept: dict[int, int], shown: dict[int, int], clean: Sequence[int]
    ) -> TextView:
        read = list(ids)
        for at, token in shown.items():
            read[kept[at]] = token
        left = len(self.tokenizer.left)
        tokens = tuple(clean[at] for at in shown)
        return TextView(self._row(read), tuple(left + kept[at] for at in shown), tokens, tuple(range(len(shown))))

    def _shown(self, token: int, rng: np.random.Generator) -> int:
        """What stands in the place of a token that is to be predicted."""
        assert self.mask is not None
        draw, other = rng.random(), int(rng.integers(self.tokenizer.vocabulary))
        return self.mask if draw < MASKED else other if draw < MASKED + RANDOM else token


def kept_tokens(clean: Sequence[int], changed: Sequence[int]) -> dict[int, int]:
    """Places of tokens of a text, and where each stands in a changed text: those of matching runs, in order."""
    blocks = SequenceMatcher(None, clean, changed, autojunk=False).get_matching_blocks()
    return {block.a + i: block.b + i for block in blocks for i in range(block.size)}


def pretraining_notes(rows: PretrainRows, texts: int, dropped: int, params: Pretrain) -> dict[str, Any]:
    """An audit trail, as JSON data: what was read and drawn, how strong and when, and the hash of the rows."""
    return {
        "texts": texts,
        "dropped": dropped,
        "tokens": rows.tokens,
        "updates": -(-len(rows.views.groups) // params.batch_size),
        "views": dict(rows.drawn),
        "schedule": rows.schedule,
        "rows_sha256": rows.views.hash,
    }
