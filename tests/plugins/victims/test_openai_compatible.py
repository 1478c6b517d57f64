"""A victim behind a URL: a real server on loopback, a real model behind it, and what can go wrong in between."""

from __future__ import annotations

import gc
import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tokenizers import processors

from harness import ChatFormat, ChatTemplate
from harness.api.judge import Verdict
from harness.api.model.backend import GenerateItem, GradientItem, SampleItem, ScoreItem, prompt_ids
from harness.api.model.mellowmax import Mellowmax
from harness.api.problem.placement import allowed_tokens, place
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.api.threat import Threat
from harness.api.victim import PrepareJob
from harness.engine.defended.generated_answers import generate_answers
from harness.engine.defended.victim import DefendedVictim
from harness.engine.meter import StepMeter
from harness.engine.open_backend import open_folder
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.engine.search.step_outcome import StepOutcome
from harness.errors import AccessError, VictimError
from harness.run.cell.clean_check import check_clean, choose_examples
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.message import Conversation, Message
from harness.tokens.special_tokens import EVERYWHERE, FixedParts, special_tokens_in
from plugins.judges.labels import WrongLabel
from plugins.victims._openai import http_client
from plugins.victims._openai.model_facts import model_facts
from plugins.victims.openai_compatible import OpenAICompatible
from tests.engine.hub_models import byte_bpe
from tests.plugins.victims.completions_server import (
    ALL,
    Served,
    Server,
    close,
    cut,
    garbage,
    hang,
    save_tiny,
    status,
    trickle,
)
from tests.processes import LONGEST

