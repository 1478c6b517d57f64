"""Prompts of chat models are what `apply_chat_template` makes of them, and so are those with a surviving string."""

from __future__ import annotations

import datetime
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from transformers.utils import chat_template_utils

from harness import ChatFormat, ChatTemplate, HFTokenizer
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.errors import DataError, VictimError
from harness.tokens.continuation import continuation_ids
from harness.tokens.message import Conversation, Message, Messages, Prompt, in_conversation
from harness.tokens.prompts import answer_ids, encode_prompts, plain_tokenizer, whole_ids
from tests.tokens.chat_templates import FAMILIES, tokenizer_of

ARGUMENTS = {"date_string": "26 Jul 2024"}
SETTINGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "system": {"system": "Answer in one word."},
    "prefill": {"prefill": "Sure, the"},
    "no thinking": {"arguments": {"enable_thinking": False}},
}
CASES = [
    *((name, "as it is") for name in FAMILIES),
    ("qwen3", "no thinking"),
    *((name, "system") for name in ("llama2", "llama3", "mistral", "smollm2")),
    *((name, "prefill") for name in ("chatml", "llama2", "gemma", "qwen3", "deepseek_r1")),
]
SPELLED = sorted({token for family in FAMILIES.values() for token in (*family.special, *family.added)})
TEXT = st.lists(
    st.one_of(
        st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Co", "Cn")), max_size=6),
        st.sampled_from([*SPELLED, "The quick", " fox", "\n", "  ", "[/INST]", "CONTINUE_FINAL", "'s"]),
    ),
    max_size=5,
).map("".join)


@cache
def own_tokenizer(name: str, setting: str = "as it is") -> HFTokenizer:
    template = ChatTemplate.from_transformers(tokenizer_of(name))
    assert template is not None
    return HFTokenizer.from_transformers(tokenizer_of(name)).with_chat(ChatFormat(template, **SETTINGS[setting]))


def theirs(name: str, setting: str, prompt: Prompt) -> list[int]:
    """What transformers makes of it."""
    given = SETTINGS[setting]
    messages = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    plain = [{"role": message.role, "content": message.content} for message in messages]
    if "system" in given and plain[0]["role"] != "system":
        plain.insert(0, {"role": "system", "content": given["system"]})
    if "prefill" in given and plain[-1]["role"] != "assistant":
        plain.append({"role": "assistant", "content": given["prefill"]})
    begun = plain[-1]["role"] == "assistant"
    ids: list[int] = tokenizer_of(name).apply_chat_template(
        plain,
        tokenize=True,
        return_dict=False,
        add_generation_prompt=not begun,
        continue_final_message=begun,
        **ARGUMENTS,
        **given.get("arguments", {}),
    )
    return ids


def control_ids(name: str, ids: list[int]) -> list[int]:
    """The ids of special tokens, and of the others that the template writes."""
    family = FAMILIES[name]
    written = [token for token in family.added if token in family.template]
    own = tokenizer_of(name).convert_tokens_to_ids([*family.special, *written])
    return [i for i in ids if i in own]


