"""How a chat model was talked to, as texts for the page of a victim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records.cell_manifest import CellRecord
from leaderboard.data.chat_settings import ChatSettings, chat_settings
from leaderboard.data.visible_text import escape_invisible, shortened


@dataclass(frozen=True)
class ChatLines:
    """Settings of a chat model.

    Attributes:
        lines: label and text of each.
        around: all that the model reads before and behind a message of the user; None where nobody says.
        comment: the settings in a line, for beside a command.
    """

    lines: list[tuple[str, str]]
    around: tuple[str, str] | None
    comment: str


def chat_lines(records: Sequence[CellRecord]) -> list[ChatLines]:
    """Each way in which the victim of these cells was talked to, once; none of a model that is no chat model."""
    found = dict.fromkeys(settings for record in records if (settings := chat_settings(record)) is not None)
    return [_lines(settings) for settings in found]


def _lines(settings: ChatSettings) -> ChatLines:
    system = {"default": "the template's own", "none": "none"}.get(settings.system, "set in the spec")
    told = [
        ("Chat template", settings.template),
        ("System prompt", f"{system}: {settings.system_text}" if settings.system_text else system),
        ("Answers begin with", settings.prefill),
        ("Template arguments", settings.arguments),
        ("Reasoning stands between", settings.reasoning),
        ("Date in the template", settings.date),
    ]
    around = None if settings.around is None else (shortened(settings.around[0]), shortened(settings.around[1]))
    lines = [(label, shortened(text)) for label, text in told if text]
    return ChatLines(lines, around, escape_invisible(" ".join(settings.comment.split())))
