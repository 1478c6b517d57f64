"""Probing a server: how it takes prompts, and how it gives log-probabilities, found out by a few requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from harness import Tokenizer, VictimError
from plugins.victims._openai.completions import PATH, Completions, PromptFormat, Row, usage_count
from plugins.victims._openai.http_client import JsonClient, Refusal
from plugins.victims._openai.log_probs import LogProbMethod, MissingLogProbsError
from plugins.victims._openai.next_token_log_probs import NamedTokenLogProbs, TopLogProbs
from plugins.victims._openai.prompt_log_probs import Echo, PromptLogProbs

Scoring = Literal["auto", "logprob_token_ids", "prompt_logprobs", "echo", "top_logprobs", "none"]
TEXT = "The quick brown fox jumps over 13 lazy dogs; isn't it (so) early in the morning?"
OTHER_TEXT = "On the 2nd of May a small boat left the harbour, and nobody has seen it since."
RETURN_TOKEN_IDS = {"return_token_ids": True}
MAX_DIFFERENCE = 0.5  # nats between two methods, beyond which one of them is wrong; half precision stays far below
_CONTINUATION = 3  # last tokens of a row whose log-probabilities are requested


@dataclass
class ServerProbe:
    """What a server was found to do.

    Attributes:
        prompts: how it takes prompts.
        token_counts: how it counts the tokens of a text: ``as the tokenizer`` or ``unknown``.
        method: how it gives log-probabilities; None where it does not, or none were wanted.
        agreement: another method that works, and the largest difference in nats between the two.
        failures: why other methods do not work, by name.
        gives_ids: whether answers in text come with their token ids.
    """

    prompts: PromptFormat
    token_counts: str
    method: LogProbMethod | None = None
    agreement: tuple[str, float] | None = None
    failures: dict[str, str] = field(default_factory=dict)
    gives_ids: bool = False


def probe(
    client: JsonClient,
    model: str,
    tokenizer: Tokenizer,
    scoring: Scoring,
    *,
    next_tokens: bool,
    batch: int,
    sampled: bool = False,
) -> tuple[Completions, ServerProbe]:
    """Find out how to request completions and their log-probabilities.

    Args:
        scoring: the parameter of `plugins.victims.openai_compatible.OpenAICompatible`.
        next_tokens: whether the victim has labels. Methods by next tokens cost a request per token of a continuation,
            which pays for labels and not for the longer targets of a generation.
        batch: prompts per request at most.
        sampled: whether requests leave the temperature to the server.

    Raises:
        VictimError: the server is gone or takes no prompt, counts tokens otherwise than the tokenizer, or does not do
            what ``scoring`` says; two of its methods to give log-probabilities disagree.
    """
    completions = _completions(client, model, tokenizer, batch, sampled=sampled)
    if not completions.prompts.ids and getattr(tokenizer, "appended", ()):
        raise VictimError(
            f"{client.config.base_url}: accepts prompts only as text, and the tokenizer of {model} ends every text "
            f"with a token, so that no answer could follow; use a server that takes token ids, or api: chat"
        )
    result = ServerProbe(completions.prompts, _token_counts(completions))
    if scoring != "none":
        _find_method(completions, result, scoring, next_tokens=next_tokens)
    if not next_tokens:
        result.gives_ids = _gives_ids(completions)
    completions.forget_refusals()  # refusals are expected while probing
    return completions, result


def probe_rows(tokenizer: Tokenizer) -> list[Row]:
    """Two rows of tokens that stay the same when they are sent as text."""
    return [(*tokenizer.left, *ids) for ids in tokenizer.encode([TEXT, OTHER_TEXT])]


def _completions(client: JsonClient, model: str, tokenizer: Tokenizer, batch: int, *, sampled: bool) -> Completions:
    """With the first that works of: ids in batches, ids one by one, texts in batches, texts one by one."""
    rows = probe_rows(tokenizer)
    reasons = []
    for ids, size in ((True, batch), (True, 1), (False, batch), (False, 1)):
        completions = Completions(client, model, tokenizer, PromptFormat(ids, size), sampled=sampled)
        sent = rows[: min(size, len(rows))]
        (answer,) = client.post(PATH, [completions.body(sent, {"max_tokens": 1})])
        if isinstance(answer, Refusal):
            reasons.append(str(answer))
            continue
        choices, counted = answer.get("choices"), usage_count(answer, "prompt_tokens")
        if not isinstance(choices, list) or len(choices) != len(sent):
            reasons.append(f"{len(sent)} prompts, {len(choices) if isinstance(choices, list) else 'no'} choices")
        elif ids and counted not in (None, sum(map(len, sent))):
            reasons.append(f"{sum(map(len, sent))} token ids counted as {counted}: it treats them as something else")
        else:
            return completions
    why = "; ".join(dict.fromkeys(reasons))
    raise VictimError(f"{client.config.base_url}: {model} accepts no prompt for completion: {why}")


def _token_counts(completions: Completions) -> str:
    """How the server counts the tokens of a text. Raises VictimError where the tokenizer is not the model's by that."""
    tokenizer = completions.tokenizer
    expected = len(tokenizer.encode([TEXT])[0])
    body = completions.body(probe_rows(tokenizer)[:1], {"prompt": TEXT, "max_tokens": 1})
    (answer,) = completions.client.post(PATH, [body])
    counted = None if isinstance(answer, Refusal) else usage_count(answer, "prompt_tokens")
    if counted is None:
        return "unknown"
    around = len(tokenizer.left) + len(getattr(tokenizer, "appended", ()))
    if not expected <= counted <= expected + max(1, around):
        raise VictimError(
            f"{completions.base_url}: counts {counted} tokens in a text in which the tokenizer finds {expected}; "
            f"give the tokenizer of {completions.model}"
        )
    return "as the tokenizer"