def conversations(name: str) -> st.SearchStrategy[Conversation]:
    """Messages around one that may change, as the family takes them."""
    family, text = FAMILIES[name], st.sampled_from(["You help.", "What is a fox?", "A quick one. "])
    of_user = st.tuples(text, text).map(
        lambda said: Conversation((Message("user", said[0]), Message("assistant", said[1])))
    )
    kinds = [st.just(Conversation()), of_user]
    if family.system:
        kinds.append(text.map(lambda said: Conversation((Message("system", said),))))
        kinds.append(text.map(lambda said: Conversation((), "system", (Message("user", said),))))
    if family.tool:
        asked = (Message("user", "What is on the page?"), Message("assistant", "read()"))
        kinds.append(st.just(Conversation(asked, "tool")))
    return st.one_of(kinds)


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_a_string_with_which_the_answer_begins_is_a_last_message_to_go_on_with(name: str, setting: str) -> None:
    tokenizer, said = own_tokenizer(name, setting), "What is a fox?"
    chunks = (Chunk("What is "), Chunk("", Edit.OVERWRITABLE), Chunk("a fox?"))
    example = Example("e", chunks, target=" Sure, the")
    problem = place(example, Threat(position="answer", tokens=5), tokenizer, allowed_of(tokenizer))
    assert (problem.conversation.prompt(""), problem.replaced) == (said, "")
    for text in ("Sure, the fox", "quick", "1. A"):
        tokens = problem.fitted(text)
        assert tokens is not None
        (whole,), (own,) = problem.prompts(tokens[None]), problem.attack_texts(tokens[None])
        assert own in (whole, f" {whole}")  # the space that Llama 2 writes before an answer goes with its first token
        messages = problem.conversation.prompt(whole)
        assert messages == (Message("user", said), Message("assistant", whole))
        ids = [*problem.before.tolist(), *tokens.tolist(), *problem.after.tolist()]
        assert ids == encode_prompts(tokenizer, [messages])[0] == theirs(name, setting, messages)
    # The target goes on from there as any text does.
    assert problem.target == continuation_ids(plain_tokenizer(tokenizer), " Sure, the")


def test_what_begins_the_answer_is_no_part_of_it() -> None:
    chat = own_tokenizer("qwen3", "prefill").chat
    assert chat is not None
    begun, opened = ((Message("user", "A fox?"), Message("assistant", text)) for text in ("Sure,", "<think>Sure,"))
    assert chat.format.split_reasoning(" yes.", "A fox?") == ("", "Sure, the yes.")
    assert chat.format.split_reasoning(" yes.", begun) == ("", " yes.")
    assert chat.format.split_reasoning(" hm</think>\n\nyes.", opened) == ("hm", "yes.")


def problem_of(tokenizer: HFTokenizer, before: str, after: str, conversation: Conversation, tokens: int) -> Problem:
    chunks = (Chunk(before), Chunk("", Edit.PERTURBABLE), Chunk(after))
    example = Example("e", chunks, target=" Sure", conversation=conversation)
    return place(example, Threat(tokens=tokens), tokenizer, allowed_of(tokenizer))


@cache
def allowed_of(tokenizer: HFTokenizer) -> Any:
    return allowed_tokens(tokenizer)


@pytest.mark.parametrize(("name", "setting"), CASES)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_ids_are_those_of_apply_chat_template(name: str, setting: str, data: st.DataObject) -> None:
    tokenizer = own_tokenizer(name, setting)
    conversation = data.draw(conversations(name))
    if setting != "as it is" and conversation.role == "system":
        conversation = Conversation()
    before, after = data.draw(TEXT), data.draw(TEXT)
    prompt = conversation.prompt(before + after)
    (ids,) = encode_prompts(tokenizer, [prompt])
    if not any(token in before + after for token in SPELLED):
        assert ids == theirs(name, setting, prompt)
    else:  # no more control tokens than with another word there
        assert control_ids(name, ids) == control_ids(name, theirs(name, setting, conversation.prompt("x")))

    problem = problem_of(tokenizer, before, after, conversation, 4)
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    rows = rng.choice(problem.allowed, size=(12, 4))
    texts = problem.attack_texts(rows)
    assert [text is not None for text in texts] == problem.survives(rows).tolist()
    for row, text, whole in zip(rows, texts, problem.prompts(rows), strict=True):
        if text is None:
            continue
        assert whole == problem.prompt(text) == before + text + after
        ids = [*problem.before.tolist(), *row.tolist(), *problem.after.tolist()]
        asked = conversation.prompt(whole)
        assert ids == encode_prompts(tokenizer, [asked])[0]
        if not any(token in whole for token in SPELLED):
            assert ids == theirs(name, setting, asked)


