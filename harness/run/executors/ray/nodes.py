"""The cluster: joining it, and what its machines can hold."""

from __future__ import annotations

import math
import os
import socket
from typing import Any

from harness.errors import RunError, first_line
from harness.spec.resources import Resources


def connect(address: str | None) -> Any:
    """Connect to a running cluster; Ray's module.

    Raises:
        RunError: Ray is not installed, or there is no such cluster.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # it would keep lines back, and print them when all is over
    try:
        import ray
    except ImportError:
        raise RunError("--executor ray needs Ray: pip install 'robustness-harness[ray]'") from None
    if address is not None and "://" in address:
        raise RunError(
            f"--address {address}: this is a client's address; start the run on a machine of the cluster (`ray job "
            f"submit`), with HOST:PORT of its head or none"
        )
    if address is not None:
        _check_port(address)  # Ray itself would wait for minutes
    if not ray.is_initialized():
        try:
            ray.init(address=address or "auto", log_to_driver=False, logging_level="ERROR", configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError, AssertionError, OSError) as error:
            where = f"--address {address}" if address else "--executor ray"
            raise RunError(
                f"{where}: no cluster to join ({first_line(error)}); start one with `ray start --head`, "
                "or name one with --address HOST:PORT"
            ) from None
    return ray


def _check_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=10):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise RunError(
            f"--address {address}: no cluster to join ({error}); start one with `ray start --head`, and give HOST:PORT "
            "of its head"
        ) from None


def amounts(shape: Resources) -> dict[str, float]:
    """How much one worker takes of each resource, in Ray's names."""
    wanted: dict[str, float] = {"CPU": shape.cpus or 1, "GPU": shape.gpus, "memory": shape.memory or 0}
    return {name: amount for name, amount in wanted.items() if amount}


def actor_options(shape: Resources) -> dict[str, Any]:
    """What one worker takes, as the options of its actor."""
    found: dict[str, Any] = {"num_cpus": shape.cpus or 1, "num_gpus": shape.gpus}
    return found | ({"memory": shape.memory} if shape.memory else {})


def capacity(nodes: list[dict[str, Any]], shape: Resources) -> int:
    """How many workers of a shape the machines hold that are there, if nothing else runs on them."""
    return sum(_fits(node["Resources"], amounts(shape)) for node in nodes if node["Alive"])


def _fits(available: dict[str, float], wanted: dict[str, float]) -> int:
    return min(math.floor(available.get(name, 0.0) / amount + 1e-9) for name, amount in wanted.items())


def resources_text(shape: Resources) -> str:
    """What one worker takes, in words."""
    words = [f"{shape.cpus or 1} CPUs"]
    if shape.gpus:
        words.append(f"{shape.gpus:g} GPUs")
    if shape.memory:
        words.append(f"{shape.memory / 2**30:.3g} GiB of memory")
    return ", ".join(words)


def largest_text(nodes: list[dict[str, Any]]) -> str:
    """What the largest machine of each sort has, for people."""
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    most = {name: max((one.get(name, 0.0) for one in resources), default=0.0) for name in ("CPU", "GPU", "memory")}
    return f"{most['CPU']:g} CPUs, {most['GPU']:g} GPUs, {most['memory'] / 2**30:.3g} GiB"
