"""A model behind a URL that speaks the OpenAI protocol, such as ``vllm serve``."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from harness import (
    Flops,
    Messages,
    Params,
    PrepareJob,
    TaskData,
    Victim,
    VictimCard,
    VictimError,
    hookimpl,
    host_field,
    spec_folder_or_name,
)
from plugins.victims._chat_params import (
    AUTO,
    OFF,
    Chat,
    TemplateArguments,
    carries_template,
    chat_field,
    chat_format,
    check_settings,
    prefill_field,
    system_field,
    template_arguments_field,
    template_hash,
    written_identity,
)
from plugins.victims._openai.tokenizer_file import template_files, tokenizer_file, vocabulary_size
from plugins.victims._reasoning_param import ReasoningMarkers, reasoning_field

if TYPE_CHECKING:
    from harness import Backend, Tokenizer
    from plugins.victims._openai.completions import Completions
    from plugins.victims._openai.http_client import ServerConfig
    from plugins.victims._openai.server_probe import ServerProbe

_NOTES = "server.json"
_LABELS_ONLY = ("logprob_token_ids", "top_logprobs")  # methods that give the log-probabilities of labels alone


class OpenAICompatible(Victim):
    """A model behind a URL that speaks the OpenAI protocol, such as `vllm serve`: it answers in text, and scores where
    the server gives log-probabilities.
    """

    name = "openai_compatible"

    class Params(Params):
        """Identity: the model's name, what the server says of it (`/v1/models`: owner, root, length), the tokenizer's
        content, and how requests are made. URL, key, timeouts and limits do not count.

        Weights behind a URL may change under the same name: write a `revision` to keep results apart.
        """

        base_url: str = host_field(..., description="address of the server, up to and with /v1")
        model: str = Field(min_length=1, description="name under which the server serves the model")
        revision: str | None = Field(None, description="a name of your own for these weights; part of every key")
        tokenizer: str = host_field(
            ...,
            description="folder with the model's tokenizer.json (a relative path starts at the spec's folder), or "
            "hub id; its content counts, not its location",
        )
        tokenizer_revision: str | None = host_field(None, description="commit, tag or branch of a hub id")
        head: Literal["label_tokens", "generation"] = Field(
            "label_tokens",
            description="classify by the log-probabilities of label tokens, or answer in text; a task or judge without "
            "labels gets answers in text, whatever is written here",
        )
        api: Literal["completions", "chat"] = Field(
            "completions",
            description="how prompts are sent for answers in text: as they are, rendered by `chat`; or as messages, "
            "which the server renders (without scores)",
        )
        chat: Chat = chat_field()
        system: str = system_field()
        prefill: str = prefill_field()
        template_arguments: TemplateArguments = template_arguments_field()
        scoring: Literal["auto", "logprob_token_ids", "prompt_logprobs", "echo", "top_logprobs", "none"] = Field(
            "auto",
            description="how log-probabilities are requested; auto: the first method that works. top_logprobs gives a "
            "bound for tokens that are not among the most likely ones, and works for labels only",
        )
        reasoning: ReasoningMarkers | None = reasoning_field()
        sampled: bool = Field(
            False,
            description="leave the temperature to a server that refuses temperature: 0; its answers are then sampled, "
            "and differ when they are asked for again",
        )
        context: PositiveInt | None = Field(None, description="longest row in tokens, if the server does not say")
        n_params: PositiveFloat | None = Field(
            None, description="parameters of the model, if known: nominal compute is then counted"
        )
        family: str | None = Field(
            None, description="name of the scaling curve that the model belongs to; by default the model's name"
        )
        pretraining_flops: PositiveFloat | None = Field(None, description="pretraining compute in FLOPs, if known")
        api_key_env: str | None = host_field(None, description="environment variable that holds the key")
        timeout: PositiveFloat = host_field(120.0, description="seconds for one request")
        retries: NonNegativeInt = host_field(
            6, description="how often a failed request is sent again, with growing waits"
        )
        max_concurrency: PositiveInt = host_field(8, description="requests in flight, per process")
        batch: PositiveInt = host_field(16, description="prompts per request, if the server accepts several")

        @field_validator("tokenizer")
        @classmethod
        def _from_the_spec(cls, value: str) -> str:
            return spec_folder_or_name(value)

        @field_validator("base_url")
        @classmethod
        def _is_url(cls, value: str) -> str:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("write http://HOST:PORT/v1 or https://HOST/v1")
            if "@" in parts.netloc or parts.query or parts.fragment:
                raise ValueError("write no key or user into the address; put the key into a variable (api_key_env)")
            return value

        @model_validator(mode="after")
        def _fits_the_head(self) -> OpenAICompatible.Params:
            if self.head == "label_tokens" and (self.api == "chat" or self.scoring == "none"):
                raise ValueError(
                    "head: label_tokens needs api: completions and log-probabilities, else: head: generation"
                )
            if self.head == "generation" and self.scoring in _LABELS_ONLY:
                raise ValueError(f"scoring: {self.scoring} is for labels; use auto, prompt_logprobs, echo or none")
            if self.api == "chat" and self.scoring not in ("auto", "none"):
                raise ValueError("a chat gives no log-probabilities of prompts; use scoring: none, or api: completions")
            if self.api == "chat" and (self.chat != AUTO or self.system == "none"):
                what = "chat" if self.chat != AUTO else "system: none"
                raise ValueError(f"{what}: with api: chat the server renders messages itself; use api: completions")
            return self

        def identity(self) -> dict[str, Any]:
            """The parameters that count, `n_params` as a whole number."""
            data = super().identity()
            data["n_params"] = self.size
            unused = [name for name in ("reasoning", "sampled") if not data[name]]  # so that keys are those of before
            unused += ["chat", "system", "prefill", "template_arguments"]
            return {name: value for name, value in data.items() if name not in unused} | written_identity(self)

        @property
        def size(self) -> int | None:
            """``n_params`` as a whole number."""
            return None if self.n_params is None else round(self.n_params)

    def family(self) -> str:
        return self.params.family or self.params.model

    def card(self, data: TaskData) -> VictimCard:
        """Facts from the parameters and from the server; a victim that answers in text is probed for its scores.

        Raises:
            VictimError: the server cannot be reached, or neither it nor `context` gives its longest row; a task of
                labels, and head: generation.
        """
        self._check(data)
        params = self.params
        return VictimCard(
            family=self.family(),
            n_params=params.size,
            pretraining_flops=params.pretraining_flops,
            access="scores" if self._classifies(data) or self._scores else "text",
            context=self._context,
            local=False,
        )

    def fingerprint(self) -> dict[str, str]:
        """The model's name, what the server says of it, and the tokenizer's hash.

        Raises:
            VictimError: the server cannot be reached or does not serve the model; no tokenizer.
        """
        facts = {name: str(value) for name, value in self._facts.items()}
        facts |= {"model": self.params.model, "tokenizer": _sha256(self._tokenizer_file)}
        if self.params.api == "chat":
            return facts
        facts |= template_hash(self.params.chat)
        files = {} if self.params.chat == OFF else {file.name: _sha256(file) for file in self._template_files}
        check_settings(self.params.model, self.params, template=bool(files) or "chat" in facts)
        return facts | files

    def estimate(self, data: TaskData) -> float:
        """0: nothing is trained."""
        return 0.0

    def prepare(self, job: PrepareJob) -> Flops:
        """Write the tokenizer, and what the server says of the model, into the folder.

        Raises:
            VictimError: as `fingerprint`; a task of labels, and head: generation.
        """
        self._check(job.data)
        for file in (self._tokenizer_file, *self._template_files):
            shutil.copyfile(file, job.folder / file.name)
        notes = {"model": self.params.model, "served": self._facts, "vocabulary": self._vocabulary}
        (job.folder / _NOTES).write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
        return Flops()

    def open(self, folder: Path, data: TaskData) -> Backend:
        """Find out what the server can do; of one that answers in text, by a harmless question too.

        Raises:
            VictimError: it cannot be reached, is not what it was, does not answer, or gives no log-probabilities where
                labels need them.
        """
        from harness import HFTokenizer, answer_ids
        from plugins.victims._openai.backend import ServerBackend
        from plugins.victims._openai.http_client import JsonClient
        from plugins.victims._openai.opening_question import with_known_form
        from plugins.victims._openai.server_probe import probe
        from plugins.victims._openai.text_answers import ChatSettings, ServedModel

        params = self.params
        notes = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
        tokenizer = HFTokenizer.from_file(folder / "tokenizer.json", rows=notes["vocabulary"]).open_ended()
        classifies = self._classifies(data)
        chat, reads = None, tokenizer
        if params.api == "chat":
            reads = tokenizer.for_messages(None if params.system == "default" else params.system)
        else:
            chat = chat_format(params.model, params, folder, params.reasoning)
            if chat is not None:
                reads = tokenizer.with_chat(chat, parse_special_tokens=data.parse_special_tokens)
        labels = [answer_ids(reads, label) for label in data.labels] if classifies else []
        reasoning = params.reasoning if chat is None else chat.reasoning
        spoken = ChatSettings(params.system, params.prefill, params.template_arguments)
        served = ServedModel(self._facts, self._context, params.api, params.size, reasoning, chat=spoken)
        if params.api == "chat":
            completions, result = self._unprobed(tokenizer)
        else:
            completions, result = probe(
                JsonClient(self._server),
                params.model,
                tokenizer,
                params.scoring if classifies else self._scoring_of_text,
                next_tokens=classifies,
                batch=params.batch,
                sampled=params.sampled,
            )
        if not classifies:
            served = with_known_form(completions, result, served)
        return ServerBackend(completions, result, served, labels, tokenizer=reads)

    def files_beside_spec(self) -> tuple[Path, ...]:
        """The file of a chat template."""
        return (self.params.chat,) if isinstance(self.params.chat, Path) else ()

    def takes_messages(self, data: TaskData) -> bool:
        """Whether it has a chat template, here or at the server."""
        if self.params.api == "chat" or isinstance(self.params.chat, Path):
            return True
        return self.params.chat != OFF and bool(self._template_files)

    def check_messages(self, data: TaskData, messages: Messages) -> None:
        """Put the messages through the template, where that is here; ask a server that renders them for a token, and
        whether it goes on with a beginning of the answer.
        """
        from plugins.victims._openai.message_check import check_rendered, check_served
        from plugins.victims._openai.text_answers import ChatSettings

        params = self.params
        if params.api == "chat":
            spoken = ChatSettings(params.system, params.prefill, params.template_arguments)
            check_served(self._server, params.model, spoken, messages)
        else:
            check_rendered(params, self._tokenizer_file.parent, messages)

    def _check(self, data: TaskData) -> None:
        # Every answer in text would count as a wrong label, and no example would be attacked.
        if data.labels and self.params.head == "generation":
            raise VictimError(
                f"openai_compatible: {self.params.model} with head: generation answers in text, but the task has "
                f"labels ({', '.join(data.labels)}); write head: label_tokens, or use a task answered in text"
            )

    def _classifies(self, data: TaskData) -> bool:
        return bool(data.labels) and self.params.head == "label_tokens"

    @property
    def _scoring_of_text(self) -> Literal["auto", "prompt_logprobs", "echo", "none"]:
        """How a victim that answers in text gives scores; a method for labels alone gives it none."""
        scoring: Any = self.params.scoring
        return "none" if scoring in _LABELS_ONLY else scoring

    @property
    def _server(self) -> ServerConfig:
        from plugins.victims._openai.http_client import ServerConfig

        params = self.params
        return ServerConfig(params.base_url, params.api_key_env, params.timeout, params.retries, params.max_concurrency)

    @property
    def _facts(self) -> dict[str, Any]:
        from plugins.victims._openai.model_facts import model_facts

        return dict(model_facts(self._server, self.params.model))

    @property
    def _context(self) -> int:
        longest = self._facts.get("max_model_len")
        if self.params.context is not None:
            return int(self.params.context)
        if not isinstance(longest, int):
            raise VictimError(f"{self.params.base_url}: does not say how long a row may be; give context: TOKENS")
        return longest

    @cached_property
    def _scores(self) -> bool:
        """Whether a victim that answers in text gives scores as well."""
        from harness import HFTokenizer
        from plugins.victims._openai.http_client import JsonClient
        from plugins.victims._openai.server_probe import probe

        params = self.params
        if params.api == "chat" or self._scoring_of_text == "none":
            return False
        if params.scoring != "auto":
            return True  # else `open` raises an error
        tokenizer = HFTokenizer.from_file(self._tokenizer_file, rows=self._vocabulary).open_ended()
        with JsonClient(self._server) as client:
            _, result = probe(
                client, params.model, tokenizer, "auto", next_tokens=False, batch=params.batch, sampled=params.sampled
            )
        return result.method is not None

    def _unprobed(self, tokenizer: Tokenizer) -> tuple[Completions, ServerProbe]:
        """For a chat, which gives text alone: there is nothing to probe."""
        from plugins.victims._openai.completions import Completions, PromptFormat
        from plugins.victims._openai.http_client import JsonClient
        from plugins.victims._openai.server_probe import ServerProbe

        params, prompts = self.params, PromptFormat(ids=False, batch=1)
        completions = Completions(JsonClient(self._server), params.model, tokenizer, prompts, sampled=params.sampled)
        return completions, ServerProbe(prompts, "unknown")

    @cached_property
    def _tokenizer_file(self) -> Path:
        return tokenizer_file(self.params.tokenizer, self.params.tokenizer_revision)

    @cached_property
    def _template_files(self) -> list[Path]:
        """The files next to the tokenizer's that bring its chat template, where it has one."""
        if self.params.api == "chat":
            return []
        files = template_files(self._tokenizer_file, self.params.tokenizer, self.params.tokenizer_revision)
        return files if carries_template(self._tokenizer_file.parent) or isinstance(self.params.chat, Path) else []

    @cached_property
    def _vocabulary(self) -> int | None:
        return vocabulary_size(self._tokenizer_file)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@hookimpl
def harness_register_victims(register: Callable[[type[Victim]], None]) -> None:
    """Register `openai_compatible`."""
    register(OpenAICompatible)
