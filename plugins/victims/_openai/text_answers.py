"""Answers in text from a server: the requests, by either of its interfaces, and what is read from the responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from harness import UNKNOWN, Generated, GenerateItem, Message, Prompt, Tokenizer, VictimError, chat_of
from plugins.victims._openai.choice_text import choice_text, ended_by_itself, reasoning_text
from plugins.victims._openai.completions import PATH, Choice, Completions, Row, choices, usage_count
from plugins.victims._openai.http_client import Refusal
from plugins.victims._openai.server_probe import RETURN_TOKEN_IDS, ServerProbe, generated_ids

CHAT_PATH = "chat/completions"
QUESTION = "What is the capital of France?"
"""A harmless question, by which it is found out whether a server answers at all."""
_QUESTION_TOKENS = 16  # some servers take no less
_SEEDS = 2**31  # servers take seeds of 63 bits at most, some of 31


@dataclass(frozen=True, slots=True)
class RequestForm:
    """Which fields a server takes in requests for a text.

    Attributes:
        length: that of the longest answer.
        seed, temperature: whether it takes them.
    """

    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seed: bool = True
    temperature: bool = True


@dataclass(frozen=True)
class ChatSettings:
    """What is sent with messages that the server renders.

    Attributes:
        system: prompt of conversations that have none; ``default``: whatever the server does.
        prefill: what each answer begins with.
        arguments: of the server's chat template.
    """

    system: str = "default"
    prefill: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def beginning(self, prompt: Prompt) -> str:
        """What is set here for an answer to begin with: nothing where the conversation brings a beginning."""
        return "" if not isinstance(prompt, str) and prompt[-1].role == "assistant" else self.prefill

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """The fields of a request that put a prompt."""
        messages = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        if self.system != "default" and all(message.role != "system" for message in messages):
            messages = (Message("system", self.system), *messages)
        going_on = messages[-1].role == "assistant" or bool(self.prefill)
        if beginning := self.beginning(messages):
            messages = (*messages, Message("assistant", beginning))
        body: dict[str, Any] = {"messages": [asdict(message) for message in messages]}
        if going_on:  # as vLLM, SGLang and others want to be told
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        return body | ({"chat_template_kwargs": dict(self.arguments)} if self.arguments else {})


@dataclass(frozen=True)
class ServedModel:
    """What a backend is told about its model.

    Attributes:
        facts: what the server says of it, for the manifest.
        context: longest row in tokens that the server takes, with what it generates.
        api: which of the server's interfaces answers `Generate`.
        n_params: as stated by the user; None: unknown.
        reasoning: the markers around what it writes before its answers; None: it writes nothing such.
        form: how it is asked for a text.
        chat: what is sent with messages.
    """

    facts: dict[str, Any]
    context: int
    api: Literal["completions", "chat"]
    n_params: int | None
    reasoning: tuple[str, str] | None = None
    form: RequestForm = RequestForm()
    chat: ChatSettings = ChatSettings()


class TextAnswers:
    """Requests answers in text from a server.

    Attributes:
        tokenizer: of the model.
        reads: the same as prompts are written for it: with its chat template, where one is used.
    """

    def __init__(
        self, completions: Completions, probe: ServerProbe, served: ServedModel, reads: Tokenizer | None = None
    ) -> None:
        self._completions, self._probe, self._served = completions, probe, served
        self.tokenizer: Tokenizer = completions.tokenizer
        self.reads = completions.tokenizer if reads is None else reads

    @property
    def takes_ids(self) -> bool:
        """Whether prompts are sent as token ids; else as text."""
        return self._served.api == "completions" and self._probe.prompts.ids

    def generate(self, items: Sequence[GenerateItem], rows: Sequence[Row]) -> list[Generated]:
        """The answers, each with its state.

        Args:
            rows: the prompts' tokens.

        Raises:
            VictimError: the server is gone, or answers nothing any more.
        """
        sent = [i for i, item in enumerate(items) if self._text_of(item) is not None]
        found = dict(zip(sent, self._sent([items[i] for i in sent], [rows[i] for i in sent]), strict=True))
        unsent = Generated("", False, 0, 0, UNKNOWN, "failed")  # as text the server would read another prompt
        return [found.get(i, unsent) for i in range(len(items))]

    def _sent(self, items: Sequence[GenerateItem], rows: Sequence[Row]) -> list[Generated]:
        answers = self.request(items, rows)
        if answers and all(isinstance(answer, Refusal) for answer in answers):  # due to the prompts, or to the server?
            refusal = self.refusal_of_question()
            if refusal is not None:
                raise VictimError(f"{self._completions.base_url}: refuses what it answered at first ({refusal})")
        return [self._generated(*one) for one in zip(answers, items, rows, strict=True)]

    def request(self, items: Sequence[GenerateItem], rows: Sequence[Row]) -> list[dict[str, Any] | Refusal]:
        """What the server sends, as it is. Raises VictimError where it is gone."""
        path = CHAT_PATH if self._served.api == "chat" else PATH
        bodies = [self._body(item, row) for item, row in zip(items, rows, strict=True)]
        return self._completions.client.post(path, bodies)

    def refusal_of_question(self) -> Refusal | None:
        """What the server says instead of an answer to `QUESTION`; None where it answers, or would with more tokens.

        Raises:
            VictimError: the server is gone, or its answer is not that of an OpenAI-compatible one.
        """
        row = (*self.tokenizer.left, *self.tokenizer.encode([QUESTION])[0])
        (answer,) = self.request([GenerateItem(QUESTION, _QUESTION_TOKENS)], [row])
        if isinstance(answer, Refusal):
            return None if answer.error.at_limit else answer
        first_choice(answer)
        return None

    def _body(self, item: GenerateItem, row: Row) -> dict[str, Any]:
        form = self._served.form
        body: dict[str, Any] = {"model": self._completions.model}
        body |= {"temperature": item.temperature} if form.temperature and not self._completions.sampled else {}
        body |= {"top_p": item.top_p} if item.top_p < 1 else {}
        body |= {"seed": item.seed % _SEEDS} if form.seed else {}
        if self._served.api == "chat":
            return body | self._served.chat.body(item.asked) | {form.length: item.max_tokens}
        prompt = list(row) if self.takes_ids else self._text_of(item)
        body |= {"prompt": prompt, form.length: min(item.max_tokens, self._served.context - len(row))}
        return body | (RETURN_TOKEN_IDS if self._probe.gives_ids else {})

    def _text_of(self, item: GenerateItem) -> str | None:
        """A prompt as text, without the special tokens that the server puts before it; None where there is none that
        the server would read as meant.
        """
        chat = chat_of(self.reads)
        if self._served.api == "chat" or self.takes_ids:
            return ""  # it is not sent as text
        if chat is not None:
            return chat.as_text(item.asked)
        bare = getattr(self.tokenizer, "bare", str)
        return str(bare(item.prompt))

    def _generated(self, answer: dict[str, Any] | Refusal, item: GenerateItem, row: Row) -> Generated:
        if isinstance(answer, Refusal):
            self._completions.count_refusal(answer)
            return Generated("", False, len(row), 0, UNKNOWN, answer.state)
        choice = first_choice(answer)
        if choice is None:
            return Generated("", False, len(row), 0, UNKNOWN, "empty")
        (text, state), finished = choice_text(choice), ended_by_itself(choice)
        if self._served.api == "chat" and state == "answered":
            text = self._served.chat.beginning(item.asked) + text
        ids = generated_ids(choice)
        if self._probe.gives_ids and ids is not None:
            ended = finished and bool(ids) and ids[-1] in self.tokenizer.special
            text = self._decode_after(row, ids[:-1] if ended else ids)
            return Generated(text, finished, len(row), len(ids), UNKNOWN, state)
        counted, generated = (usage_count(answer, name) for name in ("prompt_tokens", "completion_tokens"))
        if generated is None:
            generated = len(self.tokenizer.encode([reasoning_text(choice) + text])[0])
        return Generated(text, finished, len(row) if counted is None else counted, generated, UNKNOWN, state)

    def _decode_after(self, row: Row, ids: list[int]) -> str:
        """The text of generated ids in context: some decoders drop the space at the beginning of a text."""
        before = list(row[len(self.tokenizer.left) :])
        whole, prompt = self.tokenizer.decode([[*before, *ids], before])
        return whole[len(prompt) :] if whole.startswith(prompt) else self.tokenizer.decode([ids])[0]


def first_choice(answer: dict[str, Any]) -> Choice | None:
    """The choice of an answer to one prompt; None where there is an empty list of them, as some filters leave it.

    Raises:
        VictimError: there is no such list, or more than one choice.
    """
    return None if answer.get("choices") == [] else choices(answer, 1)[0]
