"""The model that a victim's parameters name: where it lies, what identifies it, and how it is talked to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import VictimError
from plugins.victims._chat_params import AUTO, OFF, carries_template, chat_format, check_settings, template_hash
from plugins.victims._huggingface import model_files as model_files
from plugins.victims._huggingface.adapter_files import adapter_content, adapter_folder
from plugins.victims._huggingface.gguf_files import TEMPLATE, in_hub_layout, read_gguf
from plugins.victims._huggingface.packaged import PACKAGED, located
from plugins.victims._huggingface.published.presets import find_preset

if TYPE_CHECKING:
    from harness import ChatFormat, HeadName, Origin


def is_local(model: str) -> bool:
    """Whether a name stands for a folder or file of this machine."""
    if model.casefold() in PACKAGED:
        return located(model) != hub_id(model)
    return find_preset(model) is None and model_files.is_local(model)


def hub_id(model: str) -> str:
    """The hub id that a name stands for where the model is not here."""
    preset = find_preset(model) or PACKAGED.get(model.casefold())
    return preset.hub if preset else model


@dataclass(frozen=True)
class GivenModel:
    """The model of `HuggingFace.Params`."""

    params: Any

    @property
    def place(self) -> str:
        """The model's path or hub id, where a name stands for one that an installed package brings."""
        return located(self.params.model)

    @property
    def revision(self) -> str | None:
        """Of the hub id, as given, else the preset's."""
        given: str | None = self.params.revision
        preset = find_preset(self.params.model)
        return preset.revision if given is None and preset is not None else given

    @property
    def is_local(self) -> bool:
        """Whether it is a folder or file of this machine."""
        return is_local(self.params.model)

    @property
    def is_language_model(self) -> bool:
        """Whether its config.json says that it is a decoder."""
        return model_files.is_language_model(self.place, self.revision)

    def fingerprint(self) -> dict[str, str]:
        """Hashes of a folder's files, or the commit of a hub id; those of an adapter and of a template's file.

        Raises:
            VictimError: the commit cannot be found out; settings that need a chat template, and there is none.
        """
        params = self.params
        files = template_hash(params.chat)
        own = {} if files or params.chat == OFF else {"chat": "the tokenizer's template"}
        adapter = {} if params.adapter is None else adapter_content(params.adapter, params.adapter_revision)
        if self.is_local:
            template = bool(files) or self.carries_template()
            check_settings(params.model, params, template=template)
            return model_files.content_hashes(self.place) | files | (own if template else {}) | adapter
        hub, preset = hub_id(params.model), find_preset(params.model)
        files |= {} if preset is not None and not preset.chat else own
        return {"repository": hub, "commit": model_files.commit_of(hub, self.revision)} | files | adapter

    def source(self) -> tuple[str, str | None]:
        """What transformers loads: a folder, or a hub id and its commit. Raises VictimError where there is none."""
        if self.is_local:
            if (file := model_files.local_gguf(self.place)) is not None:
                return str(in_hub_layout(file)), None
            folder = model_files.local_folder(self.place)
            model_files.check_no_adapter(folder)
            return str(folder), None
        hub = hub_id(self.params.model)
        return hub, model_files.commit_of(hub, self.revision)

    def origin(self) -> Origin:
        """Where its weights come from. Raises as `source` and `fingerprint`."""
        from harness import Origin

        params = self.params
        folder = None if params.adapter is None else adapter_folder(params.adapter, params.adapter_revision)
        return Origin(*self.source(), self.fingerprint(), params.model, folder)

    def check_trainable(self) -> None:
        """Raise VictimError where the weights cannot be trained, which is known before they are read."""
        if model_files.read_quantization(self.place, self.revision) is not None:
            raise VictimError(
                f"{self.params.model}: its weights are quantised and cannot be trained; write fine_tune: false, train "
                "an adapter (fine_tune: {lora: {}}), or name the model that it was made from"
            )

    def carries_template(self) -> bool:
        """Whether the tokenizer of a local model has a chat template."""
        if (file := model_files.local_gguf(self.place)) is not None:
            return bool(read_gguf(file)[0][TEMPLATE])
        return carries_template(model_files.local_folder(self.place))

    def has_template(self) -> bool:
        """Whether it is talked to through a chat template."""
        if self.params.chat != AUTO:
            return bool(self.params.chat != OFF)
        if self.is_local:
            return self.carries_template()
        preset = find_preset(self.params.model)
        return preset.chat if preset else model_files.hub_chat_template(self.place, self.revision) is not None

    def chat(self, folder: Path, head: HeadName) -> ChatFormat | None:
        """How prompts are put to the model in a prepared folder; a classifier reads them as they are."""
        if head == "classification":
            check_settings(self.params.model, self.params, template=self.params.chat != OFF)
            return None
        return chat_format(self.params.model, self.params, folder, self.params.reasoning)

    def planned_chat(self) -> ChatFormat | None:
        """The same before anything is prepared, as far as that can be told without fetching a model."""
        from harness import ChatFormat, ChatTemplate

        params, local = self.params, self.is_local
        gguf = model_files.local_gguf(self.place) if local else None
        if local and gguf is None:
            return self.chat(model_files.local_folder(self.place), "generation")
        if isinstance(params.chat, Path):
            text: str | None = params.chat.read_text(encoding="utf-8") if params.chat.is_file() else None
        elif params.chat != AUTO:
            return None
        elif gguf is not None:
            text = read_gguf(gguf)[0][TEMPLATE]
        else:
            text = model_files.hub_chat_template(self.place, self.revision)
        if not text:
            return None
        template = ChatTemplate(text, where=params.model)
        return ChatFormat(template, params.system, params.prefill, params.template_arguments, params.reasoning)