LABELS = (" NEGATIVE", " POSITIVE")
SHORT = (" a", " b")  # a token each
MIXED = (" NEG", " NEGATIVE", " fox")
TEXTS = ["The quick brown fox", "User password: pear", "good great fine", "is the dog lazy or is the fox"]
EXACT = 1e-4
EMPTY = np.empty(0, dtype=np.int64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.fixture
def server(folder: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    model_facts.cache_clear()
    with Server(Served(model, HFTokenizer.from_file(folder / "tokenizer.json", rows=416))) as server:
        yield server


def victim(server: Server, folder: Path, **params: Any) -> OpenAICompatible:
    given = {"base_url": server.url, "model": "tiny", "tokenizer": str(folder), "timeout": 200.0, "retries": 3}
    return OpenAICompatible(OpenAICompatible.Params(**given | params))


def data(labels: tuple[str, ...] = LABELS) -> TaskData:
    return TaskData(labels, [], [])


def prepared(made: OpenAICompatible, tmp_path: Path, labels: tuple[str, ...] = LABELS) -> Any:
    """The victim's backend, by the way a run takes; of a task in text where it answers in text."""
    labels = labels if made.params.head == "label_tokens" else ()
    out = tmp_path / "artifact"
    out.mkdir(exist_ok=True)
    spent = made.prepare(PrepareJob(data(labels), 0, out, tmp_path / "scratch", lambda *_: None))
    assert (spent.nominal, spent.executed) == (0.0, 0.0)
    return made.open(out, data(labels))


def opened(server: Server, folder: Path, tmp_path: Path, labels: tuple[str, ...] = LABELS, **params: Any) -> Any:
    return prepared(victim(server, folder, **params), tmp_path, labels)


def rows_of(tokenizer: Any, texts: list[str] = TEXTS) -> list[np.ndarray]:
    return [np.asarray([*tokenizer.left, *ids]) for ids in tokenizer.encode(texts)]


def item(tokenizer: Any, target: Any = 0, count: int = 5) -> ScoreItem:
    """Candidates that survive being text, since some servers are sent texts."""
    before, after = (np.asarray(ids) for ids in tokenizer.encode(["The quick brown", " jumps over the dog"]))
    letters = [i for i in range(tokenizer.vocabulary) if i not in tokenizer.special]
    texts = tokenizer.decode([[i] for i in letters])
    plain = [i for i, text in zip(letters, texts, strict=True) if text.startswith(" ") and text.strip().isalpha()]
    drawn = np.random.default_rng(1).choice(plain, size=(count, 3))
    return ScoreItem(before, drawn, after, target)


WAYS = [
    ("logprob_token_ids", ALL),
    ("prompt_logprobs", ALL),
    ("echo", ALL),
    ("echo", ALL - {"echo_without_new"}),
    ("prompt_logprobs", ALL - {"ids"}),
    ("echo", ALL - {"ids"}),
    ("logprob_token_ids", ALL - {"ids", "batches"}),
    ("prompt_logprobs", ALL - {"batches"}),
]


@pytest.mark.parametrize(
    ("labels", "way", "can"),
    [(MIXED, *way) for way in WAYS] + [(SHORT, *WAYS[0]), (SHORT, *WAYS[1]), (LABELS, *WAYS[2])],
)
def test_scores_are_those_of_the_model(
    server: Server, folder: Path, tmp_path: Path, labels: tuple[str, ...], way: str, can: frozenset[str]
) -> None:
    server.served.can = can
    served = opened(server, folder, tmp_path, labels, scoring=way)
    reference = open_folder(folder, "label_tokens", labels, dtype="float32", device="cpu")
    assert served.n_labels == len(labels)
    assert served.abilities == {"score"}
    rows = rows_of(served.tokenizer)
    logits, executed = served.classify(rows)
    assert np.abs(logits - reference.classify(rows)[0]).max() < EXACT
    assert all(math.isnan(flops) for flops in executed)
    asked = [item(served.tokenizer, 1), item(served.tokenizer, 0, count=1), item(served.tokenizer, 0, count=0)]
    for own, other in zip(served.score(asked), reference.score(asked), strict=True):
        assert own.logits.shape == other.logits.shape
        assert np.abs(own.losses - other.losses).max(initial=0) < EXACT
        assert math.isnan(own.executed)
    facts = served.describe()
    json.dumps(facts, allow_nan=False)
    assert facts["log_probabilities"] == way
    assert facts["prompts"] == ("token ids" if "ids" in can else "text, which the server tokenises")
    assert facts["refused_prompts"] == 0


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize(
    ("way", "can"),
    [("prompt_logprobs", ALL), ("echo", ALL), ("echo", ALL - {"ids"}), ("prompt_logprobs", ALL - {"ids"})],
)
def test_a_target_costs_what_it_costs_the_model(
    server: Server, tmp_path: Path, way: str, can: frozenset[str], bos: bool
) -> None:
    from transformers import AutoModelForCausalLM

    folder = save_tiny(tmp_path / "model", seed=3, bos=bos)
    server.served.model = AutoModelForCausalLM.from_pretrained(folder).eval()
    server.served.tokenizer = HFTokenizer.from_file(folder / "tokenizer.json", rows=416)
    server.served.can = can
    served = opened(server, folder, tmp_path, head="generation", scoring=way)
    reference = open_folder(folder, "generation", dtype="float32", device="cpu")
    assert served.tokenizer.left == ((0,) if bos else ())
    targets = [tuple(ids) for ids in served.tokenizer.encode([" is the answer", " dog"])]
    plain = [item(served.tokenizer, target) for target in targets]
    items = [replace(one, before=np.asarray([*served.tokenizer.left, *one.before])) for one in plain]
    items += [replace(one, over=Mellowmax(2.0)) for one in items]
    for own, other in zip(served.score(items), reference.score(items), strict=True):
        assert own.logits.shape == (5, 0)
        assert np.abs(own.losses - other.losses).max() < EXACT


def test_answers_in_text_are_those_of_the_model(server: Server, folder: Path, tmp_path: Path) -> None:
    reference = open_folder(folder, "generation", dtype="float32", device="cpu")
    prompts = [*TEXTS, *(f"{text} and {number} times" for text in TEXTS for number in range(4))]  # two requests
    items = [GenerateItem(text, 12) for text in prompts]
    true = reference.generate(items)
    for can in (ALL, ALL - {"new_ids"}, ALL - {"new_ids", "unknown_fields"}, ALL - {"ids"}):
        server.served.can = can
        served = opened(server, folder, tmp_path, head="generation")
        assert served.abilities == {"score", "mellowmax", "generate"}
        for own, other in zip(served.generate(items), true, strict=True):
            assert (own.finished, own.prompt_tokens, own.new_tokens) == (
                other.finished,
                other.prompt_tokens,
                other.new_tokens,
            )
            assert math.isnan(own.executed)
            if "new_ids" in can:
                assert own.text == other.text
            else:  # texts of servers leave special tokens out
                assert own.text == "".join(other.text.split("<|padding|>")).replace("<tool>", "").replace(
                    "<|endoftext|>", ""
                )
    warm = [GenerateItem(TEXTS[0], 12, 1.0, seed) for seed in (1, 1, 2, 2**62 + 5)]
    a, again, b, c = served.generate(warm)
    assert a == again or (a.text, a.new_tokens) == (again.text, again.new_tokens)
    assert len({a.text, b.text, c.text}) > 1
    assert all(0 <= body["seed"] < 2**31 for body in server.served.bodies[-4:])


@pytest.mark.parametrize("ids", [True, False])
def test_a_special_token_before_a_prompt_is_sent_once(server: Server, tmp_path: Path, ids: bool) -> None:
    folder = save_tiny(tmp_path / "model", seed=3, bos=True)
    server.served.can = ALL if ids else ALL - {"ids"}
    with special_tokens_in(FixedParts(prefix="<|endoftext|>")):  # as instructions begin
        server.served.tokenizer = HFTokenizer.from_file(folder / "tokenizer.json")
        served = opened(server, folder, tmp_path, head="generation")
    texts = [TEXTS[0], "<|endoftext|>" + TEXTS[0]]
    plain, written = served.generate([GenerateItem(text, 6) for text in texts])
    assert plain == written or (plain.text, plain.prompt_tokens) == (written.text, written.prompt_tokens)
    sent = [body["prompt"] for body in server.served.bodies[-2:]]
    assert sent[0] == sent[1]


def test_a_tokenizer_that_ends_texts_needs_a_server_that_takes_ids(server: Server, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", seed=3)
    rust = byte_bpe()
    ends = processors.TemplateProcessing(single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)])
    rust.post_processor = ends
    rust.save(str(folder / "tokenizer.json"))
    served = opened(server, folder, tmp_path, head="generation")
    (said,) = served.generate([GenerateItem(TEXTS[0], 6)])
    assert said.prompt_tokens == len(rust.encode(TEXTS[0], add_special_tokens=False).ids)
    server.served.can = ALL - {"ids"}
    with pytest.raises(VictimError, match=r"accepts prompts only as text, .* ends every text with a token"):
        opened(server, folder, tmp_path, head="generation")


def test_a_chat_is_asked_by_message_and_tells_no_scores(server: Server, folder: Path, tmp_path: Path) -> None:
    made = victim(server, folder, head="generation", api="chat")
    assert made.card(data(())).access == "text"
    served = prepared(made, tmp_path)
    assert served.abilities == {"generate"}
    (answer,) = served.generate([GenerateItem("Hello", 5)])
    assert server.served.bodies[-1]["messages"] == [{"role": "user", "content": "Hello"}]
    assert answer.new_tokens == 5
    with pytest.raises(AccessError, match="does not answer score requests"):
        served.score([item(served.tokenizer, (1, 2))])


TEMPLATE = "{% for m in messages %}<|endoftext|>{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
TALK = Conversation((Message("system", "good"),))


@pytest.mark.parametrize("ids", [True, False])
def test_a_chat_template_gives_the_server_what_it_gives_torch(
    server: Server, folder: Path, tmp_path: Path, ids: bool
) -> None:
    if not ids:
        server.served.can = ALL - {"ids"}
    with special_tokens_in(EVERYWHERE):  # as servers read texts
        server.served.tokenizer = HFTokenizer.from_file(folder / "tokenizer.json", rows=416)
    mine = tmp_path / "mine.jinja"
    mine.write_text(TEMPLATE)
    chat = ChatFormat(ChatTemplate(TEMPLATE), system="fine", prefill="The quick")
    torch = open_folder(folder, "generation", dtype="float32", device="cpu", chat=chat)
    made = victim(server, folder, head="generation", chat=str(mine), system="fine", prefill="The quick")
    served = prepared(made, tmp_path)
    assert made.takes_messages(data(()))
    assert served.describe()["chat"] == torch.describe()["chat"]
    asked = [
        GenerateItem(TEXTS[0], 6),
        GenerateItem("a <|endoftext|> b", 6),
        GenerateItem(TEXTS[1], 6, conversation=TALK),
    ]
    assert prompt_ids(asked, served.tokenizer) == prompt_ids(asked, torch.tokenizer)
    answers, true = (generate_answers(backend, asked) for backend in (served, torch))
    alike = range(3) if ids else (0, 2)  # as text the second one would be another prompt
    assert [answers[i].text for i in alike] == [true[i].text for i in alike]
    assert all(answers[i].text.startswith("The quick") for i in alike)
    assert [answer.state for answer in answers][1] == ("answered" if ids else "failed")
    if ids:
        example = Example(
            "e", (Chunk("good "), Chunk("", Edit.PERTURBABLE)), target=" The quick fox", conversation=TALK
        )
        problem = place(example, Threat(tokens=2), served.tokenizer, allowed_tokens(served.tokenizer))
        rows = problem.random_tokens(np.random.default_rng(0), 3)
        given = [ScoreItem(problem.before, rows, problem.after, problem.target)]
        assert served.score(given)[0].losses == pytest.approx(torch.score(given)[0].losses, abs=EXACT)


def test_messages_go_to_a_chat_as_they_are(server: Server, folder: Path, tmp_path: Path) -> None:
    params = {"system": "good", "prefill": "The quick", "template_arguments": {"enable_thinking": False}}
    made = victim(server, folder, head="generation", api="chat", **params)
    served = prepared(made, tmp_path)
    plain, talk = served.generate([GenerateItem("Hello", 5), GenerateItem("Hello", 5, conversation=TALK)])
    bodies = {json.dumps(body["messages"]): body for body in server.served.bodies[-2:]}
    for said in (plain, talk):
        assert said.text.startswith("The quick")
    for body in bodies.values():
        roles = [(message["role"], message["content"]) for message in body["messages"]]
        assert roles == [("system", "good"), ("user", "Hello"), ("assistant", "The quick")]
        assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert served.describe()["chat"]["system"] == "good"
    bare = victim(server, folder, head="generation", api="chat").params.identity()
    assert not {"system", "prefill", "template_arguments", "chat"} & set(bare)
    assert made.params.identity() == bare | params


@pytest.mark.parametrize(
    ("scoring", "abilities", "access"),
    [
        ("auto", {"score", "mellowmax", "generate"}, "scores"),
        ("top_logprobs", {"generate"}, "text"),
        ("none", {"generate"}, "text"),
    ],
)
def test_without_labels_it_answers_in_text(
    server: Server, folder: Path, tmp_path: Path, scoring: str, abilities: set[str], access: str
) -> None:
    """As the victim of a task in text, or as the model of a judge, whether or not its head was written."""
    head = {"head": "generation"} if scoring == "none" else {}
    made = victim(server, folder, scoring=scoring, **head)
    card = made.card(data(()))
    assert (card.access, card.language_model) == (access, False)  # nobody can sample from it
    served = prepared(made, tmp_path, ())
    assert (served.n_labels, served.abilities) == (0, abilities)
    asked = [GenerateItem(text, 6) for text in TEXTS[:2]]
    true = open_folder(folder, "generation", dtype="float32", device="cpu").generate(asked)
    answers = served.generate(asked)
    assert [answer.text for answer in answers] == [answer.text for answer in true]
    assert all(math.isnan(answer.executed) for answer in answers)
    (answer,) = DefendedVictim(served, answer_tokens=6).ask(TEXTS[:1])
    assert answer.text == true[0].text
    with pytest.raises(AccessError, match="no labels to choose among"):
        served.classify(rows_of(served.tokenizer))


def test_a_task_of_labels_needs_label_tokens(server: Server, folder: Path, tmp_path: Path) -> None:
    made = victim(server, folder, head="generation")
    job = PrepareJob(data(), 0, tmp_path, tmp_path, lambda *_: None)
    for ask in (lambda: made.card(data()), lambda: made.prepare(job)):
        with pytest.raises(VictimError, match=r"has labels \( NEGATIVE,  POSITIVE\); write head: label_tokens"):
            ask()


def test_what_it_cannot_answer_is_refused_in_words(server: Server, folder: Path, tmp_path: Path) -> None:
    served = opened(server, folder, tmp_path)
    empty = np.empty(0, dtype=np.int64)
    with pytest.raises(AccessError, match=r"gradient .*open weights"):
        served.gradient([GradientItem(empty, empty, empty, 0, empty, 1)])
    with pytest.raises(AccessError, match="sample"):
        served.sample([SampleItem(empty, np.empty((1, 0), dtype=np.int64), empty, 1, 0)])
    with pytest.raises(AccessError, match="head: generation"):
        served.generate([GenerateItem("Hello", 3)])
    with pytest.raises(VictimError, match="does not fit"):
        served.classify([np.zeros(300, dtype=np.int64)])
    with pytest.raises(VictimError, match="exceed the vocabulary"):
        served.classify([np.asarray([5, 416])])


@pytest.mark.parametrize(
    ("can", "head", "way"),
    [
        (ALL, "label_tokens", "logprob_token_ids"),
        (ALL - {"logprob_token_ids"}, "label_tokens", "prompt_logprobs"),
        (ALL - {"logprob_token_ids", "prompt_logprobs"}, "label_tokens", "echo"),
        (frozenset({"ids", "top_logprobs"}), "label_tokens", "top_logprobs"),
        (ALL, "generation", "prompt_logprobs"),
        (frozenset({"ids", "echo"}), "generation", "echo"),
        (frozenset({"ids", "top_logprobs"}), "generation", None),
    ],
)
def test_the_way_is_found_by_asking(
    server: Server, folder: Path, tmp_path: Path, can: frozenset[str], head: str, way: str | None
) -> None:
    server.served.can = can
    made = victim(server, folder, head=head)
    assert made.card(data(LABELS if head == "label_tokens" else ())).access == ("text" if way is None else "scores")
    served = prepared(made, tmp_path)
    facts = served.describe()
    assert facts["log_probabilities"] == way
    if {"prompt_logprobs", "echo"} <= can:
        assert facts["agreement"]["largest_difference"] < EXACT
    else:
        assert facts["agreement"] is None


def test_two_ways_that_disagree_are_an_error(server: Server, folder: Path, tmp_path: Path) -> None:
    true, calls = server.served.log_probs, []

    def shifted(ids: list[int]) -> Any:
        calls.append(ids)
        return true([ids[0], *ids[:-1]])  # one token behind

    server.served.can = ALL - {"logprob_token_ids"}
    made = victim(server, folder)

    class Wrong(Served):
        def log_probs(self, ids: list[int]) -> Any:
            lame = self.bodies[-1].get("prompt_logprobs") is not None
            return shifted(ids) if lame else true(ids)

    server.served.__class__ = Wrong
    with pytest.raises(VictimError, match=r"differ by .* nats"):
        prepared(made, tmp_path)
    assert calls


def test_labels_without_log_probabilities_are_refused(server: Server, folder: Path, tmp_path: Path) -> None:
    server.served.can = frozenset({"ids"})
    with pytest.raises(VictimError, match=r"gives no log-probabilities .*use a server that does, or"):
        opened(server, folder, tmp_path)
    with pytest.raises(VictimError, match="does not give log-probabilities by echo"):
        opened(server, folder, tmp_path, scoring="echo")
    served = opened(server, folder, tmp_path, head="generation")
    assert served.abilities == {"generate"}


def test_top_log_probs_bound_what_they_do_not_tell(server: Server, folder: Path, tmp_path: Path) -> None:
    tokenizer = HFTokenizer.from_file(folder / "tokenizer.json", rows=416)
    reference = open_folder(folder, "label_tokens", (" a", " b"), dtype="float32", device="cpu")
    rows = rows_of(tokenizer)
    for more in ({"unknown_fields"}, set()):  # servers that name tokens by id, and by text
        server.served.can = frozenset({"ids", "batches", "top_logprobs"} | more)
        served = opened(server, folder, tmp_path, (" a", " b"), scoring="top_logprobs")
        logits, _ = served.classify(rows)
        true = reference.classify(rows)[0]
        for row, own, exact in zip(rows, logits, true, strict=True):
            top = server.served.log_probs(row.tolist())[-1].sort(descending=True).values[19].item()
            told = exact >= top - 1e-9
            assert np.abs(own[told] - exact[told]).max(initial=0) < EXACT
            if told.any():
                assert (own[~told] >= exact[~told] - EXACT).all()
                assert (own[~told] <= top + EXACT).all()
            else:
                assert np.isneginf(own).all()
        assert served.describe()["log_probabilities_of"] == 20
        assert served.describe()["untold"] == sum(
            int((exact < server.served.log_probs(row.tolist())[-1].sort(descending=True).values[19].item()).sum())
            for row, exact in zip(rows, true, strict=True)
        )
        told_none = np.isneginf(logits).all(axis=1)
        assert [reply.missing for reply in DefendedVictim(served).ask(TEXTS)] == told_none.tolist()


@pytest.mark.parametrize("way", ["prompt_logprobs", "echo"])
def test_a_text_that_the_server_tokenises_otherwise_has_no_score(
    server: Server, folder: Path, tmp_path: Path, way: str
) -> None:
    server.served.can = ALL - {"ids"}
    served = opened(server, folder, tmp_path, SHORT, scoring=way)
    reference = open_folder(folder, "label_tokens", SHORT, dtype="float32", device="cpu")
    plain = item(served.tokenizer, 0)
    ordinary = [i for i in range(2, served.tokenizer.vocabulary) if i not in served.tokenizer.special]
    drawn = np.random.default_rng(5).choice(ordinary, size=(30, 3))
    asked = replace(plain, candidates=np.concatenate([plain.candidates, drawn]))
    rows = [[*asked.before, *own, *asked.after, *served.tokenizer.encode([SHORT[0]])[0]] for own in asked.candidates]
    again = served.tokenizer.encode(served.tokenizer.decode(rows))
    same_length = np.asarray([len(ids) == len(row) for ids, row in zip(again, rows, strict=True)])
    same = np.asarray([ids == row for ids, row in zip(again, rows, strict=True)])
    assert same[:5].all()
    assert not same_length.all()
    (own,), (exact,) = served.score([asked]), reference.score([asked])
    assert np.abs(own.losses[same] - exact.losses[same]).max() < EXACT
    assert np.isinf(own.losses[~same_length]).all()
    assert served.describe()["tokenised_otherwise"] >= (~same_length).sum()
    assert served.describe()["refused_prompts"] == 0


# -- troubles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [status(429), status(500), status(503), status(408), close, cut, garbage], ids=lambda f: f.__name__
)
def test_what_passes_is_tried_again(server: Server, folder: Path, tmp_path: Path, fault: Any) -> None:
    served = opened(server, folder, tmp_path, SHORT)
    reference, _ = served.classify(rows_of(served.tokenizer))
    before = len(server.served.bodies)
    server.served.faults.extend([fault, fault])
    again, _ = served.classify(rows_of(served.tokenizer))
    assert np.array_equal(again, reference)
    assert len(server.served.bodies) == before + 3
    assert served.describe()["retries"] == 2


