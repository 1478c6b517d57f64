"""Special tokens that are spelled out are text in data, and tokens where a prompt's fixed parts spell them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings, strategies as st
from tokenizers import decoders, models, pre_tokenizers

from harness.api.problem.placement import allowed_tokens, place
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.api.threat import Threat
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.special_tokens import EVERYWHERE, FixedParts, current_parts, special_tokens_in
from plugins.tasks.behaviors import Behaviors
from plugins.tasks.password_match import PasswordMatch
from plugins.tasks.text_classification import TextClassification
from tests.run.runs import FAST, FROM_FILES, harness_here
from tests.tokens.kinds import CUTTING, OTHERS, PYTHIA, tokenizer_of

SPELLED = {"word_piece": "[SEP]", "added": "<|endoftext|>", "pythia": "<|endoftext|>"}
KINDS = [
    *CUTTING,
    *OTHERS,
    "word_level",
    pytest.param("pythia", marks=pytest.mark.skipif(not PYTHIA.exists(), reason="no file")),
]


def word_level() -> tokenizers.Tokenizer:
    """Words between spaces, of which one is spelled as a special token is."""
    words = ["<unk>", "</s>", "a", "b"]
    rust = tokenizers.Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    rust.decoder = decoders.WordPiece("##", cleanup=False)
    rust.add_special_tokens(words[:2])
    return rust


@cache
def original(kind: str) -> tokenizers.Tokenizer:
    """The tokenizer itself, as its file says."""
    return word_level() if kind == "word_level" else tokenizers.Tokenizer.from_str(tokenizer_of(kind).to_json())


def special_of(kind: str) -> tuple[str, int]:
    """A special token's spelling and id."""
    content = SPELLED.get(kind)
    found = {token.content: i for i, token in original(kind).get_added_tokens_decoder().items() if token.special}
    content = content or next(iter(found))
    return content, found[content]


