"""The victim behind all defenses: one model that answers prompts, and what that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import (
    Backend,
    GenerateItem,
    LatentAnswer,
    LatentItem,
    Perturbable,
    ScoreItem,
    unsupported_request,
)
from harness.engine.defended.generated_answers import answer_in, generate_answers
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.reply import Reply
from harness.flops import Flops, nominal_forward
from harness.rng import named_seed
from harness.tokens.message import Prompt
from harness.tokens.prompts import encode_prompts, whole_ids

_NOTHING = np.empty(0, dtype=np.int64)
Row = NDArray[np.int64]


@dataclass(frozen=True)
class BareVictim:
    """A model that answers prompts.

    Attributes:
        answer_tokens: longest answer in text.
        randomised: whether what attacks ask for at a temperature is drawn again for each prompt's names.
        answers_are_read: whether a guard looks at the answers, so that they are needed even in a pass for a loss.
    """

    backend: Backend
    answer_tokens: int
    randomised: bool
    answers_are_read: bool

    def answer_prompts(self, items: Sequence[PromptItem]) -> list[Reply]:
        """A reply to each prompt, tokenised again: with a label, or with a text.

        Raises:
            AccessError: a perturbed prompt, and the model cannot be perturbed.
        """
        replies = [Reply(None, Flops(), Flops(), too_long=True) for _ in items]
        perturbed = {i: item for i, item in enumerate(items) if item.latent is not None}
        rows = self._rows({i: item for i, item in enumerate(items) if i not in perturbed})
        in_text = {i: items[i] for i in rows if items[i].in_text or not self.backend.n_labels}
        found = self._labels({i: row for i, row in rows.items() if i not in in_text})
        found |= self._texts(in_text, rows)
        found |= self._perturbed(perturbed) if perturbed else {}
        for i, reply in found.items():
            replies[i] = reply
        return replies

    def _rows(self, items: Mapping[int, PromptItem]) -> dict[int, Row]:
        """The ids of each prompt, special ones included."""
        tokenizer = self.backend.tokenizer
        plain = [i for i, item in items.items() if item.ids is None]
        rows = dict(zip(plain, encode_prompts(tokenizer, [items[i].asked for i in plain]), strict=True))
        rows |= {
            i: whole_ids(tokenizer, item.ids, item.conversation) for i, item in items.items() if item.ids is not None
        }
        return {i: np.asarray([*tokenizer.left, *rows[i], *tokenizer.right], dtype=np.int64) for i in items}

    def _labels(self, rows: Mapping[int, Row]) -> dict[int, Reply]:
        """Replies with a label to the rows that fit the context."""
        if not rows:
            return {}
        fits = [i for i, row in rows.items() if 0 < len(row) <= self.backend.context]
        logits, executed = self.backend.classify([rows[i] for i in fits])
        found = {}
        for i, own, ran in zip(fits, logits, executed, strict=True):
            spent = Flops(nominal_forward(self.backend.n_params, len(rows[i])), ran)
            missing = bool(np.isneginf(own).all())
            unknown = missing or bool(np.isnan(own).any())
            found[i] = Reply(None if unknown else own, spent, Flops(), state="failed" if missing else "answered")
        return found

    def _texts(self, items: Mapping[int, PromptItem], rows: Mapping[int, Row]) -> dict[int, Reply]:
        """Replies in text, with the loss of the target where one is wanted, to the prompts that leave room for them."""
        room = self.backend.context - self.answer_tokens
        # An attack that asks for a text says how long it may be; the victim says where there is no room for it.
        fits = {i: item for i, item in items.items() if item.max_tokens is not None or 0 < len(rows[i]) <= room}
        found = {i: Reply(None, Flops(), Flops(), text="") for i in fits}
        wanted = {
            i: self._generate_item(item) for i, item in fits.items() if not item.one_pass or self.answers_are_read
        }
        for i, said in zip(wanted, generate_answers(self.backend, list(wanted.values())), strict=True):
            tokens = said.prompt_tokens + said.new_tokens
            spent = Flops(nominal_forward(self.backend.n_params, tokens), said.executed)
            found[i] = Reply(None, spent, Flops(), text=said.text, state=said.state)
        scored = {
            i: ScoreItem(_NOTHING, rows[i][None], _NOTHING, item.target, over=item.over)
            for i, item in fits.items()
            if item.target is not None
        }
        if scored and "score" in self.backend.abilities:
            for i, (nll, spent) in self._losses(scored).items():
                found[i] = replace(found[i], nll=nll, victim=found[i].victim + spent, for_loss=spent)
        return found

    def _generate_item(self, item: PromptItem) -> GenerateItem:
        longest = self.answer_tokens if item.max_tokens is None else item.max_tokens
        by_names = item.temperature and (self.randomised or not item.in_text)
        seed = named_seed(*item.names, "answer") if by_names else item.seed
        return GenerateItem(item.text, longest, item.temperature, seed, item.ids, item.top_p, item.conversation)

    def _losses(self, items: Mapping[int, ScoreItem]) -> dict[int, tuple[float, Flops]]:
        """The loss of each target after its whole row, which is the one candidate, and what it took."""
        found = {}
        for (i, item), scored in zip(items.items(), self.backend.score(list(items.values())), strict=True):
            spent = Flops(nominal_forward(self.backend.n_params, item.candidates.shape[1]), scored.executed)
            found[i] = float(scored.losses[0]), spent
        return found

    def _perturbed(self, items: Mapping[int, PromptItem]) -> dict[int, Reply]:
        """Replies to perturbed prompts that fit the context; where a perturbation is too long, that it is."""
        backend, tokenizer = perturbable(self.backend), self.backend.tokenizer
        around = len(tokenizer.left) + len(tokenizer.right)
        encoded = encode_prompts(tokenizer, [item.asked for item in items.values()])
        lengths = {i: around + len(ids) for i, ids in zip(items, encoded, strict=True)}
        longest = 0 if self.backend.n_labels else self.answer_tokens
        fits = {i: item for i, item in items.items() if lengths[i] <= self.backend.context - longest}
        wanted = [
            LatentItem(
                item.text,
                item.start,
                item.latent,
                0 if item.target is None else item.target,
                longest,
                item.radius,
                item.conversation,
            )
            for item in fits.values()
            if item.latent is not None
        ]
        found = {}
        for i, answer in zip(fits, backend.answer_perturbed(wanted) if wanted else (), strict=True):
            tokens = lengths[i] + (answer.said.prompt_tokens + answer.said.new_tokens if answer.said else 0)
            spent = Flops(nominal_forward(self.backend.n_params, tokens), answer.executed)
            found[i] = self._perturbed_reply(answer, spent, fits[i].asked)
        return found

    def _perturbed_reply(self, answer: LatentAnswer, spent: Flops, prompt: Prompt) -> Reply:
        if answer.beyond:
            return Reply(None, spent, Flops(), beyond_radius=True)
        if answer.said is None:
            return Reply(np.asarray(answer.logits), spent, Flops())
        said = answer_in(answer.said, self.backend, prompt)
        return Reply(None, spent, Flops(), text=said.text, nll=answer.loss, state=said.state)


def perturbable(backend: Backend) -> Perturbable:
    """The backend, as one whose activations can be perturbed. Raises AccessError where they cannot."""
    if "perturb" not in backend.abilities or not isinstance(backend, Perturbable):
        raise unsupported_request("perturb", backend.abilities)
    return backend