def test_waits_grow(server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = opened(server, folder, tmp_path, SHORT)
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.1)
    server.served.faults.extend([status(503)] * 3)
    served.classify(rows_of(served.tokenizer))
    waits = np.diff(server.served.times[-4:])
    assert (waits >= np.asarray([0.05, 0.1, 0.2])).all()  # half of each at least
    assert (waits <= np.asarray([0.1, 0.2, 0.4]) + 0.3).all()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["seconds", "date"])
def test_retry_after_is_kept(server: Server, folder: Path, tmp_path: Path, how: str) -> None:
    served = opened(server, folder, tmp_path, SHORT)
    soon = datetime.now(UTC) + timedelta(seconds=2)
    value = "1" if how == "seconds" else format_datetime(soon, usegmt=True)
    server.served.faults.append(status(429, {"Retry-After": value}))
    served.classify(rows_of(served.tokenizer))
    waited = server.served.times[-1] - server.served.times[-2]
    assert waited >= (1.0 if how == "seconds" else 0.7)


def test_a_server_that_wants_an_hour_is_gone(server: Server, folder: Path, tmp_path: Path) -> None:
    served = opened(server, folder, tmp_path, SHORT)
    server.served.faults.append(status(503, {"Retry-After": "3600"}))
    with pytest.raises(VictimError, match="start the run again"):
        served.classify(rows_of(served.tokenizer))


