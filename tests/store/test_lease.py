"""A lease: one at a time, however those that want it are interleaved."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings, strategies as st

from harness.errors import RunError
from harness.store.lease import Lease
from harness.store.remote_files import RemoteFiles
from tests.processes import LONGEST

NEVER = 1000.0  # seconds


@pytest.fixture
def files() -> RemoteFiles:
    return RemoteFiles(f"memory://{uuid4().hex}/store")


class Turns:
    """Lets threads do one operation at a time, in a given order and then in turns."""

    def __init__(self, order: Iterable[int]) -> None:
        self._order = list(order)
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._next: int | None = None

    def wait(self, who: int) -> None:
        """Block until it is one's turn."""
        with self._changed:
            self._waiting.add(who)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._next == who, timeout=LONGEST)
            self._next = None
            self._waiting.remove(who)

    def run(self, threads: list[threading.Thread]) -> None:
        """Give turns until all threads have ended."""
        for thread in threads:
            thread.start()
        turn = 0
        while True:
            with self._changed:
                while True:  # until all that live wait
                    alive = {i for i, thread in enumerate(threads) if thread.is_alive()}
                    if self._next is None and alive <= self._waiting:
                        break
                    self._changed.wait(0.001)
                if not alive:
                    return
                assert turn < 2000, "somebody never gets it"
                among = sorted(alive)
                self._next = among[self._order[turn] % len(among) if turn < len(self._order) else turn % len(among)]
                turn += 1
                self._changed.notify_all()


class InTurns:
    """A store's files, one operation a turn."""

    def __init__(self, files: RemoteFiles, turns: Turns, who: int) -> None:
        self._files, self._turns, self._who = files, turns, who

    def __getattr__(self, name: str) -> Any:
        def operation(*arguments: Any) -> Any:
            self._turns.wait(self._who)
            return getattr(self._files, name)(*arguments)

        return operation


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 4), order=st.lists(st.integers(0, 3), max_size=60))
def test_never_two_at_once_and_everybody_in_the_end(count: int, order: list[int]) -> None:
    there, turns = RemoteFiles(f"memory://{uuid4().hex}/store"), Turns(order)
    inside: list[int] = []
    most, entered = 0, []

    def enter(who: int) -> None:
        nonlocal most
        files: Any = InTurns(there, turns, who)
        with Lease(files, ".leases/key", NEVER, NEVER) as lease:
            while not lease.try_acquire():
                pass
            inside.append(who)
            most = max(most, len(inside))
            entered.append(who)
            turns.wait(who)  # some work
            inside.remove(who)

    turns.run([threading.Thread(target=enter, args=(who,), daemon=True) for who in range(count)])
    assert most == 1
    assert sorted(entered) == list(range(count))
    assert there.below("") == []


def test_one_that_has_died_is_not_waited_for(files: RemoteFiles) -> None:
    dead = Lease(files, ".leases/key", NEVER, NEVER)
    assert dead.try_acquire()
    waiting = Lease(files, ".leases/key", NEVER, patience=0.2)
    assert not waiting.try_acquire()
    time.sleep(0.25)
    with waiting:
        assert waiting.try_acquire()
        assert len(files.below(".leases")) == 1
    assert files.below(".leases") == []


def test_one_that_lives_is_waited_for_beyond_patience(files: RemoteFiles) -> None:
    with Lease(files, ".leases/key", beat=0.05) as holder:
        assert holder.try_acquire()
        waiting = Lease(files, ".leases/key", beat=0.05, patience=1.5)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            assert not waiting.try_acquire()
            time.sleep(0.1)
    assert waiting.try_acquire()
    waiting.__exit__(None, None, None)


def test_a_beat_that_does_not_come_through_is_tried_again(files: RemoteFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease(files, ".leases/key", beat=0.02) as holder:
        assert holder.try_acquire()
        (name,) = files.below(".leases/key")
        with monkeypatch.context() as context:

            def gone(path: str, content: bytes) -> None:
                raise RunError("the network is away")

            context.setattr(files, "write", gone)
            time.sleep(0.1)
        before = files.read(f".leases/key/{name}")
        end = time.monotonic() + LONGEST
        while files.read(f".leases/key/{name}") == before:
            assert time.monotonic() < end
            time.sleep(0.01)
