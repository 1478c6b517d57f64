"""A client of an HTTP server that answers JSON: concurrent requests, bounded, and retried when they fail."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import weakref
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from harness import AnswerState, VictimError, replace_surrogates
from plugins.victims._openai.server_error import ServerError, error_in_answer, error_in_text

FIRST_WAIT, MAX_WAIT = 0.5, 30.0  # seconds before the first retry, and at most before any other
MAX_RETRY_AFTER = 600.0  # seconds; a server that asks for a longer wait counts as gone
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
_REFUSALS = {400, 413, 422}  # due to the request, not the server: the next request may succeed
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the server understood and declined: a row too long for it, a content filter.

    Attributes:
        status: of HTTP.
        error: what the server says.
    """

    status: int
    error: ServerError

    @property
    def state(self) -> AnswerState:
        """Of the answer that there is not."""
        if self.error.by_filter:
            return "refused"
        return "cut_off" if self.error.at_limit else "failed"

    def __str__(self) -> str:
        """The status and the server's words."""
        return f"status {self.status}: {self.error.reason}"


@dataclass(frozen=True)
class ServerConfig:
    """How a server is reached.

    Attributes:
        base_url: up to and with ``/v1``, without what comes after.
        api_key_env: name of the environment variable that holds the key; None where the server asks for none.
        timeout: seconds for one request, from its sending to the end of its answer.
        retries: how often a failed request is sent again.
        max_concurrency: requests in flight at most.
    """

    base_url: str
    api_key_env: str | None = None
    timeout: float = 120.0
    retries: int = 6
    max_concurrency: int = 8


class JsonClient:
    """A client of one server. Use as a context, or let it be garbage-collected.

    The requests run on a thread of their own, so that callers may have an event loop or none, and an interruption of
    the caller takes effect at once. Transient failures (no connection, a timeout, an answer cut short, statuses 408,
    425, 429 and 5xx, such an error under status 200) are retried after a wait that doubles, with jitter, or as long as
    ``Retry-After`` says.

    Attributes:
        config: how the server is reached.
        retried: requests sent again so far.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.retried = 0
        key = _api_key(config.api_key_env)
        self._client = httpx2.AsyncClient(
            base_url=config.base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=None,  # one limit over all parts of a request, below
            limits=httpx2.Limits(max_connections=config.max_concurrency),
        )
        self._slots = asyncio.Semaphore(config.max_concurrency)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run_loop, args=(self._loop,), name="requests", daemon=True).start()
        self._close = weakref.finalize(self, _close, self._loop, self._client)

    def __enter__(self) -> JsonClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def get(self, path: str) -> dict[str, Any] | Refusal:
        """The answer to a GET; `Refusal` where there is no such path. Raises as `post`."""
        return self._wait_for(self._request("GET", path, None))

    def post(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any] | Refusal]:
        """The answers to many POSTs, in order.

        Raises:
            VictimError: the server cannot be reached, refuses the key, has no such path or model, or answers no JSON.
        """
        return self._wait_for(self._post_all(path, bodies))

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _post_all(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any] | Refusal]:
        tasks = [asyncio.ensure_future(self._request("POST", path, body)) for body in bodies]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _request(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any] | Refusal:
        async with self._slots:
            for attempt in range(self.config.retries + 1):
                try:
                    async with asyncio.timeout(self.config.timeout):
                        response = await self._client.request(method, path, json=body)
                    answer = _parse(response, self._url(path))
                except (TimeoutError, httpx2.TransportError, _TransientError) as error:
                    if attempt == self.config.retries:
                        raise self._unreachable(path, error) from None
                    self.retried += 1
                    await asyncio.sleep(self._seconds_to_wait(error, attempt, path))
                else:
                    return answer
        raise AssertionError("the last try returns or raises")

    def _seconds_to_wait(self, error: Exception, attempt: int, path: str) -> float:
        """Before the next attempt: at least what the server asks for; else doubling, with jitter to spread clients."""
        retry_after = error.retry_after if isinstance(error, _TransientError) else None
        if retry_after is not None and retry_after > MAX_RETRY_AFTER:
            raise self._unreachable(path, error)
        wait = min(MAX_WAIT, FIRST_WAIT * 2.0**attempt) * random.uniform(0.5, 1.0)
        return wait if retry_after is None else max(wait, retry_after)

    def _unreachable(self, path: str, error: Exception) -> VictimError:
        tries = self.config.retries + 1
        if isinstance(error, TimeoutError):
            why = f"no answer in {self.config.timeout:g} s"
        else:
            why = str(error) or type(error).__name__
        return VictimError(
            f"{self._url(path)}: given up after {tries} {'try' if tries == 1 else 'tries'}: {why}; start the run again "
            "when the server answers: finished work is kept"
        )

    def _url(self, path: str) -> str:
        return f"{self.config.base_url.rstrip('/')}/{path}"


class _TransientError(Exception):
    """A failure that a retry may cure: a busy server, an answer that was cut short."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after  # seconds that the server asks for


def _parse(response: httpx2.Response, url: str) -> dict[str, Any] | Refusal:
    status = response.status_code
    if 200 <= status < 300:
        return _parse_success(response, url)
    error = error_in_text(response.text, response.reason_phrase)
    if status in _TRANSIENT or status >= 500:
        raise _TransientError(f"status {status}: {error.reason}", _retry_after(response.headers.get("retry-after")))
    if status in (404, 405) and response.request.method == "GET":
        return Refusal(status, error)
    return _declined(status, error, url)


def _parse_success(response: httpx2.Response, url: str) -> dict[str, Any] | Refusal:
    try:
        text = response.content.decode("utf-8-sig", errors="replace")  # an answer may be cut inside a character
        data = json.loads(text)
    except ValueError as error:
        raise _TransientError(f"an answer that is not JSON ({error})") from None
    if "\\ud" in text.lower():  # maybe half of a surrogate pair, where an answer was cut inside a character
        data = json.loads(replace_surrogates(json.dumps(data, ensure_ascii=False)))
    if not isinstance(data, dict):
        raise _TransientError(f"an answer that is not a JSON object but {type(data).__name__}")
    told = error_in_answer(data)
    if told is None:
        return data
    # Proxies put the errors of those behind them into an answer of success.
    if told.busy or told.code in _TRANSIENT or 500 <= (told.code or 0) < 600:
        raise _TransientError(f"status {response.status_code} with an error: {told.reason}")
    return _declined(told.code if told.code in (401, 403) else 200, told, url)


def _declined(status: int, error: ServerError, url: str) -> Refusal:
    """The refusal. Raises VictimError where no other request would fare better."""
    if status in _REFUSALS or status == 200 or (status == 403 and error.by_filter):
        return Refusal(status, error)
    if status in (401, 403):
        raise VictimError(f"{url}: status {status}: {error.reason}; check the key that api_key_env names")
    raise VictimError(f"{url}: status {status}: {error.reason}; check model and base_url (it usually ends in /v1)")


def _retry_after(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, written as seconds or as a date; None where it says nothing."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _api_key(name: str | None) -> str | None:
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise VictimError(f"api_key_env: the environment variable {name} is not set; put the server's key into it")
    return key


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _close(loop: asyncio.AbstractEventLoop, client: httpx2.AsyncClient) -> None:
    async def close() -> None:
        await client.aclose()
        loop.stop()

    if loop.is_running():
        asyncio.run_coroutine_threadsafe(close(), loop)