@pytest.mark.parametrize("fault", [hang, trickle])
def test_a_server_that_hangs_is_not_waited_for(server: Server, folder: Path, tmp_path: Path, fault: Any) -> None:
    served = opened(server, folder, tmp_path, SHORT, timeout=0.4, retries=1)
    reference, _ = served.classify(rows_of(served.tokenizer))
    server.served.faults.append(fault)
    began = time.monotonic()
    assert np.array_equal(served.classify(rows_of(served.tokenizer))[0], reference)
    assert 0.4 <= time.monotonic() - began < 50  # it would hang for longer
    server.served.faults.extend([fault] * 2)
    with pytest.raises(VictimError, match=r"given up after 2 tries: no answer in 0.4 s; start the run again"):
        served.classify(rows_of(served.tokenizer))


def test_a_server_that_goes_away_is_an_error_in_words(server: Server, folder: Path, tmp_path: Path) -> None:
    served = opened(server, folder, tmp_path, SHORT)
    server.stop()
    with pytest.raises(VictimError, match=r"completions: given up after 4 tries: .*start the run again") as error:
        served.classify(rows_of(served.tokenizer))
    assert server.url in str(error.value)


@pytest.mark.parametrize(("code", "words"), [(401, "api_key_env"), (403, "api_key_env"), (404, "base_url"), (410, "")])
def test_other_errors_are_not_tried_again(server: Server, folder: Path, tmp_path: Path, code: int, words: str) -> None:
    served = opened(server, folder, tmp_path, SHORT)
    before = len(server.served.bodies)
    server.served.always = status(code)
    with pytest.raises(VictimError, match=f"status {code}: made to say {code}.*{words}"):
        served.classify(rows_of(served.tokenizer, TEXTS[:1]))
    assert len(server.served.bodies) == before + 1


