"""Half of a surrogate pair never reaches a tokenizer or a file: texts get U+FFFD, names are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, strategies as st

from harness.api.model.backend import Generated, GenerateItem
from harness.cli import main
from harness.engine.defended.victim import DefendedVictim
from harness.surrogates import has_surrogates, replace_surrogates
from harness.testing.toys.language_model import ToyLanguageModel
from plugins.victims._openai.http_client import _parse
from tests.run.runs import FAST, FROM_FILES, harness_here, status

ANY = st.text(st.characters(categories=["L", "Cs", "P", "So"]))


@given(ANY)
def test_the_text_can_be_written_and_is_as_long(text: str) -> None:
    clean = replace_surrogates(text)
    clean.encode()
    assert len(clean) == len(text)
    assert (clean == text) is not has_surrogates(text)
    assert replace_surrogates(clean) == clean


def answer(body: str | bytes, status: int = 200) -> Any:
    content = body.encode() if isinstance(body, str) else body
    response = httpx2.Response(status, content=content, request=httpx2.Request("POST", "http://host/v1"))
    return _parse(response, "http://host/v1")


def test_what_a_server_says() -> None:
    body = r'{"choices": [{"text": "cut \ud83d", "whole": "\ud83d\ude00"}], "usage": {"a": 1.5, "b": null}}'
    assert answer(body) == {
        "choices": [{"text": "cut \ufffd", "whole": "\U0001f600"}],
        "usage": {"a": 1.5, "b": None},
    }
    assert answer(b'{"choices": [{"text": "cut \xf0\x9f"}]}') == {"choices": [{"text": "cut \ufffd"}]}
    assert answer(r'{"error": {"message": "no \udc00"}}', 400).error.reason == "no \ufffd"


class Cut(ToyLanguageModel):
    """A model of a plugin, whose answers end inside a character."""

    def generate(self, items: list[GenerateItem]) -> list[Generated]:
        return [Generated("cut \ud83d", True, 1, 1, 1.0) for _ in items]


def test_what_a_victim_of_a_plugin_says() -> None:
    (reply,) = DefendedVictim(Cut(), labels=(), answer_tokens=4).ask(["How?"], names=[("a",)])
    assert reply.text == "cut \ufffd"


@pytest.mark.parametrize("command", ["validate", "plan", "run", "status", "leaderboard show", "fit attack-scaling"])
def test_names_of_bytes_are_refused_in_words(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "d\udcff.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(r"error: 'd\udcff.yaml': the name is not UTF-8")
    assert said.count("\n") == 1


def test_a_working_directory_of_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d\udcff").mkdir()
    monkeypatch.chdir(tmp_path / "d\udcff")
    assert main(["plugins"]) == 2
    assert r"d\udcff': the name is not UTF-8" in capsys.readouterr().err


def test_what_a_plugin_raises_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        "from harness import Attack, hookimpl\n\n\nclass Odd(Attack):\n    '''Raises half a character.'''\n\n"
        "    name = 'odd'\n    access = 'scores'\n\n    def start(self, problem, rng):\n"
        "        return problem.state(problem.random_tokens(rng))\n\n    def step(self, state, problem, rng):\n"
        "        raise ValueError('bad \\udc00')\n\n\n"
        "@hookimpl\ndef harness_register_attacks(register):\n    register(Odd)\n"
    )
    (tmp_path / "spec.yaml").write_text(FAST.replace("{hill_climb: {steps: 3}}", "odd"))
    done = harness_here("run", "spec.yaml", "--out", "out", *FROM_FILES, "--plugin", "odd.py", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "bad" in done.stderr
    (error,) = [cell["error"] for cell in status(tmp_path / "out")["cells"] if cell["error"]]
    assert error.endswith("bad \ufffd")
