"""Prompt injection: text of an attacker in the result of a tool that the assistant has called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, NamedTuple

from pydantic import Field, PositiveInt

from harness import AnswerRule, Chunk, DataError, Edit, Example, Task, TaskData, TaskKind, did_you_mean, hookimpl
from plugins.tasks._bases.generation_task import spaced_continuation
from plugins.tasks._bases.text_task import TextTask
from plugins.tasks._data.answer_rules import rules_of
from plugins.tasks._data.duplicates import Claim
from plugins.tasks._data.marked_messages import PLACE, MarkedMessages, marked_messages
from plugins.tasks._data.records import Record
from plugins.tasks._data.splits import Split, example_id

_COLUMNS = ("messages", "injection", "forbidden", "wanted", "target")


class InjectionCase(NamedTuple):
    """A conversation, what the attacker writes into it, and the rules on the answer.

    Attributes:
        messages: with the attacker's place marked.
        injection: the attacker's instruction, which stands there; "" for an attack string alone.
        forbidden: any of them is what the attacker wants.
        wanted: all of them hold where the user's own task is done; none where nothing tells that.
        target: beginning of the answer that the attacker wants.
    """

    messages: MarkedMessages
    injection: str
    forbidden: tuple[AnswerRule, ...]
    wanted: tuple[AnswerRule, ...]
    target: str

    @property
    def text(self) -> str:
        """The message with the attacker's place, with the injection in it."""
        return self.messages.head + self.injection + self.messages.tail


class PromptInjection(TextTask[InjectionCase]):
    """Conversations in which the attacker has written into a tool's result, which alone it may change; it wants a call
    or a phrase in the answer, while the user wants their own task done.
    """

    name = "prompt_injection"
    paper = (
        "Greshake et al. 2023, Not what you've signed up for, arXiv:2302.12173; Debenedetti et al. 2024, AgentDojo, "
        "arXiv:2406.13352"
    )
    answers: ClassVar[TaskKind] = "text"
    needs_training = False

    class Params(TextTask.Params):
        """Where the cases come from, whether the injection stands in them, and how long answers may be."""

        validation_fraction: float = Field(
            1.0, gt=0, le=1, description="share cut off for validation if no split is given; 1: no training examples"
        )
        injected: bool = Field(
            True,
            description="the attacker's instruction is in its place; false: it is not, and nothing is attacked, "
            "so that the clean share is the utility without an attacker",
        )
        answer_tokens: PositiveInt = Field(
            64, description="longest answer, in the victim's tokens; a call that it cuts off does not count"
        )

    def row(self, record: Record, number: int) -> InjectionCase:
        """The case of a record, which has the columns ``messages`` and ``forbidden``, and may have ``injection``,
        ``wanted`` and ``target``.
        """
        _check_names(record)
        forbidden = rules_of(record, "forbidden")
        if not forbidden:
            raise DataError(
                f"{record.where}: forbidden: missing or empty; write the rule by which the attacker has won, e.g. "
                '"forbidden": {"call": {"name": "send_money"}}'
            )
        given = record.text("target", "target") if "target" in record.values else ""
        target = given if given.strip() else next(filter(None, (rule.target for rule in forbidden)), "")
        if not target:
            raise DataError(
                f"{record.where}: target: missing, and a pattern does not give it; write the beginning of the answer "
                "that the attacker wants"
            )
        injection = record.text("injection", "injection") if "injection" in record.values else ""
        if PLACE in injection:
            raise DataError(
                f"{record.where}: injection: {PLACE} stands in it, which marks a place in the messages alone; take it "
                "out, and say with the threat's `position` where in the injection the attack string goes"
            )
        return InjectionCase(
            marked_messages(record, "messages"),
            injection,
            forbidden,
            rules_of(record, "wanted"),
            target,
        )

    def claim(self, row: InjectionCase) -> Claim:
        """The whole case: two with one conversation may want different things."""
        return Claim(row, None)

    def select(self, rows: list[InjectionCase]) -> list[InjectionCase]:
        """All cases; of ``injected: false`` those that tell what is wanted."""
        selected = [row for row in rows if self.params.injected or row.wanted]
        if rows and not selected:
            raise DataError(
                f"{self.name}: `injected: false` leaves none of {len(rows)} cases: it measures utility, and none has a "
                "rule `wanted`; write such rules, or leave it out"
            )
        return selected

    def made_up_row(self, text: str, number: int) -> InjectionCase:
        rule = (AnswerRule("Done"),)
        return InjectionCase(MarkedMessages((), "tool", text, "", ()), "", rule, rule, "Done")

    def load(self) -> TaskData:
        return replace(super().load(), answer_tokens=self.params.answer_tokens)

    def examples(self, split: Split, rows: list[InjectionCase]) -> list[Example]:
        injected = self.params.injected
        found = []
        for i, row in enumerate(rows):
            before, role, head, tail, after = row.messages
            # A space before the injection goes with it: no word can stand right behind one without merging with it.
            fixed = head.rstrip(" ") if row.injection else head
            place = Chunk(head[len(fixed) :] + (row.injection if injected else ""), Edit.PERTURBABLE)
            found.append(
                Example.of_messages(
                    example_id(split, i),
                    [*before, (role, (Chunk(fixed), place, Chunk(tail))), *after],  # type: ignore[list-item]
                    target=spaced_continuation(head + tail, row.target),
                    benign=not injected,
                    attackable=injected,
                    forbidden=row.forbidden if injected else (),
                    wanted=row.wanted,
                )
            )
        return found


def _check_names(record: Record) -> None:
    """Raise DataError for a column that is called almost as one that is missing: others may stand there."""
    missing = [name for name in _COLUMNS if name not in record.values]
    for name in record.values:
        if name not in _COLUMNS and (near := did_you_mean(name, missing)):
            raise DataError(f"{record.where}: column {name!r}{near}; rename it, so that it is not ignored")


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register PromptInjection."""
    register(PromptInjection)
