"""The parameter `backend` of the victims that run here."""

from __future__ import annotations

from typing import Any, Literal

from harness import host_field

BackendChoice = Literal["torch", "vllm", "auto"]


def backend_field() -> Any:
    """The parameter; it is no part of the identity, since all backends are held to the same answers."""
    return host_field(
        "torch",
        description="what answers requests: torch; vllm (gradients still by torch); auto: whichever is faster here",
    )