def test_requests_at_once_are_limited(server: Server, folder: Path, tmp_path: Path) -> None:
    served = opened(server, folder, tmp_path, SHORT, max_concurrency=3, batch=1)
    server.served.delay, server.served.at_once = 0.03, 0
    served.classify(rows_of(served.tokenizer) * 6)
    assert server.served.at_once == 3
    server.served.at_once, server.served.delay = 0, 0.0
    one = opened(server, folder, tmp_path, SHORT, max_concurrency=1, batch=1)
    one.classify(rows_of(one.tokenizer) * 3)
    assert server.served.at_once == 1


def test_rows_are_sent_in_batches(server: Server, folder: Path, tmp_path: Path) -> None:
    served = opened(server, folder, tmp_path, SHORT, batch=4)
    before = len(server.served.bodies)
    served.classify(rows_of(served.tokenizer) * 3)
    assert [len(body["prompt"]) for body in server.served.bodies[before:]] == [4, 4, 4]


def test_a_row_that_is_refused_loses_no_other(server: Server, folder: Path, tmp_path: Path) -> None:
    served = opened(server, folder, tmp_path, SHORT)
    asked = item(served.tokenizer, 0, count=12)
    (whole,) = served.score([asked])
    bad = [*asked.before.tolist(), *asked.candidates[7].tolist(), *asked.after.tolist()]
    server.served.refuse = lambda row: row[: len(bad)] == bad
    (scored,) = served.score([asked])
    assert scored.losses[7] == np.inf
    assert np.array_equal(np.delete(scored.losses, 7), np.delete(whole.losses, 7))
    facts = served.describe()
    assert facts["refused_prompts"] == 1
    assert facts["first_refusal"] == "status 400: content_filter: this prompt is not for us"


