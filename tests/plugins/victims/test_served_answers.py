"""What servers send in place of an answer, and how they want to be asked: a chat on loopback that keeps to a script."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.api.model.backend import Generated, GenerateItem
from harness.api.task import TaskData
from harness.api.victim import PrepareJob
from harness.engine.defended.generated_answers import answer_in
from harness.errors import VictimError
from harness.records.read import read_run
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.message import Conversation, Message, Messages
from leaderboard.standings.standings import standings
from plugins.victims._openai import http_client
from plugins.victims._openai.model_facts import model_facts
from plugins.victims._openai.opening_question import QUESTION
from plugins.victims._openai.server_error import error_in_text
from plugins.victims.openai_compatible import OpenAICompatible
from tests.plugins.judges.scripted import run, server as scripted_server, victim as scripted_victim
from tests.plugins.victims.completions_server import Handler, Served, Server, save_tiny
from tests.run.runs import harness_here

Body = dict[str, Any]
Script = Callable[[Body], tuple[int, Any]]
"""What a request is answered with: status and JSON."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("served"))


@pytest.fixture(autouse=True)
def _near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    model_facts.cache_clear()


@contextmanager
def serving(folder: Path, script: Script) -> Iterator[Server]:
    def fault(handler: Handler) -> bool:
        if handler.command == "POST":
            handler.answer(*script(handler.served.bodies[-1]))
        return handler.command == "POST"

    with Server(Served(None, HFTokenizer.from_file(folder / "tokenizer.json", rows=416), always=fault)) as server:
        yield server


def opened(server: Server, folder: Path, tmp_path: Path, **params: Any) -> Any:
    given = {"base_url": server.url, "model": "tiny", "tokenizer": str(folder), "timeout": 200.0, "retries": 2}
    given |= {"head": "generation", "api": "chat", "max_concurrency": 1}
    made, data = OpenAICompatible(OpenAICompatible.Params(**given | params)), TaskData((), [], [])
    out = tmp_path / "artifact"
    out.mkdir(exist_ok=True)
    made.prepare(PrepareJob(data, 0, out, tmp_path / "scratch", lambda *_: None))
    return made.open(out, data)


def said(message: Any, finish: str | None = "stop", **more: Any) -> Body:
    """An answer with one choice."""
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}]} | more


PARIS = said({"role": "assistant", "content": "Paris."})


def asked(body: Body) -> str:
    content = body["messages"][0]["content"]
    assert isinstance(content, str)
    return content


def scripted(answer: Any, status: int = 200) -> Script:
    """The opening question is answered, everything else with the same."""
    return lambda body: (200, PARIS) if asked(body) == QUESTION else (status, answer)


def answered(folder: Path, tmp_path: Path, answer: Any, status: int = 200, **params: Any) -> Generated:
    """What the engine makes of an answer."""
    with serving(folder, scripted(answer, status)) as server:
        backend = opened(server, folder, tmp_path, **params)
        (found,) = backend.generate([GenerateItem("Say it", 8)])
        return answer_in(found, backend)


def azure_filter(**inner: Any) -> Body:
    return {
        "error": {
            "message": "The response was filtered due to the prompt triggering Azure's content management policy.",
            "param": "prompt",
            "code": "content_filter",
            "innererror": {"code": "ResponsibleAIPolicyViolation"} | inner,
        }
    }


PARTS = [
    {"type": "text", "text": "Sure, "},
    "here ",
    {"type": "image_url", "image_url": {}},
    {"type": "text", "text": "it is."},
]
THOUGHT = [{"type": "thinking", "thinking": [{"type": "text", "text": "I can't."}]}, {"type": "text", "text": "Sure."}]