@pytest.mark.parametrize("name", FAMILIES)
def test_most_strings_survive_and_the_beginning_stands_once(name: str) -> None:
    tokenizer, family = own_tokenizer(name), FAMILIES[name]
    problem = problem_of(tokenizer, "What is a fox?", " Say it.", Conversation(), 3)
    rows = problem.random_tokens(np.random.default_rng(0), 32)
    assert len(rows) == 32
    if "bos_token" in family.template:
        first = plain_tokenizer(tokenizer).left
        assert len(first) == 1
        assert problem.before.tolist().count(first[0]) == 1 == problem.before.tolist().index(first[0]) + 1
    assert tokenizer.left == tokenizer.right == ()
    assert whole_ids(tokenizer, tokenizer.encode(["a fox"])[0]) != tokenizer.encode(["a fox"])[0]


@pytest.mark.parametrize("name", ["llama2", "gemma", "llama3"])
def test_strings_that_the_template_trims_do_not_survive(name: str) -> None:
    tokenizer = own_tokenizer(name)
    problem = problem_of(tokenizer, "What is a fox?", "", Conversation(), 2)
    rows = np.asarray([tokenizer.encode(["?\n"])[0][-2:]])
    assert tokenizer.decode(rows)[0].endswith("\n")
    assert problem.attack_texts(rows) == [None]
    inside = problem_of(tokenizer, "What is a fox?", " Say it.", Conversation(), 2)
    assert inside.before.tolist() == problem.before.tolist()


@pytest.mark.parametrize("name", FAMILIES)
def test_special_tokens_in_messages_are_text_unless_they_are_asked_for(name: str) -> None:
    tokenizer, family = own_tokenizer(name), FAMILIES[name]
    special = tokenizer_of(name).convert_tokens_to_ids(family.eos)
    (plain,), (spelled,) = (encode_prompts(tokenizer, [text]) for text in ("a fox", f"a {family.eos} fox"))
    assert plain.count(special) == spelled.count(special)
    assert tokenizer.chat is not None
    parsing = plain_tokenizer(tokenizer).with_chat(tokenizer.chat.format, parse_special_tokens=True)  # type: ignore[attr-defined]
    (parsed,) = encode_prompts(parsing, [f"a {family.eos} fox"])
    assert parsed.count(special) == plain.count(special) + 1


def test_a_system_prompt_can_be_given_left_to_the_template_or_left_out() -> None:
    def texts(system: str, name: str) -> str:
        template = ChatTemplate.from_transformers(tokenizer_of(name))
        assert template is not None
        return ChatFormat(template, system).render("Hi")

    assert texts("default", "smollm2").startswith("<|im_start|>system\nYou are a small model that helps.<|im_end|>")
    assert texts("none", "smollm2").startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi")
    assert texts("none", "chatml").startswith("<|im_start|>user\nHi")
    assert texts("none", "gemma") == texts("default", "gemma")
    assert texts("Be brief.", "smollm2").startswith("<|im_start|>system\nBe brief.<|im_end|>")
    with pytest.raises(VictimError, match=r"gemma|System role not supported.*system: default"):
        texts("Be brief.", "gemma")
    own = (Message("system", "Mine."), Message("user", "Hi"))
    template = ChatTemplate.from_transformers(tokenizer_of("chatml"))
    assert template is not None
    assert ChatFormat(template, "Yours.").render(own).startswith("<|im_start|>system\nMine.")


def test_readers_of_records_are_told_the_system_prompt_and_what_stands_around_a_message() -> None:
    def chat(name: str, system: str = "default") -> ChatFormat:
        template = ChatTemplate.from_transformers(tokenizer_of(name))
        assert template is not None
        return ChatFormat(template, system)

    told = {name: chat(name).facts() for name in FAMILIES}
    assert {name: facts["system_text"] for name, facts in told.items() if facts["system_text"]} == {
        "smollm2": "You are a small model that helps."
    }
    assert chat("smollm2", "none").system_text is None
    assert chat("llama2", "Be brief.").system_text == "Be brief."
    for name, facts in told.items():
        assert "Hi".join(facts["around"]) == chat(name).render("Hi"), name


