"""Chat templates: what a tokenizer writes around the messages of a conversation. Imports no torch."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import VictimError, error_text
from harness.hashing import content_key
from harness.tokens.message import Message

_TODAY = re.compile(r"""strftime_now\(\s*(?:format\s*=\s*)?(?:"([^"]*)"|'([^']*)')\s*\)""")


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja template of transformers, and what it may name of its tokenizer.

    Attributes:
        text: of the template.
        special: special tokens by their names in it, such as ``bos_token``.
        where: it was found, for messages.
    """

    text: str
    special: Mapping[str, str] = field(default_factory=dict)
    where: str = "chat template"

    @classmethod
    def from_transformers(cls, tokenizer: Any, name: str | None = None, where: str = "") -> ChatTemplate | None:
        """The template of a tokenizer of transformers; None where it has none.

        Args:
            name: of one of several templates; None: the one that transformers takes.

        Raises:
            VictimError: no template of that name; several, and none that is the default.
        """
        where = where or str(getattr(tokenizer, "name_or_path", "")) or type(tokenizer).__name__
        found = tokenizer.chat_template
        named = found if isinstance(found, Mapping) else {} if found is None else {"default": found}
        if name is None and not named:
            return None
        if name is None and "default" not in named:
            raise VictimError(f"{where}: several chat templates ({', '.join(sorted(named))}); write chat: NAME of one")
        if name is not None and name not in named:
            known = f"has {', '.join(sorted(named))}" if named else "has no chat template"
            raise VictimError(
                f"{where}: no chat template called {name!r}: it {known}; write chat: off, or a template's file "
                "(./NAME.jinja)"
            )
        return cls(named[name or "default"], dict(tokenizer.special_tokens_map), where)

    @classmethod
    def from_folder(cls, folder: Path | str, name: str | None = None) -> ChatTemplate | None:
        """The template of the tokenizer in a folder, as transformers reads it. Raises as `from_transformers`, and
        VictimError where there is no tokenizer.
        """
        return cls.from_transformers(_tokenizer(folder), name, str(folder))

    @classmethod
    def from_file(cls, path: Path | str, folder: Path | str) -> ChatTemplate:
        """The template in a file, for the tokenizer in a folder.

        Raises:
            VictimError: it cannot be read, or there is no tokenizer.
        """
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise VictimError(
                f"chat: {path}: cannot be read ({error_text(error)}); give the file of a Jinja template"
            ) from None
        return cls(text, dict(_tokenizer(folder).special_tokens_map), str(path))

    @property
    def prints_date(self) -> bool:
        """Whether it writes today's date."""
        return "strftime_now" in self.text

    def on(self, day: datetime.date) -> ChatTemplate:
        """The same with this date for today's, so that it says tomorrow what it says today.

        Raises:
            VictimError: it puts the date together in another way.
        """

        def written(match: re.Match[str]) -> str:
            text = day.strftime(match[1] if match[1] is not None else match[2])
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

        text = _TODAY.sub(written, self.text)
        if "strftime_now(" in text:
            raise VictimError(f"{self.where}: the chat template writes a date that cannot be fixed; write chat: PATH")
        return replace(self, text=text)

    def render(self, messages: Sequence[Message], arguments: Mapping[str, Any], *, go_on: bool = False) -> str:
        """The text of a conversation, with the beginning of an answer.

        Args:
            arguments: what else the template may look at, as `tokenizer.apply_chat_template` takes it.
            go_on: the last message is the answer's beginning; else the template begins one.

        Raises:
            VictimError: the template does not take these messages, or is none.
        """
        return self._rendered(messages, arguments, begin=not go_on, go_on=go_on)

    def render_closed(self, messages: Sequence[Message], arguments: Mapping[str, Any]) -> str:
        """The text of a conversation that nobody is to answer. Raises as `render`."""
        return self._rendered(messages, arguments, begin=False, go_on=False)

    def _rendered(self, messages: Sequence[Message], arguments: Mapping[str, Any], *, begin: bool, go_on: bool) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        plain = [{"role": message.role, "content": message.content} for message in messages]
        known = {**self.special, **arguments}
        try:
            rendered, _ = render_jinja_template(
                conversations=[plain],
                chat_template=self.text,
                add_generation_prompt=begin,
                continue_final_message=go_on,
                **known,
            )
        except Exception as error:  # whatever the template does: Jinja's errors, its own, those of Python
            roles = ", ".join(message.role for message in messages)
            raise VictimError(
                f"{self.where}: the chat template does not accept these messages ({roles}): {error_text(error)}; "
                f"give it messages that it accepts (system: default writes no system message), or write chat: PATH"
            ) from error
        return str(rendered[0])

    @property
    def hash(self) -> str:
        """Of the template's text."""
        return content_key(self.text)


def _tokenizer(folder: Path | str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many unrelated classes
        raise VictimError(f"{folder}: its tokenizer cannot be loaded ({error_text(error)})") from error