def test_a_refused_prompt_is_like_one_that_a_guard_refuses(server: Server, folder: Path, tmp_path: Path) -> None:
    served = opened(server, folder, tmp_path, SHORT)
    bad = served.tokenizer.encode([TEXTS[1]])[0]
    server.served.refuse = lambda row: row[: len(bad)] == bad
    replies = DefendedVictim(served).ask(TEXTS)
    assert [reply.logits is None for reply in replies] == [False, True, False, False]
    assert replies[1].answer(0).blocked
    assert not replies[1].too_long
    assert [math.isnan(reply.victim.nominal) for reply in replies] == [True] * 4


@pytest.mark.filterwarnings("error")
def test_a_label_without_an_answer_is_neither_right_nor_wrong(server: Server, folder: Path, tmp_path: Path) -> None:
    """A request declined for another reason than its content says nothing of the victim."""
    served = opened(server, folder, tmp_path, SHORT)
    bad = served.tokenizer.encode([TEXTS[1]])[0]
    server.served.refuse = lambda row: row[: len(bad)] == bad
    server.served.reason = "This model's maximum context length is 16 tokens."
    attacked = DefendedVictim(served)
    replies = attacked.ask(TEXTS)
    assert [reply.missing for reply in replies] == [False, True, False, False]
    assert [reply.state for reply in replies] == ["answered", "failed", "answered", "answered"]
    examples = [
        Example(f"v-{at}", (Chunk(text, Edit.PERTURBABLE),), label=reply.label or 0, proxy_label=1 - (reply.label or 0))
        for at, (text, reply) in enumerate(zip(TEXTS, replies, strict=True))
    ]
    runner = JudgeRunner(WrongLabel(), ModelRouter(attacked))
    clean = check_clean(runner, examples)
    assert (clean.correct, clean.missing, clean.accuracy) == ([True, False, True, True], 1, 1.0)
    threat = SimpleNamespace(threat=Threat(tokens=2), examples=4, too_long="exclude")
    attack_on, rows = choose_examples(DefendedVictim(served, labels=SHORT), threat, examples, clean)  # type: ignore[arg-type]
    assert [row["excluded"] for row in rows] == [None, "no answer when clean", None, None]
    assert [row["answer_state"] for row in rows] == [None, "failed", None, None]
    assert len(attack_on) == 3
    outcome = StepOutcome(attack_on[0], 1, attack_on[0].state(EMPTY), StepMeter(), "x", None)
    outcome.answers, outcome.verdicts = [replies[1].answer(1)], [Verdict(False)]
    row = outcome.row(0.0)
    assert (row.predicted, row.answer_state, row.draws, row.success) == (None, "failed", None, False)
    row_ids = np.asarray(bad)
    (scored,) = served.score([ScoreItem(EMPTY, np.stack([row_ids, row_ids]), EMPTY, 0)])
    assert np.isinf(scored.losses).all()