def test_today_is_always_the_same_day(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.datetime(2031, 1, 2)

    monkeypatch.setattr(chat_template_utils, "datetime", Later)
    template = ChatTemplate.from_transformers(tokenizer_of("llama3"))
    assert template is not None
    assert "2031" in tokenizer_of("llama3").apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    chat = ChatFormat(template)
    assert "Today: 26 Jul 2024" in chat.render("Hi")
    other = ChatFormat(template, date=datetime.date(2025, 1, 1))
    assert "Today: 01 Jan 2025" in other.render("Hi")
    assert chat.identity() != other.identity()
    assert "date" not in ChatFormat(ChatTemplate("{{ messages }}")).identity()
    with pytest.raises(VictimError, match="cannot be fixed"):
        ChatFormat(ChatTemplate("{% set f = '%d' %}{{ strftime_now(f) }}")).render("Hi")


@pytest.mark.parametrize(
    ("name", "setting", "target", "written"),
    [
        ("chatml", "as it is", " Sure, here", "Sure, here"),
        ("llama2", "as it is", " Sure, here", " Sure, here"),
        ("mistral", "as it is", "Sure", " Sure"),
        ("qwen3", "no thinking", " Sure", "Sure"),
        ("chatml", "prefill", " Sure, the fox", " fox"),
        ("chatml", "prefill", " No", " No"),
    ],
)
def test_labels_and_targets_have_the_space_that_the_template_leaves(
    name: str, setting: str, target: str, written: str
) -> None:
    tokenizer = own_tokenizer(name, setting)
    assert tokenizer.chat is not None
    assert tokenizer.chat.format.spaced(target) == written
    ids = answer_ids(tokenizer, target)
    assert plain_tokenizer(tokenizer).decode([ids])[0].strip() == written.strip()


def test_reasoning_follows_from_the_template() -> None:
    formats = {
        (name, setting): own_tokenizer(name, setting).chat.format  # type: ignore[union-attr]
        for name, setting in [("qwen3", "as it is"), ("qwen3", "no thinking"), ("deepseek_r1", "as it is")]
    }
    assert [one.begun for one in formats.values()] == [False, False, True]
    thinking, silent, r1 = formats.values()
    assert thinking.split_reasoning("<think>\nhm\n</think>\n\nFox.") == ("hm", "Fox.")
    assert silent.split_reasoning("Fox.") == ("", "Fox.")
    assert r1.split_reasoning("hm\n</think>\n\nFox.") == ("hm", "Fox.")
    assert r1.split_reasoning("hm") == ("hm", None)
    assert own_tokenizer("chatml").chat.format.reasoning is None  # type: ignore[union-attr]
    assert own_tokenizer("qwen3", "prefill").chat.format.split_reasoning(" fox.") == ("", "Sure, the fox.")  # type: ignore[union-attr]


def test_the_token_that_ends_an_answer_is_the_templates() -> None:
    found = {name: own_tokenizer(name).chat.turn_end for name in FAMILIES}  # type: ignore[union-attr]
    ids = {name: None if end is None else tokenizer_of(name).convert_ids_to_tokens(end) for name, end in found.items()}
    assert ids["gemma"] == "<end_of_turn>"
    assert ids["llama3"] == "<|eot_id|>"
    assert {ids[name] for name in ("chatml", "qwen3", "smollm2")} == {"<|im_end|>"}
    assert ids["phi3"] == "<|end|>"
    assert {ids[name] for name in ("zephyr", "mistral")} == {"</s>"}


def test_what_a_template_does_not_take_is_an_error_in_words() -> None:
    tokenizer = own_tokenizer("llama2")
    with pytest.raises(VictimError, match=r"does not accept these messages \(user, user\).*take turns"):
        encode_prompts(tokenizer, [(Message("user", "a"), Message("user", "b"))])
    hiding = ChatFormat(ChatTemplate("{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"))
    lost = Conversation((), "system", (Message("user", "Hi"),))
    with pytest.raises(VictimError, match="nowhere"):
        problem_of(plain_tokenizer(tokenizer).with_chat(hiding), "a", "", lost, 2)  # type: ignore[attr-defined]
    twice = ChatFormat(ChatTemplate("{{ messages[0].content }}{{ messages[0].content }}"))
    with pytest.raises(VictimError, match="twice"):
        problem_of(plain_tokenizer(tokenizer).with_chat(twice), "a", "", Conversation(), 2)  # type: ignore[attr-defined]
    with pytest.raises(VictimError, match=r"template_arguments: messages: set by the harness"):
        ChatFormat(ChatTemplate(""), arguments={"messages": []})
    with pytest.raises(VictimError, match="for a model with a chat template"):
        encode_prompts(plain_tokenizer(tokenizer), [lost.prompt("a")])
    assert encode_prompts(plain_tokenizer(tokenizer), [(Message("user", "a"),)]) == plain_tokenizer(tokenizer).encode(
        ["a"]
    )


def test_templates_are_found_as_transformers_finds_them(tmp_path: Any) -> None:
    tokenizer = tokenizer_of("chatml")
    tokenizer.save_pretrained(str(tmp_path / "one"))
    found = ChatTemplate.from_folder(tmp_path / "one")
    assert found is not None
    assert found.text == FAMILIES["chatml"].template
    assert found.special["eos_token"] == "<|im_end|>"
    several = HFTokenizer.from_transformers(tokenizer)
    tokenizer = type(tokenizer).from_pretrained(str(tmp_path / "one"))
    tokenizer.chat_template = {"default": "a{{ messages }}", "tool_use": "b{{ messages }}"}
    tokenizer.save_pretrained(str(tmp_path / "two"))
    of_folder = [ChatTemplate.from_folder(tmp_path / "two", name) for name in (None, "tool_use")]
    assert [one.text[0] for one in of_folder if one] == ["a", "b"]
    with pytest.raises(VictimError, match=r"no chat template called 'rag': it has default, tool_use"):
        ChatTemplate.from_folder(tmp_path / "two", "rag")
    (tmp_path / "mine.jinja").write_text("c{{ bos_token }}{{ messages[0].content }}")
    mine = ChatTemplate.from_file(tmp_path / "mine.jinja", tmp_path / "one")
    assert several.with_chat(ChatFormat(mine)).chat.rendered("Hi") == "cHi"  # type: ignore[union-attr]
    with pytest.raises(VictimError, match=r"other\.jinja: cannot be read"):
        ChatTemplate.from_file(tmp_path / "other.jinja", tmp_path / "one")
    tokenizer.chat_template = None
    assert ChatTemplate.from_transformers(tokenizer) is None


def test_examples_are_made_of_messages() -> None:
    messages = [
        Message("system", "Help."),
        ("user", (Chunk("Hi "), Chunk("", Edit.PERTURBABLE))),
        Message("assistant", "I"),
    ]
    example = Example.of_messages("e", messages, target=" Sure")  # type: ignore[arg-type]
    whole: Messages = example.messages
    assert [message.role for message in whole] == ["system", "user", "assistant"]
    assert (example.text, example.region, example.prompt) == ("Hi ", 1, whole)
    assert in_conversation(whole) == (example.conversation, "Hi ")
    assert Example("f", example.chunks).prompt == "Hi "
    for wrong in ([Message("user", "Hi")], [messages[1], messages[1]]):
        with pytest.raises(DataError, match="exactly one message may be changeable, found"):
            Example.of_messages("e", wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a message has one of the roles"):
        Message("robot", "Hi")  # type: ignore[arg-type]
