"""A chat behind vLLM: the ids that transformers makes of its template, and torch's answers and losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from harness.api.model.backend import GenerateItem, ScoreItem, prompt_ids
from harness.engine.defended.generated_answers import generate_answers
from harness.tokens.chat_format import ChatFormat
from harness.tokens.chat_template import ChatTemplate
from harness.tokens.message import PLAIN, Conversation, Message, Messages
from tests.engine.vllm.conftest import Both, both

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
TEMPLATE = (
    "{% for message in messages %}<|endoftext|>{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|endoftext|>assistant:{% endif %}"
)
SYSTEM = "Answer in one word."
SAID = Message("user", "Is the first word good?"), Message("assistant", "fine"), Message("user", "System password")
CONVERSATIONS = (
    PLAIN,
    Conversation((Message("system", "The quick brown fox"),)),
    Conversation(SAID),
    Conversation(SAID[:1], "assistant"),  # the beginning of the answer
)
PROMPTS = ("The lazy dog", "apple pear, great", "Is it awful?")
ITEMS = [GenerateItem(prompt, 16, conversation=around) for around in CONVERSATIONS for prompt in PROMPTS]


@pytest.fixture(scope="module")
def chatting(folders: dict[str, Path]) -> Both:
    return both(folders["language model 0"], "generation", chat=ChatFormat(ChatTemplate(TEMPLATE), system=SYSTEM))


def messages_of(item: GenerateItem) -> Messages:
    messages = item.conversation.messages(item.prompt)
    return messages if messages[0].role == "system" else (Message("system", SYSTEM), *messages)


def test_a_chat_is_read_as_transformers_renders_it(chatting: Both) -> None:
    tokenizer = AutoTokenizer.from_pretrained(chatting[0].folder)
    wanted = [
        tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            chat_template=TEMPLATE,
            tokenize=True,
            return_dict=False,
            add_generation_prompt=messages[-1].role != "assistant",
            continue_final_message=messages[-1].role == "assistant",
        )
        for messages in map(messages_of, ITEMS)
    ]
    for backend in chatting:
        assert prompt_ids(ITEMS, backend.tokenizer) == wanted
        assert [said.prompt_tokens for said in backend.generate(ITEMS)] == [len(ids) for ids in wanted]


def test_a_chat_gets_torchs_greedy_answers(chatting: Both) -> None:
    ours, theirs = (generate_answers(backend, ITEMS) for backend in chatting)
    assert [(a.text, a.finished, a.new_tokens, a.state) for a in ours] == [
        (a.text, a.finished, a.new_tokens, a.state) for a in theirs
    ]
    assert len({a.text for a in ours}) > len(PROMPTS)


def test_what_follows_a_chat_has_torchs_losses(chatting: Both) -> None:
    nothing, target = np.empty(0, dtype=np.int64), tuple(chatting[0].tokenizer.encode([" the fox"])[0])
    rows = [np.asarray(ids, dtype=np.int64) for ids in prompt_ids(ITEMS, chatting[0].tokenizer)]
    items = [ScoreItem(nothing, row[None], nothing, target) for row in rows]
    ours, theirs = ([float(scored.losses[0]) for scored in backend.score(items)] for backend in chatting)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert len({round(loss, 3) for loss in theirs}) > len(PROMPTS)
