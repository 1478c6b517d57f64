"""What a server can do, found out by asking it a few rows before anything depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from harness import Tokenizer, VictimError
from plugins.victims._openai.completions import PATH, Completions, Prompts, Row
from plugins.victims._openai.log_probs import Echo, PromptLogProbs, TokenIds, TopLogProbs, UntoldError, Way
from plugins.victims._openai.server import Refusal, Server

Scoring = Literal["auto", "logprob_token_ids", "prompt_logprobs", "echo", "top_logprobs", "none"]
TEXT = "The quick brown fox jumps over 13 lazy dogs; isn't it (so) early in the morning?"
OTHER = "On the 2nd of May a small boat left the harbour, and nobody has seen it since."
NEW_IDS = {"return_token_ids": True}
DISAGREES = 0.5  # nats between two ways beyond which one of them is not what it says; half precision stays far below
_TAIL = 3  # tokens of a row whose log-probabilities are asked for


@dataclass
class ServerProbe:
    """What a server was found to do.

    Attributes:
        prompts: how it takes prompts.
        counts: how it counts the tokens of a text: ``as the tokenizer`` or ``unknown``.
        way: how it tells log-probabilities; None where it does not, or was not asked to.
        agreement: largest difference in nats between ``way`` and another that works, and that one's name.
        refused: why other ways do not work, by name.
        new_ids: whether answers in text come with their token ids.
    """

    prompts: Prompts
    counts: str
    way: Way | None = None
    agreement: tuple[str, float] | None = None
    refused: dict[str, str] = field(default_factory=dict)
    new_ids: bool = False


def probe(
    server: Server, model: str, tokenizer: Tokenizer, scoring: Scoring, *, next_tokens: bool, batch: int
) -> tuple[Completions, ServerProbe]:
    """Find out how to ask for completions and their log-probabilities.

    Args:
        next_tokens: whether the victim has labels. Ways that tell next tokens cost a request per token of a
            continuation, which pays for labels and not for the longer targets of a generation.
        batch: prompts per request at most.

    Raises:
        VictimError: the server is gone or takes no prompt, counts tokens otherwise than the tokenizer, or does not do
            what ``scoring`` says; two of its ways to tell log-probabilities disagree.
    """
    prompts = _prompts(server, model, tokenizer, batch)
    completions = Completions(server, model, tokenizer, prompts)
    found = ServerProbe(prompts, _counting(server, model, tokenizer))
    if scoring != "none":
        _find_way(completions, found, scoring, next_tokens=next_tokens)
    if not next_tokens:
        found.new_ids = _gives_ids(completions)
    completions.refused, completions.reason = 0, None  # what was refused so far was tried on purpose
    return completions, found


def probe_rows(tokenizer: Tokenizer) -> list[Row]:
    """Two rows that stay the same when they are sent as text."""
    return [(*tokenizer.left, *ids) for ids in tokenizer.encode([TEXT, OTHER])]


def _prompts(server: Server, model: str, tokenizer: Tokenizer, batch: int) -> Prompts:
    """The first of: ids in batches, ids one by one, texts in batches, texts one by one."""
    rows = probe_rows(tokenizer)
    reasons = []
    for ids, most in ((True, batch), (True, 1), (False, batch), (False, 1)):
        prompts = Prompts(ids, most)
        asked = rows[: min(most, len(rows))]
        (answer,) = server.post(PATH, [Completions(server, model, tokenizer, prompts).body(asked, {"max_tokens": 1})])
        if isinstance(answer, Refusal):
            reasons.append(f"status {answer.status}: {answer.reason}")
            continue
        got = answer.get("choices")
        counted = _counted(answer)
        if not isinstance(got, list) or len(got) != len(asked):
            reasons.append(f"{len(asked)} prompts, {len(got) if isinstance(got, list) else 'no'} choices")
        elif ids and counted not in (None, sum(map(len, asked))):
            reasons.append(f"{sum(map(len, asked))} token ids counted as {counted}: it takes them for something else")
        else:
            return prompts
    why = "; ".join(dict.fromkeys(reasons))
    raise VictimError(f"{server.access.base_url}: {model} takes no prompt for completion: {why}")


def _counting(server: Server, model: str, tokenizer: Tokenizer) -> str:
    """How the server counts the tokens of a text, which tells whether the tokenizer is the model's."""
    ids = tokenizer.encode([TEXT])[0]
    plain = len(ids)
    body = {"model": model, "prompt": TEXT, "max_tokens": 1, "temperature": 0.0}
    (answer,) = server.post(PATH, [body])
    counted = None if isinstance(answer, Refusal) else _counted(answer)
    if counted is None:
        return "unknown"
    if not plain <= counted <= plain + max(1, len(tokenizer.left) + len(tokenizer.right)):
        raise VictimError(
            f"{server.access.base_url}: counts {counted} tokens in a text in which the tokenizer finds {plain}; "
            f"give the tokenizer of {model}"
        )
    return "as the tokenizer"


