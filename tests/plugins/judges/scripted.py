"""Runs of tasks answered in text: a victim and judges behind URLs that say what a script tells them to."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.victims._openai.opening_question import QUESTION
from tests.plugins.victims.completions_server import Handler, Served, Server
from tests.run.runs import harness_here

Say = Callable[[str], str]

PLEASE = '''
from harness import Attack, hookimpl


class Please(Attack):
    """Says please."""

    name = "please"
    access = "text"

    def start(self, problem, rng):
        return problem.state(problem.fitted(" please"))

    def step(self, state, problem, rng):
        yield from ()
        return state


@hookimpl
def harness_register_attacks(register):
    register(Please)
'''


def server(folder: Path, say: Say) -> Server:
    """A chat server that answers a message with what ``say`` makes of it, and the question that it is opened with; use
    as a context.
    """

    def answer(handler: Handler) -> bool:
        if handler.command != "POST":
            return False
        (message,) = handler.served.bodies[-1]["messages"]
        said = "Paris." if message["content"] == QUESTION else say(message["content"])
        choice = {"index": 0, "message": {"role": "assistant", "content": said}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        handler.answer(200, {"choices": [choice | {"finish_reason": "stop"}], "usage": usage})
        return True

    tokenizer = HFTokenizer.from_file(folder / "tokenizer.json", rows=416)
    served = Served(None, tokenizer, always=answer)
    served.told["max_model_len"] = 20_000
    return Server(served)


def victim(server: Server, folder: Path, **params: Any) -> dict[str, Any]:
    """A reference to the victim behind it; one request at a time, so that the script sees whose turn it is."""
    given = {"base_url": server.url, "model": "tiny", "tokenizer": str(folder), "head": "generation", "api": "chat"}
    return {"openai_compatible": given | {"retries": 0, "timeout": 200.0, "max_concurrency": 1} | params}


def run(
    folder: Path, prompts: list[dict[str, Any]], of: dict[str, Any], judge: Any, **task: Any
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Run one cell whose attack says please: the cell's record, its steps and its examples by prompt."""
    with (folder / "prompts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(prompts[0]))
        writer.writeheader()
        writer.writerows(prompts)
    (folder / "please.py").write_text(PLEASE)
    spec = {
        "name": "answered",
        "version": "1",
        "tasks": [{"behaviors": {"path": "prompts.csv", "answer_prompt": ""} | task}],
        "victims": [of],
        "attacks": [{"please": {"steps": 1}}],
        "threats": [{"tokens": 8, "access": "text"}],
        "judge": judge,
        "examples": len(prompts),
        "clean_examples": len(prompts),
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    done = harness_here("run", "spec.yaml", "--out", "out", "--quiet", "--plugin", "please.py", cwd=folder)
    assert done.returncode == 0, done.stderr
    (cell,) = (folder / "out" / "cells").iterdir()
    order = {example.id: example.chunks[1].text for example in _examples(folder, task)}
    steps, examples = (
        {order[row["example"]]: row for row in pq.read_table(cell / f"{name}.parquet").to_pylist()}
        for name in ("steps", "examples")
    )
    return json.loads((cell / "cell.json").read_text()), steps, examples


def _examples(folder: Path, task: dict[str, Any]) -> Any:
    from plugins.tasks.behaviors import Behaviors

    params = Behaviors.Params(path=folder / "prompts.csv", **({"answer_prompt": ""} | task))
    return Behaviors(params).load().validation