def ids_of(kind: str, text: str) -> list[int]:
    return list(original(kind).encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("kind", KINDS)
def test_a_special_token_in_a_text_is_text(kind: str) -> None:
    content, special = special_of(kind)
    assert special in ids_of(kind, f"a {content} b")
    tokenizer = HFTokenizer(original(kind))
    for text in (f"a {content} b", content, f"{content}{content}", f"a{content}", f"{content} b\n{content}"):
        (ids,) = tokenizer.encode([text])
        unknown = original(kind).token_to_id(json.loads(original(kind).to_str())["model"].get("unk_token") or "")
        assert special not in ids or special == unknown
        if special != unknown and kind not in ("word_piece", "word_level"):
            assert tokenizer.decode([ids])[0].strip() == text.strip()
        assert len(tokenizer.spans(text)) == len(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_other_texts_and_all_texts_where_it_is_asked_for_are_read_as_ever(kind: str) -> None:
    content, _ = special_of(kind)
    mine, all_of_them = HFTokenizer(original(kind)), HFTokenizer(original(kind), parts=EVERYWHERE)
    pieces = st.sampled_from([content, content[:-1], " a", "fox ", "<", ">", "[", "\n", " ", "é", "ж"]) | st.characters(
        codec="utf-8"
    )

    @given(st.lists(pieces, max_size=10).map("".join))
    @settings(max_examples=60, deadline=None)
    def law(text: str) -> None:
        assert all_of_them.encode([text]) == [ids_of(kind, text)]
        if not any(token.content in text for token in original(kind).get_added_tokens_decoder().values()):
            assert mine.encode([text]) == [ids_of(kind, text)]

    law()


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_parts_mean_what_they_spell(kind: str) -> None:
    content, special = special_of(kind)
    parts = FixedParts(f"{content}a\n", f"\n{content}b")
    tokenizer = HFTokenizer(original(kind), parts=parts)
    for data in ("", "fox", " a 1 b ", "é"):
        whole = f"{parts.prefix}{data}{parts.suffix}"
        assert tokenizer.encode([whole, parts.prefix + data, data + parts.suffix]) == [
            ids_of(kind, text) for text in (whole, parts.prefix + data, data + parts.suffix)
        ]
    (ids,) = tokenizer.encode([f"{parts.prefix}x {content} y{parts.suffix}"])
    plain = HFTokenizer(original(kind)).encode([f"x {content} y"])[0]
    assert ids.count(special) == 2 + plain.count(special)


@pytest.mark.parametrize("kind", ["plain", "llama3", "added", "unigram", "sentencepiece"])
@pytest.mark.parametrize("parts", [FixedParts(), EVERYWHERE])
def test_the_check_of_survival_agrees_with_the_prompt(kind: str, parts: FixedParts) -> None:
    content, special = special_of(kind)
    parts = parts if parts.everywhere else FixedParts(f"{content}\n", f"\n{content}")
    tokenizer = HFTokenizer(original(kind), parts=parts)
    chunks = (Chunk(f"{content}\n"), Chunk(f"of {content} data", Edit.PERTURBABLE), Chunk(f"\n{content}"))
    spelled = HFTokenizer(original(kind)).encode([f"x{content}"])[0]
    width = len(spelled)
    example = Example("e", chunks, 0, 1)
    problem = place(example, Threat(tokens=width), tokenizer, allowed_tokens(tokenizer))
    rng = np.random.default_rng(0)
    rows = np.concatenate([[spelled], [[special] * width], rng.choice(tokenizer.vocabulary, size=(200, width))])
    for row, good, text in zip(rows, problem.survives(rows), problem.attack_texts(rows), strict=True):
        assert good == (text is not None)
        if text is not None:
            left, right = len(tokenizer.left), len(tokenizer.right)
            string = [*problem.before[left:], *row, *problem.after[: len(problem.after) - right]]
            assert tokenizer.encode([problem.prompt(text)])[0] == string
    if kind in ("plain", "llama3", "added"):
        assert problem._place._margins is not None or parts.everywhere
        good = problem.survives(rows[:2]).tolist()
        assert good == ([False, True] if parts.everywhere else [True, False])


def test_transformers_names_special_tokens_that_its_file_does_not() -> None:
    from transformers import PreTrainedTokenizerFast

    rust = tokenizers.Tokenizer.from_str(original("plain").to_str())
    rust.add_tokens(["<|turn|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=rust, eos_token="<|turn|>")
    ending = fast.convert_tokens_to_ids("<|turn|>")
    assert ending in fast("a<|turn|>")["input_ids"]
    assert ending not in HFTokenizer.from_transformers(fast).encode(["a<|turn|>"])[0]


def labelled(*rows: tuple[str, ...], parse: bool = False) -> TaskData:
    examples = [
        Example(f"{i}", (Chunk(row[0]), Chunk(row[1], Edit.PERTURBABLE), *map(Chunk, row[2:])), i % 2, 1 - i % 2)
        for i, row in enumerate(rows)
    ]
    return TaskData((" A", " B"), examples, examples[:1], parse_special_tokens=parse)


def test_which_parts_of_prompts_are_fixed(tmp_path: Path) -> None:
    assert labelled(("p", "1", "s"), ("p", "2", "s")).fixed_parts == FixedParts("p", "s")
    assert labelled(("p", "1", "x", "s"), ("q", "2", "y", "s")).fixed_parts == FixedParts("", "s")
    assert labelled(("p", "1", "s"), parse=True).fixed_parts == EVERYWHERE
    assert labelled(("p", "1", "s"), parse=True).hash != labelled(("p", "1", "s")).hash
    pairs = PasswordMatch(PasswordMatch.Params(train_size=4, validation_size=4)).load().fixed_parts
    assert (pairs.prefix[:7], "password:" in pairs.prefix, pairs.suffix) == ("Compare", False, "\n\nAnswer:")
    (tmp_path / "d.csv").write_text("prompt\none</s>\ntwo\n")
    task = Behaviors.Params(path=tmp_path / "d.csv", instructions="<|user|>", answer_prompt="<|bot|>")
    assert Behaviors(task).load().fixed_parts == FixedParts("<|user|>", "<|bot|>")
    assert Behaviors(task.model_copy(update={"parse_special_tokens": True})).load().fixed_parts == EVERYWHERE
    assert "parse_special_tokens" not in TextClassification.Params(path="x", labels=[0, 1]).identity()


def test_a_run_makes_its_tokenizers_for_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FixedParts] = []
    init = HFTokenizer.__init__

    def noted(self: HFTokenizer, *args: Any, **kwargs: Any) -> None:
        made.append(current_parts())
        init(self, *args, **kwargs)

    monkeypatch.setattr(HFTokenizer, "__init__", noted)
    rows = [{"text": f"row {i} {['wet', 'warm'][i % 2]} </s>", "label": ["rain", "bread"][i % 2]} for i in range(120)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parts = "instructions: '<|user|>', answer_prompt: '<|bot|>'"
    task = f"{{text_classification: {{path: d.jsonl, labels: [rain, bread], {parts}}}}}"
    (tmp_path / "spec.yaml").write_text(FAST.replace("{weather_or_food: {size: 40}}", task))
    done = harness_here("run", "spec.yaml", "--out", "out", *FROM_FILES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert made
    assert set(made) == {FixedParts("<|user|>\n\n", "<|bot|>")}
    assert current_parts() == FixedParts()


def test_parts_are_put_back() -> None:
    with special_tokens_in(EVERYWHERE), special_tokens_in(FixedParts("a")):
        assert current_parts() == FixedParts("a")
    assert current_parts() == FixedParts()