def test_all_rows_refused_is_an_answer_and_a_server_that_refuses_everything_is_not(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    served = opened(server, folder, tmp_path, SHORT)
    asked = item(served.tokenizer, 0)
    server.served.refuse = lambda row: row[-len(asked.after) :] == asked.after.tolist()
    (scored,) = served.score([asked])
    assert (scored.losses == np.inf).all()
    server.served.refuse = lambda _: True
    with pytest.raises(VictimError, match="refuses what it answered at first"):
        served.score([item(served.tokenizer, 0)])


def test_a_refused_answer_is_empty(server: Server, folder: Path, tmp_path: Path) -> None:
    served = opened(server, folder, tmp_path, head="generation")
    bad = served.tokenizer.encode([TEXTS[1]])[0]
    server.served.refuse = lambda row: row == bad
    answers = served.generate([GenerateItem(text, 4) for text in TEXTS])
    assert [bool(answer.text) for answer in answers] == [True, False, True, True]
    assert served.describe()["refused_prompts"] == 1


# -- what it is known by, and what is asked of its parameters ----------------------------------------------------------


def test_the_key_goes_to_the_server_and_nowhere_else(
    server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "very-secret\n")
    made = victim(server, folder, api_key_env="A_KEY")
    served = prepared(made, tmp_path)
    assert set(server.served.keys) == {"Bearer very-secret"}
    server.stop()
    with pytest.raises(VictimError) as error:
        served.classify(rows_of(served.tokenizer))
    everything = json.dumps([served.describe(), made.params.identity(), made.fingerprint(), str(error.value)])
    everything += "".join(path.read_text() for path in (tmp_path / "artifact").iterdir())
    assert "secret" not in everything
    monkeypatch.delenv("A_KEY")
    with pytest.raises(VictimError, match="environment variable A_KEY is not set"):
        victim(server, folder, api_key_env="A_KEY", revision="x").fingerprint() and prepared(made, tmp_path)


def test_identity_is_what_is_served_and_not_where(server: Server, folder: Path, tmp_path: Path, model: Any) -> None:
    made = victim(server, folder)
    assert made.fingerprint() == victim(server, folder, timeout=1.0, retries=0, batch=2).fingerprint()
    assert made.params.identity() == victim(server, folder, max_concurrency=1, api_key_env="X").params.identity()
    known = made.fingerprint()
    assert known["model"] == "tiny"
    assert (known["root"], known["owned_by"], known["max_model_len"]) == ("tiny", "test", "256")
    assert "created" not in known
    with Server(Served(model, server.served.tokenizer, told={"max_model_len": 256, "root": "other"})) as elsewhere:
        assert victim(elsewhere, folder).fingerprint() != known
        elsewhere.served.told = server.served.told
        model_facts.cache_clear()
        assert victim(elsewhere, folder).fingerprint() == known
    other = save_tiny(tmp_path / "other", bos=True)
    assert victim(server, other).fingerprint()["tokenizer"] != known["tokenizer"]
    assert victim(server, folder, revision="2").params.identity() != made.params.identity()


def test_the_card(server: Server, folder: Path) -> None:
    card = victim(server, folder).card(data())
    assert (card.family, card.n_params, card.pretraining_flops) == ("tiny", None, None)
    assert (card.access, card.context, card.local) == ("scores", 256, False)
    stated = victim(server, folder, n_params=8e9, family="f", pretraining_flops=1e23, context=100).card(data())
    assert (stated.n_params, stated.family, stated.pretraining_flops, stated.context) == (8_000_000_000, "f", 1e23, 100)


def test_a_server_that_does_not_tell_its_context(server: Server, folder: Path, tmp_path: Path) -> None:
    server.served.told = {}
    with pytest.raises(VictimError, match="give context: TOKENS"):
        victim(server, folder).card(data())
    served = opened(server, folder, tmp_path, context=64)
    assert served.context < 64


def test_a_model_that_is_not_served_and_a_tokenizer_of_another(server: Server, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(VictimError, match="serves tiny, not huge"):
        victim(server, folder, model="huge").fingerprint()
    with pytest.raises(VictimError, match=r"no tokenizer\.json"):
        victim(server, tmp_path).fingerprint()
    import tokenizers

    (tmp_path / "words").mkdir()
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "words" / "tokenizer.json"))
    with pytest.raises(VictimError, match=r"counts \d+ tokens in a text in which the tokenizer finds \d+"):
        opened(server, tmp_path / "words", tmp_path, (" a", " b"))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"base_url": "localhost:8000"}, "write http://HOST"),
        ({"base_url": "http://me:word@host/v1"}, "no key or user"),
        ({"base_url": "http://host/v1?key=1"}, "no key or user"),
        ({"scoring": "none"}, "head: generation"),
        ({"api": "chat"}, "head: generation"),
        ({"head": "generation", "scoring": "top_logprobs"}, "is for labels"),
        ({"head": "generation", "api": "chat", "scoring": "echo"}, "a chat gives no log-probabilities"),
        ({"head": "generation", "api": "chat", "chat": "off"}, "the server renders messages itself"),
        ({"head": "generation", "api": "chat", "system": "none"}, "system: none: with api: chat"),
        ({"retries": -1}, "greater than or equal to 0"),
        ({"api_key": "x"}, "Extra inputs"),
    ],
)
def test_parameters_that_cannot_be(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        OpenAICompatible.Params(**{"base_url": "http://host/v1", "model": "m", "tokenizer": "t"} | params)


def test_nothing_is_left_behind(server: Server, folder: Path, tmp_path: Path) -> None:
    def requests() -> int:
        return sum(thread.name == "requests" for thread in threading.enumerate())

    gc.collect()
    end = time.monotonic() + LONGEST
    while requests() and time.monotonic() < end:
        time.sleep(0.02)
    before = requests()
    served = opened(server, folder, tmp_path, SHORT)
    served.classify(rows_of(served.tokenizer))
    assert requests() == before + 1
    del served
    gc.collect()
    end = time.monotonic() + LONGEST
    while requests() > before and time.monotonic() < end:
        time.sleep(0.02)
    assert requests() == before
