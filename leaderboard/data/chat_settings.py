"""How victims were talked to, as the records say: chat template, system prompt, prefill, template arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.records.cell_manifest import CellRecord


@dataclass(frozen=True)
class ChatSettings:
    """Of a chat model; texts are as they were recorded, by anybody.

    Attributes:
        template: hash of its chat template; "the server's" where a server renders messages.
        system: as the spec has it: ``default``, ``none`` or a text.
        system_text: the system prompt of a conversation that brings none; None: there is none, or nobody knows.
        prefill: what each answer begins with.
        arguments: of the template, as JSON; "" where there are none.
        reasoning: the markers around reasoning; "" where there are none.
        date: today's, for a template that writes it, else "".
        around: all that the model reads before and behind one message of the user; None where nobody says.
    """

    template: str
    system: str
    system_text: str | None
    prefill: str
    arguments: str
    reasoning: str
    date: str
    around: tuple[str, str] | None

    @property
    def comment(self) -> str:
        """In one line, to be shown with a command."""
        parts = [f"chat template {self.template}", f"system {_quoted(self.system)}"]
        parts += [f"prefill {_quoted(self.prefill)}"] if self.prefill else []
        parts += [f"template_arguments {self.arguments}"] if self.arguments else []
        parts += [f"reasoning {self.reasoning}"] if self.reasoning else []
        return ", ".join([*parts, *([f"date {self.date}"] if self.date else [])])


def chat_settings(record: CellRecord) -> ChatSettings | None:
    """Of a cell's victim; None where prompts were put to it as they are, or the records do not say."""
    facts = record.agreement.get("chat")
    if not isinstance(facts, Mapping) or not isinstance(facts.get("template"), str):
        return None
    around = facts.get("around")
    told = isinstance(around, list) and len(around) == 2 and all(isinstance(part, str) for part in around)
    system = _text(facts, "system")
    written = facts.get("system_text", None if system in ("default", "none") else system)
    return ChatSettings(
        template=facts["template"],
        system=system,
        system_text=written if isinstance(written, str) and written else None,
        prefill=_text(facts, "prefill"),
        arguments=_json(facts.get("arguments")),
        reasoning=_json(facts.get("reasoning")),
        date=_text(facts, "date"),
        around=(around[0], around[1]) if told and around is not None else None,
    )


def _text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    return value if isinstance(value, str) else ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else ""


def _quoted(text: str) -> str:
    return text if text in ("default", "none", "") else json.dumps(text, ensure_ascii=False)
