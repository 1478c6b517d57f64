"""The parameters of victims that say how a chat model is talked to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from harness import SpecPath, VictimError
from plugins.victims._reasoning_param import ReasoningMarkers

if TYPE_CHECKING:
    from harness import ChatFormat, TaskData

AUTO, OFF = "auto", "off"
Chat = Annotated[Annotated[str, Field(pattern=r"^(auto(:\S+)?|off)$")] | SpecPath, Field(union_mode="left_to_right")]
_FILES = ("chat_template.jinja", "additional_chat_templates")  # besides what tokenizer_config.json says


def chat_field() -> Any:
    return Field(
        AUTO,
        description="how prompts are put to a chat model: auto, by its tokenizer's chat template where it has one "
        "(auto:NAME: by the one of that name); off, as they are; or the file of a Jinja template (./NAME.jinja). A "
        "classification head reads prompts as they are",
    )


def system_field() -> Any:
    return Field(
        "default",
        description="system prompt of a chat model, where a conversation has none: a text; default: what the template "
        "writes by itself; none: none, or an empty one where the template would write one",
    )


def prefill_field() -> Any:
    return Field("", description="what each answer of a chat model begins with")


def _json_data(value: dict[str, Any]) -> dict[str, Any]:
    from harness import ChatFormat

    try:
        ChatFormat.check_arguments(value)
    except VictimError as error:
        raise ValueError(str(error)) from None
    return value


TemplateArguments = Annotated[dict[str, Any], AfterValidator(_json_data)]


def template_arguments_field() -> Any:
    return Field(
        default_factory=dict,
        description="other arguments of the chat template, e.g. {enable_thinking: false}; see the model's own page",
    )


def written_identity(params: Any) -> dict[str, Any]:
    """The parameters above as they go into a victim's identity: those that say something."""
    found = {
        "chat": None if isinstance(params.chat, Path) else params.chat,
        "system": params.system,
        "prefill": params.prefill,
        "template_arguments": params.template_arguments,
    }
    plain = {"chat": AUTO, "system": "default", "prefill": "", "template_arguments": {}}
    return {name: value for name, value in found.items() if value is not None and value != plain[name]}


def settings_without_template(params: Any) -> list[str]:
    """The settings that mean nothing without a chat template."""
    return [name for name in written_identity(params) if name != "chat"]


def template_hash(chat: str | Path) -> dict[str, str]:
    """sha256 of the file of a chat template, where the parameter names one.

    Raises:
        VictimError: there is none.
    """
    if not isinstance(chat, Path):
        return {}
    if not chat.is_file():
        raise VictimError(f"chat: {chat}: no such file; write auto, off, or the file of a Jinja template")
    return {"chat": hashlib.sha256(chat.read_bytes()).hexdigest()}


def carries_template(folder: Path) -> bool:
    """Whether the tokenizer in a folder has a chat template; reads no more than that takes."""
    if any((folder / name).exists() for name in _FILES):
        return True
    config = folder / "tokenizer_config.json"
    try:
        return config.is_file() and bool(json.loads(config.read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False  # whoever loads the tokenizer says what is wrong with it


def check_settings(name: str, params: Any, *, template: bool) -> None:
    """Raise VictimError where the settings need a chat template and there is none.

    Args:
        name: of the model.
        template: whether it has one.
    """
    asked = settings_without_template(params)
    if asked and (params.chat == OFF or not template):
        why = "chat is off" if params.chat == OFF else "its tokenizer has no chat template"
        raise VictimError(f"{name}: {', '.join(asked)} given, and {why}; remove it, or give chat: ./TEMPLATE.jinja")


def chat_remarks(params: Any, folder: Path, data: TaskData) -> list[str]:
    """What is seldom meant: a chat model without its template, or a task that writes the template's marks as well.

    Args:
        folder: of a model whose tokenizer has a chat template.
    """
    if params.chat == OFF:
        return [
            "a chat model, and chat is off: prompts reach it without its template, which it was hardly trained for; "
            "leave chat out unless you mean that"
        ]
    fixed = data.fixed_parts.prefix + data.fixed_parts.suffix
    written = [token for token in _added_tokens(folder) if token in fixed]
    if written:
        return [
            f"the task writes {', '.join(written)} around its prompts, and the chat template writes its own: there "
            "they are text; leave them out of instructions and answer_prompt, or write chat: off"
        ]
    return []


def _added_tokens(folder: Path) -> list[str]:
    try:
        tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
        return [token["content"] for token in tokens if token["content"].strip()]
    except (OSError, ValueError, LookupError, TypeError):
        return []  # whoever loads the tokenizer says what is wrong with it


def chat_format(name: str, params: Any, folder: Path, reasoning: ReasoningMarkers | None) -> ChatFormat | None:
    """How the model in a folder is talked to; None: prompts are put to it as they are.

    Raises:
        VictimError: settings that need a template, and there is none; a template that cannot be read.
    """
    from harness import ChatFormat, ChatTemplate

    if params.chat == OFF:
        check_settings(name, params, template=False)
        return None
    if isinstance(params.chat, Path):
        template: ChatTemplate | None = ChatTemplate.from_file(params.chat, folder)
    elif params.chat == AUTO and not carries_template(folder):
        template = None
    else:
        _, _, wanted = params.chat.partition(":")
        template = ChatTemplate.from_folder(folder, wanted or None)
    if template is None:
        check_settings(name, params, template=False)
        return None
    return ChatFormat(template, params.system, params.prefill, params.template_arguments, reasoning)