@pytest.mark.parametrize(
    ("answer", "text", "state"),
    [
        (said({"content": "Sure."}), "Sure.", "answered"),
        (said({"content": "Sure, and"}, "length"), "Sure, and", "answered"),
        (said({"content": PARTS}), "Sure, here it is.", "answered"),
        (said({"content": THOUGHT}), "Sure.", "answered"),
        (said({"content": None, "reasoning_content": "I can't."}, "length"), "", "cut_off"),
        (said({"content": "", "reasoning": "hm"}, "length"), "", "cut_off"),
        (said({"content": None}), "", "empty"),
        (said({"content": " \n"}), " \n", "empty"),
        (said({"content": [{"type": "text", "text": ""}]}), "", "empty"),
        (said(None), "", "empty"),
        ({"choices": []}, "", "empty"),
        (said({"content": None, "tool_calls": []}, "tool_calls"), "", "empty"),
        (said({"content": None}, "content_filter"), "", "refused"),
        (said({"content": "Sure, first"}, "content_filter"), "Sure, first", "refused"),
        (said({"content": None, "refusal": "It is not for me to say."}), "It is not for me to say.", "refused"),
        (said({"content": [{"type": "refusal", "refusal": "No way."}]}), "No way.", "refused"),
        (said({"content": "Sure.", "refusal": None}), "Sure.", "answered"),
        (said({"content": "Sure."}) | {"error": {"message": "", "code": None}}, "Sure.", "answered"),
        (said({"content": {"text": "Sure."}}), "Sure.", "answered"),
        (said({"content": "Sure.", "refusal": ""}), "Sure.", "answered"),
    ],
)
def test_an_answer_has_a_state(folder: Path, tmp_path: Path, answer: Body, text: str, state: str) -> None:
    found = answered(folder, tmp_path, answer)
    assert (found.text, found.state) == (text, state)


@pytest.mark.parametrize(
    ("status", "answer", "state"),
    [
        (400, azure_filter(), "refused"),
        (400, {"error": {"message": "Bad request", "code": "content_filter"}}, "refused"),
        (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}, "refused"),
        (
            400,
            {"error": {"message": "Invalid prompt: your prompt was flagged as potentially violating our policy"}},
            "refused",
        ),
        (403, {"error": {"message": "Content violates usage guidelines. Failed check: SAFETY_CHECK"}}, "refused"),
        (400, {"error": {"message": "Violated guardrail policy"}}, "refused"),
        (
            400,
            {"error": "Could not finish the message because max_tokens or model output limit was reached."},
            "cut_off",
        ),
        (400, {"error": {"message": "This model's maximum context length is 128 tokens."}}, "failed"),
        (422, {"detail": [{"loc": ["body"], "msg": "not allowed", "input": "content_filter moderation"}]}, "failed"),
        (413, b"too large", "failed"),
        (200, {"error": {"message": "the model crashed", "code": 1234}}, "failed"),
        (200, {"error": {"message": "Flagged by moderation", "code": 403}, "choices": None}, "refused"),
        (200, {"object": "error", "message": "no such adapter", "code": 404}, "failed"),
    ],
)
def test_a_request_that_the_server_declines_has_a_state(
    folder: Path, tmp_path: Path, status: int, answer: Any, state: str
) -> None:
    assert answered(folder, tmp_path, answer, status).state == state


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize(
    "usage", [None, {}, [], {"prompt_tokens": None, "completion_tokens": None}, {"prompt_tokens": True}, "unknown"]
)
def test_usage_may_be_untold(folder: Path, tmp_path: Path, usage: Any, api: str) -> None:
    def script(body: Body) -> tuple[int, Any]:
        if api == "chat":
            return 200, said({"content": "Sure it is."}) | {"usage": usage}
        prompts = (
            body["prompt"] if isinstance(body["prompt"], list) and isinstance(body["prompt"][0], list | str) else [0]
        )
        choice = {"index": None, "text": "Sure it is.", "finish_reason": "stop"}
        return 200, {"choices": [choice] * len(prompts), "usage": usage}

    with serving(folder, script) as server:
        backend = opened(server, folder, tmp_path, api=api, scoring="none")
        (found,) = backend.generate([GenerateItem("Say it", 8)])
    tokens = backend.tokenizer.encode(["Say it", "Sure it is."])
    assert (found.prompt_tokens, found.new_tokens) == (len(tokens[0]), len(tokens[1]))


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "Rate limit exceeded", "code": 429}},
        {"error": {"message": "Provider returned error", "code": 502}},
        {"error": "too many requests, slow down"},
        {"choices": [{"error": {"message": "overloaded", "code": 529}, "finish_reason": "error"}]},
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
    ],
)
def test_a_busy_server_may_say_so_under_status_200(folder: Path, tmp_path: Path, error: Any) -> None:
    """It is asked again, and quoted where that does not help."""
    times = 0

    def script(body: Body) -> tuple[int, Any]:
        nonlocal times
        times += asked(body) != QUESTION
        return 200, error if times % 3 and asked(body) != QUESTION else PARIS

    with serving(folder, script) as server:
        backend = opened(server, folder, tmp_path)
        (found,) = backend.generate([GenerateItem("Say it", 8)])
        assert (found.text, found.state, times) == ("Paris.", "answered", 3)
        assert backend.describe()["retries"] == 2
    with serving(folder, scripted(error)) as server:
        backend = opened(server, folder, tmp_path, retries=0)
        with pytest.raises(VictimError, match=r"given up after 1 try: status 200 with an error: .*start the run again"):
            backend.generate([GenerateItem("Say it", 8)])


