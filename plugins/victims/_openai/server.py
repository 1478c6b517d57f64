"""Asking an HTTP server for JSON: many requests at once but no more than it should get, tried again when they fail."""

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

from harness import VictimError

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the second try, and at most before any other
LONGEST_ASKED = 600.0  # a server that asks for more patience than this is taken as gone
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
_REFUSALS = {400, 413, 422}  # about what was asked, not about the server: the next row may fare better
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the server understood and would not answer: a row too long for it, a filter."""

    status: int
    reason: str


@dataclass(frozen=True)
class Access:
    """How a server is reached.

    Attributes:
        base_url: up to and with ``/v1``, without what comes after.
        api_key_env: name of the environment variable that holds the key; None where the server asks for none.
        timeout: seconds for one request, from its sending to the end of its answer.
        retries: tries after the first.
        max_concurrency: requests in flight at most.
    """

    base_url: str
    api_key_env: str | None = None
    timeout: float = 120.0
    retries: int = 6
    max_concurrency: int = 8


class Server:
    """A server. Use as a context, or let it go out of reach.

    The requests run on a thread of their own, so that callers may have an event loop or none, and an interruption of
    the caller is felt at once. Failures that may pass (no connection, a timeout, an answer cut short, statuses 408,
    425, 429 and 5xx) are tried again after a wait that doubles, with jitter, or as long as ``Retry-After`` says.

    Attributes:
        retried: requests tried again so far.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self.retried = 0
        key = _key(access.api_key_env)
        self._client = httpx2.AsyncClient(
            base_url=access.base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=None,  # one limit over all parts of a request, below
            limits=httpx2.Limits(max_connections=access.max_concurrency),
        )
        self._free = asyncio.Semaphore(access.max_concurrency)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_work, args=(self._loop,), name="requests", daemon=True).start()
        self._end = weakref.finalize(self, _end, self._loop, self._client)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def get(self, path: str) -> dict[str, Any] | Refusal:
        """The answer to a GET; `Refusal` where there is no such path. Raises as `post`."""
        return self._wait(self._try("GET", path, None))

    def post(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any] | Refusal]:
        """The answers to many POSTs, in order.

        Raises:
            VictimError: the server cannot be reached, refuses the key, has no such path or model, or answers no JSON.
        """
        return self._wait(self._all(path, bodies))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _all(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any] | Refusal]:
        tasks = [asyncio.ensure_future(self._try("POST", path, body)) for body in bodies]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _try(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any] | Refusal:
        async with self._free:
            for tried in range(self.access.retries + 1):
                try:
                    async with asyncio.timeout(self.access.timeout):
                        response = await self._client.request(method, path, json=body)
                    answer = _read(response, self._url(path))
                except (TimeoutError, httpx2.TransportError, _PassingError) as error:
                    if tried == self.access.retries:
                        raise self._gone(path, error) from None
                    self.retried += 1
                    await asyncio.sleep(self._patience(error, tried, path))
                else:
                    return answer
        raise AssertionError("the last try returns or raises")

    def _patience(self, error: Exception, tried: int, path: str) -> float:
        """Seconds to wait: what the server asks for, else doubling with jitter, so that clients do not come at once."""
        asked = error.wait if isinstance(error, _PassingError) else None
        if asked is not None and asked > LONGEST_ASKED:
            raise self._gone(path, error)
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0**tried) * random.uniform(0.5, 1.0)
        return wait if asked is None else max(wait, asked)

    def _gone(self, path: str, error: Exception) -> VictimError:
        tries = self.access.retries + 1
        if isinstance(error, TimeoutError):
            why = f"no answer in {self.access.timeout:g} s"
        else:
            why = str(error) or type(error).__name__
        return VictimError(
            f"{self._url(path)}: given up after {tries} {'try' if tries == 1 else 'tries'}: {why}; start the run again "
            "when the server answers: what is done is kept"
        )

    def _url(self, path: str) -> str:
        return f"{self.access.base_url.rstrip('/')}/{path}"


class _PassingError(Exception):
    """What may pass: a busy server, an answer that was cut short."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait  # seconds that the server asks for


def _read(response: httpx2.Response, url: str) -> dict[str, Any] | Refusal:
    status = response.status_code
    if status in _TRANSIENT or status >= 500:
        raise _PassingError(f"status {status}: {_reason(response)}", _retry_after(response.headers.get("retry-after")))
    if status in _REFUSALS or (status in (404, 405) and response.request.method == "GET"):
        return Refusal(status, _reason(response))
    if status in (401, 403):
        raise VictimError(f"{url}: status {status}: {_reason(response)}; check the key that api_key_env names")
    if not 200 <= status < 300:
        raise VictimError(
            f"{url}: status {status}: {_reason(response)}; check model and base_url (it usually ends in /v1)"
        )
    try:
        data = response.json()
    except ValueError as error:
        raise _PassingError(f"an answer that is no JSON ({error})") from None
    if not isinstance(data, dict):
        raise _PassingError(f"an answer that is no JSON object but {type(data).__name__}")
    return data


def _reason(response: httpx2.Response) -> str:
    """What the server says, in a line: servers differ in where they put it."""
    text = response.text
    try:
        found = json.loads(text)
        for name in ("error", "message", "detail"):
            if isinstance(found, dict) and found.get(name):
                found = found[name]
        text = found if isinstance(found, str) else json.dumps(found)
    except ValueError:
        pass
    return " ".join(text.split())[:300] or response.reason_phrase


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


def _key(name: str | None) -> str | None:
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise VictimError(f"api_key_env: the environment variable {name} is not set; put the server's key into it")
    return key


def _work(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _end(loop: asyncio.AbstractEventLoop, client: httpx2.AsyncClient) -> None:
    async def close() -> None:
        await client.aclose()
        loop.stop()

    if loop.is_running():
        asyncio.run_coroutine_threadsafe(close(), loop)
