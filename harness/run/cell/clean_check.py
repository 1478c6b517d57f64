"""The clean prompts of a cell: what the victim makes of them, and which examples are then attacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.task import NO_LABEL, Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.prompt_item import Names
from harness.engine.defended.reply import Reply
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.on_examples import place_all
from harness.engine.search.step_outcome import utility_of_recorded
from harness.errors import DataError
from harness.flops import Flops
from harness.records.exclusion import (
    ALREADY_BROKEN,
    ALREADY_WRONG,
    BLOCKED,
    NO_CLEAN_ANSWER,
    NOT_ATTACKABLE,
    NOT_JUDGED,
    too_long,
)
from harness.run.cell.prompt_columns import prompt_columns
from harness.spec.cells import CellSpec


@dataclass(frozen=True)
class CleanCheck:
    """The victim's answers to the clean prompts of the cell.

    Attributes:
        correct: the right label; of an answer in text, that there is one, and the judge sees no success of the attacker
            in it.
        judging: compute of the judge's models.
        unparseable: whether a judging model could not judge the answer; empty where no judge is asked.
    """

    replies: list[Reply]
    correct: list[bool]
    judging: Flops
    unparseable: list[bool] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """How many got neither an answer nor a refusal."""
        return sum(reply.missing for reply in self.replies)

    @property
    def accuracy(self) -> float | None:
        """Share that is right of those that got a refusal or an answer that could be judged; None where none did, or
        all are too long.
        """
        told = len(self.replies) - self.missing - sum(self.unparseable)
        unasked = sum(reply.too_long for reply in self.replies)
        return sum(self.correct) / told if told > unasked else None

    def is_told(self, at: int) -> bool:
        """Whether it is known how the victim answers a prompt: it said something, and that could be judged."""
        return not self.replies[at].missing and not (self.unparseable and self.unparseable[at])

    @property
    def cost(self) -> Flops:
        return sum((reply.victim + reply.defense for reply in self.replies), self.judging)


def check_clean(judge: JudgeRunner, examples: Sequence[Example], names: Names = ()) -> CleanCheck:
    """Ask for every clean prompt. With labels, a blocked one and one that is too long count as wrong; in text, a
    blocked one is a refusal; one without an answer, or with one that could not be judged, is neither right nor wrong.

    Args:
        names: what the draws of a randomised defense depend on, besides the example.
    """
    draw_names = [(*names, example.id, "clean") for example in examples]
    replies = judge.models.victim.ask(
        [example.text for example in examples],
        names=draw_names,
        conversations=[example.conversation for example in examples],
    )
    if not any(example.label == NO_LABEL for example in examples):
        correct = [reply.label == example.label for example, reply in zip(examples, replies, strict=True)]
        return CleanCheck(replies, correct, Flops())
    answers = [reply.answer(example.goal) for example, reply in zip(examples, replies, strict=True)]
    judged = judge.verdicts(list(zip(examples, answers, strict=True)))
    # A guard that blocks a benign prompt refuses it.
    blocked = [answer.blocked and example.benign for example, answer in zip(examples, answers, strict=True)]
    unparseable = [verdict.unparseable for verdict, _ in judged]
    correct = [
        not (verdict.success or verdict.unparseable or refused or reply.too_long or reply.missing)
        for (verdict, _), refused, reply in zip(judged, blocked, replies, strict=True)
    ]
    return CleanCheck(replies, correct, sum((cost for _, cost in judged), Flops()), unparseable)


def choose_examples(
    victim: DefendedVictim,
    cell: CellSpec,
    examples: Sequence[Example],
    clean: CleanCheck,
    attacked: DefendedVictim | None = None,
) -> tuple[list[Problem], list[dict[str, Any]]]:
    """The problems to attack, and the rows of the examples table: only what the victim gets right is attacked. A guard
    that blocks a harmful prompt is right, and the attack has to get past it.

    Args:
        attacked: the victim as the attack meets it; None: as it is judged.

    Raises:
        DataError: a prompt is too long with the attack string, and the spec asks for an error then.
    """
    chosen = examples[: cell.examples]
    shown = place_for(victim, chosen, cell.threat)
    placed = shown if attacked in (None, victim) else place_for(attacked or victim, chosen, cell.threat)
    problems: list[Problem] = []
    rows: list[dict[str, Any]] = []
    for at, problem in enumerate(placed):
        example, reply, right = problem.example, clean.replies[at], clean.correct[at]
        length, room = _length(shown[at]), room_of(victim)
        why = None
        if reply.too_long or length > room:
            why = too_long(length, room)
            if cell.too_long == "error":
                raise DataError(
                    f"example {example.id} is {why}; write too_long: exclude or truncate in the spec, give the task a "
                    "smaller max_chars, or use a victim with a longer context"
                )
        elif reply.missing:
            why = NO_CLEAN_ANSWER
        elif reply.logits is None and reply.text is None and (victim.labels or example.benign):
            why = BLOCKED
        elif not clean.is_told(at):
            why = NOT_JUDGED
        elif not right and (victim.labels or example.attackable):
            why = ALREADY_WRONG if victim.labels else ALREADY_BROKEN
        elif not example.attackable:
            why = NOT_ATTACKABLE
        if why is None:
            problems.append(problem)
        rows.append(
            {
                "example": example.id,
                "label": None if example.label == NO_LABEL else example.label,
                "target": None if example.proxy_label == NO_LABEL else example.proxy_label,
                "predicted": reply.label,
                "answer": reply.text,
                "answer_state": None if reply.text is None and not reply.missing else reply.state,
                "benign": None if victim.labels else example.benign,
                "right": right if clean.is_told(at) and not reply.too_long else None,
                "utility": None if reply.too_long else utility_of_recorded(example, reply.text, reply.state),
                "attacked": why is None,
                "excluded": why,
                **prompt_columns(problem, shown[at].read),
            }
        )
    return problems, rows


def place_for(victim: DefendedVictim, examples: Sequence[Example], threat: Threat) -> list[Problem]:
    """Each example with the place of its attack string, as this victim reads it. Raises as `place_all`."""
    return place_all(examples, threat, victim.backend.tokenizer, victim.labels, victim.surrounded)


def room_of(victim: DefendedVictim) -> int:
    """Longest prompt in tokens, with room for an answer."""
    return victim.backend.context - (0 if victim.labels else victim.answer_tokens)


def _length(problem: Problem) -> int:
    return len(problem.before) + problem.budget + len(problem.after)


def shortened(examples: Sequence[Example], victim: DefendedVictim, threat: Threat) -> tuple[list[Example], int]:
    """The examples, those that are too long with their changeable text cut off at the end until they fit; and how many
    were cut. One that is too long without any of that text stays as it is.
    """
    found, cut = [], 0
    for example in examples:
        short = _shortened(example, victim, threat)
        cut += short is not example
        found.append(short)
    return found, cut


def _shortened(example: Example, victim: DefendedVictim, threat: Threat) -> Example:
    tokenizer, room = victim.backend.tokenizer, room_of(victim)
    chunk = example.chunks[example.region]
    if chunk.edit is not Edit.PERTURBABLE:
        return example
    none = allowed_tokens(tokenizer)[:0]

    def excess(of: Example) -> int:
        return _length(place(of, threat, tokenizer, none, surround=victim.surrounded)) - room

    def with_text(text: str) -> Example:
        chunks = list(example.chunks)
        chunks[example.region] = Chunk(text, chunk.edit)
        return replace(example, chunks=tuple(chunks))

    if excess(example) <= 0:
        return example
    spans = tokenizer.spans(chunk.text)
    kept = len(spans)
    while kept > 0:
        kept = max(0, kept - max(1, excess(with_text(chunk.text[: spans[kept - 1][1]]))))
        short = with_text(chunk.text[: spans[kept - 1][1]] if kept else "")
        if excess(short) <= 0:
            return short
    return example