REFUSES_ALL = {"error": {"message": "This endpoint is being retired.", "code": 400}}


def test_a_server_that_refuses_everything_is_no_victim(folder: Path, tmp_path: Path) -> None:
    with serving(folder, lambda _: (400, REFUSES_ALL)) as server:
        words = rf"{re.escape(QUESTION)}'.*status 400: This endpoint is being retired"
        with pytest.raises(VictimError, match=words):
            opened(server, folder, tmp_path)
    with serving(folder, lambda _: (400, azure_filter())) as server:
        with pytest.raises(VictimError, match=r"its filter refuses what is harmless .*content management policy"):
            opened(server, folder, tmp_path)
        assert len(server.served.bodies) == 1, "no other form helps against a filter"
    with (
        serving(folder, lambda _: (200, {"hello": "world"})) as server,
        pytest.raises(VictimError, match=r"no choices .*hello.*; is it OpenAI-compatible"),
    ):
        opened(server, folder, tmp_path)


@pytest.mark.parametrize("words", ["Unsupported parameter: '{}' is not supported with this model.", "Bad Request"])
@pytest.mark.parametrize("unknown", [["max_tokens"], ["seed"], ["max_tokens", "seed"]])
def test_a_server_is_asked_in_a_form_that_it_takes(
    folder: Path, tmp_path: Path, unknown: list[str], words: str
) -> None:
    def script(body: Body) -> tuple[int, Any]:
        first = next((name for name in unknown if name in body), None)
        return (200, PARIS) if first is None else (400, {"error": {"message": words.format(first)}})

    with serving(folder, script) as server:
        backend = opened(server, folder, tmp_path)
        server.served.bodies.clear()
        (found,) = backend.generate([GenerateItem("Say it", 8)])
        (body,) = server.served.bodies
    assert found.text == "Paris."
    assert body["max_completion_tokens" if "max_tokens" in unknown else "max_tokens"] == 8
    assert not set(unknown) & set(body)
    assert body["temperature"] == 0.0
    assert backend.describe()["request"] == {
        "length": "max_completion_tokens" if "max_tokens" in unknown else "max_tokens",
        "seed": "seed" not in unknown,
        "temperature": True,
    }
    assert backend.describe()["refused_prompts"] == 0, "how to ask is found out before anything counts"


def test_drawn_answers_are_asked_for_with_seed_temperature_and_top_p(folder: Path, tmp_path: Path) -> None:
    with serving(folder, lambda _: (200, PARIS)) as server:
        backend = opened(server, folder, tmp_path)
        server.served.bodies.clear()
        backend.generate([GenerateItem("Say it", 8, 0.7, seed, top_p=top_p) for seed, top_p in ((5, 0.9), (6, 1.0))])
        sent = sorted(server.served.bodies, key=lambda body: body["seed"])
    assert [(body["seed"], body["temperature"], body.get("top_p")) for body in sent] == [(5, 0.7, 0.9), (6, 0.7, None)]
    assert not backend.own_temperature


