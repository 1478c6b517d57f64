"""The backend of a model behind a URL: it answers in text, and scores where its server gives log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from harness import (
    UNKNOWN,
    Ability,
    AccessError,
    Differentiated,
    Floats,
    Generated,
    GenerateItem,
    GradientItem,
    Sampled,
    SampleItem,
    Scored,
    ScoreItem,
    Tokenizer,
    VictimError,
    chat_of,
    cross_entropy,
    prompt_ids,
    text_loss,
)
from plugins.victims._openai.completions import Completions, Row
from plugins.victims._openai.http_client import Refusal
from plugins.victims._openai.log_probs import RowLogProbs, read_log_probs
from plugins.victims._openai.next_token_log_probs import TopLogProbs
from plugins.victims._openai.server_probe import ServerProbe, probe_rows
from plugins.victims._openai.text_answers import ServedModel, TextAnswers


class ServerBackend:
    """A model behind a URL, as a `harness.Backend`.

    A prompt that a filter refuses counts like one that a guard refuses: its loss is ``inf``, its logits are NaN. Where
    the answer is missing (the request was declined otherwise; labels among none of the likely tokens; a server of texts
    that tokenises one in another way) the loss is ``inf`` as well, and the logits are ``-inf``. `describe` counts both.
    Answers in text have a state. The executed compute is unknown.

    Attributes:
        labels: token ids of each label; none where it answers in text.
        own_temperature: whether its server draws answers at a temperature of its own.
        reasoning: the markers around what it writes before its answers, which the engine cuts off.
    """

    def __init__(
        self,
        completions: Completions,
        probe: ServerProbe,
        served: ServedModel,
        labels: Sequence[Row] = (),
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """
        Args:
            completions, probe: what `probe` of the module of that name returned.
            labels: token ids of each label, for a victim that is to classify; none for one that answers in text.
            tokenizer: as prompts are written for the model, with its chat template where one is used.

        Raises:
            VictimError: labels with the same tokens, or a server that does not give the log-probabilities that they
                need; a context without room for them.
        """
        self.tokenizer: Tokenizer = completions.tokenizer if tokenizer is None else tokenizer
        self.n_params: int | None = served.n_params
        self.n_params_non_embedding: int | None = None
        self.reasoning = served.reasoning
        self.own_temperature = completions.sampled
        self.labels = [tuple(label) for label in labels]
        self.n_labels = len(self.labels)
        self._completions, self._probe, self._served = completions, probe, served
        self._text_answers = TextAnswers(completions, probe, served, self.tokenizer)
        abilities: set[Ability] = {"score"} if probe.method else set()
        if not self.labels:
            abilities |= {"generate", "mellowmax"} if probe.method else {"generate"}
        elif probe.method is None:
            raise VictimError(
                f"{completions.base_url}: gives no log-probabilities ({_why(probe)}), which labels need; use a server "
                "that does, or a task answered in text"
            )
        elif len(self.labels) < 2 or not all(self.labels) or len(set(self.labels)) < len(self.labels):
            raise VictimError(f"label tokens {self.labels}: at least two labels are needed, each with different tokens")
        self.abilities = frozenset(abilities)
        self._longest = served.context - (probe.method.extra if probe.method else 0)
        self.context = min(served.context - 1, self._longest - max(map(len, self.labels), default=0))
        if self.context < 1:
            raise VictimError(f"a context of {served.context} tokens leaves no room for a prompt")

    @property
    def takes_ids(self) -> bool:
        """Whether prompts can be given as tokens."""
        return self._text_answers.takes_ids

    def classify(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Floats, list[float]]:
        """Log-probabilities of the labels [rows, labels], NaN for a row that a filter refused, ``-inf`` for one whose
        answer is missing; and unknown FLOPs.

        Raises:
            AccessError: a victim that answers in text.
            VictimError: the server is gone; a row that is empty or longer than the context, an id beyond the
                vocabulary.
        """
        if not self.labels:
            raise AccessError("a victim with head: generation has no labels to choose among; use head: label_tokens")
        log_probs = self._log_probs([self._checked(row, 0) for row in rows], [self.labels] * len(rows))
        logits = np.full((len(rows), self.n_labels), np.nan)
        for i, by_label in enumerate(log_probs):
            if not isinstance(by_label, str):
                logits[i] = [values.sum() for values in by_label]
            elif by_label != "refused":
                logits[i] = -np.inf
        return logits, [UNKNOWN] * len(rows)

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Losses of many examples' candidates, requested together; ``inf`` for those without an answer.

        Raises:
            AccessError: the server gives no log-probabilities.
            VictimError: as `classify`.
        """
        if "score" not in self.abilities:
            raise self._unable("score", "a server that gives log-probabilities")
        rows = [[np.concatenate([item.before, string, item.after]) for string in item.candidates] for item in items]
        scored = []
        if self.labels:
            all_logits = iter(self.classify([row for of_item in rows for row in of_item])[0])
            for item, of_item in zip(items, rows, strict=True):
                assert isinstance(item.target, int)
                logits = np.asarray([next(all_logits) for _ in of_item]).reshape(len(of_item), self.n_labels)
                losses, told = np.full(len(of_item), np.inf), np.isfinite(logits).all(axis=1)
                losses[told] = cross_entropy(logits[told], item.target)
                scored.append(Scored(logits, losses, UNKNOWN))
            return scored
        targets = [item.target if isinstance(item.target, tuple) else () for item in items]
        prompts, continuations = [], []
        for of_item, target in zip(rows, targets, strict=True):
            prompts += [self._checked(row, len(target)) for row in of_item]
            continuations += [[target]] * len(of_item)
        log_probs = iter(self._log_probs(prompts, continuations))
        for item, of_item in zip(items, rows, strict=True):
            values = [next(log_probs) for _ in of_item]
            losses = np.asarray(
                [np.inf if isinstance(value, str) else text_loss(value[0], item.over) for value in values]
            )
            scored.append(Scored(np.empty((len(of_item), 0)), losses, UNKNOWN))
        return scored

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """Not possible: a server gives no gradients. Raises AccessError."""
        raise self._unable("gradient", "a victim with open weights")

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Not possible: no server gives the log-probabilities of its whole vocabulary. Raises AccessError."""
        raise self._unable("sample", "a language model with open weights")

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """Answers in text, each with its state.

        Raises:
            AccessError: a victim that classifies.
            VictimError: the server is gone; a prompt without tokens, or one that leaves no room in the context.
        """
        if "generate" not in self.abilities:
            raise self._unable("generate", "head: generation")
        if any(item.ids is not None for item in items) and not self._text_answers.takes_ids:
            raise AccessError(
                "this server accepts texts, not tokens: a defense that chooses the tokens cannot reach it"
            )
        encoded = prompt_ids(items, self.tokenizer)
        rows = [self._checked(np.asarray([*self.tokenizer.left, *ids], dtype=np.int64), 0) for ids in encoded]
        return self._text_answers.generate(items, rows)

    def describe(self) -> dict[str, object]:
        """Facts for the manifest: the server, how requests are sent, what it can do, and what it failed to do."""
        probe, method = self._probe, self._probe.method
        return {
            "backend": "url",
            "server": self._completions.base_url,
            "model": self._completions.model,
            "served": self._served.facts,
            "head": "label_tokens" if self.labels else "generation",
            "api": self._served.api,
            "chat": self._chat_facts,
            "prompts": "token ids" if probe.prompts.ids else "text, which the server tokenises",
            "prompts_per_request": probe.prompts.batch,
            "tokens_counted": probe.token_counts,
            "answers_as": "token ids" if probe.gives_ids else "text",
            "request": None if self.labels else asdict(self._served.form),
            "temperature": "the server's own: answers are sampled" if self._completions.sampled else "as asked",
            "log_probabilities": None if method is None else method.name,
            "log_probabilities_of": method.top if isinstance(method, TopLogProbs) else None,
            "untold": 0 if method is None else method.unlikely,
            "tokenised_otherwise": 0 if method is None else method.mismatched,
            "not_possible": probe.failures,
            "agreement": None
            if probe.agreement is None
            else {"with": probe.agreement[0], "largest_difference": probe.agreement[1]},
            "retries": self._completions.client.retried,
            "refused_prompts": self._completions.refused,
            "first_refusal": self._completions.first_refusal,
        }

    @property
    def _chat_facts(self) -> dict[str, object] | None:
        chat = chat_of(self.tokenizer)
        if self._served.api == "chat":
            return {"template": "the server's"} | asdict(self._served.chat)
        return None if chat is None else chat.format.facts()

    def _log_probs(self, rows: list[Row], continuations: list[list[Row]]) -> list[RowLogProbs]:
        assert self._probe.method is not None
        log_probs = read_log_probs(self._probe.method, rows, continuations)
        if log_probs and all(isinstance(of_row, str) for of_row in log_probs):
            self._check_still_answers()
        return log_probs

    def _check_still_answers(self) -> None:
        """Raise VictimError where rows are refused not for their content but because the server answers nothing."""
        (answer,) = self._completions.complete(probe_rows(self._completions.tokenizer)[:1], {"max_tokens": 1})
        if isinstance(answer, Refusal):
            raise VictimError(f"{self._completions.base_url}: refuses what it answered at first ({answer})")

    def _checked(self, row: NDArray[np.int64], continuation: int) -> Row:
        """The row's ids. Raises VictimError where a row and so many tokens after it do not fit the model."""
        longest = min(self.context, self._longest - continuation)
        if not 0 < len(row) <= longest:
            raise VictimError(
                f"a row of {len(row)} tokens does not fit the model: 1 to {longest} are possible, and nothing is cut "
                f"off; drop long examples or shorten the attack string"
            )
        if row.min() < 0 or row.max() >= self.tokenizer.vocabulary:
            raise VictimError(
                f"token ids {row.min()} to {row.max()} exceed the vocabulary (0 to {self.tokenizer.vocabulary - 1})"
            )
        return tuple(int(i) for i in row)

    def _unable(self, ability: Ability, mend: str) -> AccessError:
        abilities = ", ".join(sorted(self.abilities)) or "nothing"
        return AccessError(f"this victim does not answer {ability} requests (it answers {abilities}); use {mend}")


def _why(probe: ServerProbe) -> str:
    """Why the server gives no log-probabilities."""
    return "; ".join(f"{name}: {why}" for name, why in probe.failures.items()) or "it was not asked to"
