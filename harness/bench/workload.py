"""What is to be measured: the shape of the requests. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from harness.api.model.backend import ScoreItem, Target
from harness.api.problem.placement import place
from harness.api.problem.problem import Problem
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.bench.synthetic_text import synthetic_text
from harness.engine.torch.scoring.random_candidates import one_position_redrawn
from harness.errors import RunError, VictimError
from harness.tokens.continuation import continuation_ids
from harness.tokens.tokenizer import Tokenizer, Tokens

ChangedPositions = Literal["one", "all"]


@dataclass(frozen=True, slots=True)
class WorkloadShape:
    """The shape of the requests.

    Attributes:
        prefix, suffix: tokens before the attack string, and of it.
        tail: tokens of the target; where the loss is of a label, tokens between the attack string and the answer.
        candidates: per example.
        examples: how many different prompts share a request.
        positions: in how many places a candidate differs from the current string: ``one`` as in GCG, ``all`` as in
            RandomToken.
    """

    prefix: int = 100
    suffix: int = 20
    tail: int = 4
    candidates: int = 512
    examples: int = 1
    positions: ChangedPositions = "one"

    @property
    def longest_row(self) -> int:
        """Tokens of the longest row."""
        return self.prefix + self.suffix + self.tail

    def check(self, context: int, labels: bool) -> None:
        """Raise RunError for a shape that cannot be measured.

        Args:
            labels: whether the loss is of a label.
        """
        if self.prefix < 0 or min(self.suffix, self.candidates, self.examples) < 1 or self.tail < (0 if labels else 1):
            raise RunError("a benchmark needs at least one suffix token, one target token, one candidate, one example")
        if self.longest_row > context:
            raise RunError(
                f"prefix, suffix and tail are {self.longest_row} tokens, the model takes {context}; "
                "ask for a shorter prefix"
            )

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return asdict(self)


def score_items(shape: WorkloadShape, allowed: Tokens, labels: bool, seed: int) -> list[ScoreItem]:
    """The requests of one round: random ids, the same prompts in every round, other strings and candidates."""
    prompts = np.random.default_rng(0)
    drawn = np.random.default_rng([1, seed])
    items = []
    for _ in range(shape.examples):
        before = prompts.choice(allowed, size=shape.prefix)
        tail = prompts.choice(allowed, size=shape.tail)
        current = drawn.choice(allowed, size=shape.suffix)
        candidates = draw_candidates(current, allowed, shape, drawn)
        after, target = (tail, 0) if labels else (tail[:0], tuple(tail.tolist()))
        items.append(ScoreItem(before, candidates, after, target, current if shape.positions == "one" else None))
    return items


def draw_candidates(current: Tokens, allowed: Tokens, shape: WorkloadShape, rng: np.random.Generator) -> Tokens:
    """Candidates [K, S]: the current string [S] with one token replaced at a uniform position, or all of them drawn
    again.
    """
    if shape.positions == "all":
        return rng.choice(allowed, size=(shape.candidates, shape.suffix))
    return one_position_redrawn(current, shape.candidates, allowed, rng)


def attack_problems(
    shape: WorkloadShape, tokenizer: Tokenizer, allowed: Tokens, labels: bool
) -> tuple[list[Problem], Target]:
    """Examples in text for a whole attack, ``shape.examples`` of them, and the target of all.

    Raises:
        VictimError: no text of so many tokens was found.
    """
    threat = Threat.model_validate({"tokens": shape.suffix})
    room = shape.prefix - len(tokenizer.left)
    after = text_of_length(tokenizer, shape.tail, 10**6, " ") if labels else ""
    problems = []
    for number in range(shape.examples):
        chunks = (
            Chunk(text_of_length(tokenizer, max(0, room), number)),
            Chunk("", Edit.OVERWRITABLE),
            Chunk(after),
        )
        problems.append(place(Example(f"bench-{number:05d}", chunks, 0, 1), threat, tokenizer, allowed))
    target = np.random.default_rng(0).choice(allowed, size=shape.tail)
    return problems, 1 if labels else tuple(target.tolist())


def text_of_length(tokenizer: Tokenizer, tokens: int, seed: int, lead: str = "") -> str:
    """A text of exactly so many tokens.

    Args:
        lead: what it begins with, going on from another text.

    Raises:
        VictimError: none was found.
    """
    if not tokens:
        return ""
    for attempt in range(50):
        whole = tokenizer.encode([lead + synthetic_text(tokens + 8, seed * 50 + attempt)])[0]
        for start in range(max(1, min(len(whole) - tokens, 8))):
            (part,) = tokenizer.decode([whole[start : start + tokens]])
            ids = continuation_ids(tokenizer, part) if lead else tokenizer.encode([part])[0]
            if len(ids) == tokens:
                return part
    raise VictimError(f"no text of exactly {tokens} tokens was found for this tokenizer; ask for another number")