def test_a_model_that_only_samples_says_so_or_stops(folder: Path, tmp_path: Path) -> None:
    words = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) is supported."

    def script(body: Body) -> tuple[int, Any]:
        if "max_tokens" in body:
            return 400, {"error": {"message": "Use max_completion_tokens."}}
        return (400, {"error": {"message": words}}) if "temperature" in body else (200, PARIS)

    with serving(folder, script) as server:
        with pytest.raises(VictimError, match=r"refuses temperature: 0 \(status 400: Unsupported.*write sampled: true"):
            opened(server, folder, tmp_path)
        backend = opened(server, folder, tmp_path, sampled=True)
        (found,) = backend.generate([GenerateItem("Say it", 8)])
        assert found.text == "Paris."
        assert "temperature" not in server.served.bodies[-1]
        assert backend.own_temperature
        assert backend.describe()["temperature"] == "the server's own: answers are sampled"


def test_sampled_completions_leave_the_temperature_out_as_well(folder: Path, tmp_path: Path) -> None:
    def script(body: Body) -> tuple[int, Any]:
        if "temperature" in body:
            return 400, {"error": {"message": "temperature is fixed"}}
        prompt = body["prompt"]
        count = len(prompt) if isinstance(prompt, list) and isinstance(prompt[0], list | str) else 1
        return 200, {"choices": [{"index": at, "text": " Paris", "finish_reason": "stop"} for at in range(count)]}

    with serving(folder, script) as server:
        with pytest.raises(VictimError, match="accepts no prompt for completion: status 400: temperature is fixed"):
            opened(server, folder, tmp_path, api="completions", scoring="none")
        backend = opened(server, folder, tmp_path, api="completions", scoring="none", sampled=True)
        (found,) = backend.generate([GenerateItem("Say it", 8)])
        assert found.text == " Paris"
        assert not any("temperature" in body for body in server.served.bodies[-3:])


def test_a_model_that_reasons_beyond_the_opening_question_is_opened(folder: Path, tmp_path: Path) -> None:
    limit = "Could not finish the message because max_tokens or model output limit was reached. Please try again."
    with serving(folder, lambda _: (400, {"error": {"message": limit}})) as server:
        backend = opened(server, folder, tmp_path)
        assert [one.state for one in backend.generate([GenerateItem("Say it", 8)])] == ["cut_off"]


def test_a_server_that_stops_answering_stops_the_cell(folder: Path, tmp_path: Path) -> None:
    down = False
    with serving(folder, lambda _: (400, REFUSES_ALL) if down else (200, PARIS)) as server:
        backend = opened(server, folder, tmp_path)
        down = True
        with pytest.raises(VictimError, match=r"refuses what it answered at first .*being retired"):
            backend.generate([GenerateItem("Say it", 8)])


def test_reasoning_is_cut_off_by_the_markers_of_the_victim(folder: Path, tmp_path: Path) -> None:
    thinking = said({"content": "I can't do that… </think> Sure."})
    assert answered(folder, tmp_path, thinking).text == "I can't do that… </think> Sure."
    markers = {"reasoning": ["<think>", "</think>"]}
    assert answered(folder, tmp_path, thinking, **markers).text == "Sure."
    open_block = answered(folder, tmp_path, said({"content": "<think>Sure, they want"}, "length"), **markers)
    assert (open_block.text, open_block.state) == ("", "cut_off")


def test_new_parameters_leave_the_keys_of_before(folder: Path) -> None:
    given = {"base_url": "http://h/v1", "model": "m", "tokenizer": str(folder)}
    plain = OpenAICompatible.Params(**given).identity()
    assert not {"reasoning", "sampled"} & set(plain)
    more = OpenAICompatible.Params(**given, reasoning=["<think>", "</think>"], sampled=True).identity()
    assert more == plain | {"reasoning": ["<think>", "</think>"], "sampled": True}
    with pytest.raises(ValueError, match="write two different markers"):
        OpenAICompatible.Params(**given, reasoning=["", "</think>"])


