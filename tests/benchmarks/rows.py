"""The rows of the table: what is compared, and the figures to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["score", "iterate", "half", "paths", "cell", "gpu"]


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        id: to select it by.
        kind: ``score``: candidates scored, ours against nanogcg; ``iterate``: a whole GCG iteration, likewise;
            ``half``: whole attacks until half of the prompts are broken, likewise;
            ``paths``: our ``packed_reuse`` against our ``copied_prefix``; ``cell``: a whole cell's share of time in the
            model; ``gpu``: these two strategies with a large model on a GPU.
        case: in words.
        model: a size of `harness.bench.sizes`, ``smollm2-135m-instruct``, or ``tiny-chat``.
        shape: fields of `harness.bench.workload.WorkloadShape`; of whole attacks, parameters of GCG.
        must, aim: ratio to reach; None where the row has none.
        best: how many of the lowest losses our side is asked for; None: all.
        busy: whether another process computes meanwhile, on one core.
        most_rounds: at most so many, where one takes minutes.
        must_peak, aim_peak: share of the rate of large matrix products (of a cell: of the wall time) to reach.
    """

    id: str
    kind: Kind
    case: str
    model: str = ""
    shape: dict[str, Any] | None = None
    must: float | None = None
    aim: float | None = None
    must_peak: float | None = None
    aim_peak: float | None = None
    best: int | None = None
    busy: bool = False
    most_rounds: int = 1000


SMOLLM2, TINY_CHAT = "smollm2-135m-instruct", "tiny-chat"


def _shape(candidates: int, prefix: int = 100, **others: Any) -> dict[str, Any]:
    return {"prefix": prefix, "suffix": 20, "tail": 4, "candidates": candidates, **others}


ROWS = (
    Row("21m-128", "score", "21M, P=100, S=20, K=128", "21m", _shape(128), 2.4, 3.0, 0.70, 0.80),
    Row("21m-512", "score", "21M, P=100, S=20, K=512", "21m", _shape(512), 2.4, 3.0, 0.70, 0.80),
    Row("21m-long", "score", "21M, P=500, S=20, K=128", "21m", _shape(128, 500), 3.2, 4.0, 0.65, 0.78),
    Row("1.7m-512", "score", "1.7M, P=100, S=20, K=512", "1.7m", _shape(512), 5.5, 7.0, 0.45, 0.65),
    Row(
        "1.7m-fused",
        "score",
        "1.7M, P=100, S=20, K=128, 16 examples fused (nanogcg: one after another)",
        "1.7m",
        _shape(128, examples=16),
        9.0,
        12.0,
    ),
    Row(
        "random-token",
        "score",
        "RandomToken (all positions differ), 21M, P=100, S=20, K=128",
        "21m",
        _shape(128, positions="all"),
        1.5,
        1.8,
        0.72,
        0.85,
    ),
    Row("21m-128-busy", "score", "21M, P=100, S=20, K=128, one core busy", "21m", _shape(128), busy=True),
    Row("1.7m-512-busy", "score", "1.7M, P=100, S=20, K=512, one core busy", "1.7m", _shape(512), busy=True),
    Row("gcg-21m", "iterate", "whole GCG iteration, 21M, P=100, S=20, K=128", "21m", _shape(128), 2.4, 3.0),
    Row("smollm2", "score", "SmolLM2-135M-Instruct, P=100, S=20, T=8, K=64", SMOLLM2, _shape(64, tail=8), 2.5, 4.0),
    Row(
        "smollm2-best",
        "score",
        "the same, of which the lowest loss is asked for",
        SMOLLM2,
        _shape(64, tail=8),
        2.5,
        4.0,
        best=1,
    ),
    Row(
        "gcg-smollm2",
        "iterate",
        "whole GCG iteration, SmolLM2-135M-Instruct, P=100, S=20, T=8, K=64",
        SMOLLM2,
        _shape(64, tail=8),
        2.5,
        4.0,
    ),
    Row("gcg-1.7m", "iterate", "whole GCG iteration, 1.7M, P=100, S=20, K=512", "1.7m", _shape(512), 3.2, 5.0),
    Row(
        "half-smollm2",
        "half",
        "until 8 of 16 reviews are called the opposite, SmolLM2-135M-Instruct, GCG, K=32, S=10",
        SMOLLM2,
        {"steps": 15, "candidates": 32, "topk": 64},
        4.0,
        10.0,
        most_rounds=1,
    ),
    Row(
        "half-tiny",
        "half",
        "until 8 of 16 forbidden requests are answered, `tiny` 150k, GCG, K=64, S=10",
        TINY_CHAT,
        {"steps": 60, "candidates": 64, "topk": 64},
        4.0,
        10.0,
    ),
    Row(
        "cell",
        "cell",
        "whole cell (GCG, 64 examples, 10 steps, `tiny` 150k): share of wall time in the model",
        must_peak=0.85,
        aim_peak=0.92,
    ),
    Row(
        "paths-21m",
        "paths",
        "packed_reuse against copied_prefix, 21M, P=100, S=20, K=512",
        "21m",
        _shape(512),
        1.8,
        2.2,
    ),
    Row(
        "paths-1.7m",
        "paths",
        "packed_reuse against copied_prefix, 1.7M, P=100, S=20, K=512",
        "1.7m",
        _shape(512),
        1.8,
        2.2,
    ),
    Row(
        "gpu",
        "gpu",
        "GPU, bf16, 1.4B, P=300, S=20, K=512 (ratio: to copied_prefix)",
        "1.4b",
        _shape(512, 300),
        must_peak=0.45,
        aim_peak=0.60,
    ),
)


def select(names: list[str]) -> list[Row]:
    """The rows of these ids in the table's order; all when there are none.

    Raises:
        ValueError: an id that no row has.
    """
    known = {row.id for row in ROWS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no row is called {unknown[0]}; known: {', '.join(row.id for row in ROWS)}")
    return [row for row in ROWS if not names or row.id in names]
