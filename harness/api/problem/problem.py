"""What an attack sees of one example: where its string goes, which tokens it may use, and whether a string survives
tokenisation in context.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from harness.api.problem.state import State
from harness.api.task import NO_LABEL, Example
from harness.api.threat import Access, allows
from harness.tokens.continuation import continuation_ids
from harness.tokens.message import PLAIN, Conversation, Messages
from harness.tokens.prompts import Place, answer_ids, chat_of
from harness.tokens.survival import StringInPrompt
from harness.tokens.tokenizer import Target, Tokenizer, Tokens

MAX_TRIES = 8  # how often a draw is refilled before fewer strings than asked are returned
SPARE = 1.25  # proposals per string in the first try: each try costs more than some strings too many
MIN_DRAW = 16  # proposals per try at least, so that a few missing strings are found in one go
MAX_EXCESS = 16  # proposals per missing string at most, where few survive


@dataclass(frozen=True)
class Problem:
    """One example under one threat model, in one victim's tokens.

    Attributes:
        example: the task's row; its label is what the victim should say, its proxy label what the attacker wants.
        before_text, after_text: the prompt around the attack string; of a conversation, the message that it stands in.
        before, after: all that the model reads around the string in tokens, special ids and those of a chat template
            included; shapes [P] and [T].
        budget: S, how many tokens the attack string has.
        allowed: token ids the attack may use, sorted, shape [A].
        tokenizer: the victim's.
        wanted: what the attacker wants to hear: the text of the proxy label, or of the target; "" where it is unknown,
            or any label but the true one.
        radius: the longest perturbation of a token's activations, as a multiple of their mean norm (see
            `harness.api.threat.Threat`); None: there may be none.
        labels: texts of the task's labels, in index order; none where it is answered in text.
        turns: of a conversation that the attacker may take.
        conversation: the messages around that with the string; those of the example, or the whole of them where the
            string is the beginning of the answer.
        read: the same with what a defense puts around them, as the victim reads it.
        access: the most that may be asked of the victim here. An attack can make use of more than the access that it
            declares, which is what it cannot do without.
    """

    example: Example
    before_text: str
    after_text: str
    before: Tokens
    after: Tokens
    budget: int
    allowed: Tokens
    tokenizer: Tokenizer
    wanted: str = ""
    radius: float | None = None
    access: Access = "gradient"
    labels: tuple[str, ...] = ()
    turns: int = 1
    conversation: Conversation = PLAIN
    read: Conversation = PLAIN

    @cached_property
    def target(self) -> Target:
        """What the loss is of: the proxy label, or the ids of the target text. Of an untargeted example a wrong label:
        its loss is of all of them together.
        """
        if self.example.proxy_label != NO_LABEL:
            return self.example.proxy_label
        if self.example.label != NO_LABEL:
            return 0 if self.example.label else 1
        return self.ids_of_target(self.example.target)

    def ids_of_target(self, text: str) -> tuple[int, ...]:
        """Ids of a target text where the victim goes on: after the prompt, or after the string that begins its
        answer.
        """
        return answer_ids(self.tokenizer, text, begun=self.conversation.begins_answer)

    @property
    def replaced(self) -> str:
        """The text that the string takes the place of; "" where it is inserted."""
        inserted = self.conversation != self.example.conversation or self.prompt("") == self.example.text
        return "" if inserted else self.example.chunks[self.example.region].text

    @property
    def members(self) -> tuple[Problem, ...]:
        """The examples that share one string: this one, or those of a group."""
        return (self,)

    def grants(self, access: Access) -> bool:
        """Whether so much may be asked of the victim; auxiliary models may be asked all that they answer."""
        return allows(self.access, access)

    def state(self, tokens: Tokens) -> State:
        """A first state with this attack string, shape [S]."""
        return State(tuple(int(token) for token in tokens))

    def random_tokens(self, rng: np.random.Generator, draws: int | None = None) -> Tokens:
        """Strings with every token uniform over the allowed ones, of those that survive tokenisation.

        Returns:
            shape [draws, S] (fewer rows when not enough survive `MAX_TRIES` refills), or [S] when ``draws`` is None. In
            the latter case, when none survives, one that does not is returned: it will be judged a
            failure, and the search can go on from it.
        """
        rows = self.refill(1 if draws is None else draws, lambda n: rng.choice(self.allowed, size=(n, self.budget)))
        if draws is not None:
            return rows
        return rows[0] if len(rows) else rng.choice(self.allowed, size=self.budget)

    def refill(self, count: int, propose: Callable[[int], Tokens]) -> Tokens:
        """Draw until ``count`` proposals survive tokenisation, at most `MAX_TRIES` times; shape [≤ count, S].

        Args:
            propose: called with a number n, returns n strings, shape [n, S].
        """
        kept: list[Tokens] = []
        have = proposed = found = 0
        for _ in range(MAX_TRIES):
            rate = max(found / proposed, 1 / MAX_EXCESS) if proposed else 1 / SPARE
            rows = propose(max(ceil((count - have) / rate), MIN_DRAW))
            proposed += len(rows)
            rows = rows[self.survives(rows)]
            found += len(rows)
            kept.append(rows[: count - have])
            have += len(kept[-1])
            if have >= count:
                break
        return np.concatenate(kept)

    def survives(self, candidates: Tokens) -> NDArray[np.bool_]:
        """Whether each string, put into the prompt as text, tokenises back to before + string + after unchanged; shape
        [K].
        """
        return self._place.survives(candidates)

    def attack_texts(self, candidates: Tokens) -> list[str | None]:
        """The text of each string in its place, or None where it does not survive tokenisation; length K."""
        return self._place.texts(candidates)

    def tokens_of(self, text: str) -> Tokens | None:
        """The tokens of a text in the string's place, however many; None where they merge with the text around it."""
        ids = self._place.ids(text)
        before, after = self._place.before.tolist(), self._place.after.tolist()
        end = len(ids) - len(after)
        if end < len(before) or ids[: len(before)] != before or ids[end:] != after:
            return None
        return np.asarray(ids[len(before) : end], dtype=np.int64)

    def fitted(self, text: str) -> Tokens | None:
        """The tokens of the longest beginning of a text that the threat model allows and that survives tokenisation;
        None where not even its first token does.
        """
        tokens = self.tokens_of(text)
        if tokens is None:  # something else may stand well between the same neighbours
            ids = continuation_ids(self.tokenizer, text) if self.before_text else self.tokenizer.encode([text])[0]
            tokens = np.asarray(ids, dtype=np.int64)
        foreign = np.flatnonzero(~np.isin(tokens, self.allowed))
        longest = min(len(tokens), self.budget, int(foreign[0]) if len(foreign) else len(tokens))
        for length in range(longest, 0, -1):
            if self.survives(tokens[None, :length])[0]:
                return tokens[:length]
        return None

    def prompt(self, attack_text: str) -> str:
        """The whole prompt with this attack string in it; of a conversation, the message that it stands in."""
        return self._place.prompt(attack_text)

    def messages(self, prompt: str) -> Messages:
        """The whole conversation with such a prompt in it, to go on from with `harness.api.requests.Generate`."""
        return self.conversation.messages(prompt)

    def prompt_of(self, state: State) -> str:
        """The whole prompt with a state's string in it, whether or not it survives tokenisation."""
        return self.prompts(state.array[None])[0]

    def prompts(self, candidates: Tokens) -> list[str]:
        """The whole prompts of candidates, surviving or not; length K."""
        return self._place.prompts(candidates)

    @cached_property
    def _place(self) -> Place:
        chat = chat_of(self.tokenizer)
        if chat is not None:
            return chat.frame(self.before_text, self.after_text, self.read)
        left, right = len(self.tokenizer.left), len(self.tokenizer.right)
        before, after = self.before[left:], self.after[: len(self.after) - right]
        return StringInPrompt(self.before_text, self.after_text, before, after, self.tokenizer)
