"""What the kit measures, part by part, and what a part is made of. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """What it is measured on.

    Attributes:
        device: as torch calls it.
        small: small models and few repeats, to try the kit out without a card.
    """

    device: str
    small: bool


@dataclass(frozen=True)
class Row:
    """What one measurement found.

    Attributes:
        told: for people.
        figures: for programs; plain data.
        wrong: whether this should not be so.
        skipped: whether nothing was measured; ``told`` says why.
        traceback: where it failed, or "".
    """

    told: str
    figures: dict[str, Any] = field(default_factory=dict)
    wrong: bool = False
    skipped: bool = False
    traceback: str = ""

    @property
    def final(self) -> bool:
        """Whether it need not be measured again."""
        return not (self.skipped or self.traceback)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class SkippedError(Exception):
    """Raised by a measurement that cannot be made here; the text says why."""


Measurements = Iterator[tuple[str, Callable[[], Row]]]
"""Names, and what measures them."""


@dataclass(frozen=True)
class Part:
    """Some measurements on one subject.

    Attributes:
        module: has a function ``measure`` that is given a `Setting` and gives `Measurements`.
        about: what it finds out.
        limit: seconds after which no further measurement of it begins.
    """

    name: str
    module: str
    about: str
    limit: float


def _part(name: str, limit: float, about: str) -> Part:
    return Part(name, f"tests.gpu.{name}", about, limit)


PARTS = (
    _part("identity", 10, "the card, its driver and clocks, and the versions of torch and CUDA"),
    _part("spread", 30, "how much repeated timings of the same thing differ: what the other figures can show"),
    _part("exactness", 130, "every way to score, architecture and precision against an eager float32 forward"),
    _part("attention", 90, "attention to the shared prefix: plain products, fused kernels, FlexAttention"),
    _part("shares", 110, "the GEMM peak, and the share of it that each way to score reaches"),
    _part("iteration", 70, "one GCG iteration split into gradient, sampling, filter, scoring and the rest"),
    _part("memory", 60, "the first chunk that is tried, and what happens when memory runs out"),
    _part("vllm_rates", 90, "candidates and tokens per second of vLLM and torch, where vLLM is installed"),
)