def _gives_ids(completions: Completions) -> bool:
    """Whether the server gives the ids that it generates: texts lack special tokens, and spaces at their beginning."""
    (answer,) = completions.complete(probe_rows(completions.tokenizer)[:1], {"max_tokens": 1} | RETURN_TOKEN_IDS)
    return not isinstance(answer, Refusal) and generated_ids(answer) is not None


def generated_ids(choice: dict[str, Any]) -> list[int] | None:
    """The generated ids in an answer to a request with `RETURN_TOKEN_IDS`; None where the server does not give them."""
    ids = choice.get("token_ids")
    return ids if isinstance(ids, list) and all(isinstance(i, int) for i in ids) else None


def _find_method(completions: Completions, result: ServerProbe, scoring: Scoring, *, next_tokens: bool) -> None:
    """Write the first method that works into the result, and how it agrees with a second one."""
    rows = probe_rows(completions.tokenizer)
    length = min(_CONTINUATION, *(len(row) - 1 for row in rows))
    if length < 1:
        raise VictimError("the tokenizer finds too few tokens in a sentence to find out how the server scores")
    prompts, continuations = [row[:-length] for row in rows], [[row[-length:]] for row in rows]
    working: list[tuple[LogProbMethod, Any]] = []
    for make in _candidates(completions, scoring, next_tokens=next_tokens):
        method = make()
        completions.forget_refusals()
        if any(method.name == other.name or not method.exact for other, _ in working):
            continue
        try:
            answers = method.read(prompts, continuations)
        except MissingLogProbsError as error:
            result.failures[method.name] = str(error)
            continue
        if completions.refused or (method.exact and any(isinstance(answer, str) for answer in answers)):
            mismatch = "the server's tokens differ from the tokenizer's"
            result.failures[method.name] = completions.first_refusal or mismatch
            continue
        result.failures.pop(method.name, None)
        method.unlikely = 0
        working.append((method, answers))
        if len(working) == 2:
            break
    if len(working) == 2:
        (method, own), (other, reference) = working
        difference = max(float(np.abs(a[0] - b[0]).max()) for a, b in zip(own, reference, strict=True))
        if difference > MAX_DIFFERENCE:
            raise VictimError(
                f"{completions.base_url}: its log-probabilities by {method.name} and by {other.name} differ by "
                f"{difference:.2g} nats; choose one with scoring: {other.name}"
            )
        result.agreement = (other.name, difference)
    if working:
        result.method = working[0][0]
    elif scoring != "auto":
        raise VictimError(
            f"{completions.base_url}: does not give log-probabilities by {scoring} "
            f"({result.failures.get(scoring, 'refused')}); use scoring: auto"
        )


def _candidates(
    completions: Completions, scoring: Scoring, *, next_tokens: bool
) -> Iterator[Callable[[], LogProbMethod]]:
    """Makers of the methods to try, exact ones first."""

    def wanted(name: str) -> bool:
        return scoring in ("auto", name)

    if wanted("logprob_token_ids") and next_tokens:
        yield lambda: NamedTokenLogProbs(completions)
    if wanted("prompt_logprobs"):
        yield lambda: PromptLogProbs(completions)
    if wanted("echo"):
        yield lambda: Echo(completions, 0)
        yield lambda: Echo(completions, 1)
    if wanted("top_logprobs") and next_tokens:
        # Some servers refuse fields that they do not know, and give no more than five tokens.
        yield lambda: TopLogProbs(completions, 20, by_id=True)
        yield lambda: TopLogProbs(completions, 20, by_id=False)
        yield lambda: TopLogProbs(completions, 5, by_id=False)
