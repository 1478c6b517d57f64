"""An OpenAI-compatible server on loopback with a real tiny language model behind it, and switches for its troubles."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from tests.processes import LONGEST

ALL = frozenset(
    {
        "ids",
        "batches",
        "prompt_logprobs",
        "logprob_token_ids",
        "echo",
        "echo_without_new",
        "top_logprobs",
        "new_ids",
        "unknown_fields",
    }
)
PLAIN = {"model", "prompt", "max_tokens", "temperature", "seed", "logprobs", "echo"}  # what all servers know
Fault = Callable[["Handler"], bool]
"""Called with the handler in the place of an answer; whether it has seen to the request."""


@dataclass
class Served:
    """What the server can do and what it has seen.

    Attributes:
        can: abilities, of `ALL`.
        faults: what happens to the next requests, one each; then they are answered.
        always: what happens to all requests after those.
        refuse: rows of ids that are answered with status 400, and with them the batch they are in; ``reason``: why.
        delay: seconds that each answer takes.
        told: what ``/v1/models`` says of the model besides its name.
        template: the ids of a chat's messages; None: the server's own way of writing them.
        bodies, keys: of each POST; ``at_once``: most requests in hand at one time.
    """

    model: Any
    tokenizer: Any
    can: frozenset[str] = ALL
    name: str = "tiny"
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault | None = None
    refuse: Callable[[list[int]], bool] = lambda _row: False
    reason: str = "content_filter: this prompt is not for us"
    delay: float = 0.0
    template: Callable[[list[dict[str, str]]], list[int]] | None = None
    told: dict[str, Any] = field(default_factory=lambda: {"max_model_len": 256, "owned_by": "test", "root": "tiny"})
    bodies: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    at_once: int = 0
    in_hand: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    compute: threading.Lock = field(default_factory=threading.Lock)

    def log_probs(self, ids: list[int]) -> torch.Tensor:
        """Log-probabilities [L, vocabulary] of what follows each token."""
        with self.compute, torch.inference_mode():
            return self.model(input_ids=torch.as_tensor([ids])).logits[0].double().log_softmax(-1)

    def text(self, ids: list[int]) -> str:
        """As servers write it: special tokens are left out."""
        return str(self.tokenizer.decode([[i for i in ids if i not in self.tokenizer.special]])[0])


class Server:
    """The server, running. Use as a context.

    Attributes:
        url: up to and with ``/v1``.
        served: switches and what was seen.
    """

    def __init__(self, served: Served) -> None:
        self.served = served
        handler = type("Bound", (Handler,), {"served": served})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Server:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.served.released.set()
        self.served.faults.clear()
        self.served.always = close  # for connections that are open still
        self.http.shutdown()
        self.http.server_close()


class BadRequestError(Exception):
    """Status 400."""


class Handler(BaseHTTPRequestHandler):
    served: Served
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets; the second would wait 40 ms for the first

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.served.always and self.served.always(self):
            return
        if self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": self.served.name, "created": 1} | self.served.told]})
        else:
            self.answer(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        served = self.served
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with served.lock:
            served.bodies.append(body)
            served.times.append(time.monotonic())
            served.keys.append(self.headers.get("Authorization"))
            served.in_hand += 1
            served.at_once = max(served.at_once, served.in_hand)
            fault = served.faults.popleft() if served.faults else served.always
        try:
            time.sleep(served.delay)
            if fault is None or not fault(self):
                self.respond(body)
        finally:
            with served.lock:
                served.in_hand -= 1

    def respond(self, body: dict[str, Any]) -> None:
        if body.get("model") != self.served.name:
            self.answer(404, {"error": {"message": f"the model {body.get('model')} does not exist"}})
            return
        try:
            if self.path == "/v1/completions":
                self.answer(200, complete(self.served, body))
            elif self.path == "/v1/chat/completions":
                self.answer(200, chat(self.served, body))
            else:
                self.answer(404, {"detail": "Not Found"})
        except BadRequestError as error:
            self.answer(400, {"error": {"message": str(error), "code": 400}})

    def answer(self, status: int, data: Any, headers: dict[str, str] | None = None) -> None:
        """Send JSON, or bytes as they are."""
        content = data if isinstance(data, bytes) else json.dumps(data).encode()
        with suppress(OSError):  # the client may have given up
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)


def complete(served: Served, body: dict[str, Any]) -> dict[str, Any]:
    """The answer of ``/v1/completions``."""
    if "unknown_fields" not in served.can and set(body) - PLAIN:
        raise BadRequestError(f"Unrecognized request argument supplied: {min(set(body) - PLAIN)}")
    prompts = body["prompt"]
    one = isinstance(prompts, str) or (bool(prompts) and isinstance(prompts[0], int))
    prompts = [prompts] if one else prompts
    if not one and "batches" not in served.can:
        raise BadRequestError("prompt: give one prompt")
    rows: list[list[int]] = []
    for prompt in prompts:
        if not isinstance(prompt, str) and "ids" not in served.can:
            raise BadRequestError("prompt: should be a string")
        plain = served.tokenizer.encode([prompt])[0] if isinstance(prompt, str) else prompt
        rows.append([*served.tokenizer.left, *plain] if isinstance(prompt, str) else plain)
    for row in rows:
        if not row or max(row) >= served.model.config.vocab_size:
            raise BadRequestError("Token id out of vocabulary")
        if len(row) + body.get("max_tokens", 16) > served.told.get("max_model_len", 256):
            raise BadRequestError("This model's maximum context length is exceeded")
        if served.refuse(row):
            raise BadRequestError(served.reason)
    found = [one_completion(served, body, at, row) for at, row in enumerate(rows)]
    new = sum(count for _, count in found)
    usage = {"prompt_tokens": sum(map(len, rows)), "completion_tokens": new}
    # Order is not promised: the index tells.
    return {"object": "text_completion", "choices": [choice for choice, _ in reversed(found)], "usage": usage}


def one_completion(served: Served, body: dict[str, Any], at: int, row: list[int]) -> tuple[dict[str, Any], int]:
    echo = bool(body.get("echo")) and "echo" in served.can
    wanted = body.get("max_tokens", 16)
    if echo and wanted == 0 and "echo_without_new" not in served.can:
        raise BadRequestError("max_tokens must be at least 1")
    new, tables, finished = generate(served, row, wanted, body.get("temperature", 1.0), body.get("seed"))
    choice: dict[str, Any] = {
        "index": at,
        "text": (served.text(row) if echo else "") + served.text(new),
        "finish_reason": "stop" if finished else "length",
        "logprobs": None,
    }
    if body.get("prompt_logprobs") is not None and "prompt_logprobs" in served.can:
        own = served.log_probs(row)
        choice["prompt_logprobs"] = [None] + [
            # The most likely token stands before the prompt's own, as it does with vLLM.
            {str(int(own[i].argmax())): {"logprob": float(own[i].max())}, str(t): {"logprob": float(own[i, t])}}
            for i, t in enumerate(row[1:])
        ]
    if body.get("return_token_ids") and "new_ids" in served.can:
        choice["token_ids"] = [*new, served.model.config.eos_token_id] if finished else new
    if body.get("logprobs") is not None:
        choice["logprobs"] = told(served, body, row, new, tables, echo=echo)
    return choice, len(new) + finished


def told(
    served: Served, body: dict[str, Any], row: list[int], new: list[int], tables: list[torch.Tensor], *, echo: bool
) -> dict[str, Any] | None:
    names = (lambda i: f"token_id:{i}") if body.get("return_tokens_as_token_ids") else (lambda i: served.text([i]))
    ids = body.get("logprob_token_ids") if "logprob_token_ids" in served.can else None
    if not ids and not echo and "top_logprobs" not in served.can:
        return None
    if body["logprobs"] > 20:
        raise BadRequestError("logprobs: at most 20")
    tops = []
    for table in tables:
        chosen = [*ids, int(table.argmax())] if ids else table.topk(body["logprobs"]).indices.tolist()
        tops.append({names(i): float(table[i]) for i in chosen})
    values = [float(table[i]) for table, i in zip(tables, new, strict=True)]
    if echo:
        own = served.log_probs(row)
        values = [None, *(float(own[i, t]) for i, t in enumerate(row[1:])), *values]  # type: ignore[list-item]
        tops = [None] * len(row) + tops  # type: ignore[assignment, list-item]
    return {
        "tokens": [names(i) for i in ([*row, *new] if echo else new)],
        "token_logprobs": values,
        "top_logprobs": tops,
    }


def generate(
    served: Served, row: list[int], count: int, temperature: float, seed: int | None
) -> tuple[list[int], list[torch.Tensor], bool]:
    """New ids, what they were drawn from, and whether the model ended it."""
    new: list[int] = []
    tables: list[torch.Tensor] = []
    rng = torch.Generator().manual_seed(seed or 0)
    for _ in range(count):
        table = served.log_probs([*row, *new])[-1]
        drawn = int(table.argmax())
        if temperature > 0:
            drawn = int(torch.multinomial((table / temperature).softmax(-1), 1, generator=rng))
        if drawn == served.model.config.eos_token_id and count > 1:
            return new, tables, True
        new.append(drawn)
        tables.append(table)
    return new, tables, False


def chat(served: Served, body: dict[str, Any]) -> dict[str, Any]:
    """The answer of ``/v1/chat/completions``, with a template that only the server knows."""
    if served.template is not None:
        row = served.template(body["messages"])
    else:
        lines = [f"{message['role'].title()}: {message['content']}" for message in body["messages"]]
        lines += [] if body.get("continue_final_message") else ["Assistant:"]
        row = served.tokenizer.encode(["\n".join(lines)])[0]
    new, _, finished = generate(served, row, body["max_tokens"], body.get("temperature", 1.0), body.get("seed"))
    choice = {"index": 0, "message": {"role": "assistant", "content": served.text(new)}}
    choice["finish_reason"] = "stop" if finished else "length"
    return {"choices": [choice], "usage": {"prompt_tokens": len(row), "completion_tokens": len(new) + finished}}


def status(code: int, headers: dict[str, str] | None = None) -> Fault:
    """Answer with an error."""

    def fault(handler: Handler) -> bool:
        handler.answer(code, {"error": {"message": f"made to say {code}"}}, headers)
        return True

    return fault


def close(handler: Handler) -> bool:
    """Close the connection without a word."""
    handler.close_connection = True
    with suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)
    return True


def cut(handler: Handler) -> bool:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    return close(handler)


def garbage(handler: Handler) -> bool:
    """Answer with a page instead of JSON, as proxies do."""
    handler.answer(200, b"<html>try later</html>")
    return True


def hang(handler: Handler) -> bool:
    """Say nothing until the test is over."""
    handler.served.released.wait(LONGEST)
    return close(handler)


def trickle(handler: Handler) -> bool:
    """Send a byte now and then, so that no single read takes long."""
    with suppress(OSError):
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not handler.served.released.wait(0.05):
            handler.wfile.write(b" ")
    return close(handler)


def save_tiny(folder: Path, seed: int = 0, *, bos: bool = False) -> Path:
    """A tiny GPT-NeoX with weights wide enough that its answers differ, and its tokenizer, in hub layout."""
    from harness.testing.toys.random_transformer import random_model
    from tests.engine.hub_models import byte_bpe

    wide = {"vocab_size": 416, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    random_model(0, seed, **wide, initializer_range=0.2).save_pretrained(folder)
    byte_bpe(bos=bos).save(str(folder / "tokenizer.json"))
    return folder
