"""A store behind a URL: made once, fetched where it is wanted, whatever is lost on the way."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from harness.errors import RunError
from harness.store.artifacts import FolderStore
from harness.store.lease import Lease
from harness.store.open_store import open_store
from harness.store.remote import RemoteStore
from harness.store.remote_files import RemoteFiles

KEY, IDENTITY = "k" * 20, {"what": "test"}
BEAT = 0.1


@pytest.fixture
def url() -> str:
    """A place of its own in this process's memory."""
    return f"memory://{uuid4().hex}/store"


def machine(url: str, folder: Path, send: float = 60.0) -> RemoteStore:
    """The store as a machine sees it that has nothing but its own disk."""
    return RemoteStore(url, folder, beat=BEAT, send=send)


def fill(out: Path, scratch: Path) -> dict[str, Any]:
    (out / "deep").mkdir()
    (out / "deep" / "weights.bin").write_bytes(b"\x00\x01" * 1000)
    (out / "config.json").write_text("{}")
    return {"compute": 3}


def never(out: Path, scratch: Path) -> dict[str, Any]:
    raise AssertionError("it is there already")


def test_what_one_machine_has_made_another_fetches(url: str, tmp_path: Path) -> None:
    made = machine(url, tmp_path / "a").ensure(KEY, IDENTITY, fill)
    other = machine(url, tmp_path / "b")
    found = other.ensure(KEY, IDENTITY, never)
    assert found == made
    assert found.facts == {"compute": 3}
    assert not (tmp_path / "b" / KEY).exists(), "its files are fetched when they are asked for"
    assert (found.folder / "deep" / "weights.bin").read_bytes() == b"\x00\x01" * 1000
    assert found.folder == tmp_path / "b" / KEY
    assert FolderStore(tmp_path / "b").find(KEY) is not None
    assert not [name for name in RemoteFiles(url).below("") if name.startswith(".")], "nothing but the artifact is left"


def test_what_is_not_there_is_none(url: str, tmp_path: Path) -> None:
    store = machine(url, tmp_path)
    store.check()
    assert store.find(KEY) is None


def test_two_machines_at_once_make_it_once(url: str, tmp_path: Path) -> None:
    made: list[str] = []

    def slowly(out: Path, scratch: Path) -> dict[str, Any]:
        made.append("x")
        time.sleep(6 * BEAT + 0.5)  # longer than anybody waits for one who is dead
        return fill(out, scratch)

    stores = [machine(url, tmp_path / name) for name in "abc"]
    threads = [threading.Thread(target=store.ensure, args=(KEY, IDENTITY, slowly)) for store in stores]
    for thread in threads:
        thread.start()
        time.sleep(0.15)
    for thread in threads:
        thread.join()
    assert made == ["x"]


def test_another_machine_goes_on_where_one_was_lost(url: str, tmp_path: Path) -> None:
    class Lost(BaseException):
        """Stands for a machine without power: nothing is cleared up."""

    lease = Lease(RemoteFiles(url), f".leases/{KEY}", BEAT, 6 * BEAT)
    assert lease.try_acquire()
    lease._ended.set()  # no more signs of life

    def begun(out: Path, scratch: Path) -> dict[str, Any]:
        (scratch / "checkpoint").write_text("step 7")
        time.sleep(0.5)
        raise Lost

    with pytest.raises(Lost):
        machine(url, tmp_path / "a", send=0.1).ensure(KEY, IDENTITY, begun)

    def goes_on(out: Path, scratch: Path) -> dict[str, Any]:
        return {"from": (scratch / "checkpoint").read_text()} | fill(out, scratch)

    assert machine(url, tmp_path / "b").ensure(KEY, IDENTITY, goes_on).facts["from"] == "step 7"


def test_an_upload_that_was_cut_off_is_done_again(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = machine(url, tmp_path / "a")
    with monkeypatch.context() as context:

        def full(local: Path, path: str) -> None:
            raise RunError("the bucket is full")

        context.setattr(store._files, "put", full)
        with pytest.raises(RunError, match="the bucket is full"):
            store.ensure(KEY, IDENTITY, fill)
    assert machine(url, tmp_path / "b").find(KEY) is None
    assert store.ensure(KEY, IDENTITY, never).facts == {"compute": 3}
    assert (machine(url, tmp_path / "b").ensure(KEY, IDENTITY, never).folder / "config.json").read_text() == "{}"


def test_a_file_that_is_not_what_was_made_is_named(url: str, tmp_path: Path) -> None:
    store = machine(url, tmp_path / "a")
    store.ensure(KEY, IDENTITY, fill)
    (name,) = (name for name in RemoteFiles(url).below(KEY) if name.endswith("config.json"))
    RemoteFiles(url).write(f"{KEY}/{name}", b"other")
    found = machine(url, tmp_path / "b").find(KEY)
    assert found is not None
    with pytest.raises(RunError, match=r"config.json: is not what the manifest says \(sha256\); delete the folder"):
        _ = found.folder


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"facts": {}}', b'{"facts": {}, "upload": 1, "files": 3}'])
def test_a_damaged_manifest_is_named_with_its_mend(url: str, tmp_path: Path, content: bytes) -> None:
    RemoteFiles(url).write(f"{KEY}/manifest.json", content)
    with pytest.raises(RunError, match=f"{KEY}/manifest.json: damaged manifest .*delete the folder"):
        machine(url, tmp_path).find(KEY)


def test_files_outside_the_artifact_are_refused(url: str, tmp_path: Path) -> None:
    manifest = b'{"facts": {}, "upload": "u", "files": {"../../evil": "0"}}'
    RemoteFiles(url).write(f"{KEY}/manifest.json", manifest)
    found = machine(url, tmp_path).find(KEY)
    assert found is not None
    with pytest.raises(RunError, match="outside the artifact"):
        _ = found.folder


@pytest.mark.parametrize("place", ["nonsense://bucket/x", "https+magic://x"])
def test_a_url_that_nothing_knows_is_one_error(place: str) -> None:
    with pytest.raises(RunError, match=r"--store .*; install the package for such URLs, or give a folder"):
        open_store(place)


def test_a_folder_may_be_written_as_a_url(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/store")
    store.ensure(KEY, IDENTITY, fill)
    assert (tmp_path / "store" / KEY / "manifest.json").exists()
