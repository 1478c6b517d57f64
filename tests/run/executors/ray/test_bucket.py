"""Machines that share nothing but a bucket, and a bucket that a run on one machine uses."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import LONGEST
from tests.run.executors.ray.conftest import Nodes, far
from tests.run.runs import TRAINED, harness, harness_here, one_seed, records

pytest.importorskip("s3fs", reason="needs s3fs")
pytest.importorskip("moto", reason="needs moto[server]")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of a server on this machine; who asks for it finds it by the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    own = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = dict(os.environ)
    os.environ |= own
    try:
        import s3fs

        end = time.monotonic() + LONGEST
        while True:
            try:
                s3fs.S3FileSystem(skip_instance_cache=True).mkdir("models")
                break
            except Exception:  # it is not up yet
                assert time.monotonic() < end
                time.sleep(0.2)
        yield "s3://models/store"
    finally:
        os.environ.clear()
        os.environ |= before
        server.kill()
        server.wait()


def test_machines_that_share_nothing_but_a_bucket(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spec.yaml").write_text(one_seed(TRAINED))
    local = harness_here("run", "spec.yaml", "--out", "local", "--quiet", cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    nodes = Nodes()
    try:
        nodes.add(env_vars={"HARNESS_CACHE": str(tmp_path / "first")})
        nodes.add(env_vars={"HARNESS_CACHE": str(tmp_path / "second")})
        own = {"HARNESS_CACHE": str(tmp_path / "driver")}
        done = harness(*far(nodes, "--store", bucket), cwd=tmp_path, env=own)
    finally:
        nodes.end()
    assert done.returncode == 0, done.stderr
    assert records(tmp_path / "far") == records(tmp_path / "local")
    assert not (tmp_path / "far" / "artifacts").exists()
    for begins in ("prepare tiny", "adversarial_training round 1 for"):
        made = [line for line in done.stderr.splitlines() if re.match(rf"[0-9:]+  {begins}", line)]
        assert len(made) == 1, "made on one machine, fetched by the other"

    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "x"))
    again = harness_here("run", "spec.yaml", "--out", "more", "--store", bucket, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "prepare tiny" not in again.stderr
    assert records(tmp_path / "more") == records(tmp_path / "local")


def test_a_bucket_that_is_not_there_is_one_error(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(TRAINED)
    done = harness_here("run", "spec.yaml", "--store", "s3://nowhere/x", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --store s3://nowhere/x: ")
    assert done.stderr.count("\n") == 1, done.stderr