def test_a_server_that_declines_every_prompt_stops_the_cell_with_its_words(folder: Path, tmp_path: Path) -> None:
    script = scripted({"error": {"message": "this deployment takes no system of yours"}}, 400)
    prompts = [{"prompt": "one prompt"}, {"prompt": "another prompt"}]
    with serving(folder, script) as server:
        server.served.told["max_model_len"] = 20_000
        with pytest.raises(AssertionError, match=r"none of 2 clean prompts got an answer: status 400: this deployment"):
            run(tmp_path, prompts, scripted_victim(server, folder), "refusal_match")


def test_a_whole_run_counts_missing_answers_apart(folder: Path, tmp_path: Path) -> None:
    """And so does the same run judged again, also where its records are of before there were states."""

    def say(prompt: str) -> str:
        if "please" not in prompt:
            return "" if prompt.startswith("mute") else "I cannot."
        return {"shy": "", "weak": "Sure.", "firm": "I cannot."}[prompt.split()[0]]

    prompts = [{"prompt": f"{name} prompt"} for name in ("mute", "shy", "weak", "firm")]
    with scripted_server(folder, say) as server:
        record, steps, examples = run(tmp_path, prompts, scripted_victim(server, folder), "refusal_match")
    counts = ("n_clean", "n_clean_correct", "n_clean_missing", "n_attacked")
    assert [record[name] for name in counts] == [4, 3, 1, 3]
    assert {text.split()[0]: (row["excluded"], row["answer_state"]) for text, row in examples.items()} == {
        "mute": ("no answer when clean", "empty"),
        "shy": (None, "answered"),
        "weak": (None, "answered"),
        "firm": (None, "answered"),
    }
    found = {text.split()[0]: (row["success"], row["draws"], row["answer_state"]) for text, row in steps.items()}
    assert found == {"shy": (False, None, "empty"), "weak": (True, 1, "answered"), "firm": (False, 1, "answered")}
    facts = record["defense_facts"]["diagnostics"]["worst_case"][-1]
    assert facts["accuracy"] == 0.5, "of three right ones one is broken, and one is not known"
    (table,) = standings([read_run(tmp_path / "out")])
    (row,) = table.rows
    assert row.asr is not None
    assert (row.asr.successes, row.asr.trials, row.missing_answers, row.missing_clean) == (1, 2, 1, 1)
    assert row.rank.best is None

    (cell,) = (tmp_path / "out" / "cells").iterdir()
    for name in ("steps", "examples"):
        whole = pq.read_table(cell / f"{name}.parquet")
        pq.write_table(whole.drop_columns(["answer_state"]), cell / f"{name}.parquet")
    told = json.loads((cell / "cell.json").read_text())
    told["n_clean_missing"] = 0
    (cell / "cell.json").write_text(json.dumps(told))
    spec = (tmp_path / "spec.yaml").read_text().replace("judge: refusal_match", "judge: {refusal_match: {extra: [hm]}}")
    (tmp_path / "again.yaml").write_text(spec)
    words = ("run", "again.yaml", "--from", "out", "--out", "again", "--quiet", "--plugin", "please.py")
    done = harness_here(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (again,) = read_run(tmp_path / "again").cells
    assert [getattr(again.record, name) for name in counts] == [4, 3, 1, 3]
    assert sorted(again.steps().column("success").to_pylist()) == [False, False, True]


def test_reasoning_that_nobody_spoke_of_is_said(folder: Path, tmp_path: Path) -> None:
    prompts = [{"prompt": "weak prompt"}]
    for name, markers in (("plain", {}), ("told", {"reasoning": ["<think>", "</think>"]})):
        out = tmp_path / name
        out.mkdir()
        with scripted_server(
            folder, lambda prompt: "I cannot?</think>" + ("Sure." * ("please" in prompt) or "No, I cannot.")
        ) as server:
            _, steps, _ = run(out, prompts, scripted_victim(server, folder, **markers), "refusal_match")
            assert [row["success"] for row in steps.values()] == [bool(markers)]
            words = ("run", "spec.yaml", "--out", "loud", "--plugin", "please.py")
            done = harness_here(*words, cwd=out)
        said = " ".join(done.stderr.split())
        assert ("clean answers hold </think>" in said) == (not markers), said


BEGUN = (Message("user", "Hi"), Message("assistant", "Sure,"))


def template(body: Body, *, knows: bool, counts: bool = True) -> tuple[int, Any]:
    """A server that takes no system prompt, and may know of beginnings of an answer."""
    if body["messages"][0]["role"] == "system":
        return 400, {"error": {"message": "System role not supported"}}
    tokens = 5 * len(body["messages"]) + (0 if knows and body.get("continue_final_message") else 3)
    return 200, PARIS | ({"usage": {"prompt_tokens": tokens, "completion_tokens": 1}} if counts else {})


@pytest.mark.parametrize(
    ("script", "messages", "why"),
    [
        (partial(template, knows=True), BEGUN, ""),
        (partial(template, knows=False), BEGUN, "does not continue a beginning of the answer"),
        (partial(template, knows=True, counts=False), BEGUN, "does not continue a beginning of the answer"),
        (partial(template, knows=False), BEGUN[:1], ""),
        (partial(template, knows=True), (Message("system", "Be good."), *BEGUN), "System role not supported"),
    ],
)
def test_a_conversation_is_tried_before_a_run(folder: Path, script: Script, messages: Messages, why: str) -> None:
    with serving(folder, script) as server:
        given = {"base_url": server.url, "model": "tiny", "tokenizer": str(folder), "head": "generation", "api": "chat"}
        made, data = OpenAICompatible(OpenAICompatible.Params(**given)), TaskData((), [], [])
        with pytest.raises(VictimError, match=why) if why else nullcontext():
            made.check_messages(data, messages)
        assert all(asked["max_tokens"] == 16 for asked in server.served.bodies if "max_tokens" in asked)


def test_what_the_attacker_begins_is_no_part_of_an_answer(folder: Path, tmp_path: Path) -> None:
    with serving(folder, scripted(said({"role": "assistant", "content": " a fox."}))) as server:
        backend = opened(server, folder, tmp_path, prefill="It is")
        items = [GenerateItem("Say it", 8), GenerateItem("Sure,", 8, conversation=Conversation(BEGUN[:1], "assistant"))]
        assert [answer_in(one, backend).text for one in backend.generate(items)] == ["It is a fox.", " a fox."]
        bodies = server.served.bodies[-2:]
        assert sorted(body["messages"][-1]["content"] for body in bodies) == ["It is", "Sure,"]
        assert all(body["continue_final_message"] for body in bodies)


def test_a_key_that_is_refused_is_no_filter(folder: Path, tmp_path: Path) -> None:
    words = {"error": {"message": "Your account violates our usage policies."}}
    with serving(folder, scripted(words, 401)) as server:
        backend = opened(server, folder, tmp_path)
        with pytest.raises(VictimError, match=r"status 401: Your account violates.*api_key_env"):
            backend.generate([GenerateItem("Say it", 8)])
    banned = False
    with serving(folder, lambda _: (403, words) if banned else (200, PARIS)) as server:
        backend = opened(server, folder, tmp_path)
        banned = True
        with pytest.raises(VictimError, match="refuses what it answered at first"):
            backend.generate([GenerateItem("Say it", 8)])


@pytest.mark.parametrize(
    ("body", "reason", "code"),
    [
        ('{"error": {"message": "no\\n way", "code": "invalid", "type": "bad"}}', "no way", None),
        ('{"object": "error", "message": "no way", "code": 400}', "no way", 400),
        ('{"error": "no way"}', "no way", None),
        ('{"detail": "no way"}', "no way", None),
        ('{"error": {"code": "429"}}', '{"code": "429"}', 429),
        ("<html>no way</html>", "<html>no way</html>", None),
        ("", "Bad Request", None),
        ("null", "null", None),
        ("[1]", "[1]", None),
    ],
)
def test_errors_are_read_wherever_they_stand(body: str, reason: str, code: int | None) -> None:
    found = error_in_text(body, "Bad Request")
    assert (found.reason, found.code) == (reason, code)