def _gives_ids(completions: Completions) -> bool:
    """Whether the server tells the ids that it generates: texts leave special tokens out, and spaces at the front."""
    (answer,) = completions.ask(probe_rows(completions.tokenizer)[:1], {"max_tokens": 1} | NEW_IDS)
    return not isinstance(answer, Refusal) and new_ids(answer) is not None


def new_ids(choice: dict[str, Any]) -> list[int] | None:
    """The ids of an answer to a request with `NEW_IDS`, where the server gives them."""
    ids = choice.get("token_ids")
    return ids if isinstance(ids, list) and all(isinstance(i, int) for i in ids) else None


def _counted(answer: dict[str, Any]) -> int | None:
    usage = answer.get("usage")
    counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return counted if isinstance(counted, int) and not isinstance(counted, bool) else None


def _find_way(completions: Completions, found: ServerProbe, scoring: Scoring, *, next_tokens: bool) -> None:
    rows = probe_rows(completions.tokenizer)
    tail = min(_TAIL, *(len(row) - 1 for row in rows))
    if tail < 1:
        raise VictimError("the tokenizer finds too few tokens in a sentence to find out how the server scores")
    heads, tails = [row[:-tail] for row in rows], [[row[-tail:]] for row in rows]
    working: list[tuple[Way, Any]] = []
    for make in _candidates(completions, scoring, next_tokens=next_tokens):
        way, completions.refused, completions.reason = make(), 0, None
        if any(way.name == other.name or not way.exact for other, _ in working):
            continue
        try:
            answers = way.read(heads, tails)
        except UntoldError as error:
            found.refused[way.name] = str(error)
            continue
        if completions.refused or (way.exact and any(answer is None for answer in answers)):
            found.refused[way.name] = completions.reason or "the server's tokens are others than the tokenizer's"
            continue
        found.refused.pop(way.name, None)
        way.untold = 0
        working.append((way, answers))
        if len(working) == 2:
            break
    if len(working) == 2:
        (way, own), (other, reference) = working
        worst = max(float(np.abs(a[0] - b[0]).max()) for a, b in zip(own, reference, strict=True))
        if worst > DISAGREES:
            raise VictimError(
                f"{completions.server.access.base_url}: its log-probabilities by {way.name} and by {other.name} differ "
                f"by {worst:.2g} nats; choose one with scoring: {other.name}"
            )
        found.agreement = (other.name, worst)
    if working:
        found.way = working[0][0]
    elif scoring != "auto":
        raise VictimError(
            f"{completions.server.access.base_url}: does not tell log-probabilities by {scoring} "
            f"({found.refused.get(scoring, 'refused')}); use scoring: auto"
        )


def _candidates(completions: Completions, scoring: Scoring, *, next_tokens: bool) -> Iterator[Callable[[], Way]]:
    def wanted(name: str) -> bool:
        return scoring in ("auto", name)

    if wanted("logprob_token_ids") and next_tokens:
        yield lambda: TokenIds(completions)
    if wanted("prompt_logprobs"):
        yield lambda: PromptLogProbs(completions)
    if wanted("echo"):
        yield lambda: Echo(completions, 0)
        yield lambda: Echo(completions, 1)
    if wanted("top_logprobs") and next_tokens:
        # Some servers refuse fields that they do not know, and tell no more than five tokens.
        yield lambda: TopLogProbs(completions, 20, by_id=True)
        yield lambda: TopLogProbs(completions, 20, by_id=False)
        yield lambda: TopLogProbs(completions, 5, by_id=False)
