"""What an attack's recorded queries and FLOPs are, held against what its parameters make it ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from harness.engine.dry_run import DryRun, dry_run_attack
from harness.errors import HarnessError
from harness.records.cell_manifest import CellRecord
from harness.spec.cells import CellSpec

MOST = 2.0  # times what a dry run asks for: the built-in attacks ask for no more than it in any step
LEAST = 0.25  # below it is pointed out: where few strings survive tokenisation, fewer are asked about
BUILTIN = "robustness-harness"


@dataclass(frozen=True)
class RecordedCosts:
    """What the attack of a cell took, all examples and steps together.

    Attributes:
        steps: how many.
        queries: and ``most_queries``: of the step with the most.
        flops: nominal; None where unknown.
        longest_forward: FLOPs (nominal) of judging a string once, the most of any; 0 where guards kept all strings from
            the victim. ``longest_judging``: of all that judging one string took.
        at_early_end: queries and FLOPs of the example whose search ended before its last step, and without a success,
            with most of the threat model's limits left; None where none did.
    """

    steps: int
    queries: int
    most_queries: int
    flops: float | None
    longest_forward: float
    longest_judging: float = 0.0
    at_early_end: tuple[float, float] | None = None


def attack_cost_problems(cell: CellSpec, record: CellRecord, costs: RecordedCosts) -> Iterator[tuple[bool, str]]:
    """What of an attack's costs its parameters do not explain: whether it is certain that this cannot be, and a line in
    words.

    What a built-in attack asks for is known from a dry run of its steps, but where it depends on what another model
    proposes.
    """
    if not costs.steps:
        return
    expected = _expected(cell)
    if not costs.steps:  # nothing was attacked
        return
    if expected is None:
        yield False, "what its attack asks for cannot be determined here: its queries and FLOPs are as submitted"
        return
    certain = record.attack.distribution == BUILTIN and not cell.attack.plugin.models()
    varies = not cell.static and any(part.plugin.loss_varies for part in cell.runtime)
    draws = cell.attack_draws if varies else 1
    per_step = expected.scored + expected.differentiated + expected.sampled + expected.answered
    queries = per_step * draws + (cell.threat.asks or 0)
    mean = costs.queries / costs.steps
    if mean > MOST * queries or costs.most_queries > 2 * MOST * queries:
        yield (
            certain,
            f"its attack made {mean:,.4g} queries per step, {costs.most_queries:,} at most; by its parameters it makes "
            f"{queries:,.4g}",
        )
    elif mean < LEAST * per_step and not {"queries", "flops"} & {k for k, v in record.threat.items() if v is not None}:
        yield False, f"its attack made {mean:,.4g} queries per step; by its parameters it makes {per_step:,.4g}"
    yield from _early_end_problems(cell, record, costs, expected, draws, certain=certain)
    yield from _flops_problems(cell, record, costs, expected, draws, certain=certain)


def _flops_problems(
    cell: CellSpec, record: CellRecord, costs: RecordedCosts, expected: DryRun, draws: int, *, certain: bool
) -> Iterator[tuple[bool, str]]:
    """A sequence that an attack asks about is no longer than the longest that was judged.

    Of texts judging reads the prompt with its target, and asks for an answer besides. An attack that asks for answers
    itself may get longer ones; what models of its own are told is estimated.
    """
    size = None if record.victim_facts is None else record.victim_facts.n_params
    if size is None or not costs.flops:
        return
    texts = record.task_kind != "labels"
    longest = costs.longest_judging if texts else costs.longest_forward
    if not longest:
        yield (
            False,
            "the length of its prompts cannot be determined (no string reached the victim, or what judging took is "
            "unknown): its FLOPs are as submitted",
        )
        return
    sizes = {role: record.auxiliary[role].n_params for role in expected.auxiliary if role in record.auxiliary}
    spent = costs.flops / costs.steps
    asks = cell.threat.asks or 0
    most = MOST * (draws * expected.nominal(size, longest / (2 * size), sizes) + asks * longest)
    if spent > most:
        yield (
            certain and not asks and not (texts and expected.answered),
            f"its attack took {spent:.3g} FLOPs (nominal) per step; by its parameters, at the length of its longest "
            f"prompt, it takes {most / MOST:.3g}",
        )


def _early_end_problems(
    cell: CellSpec, record: CellRecord, costs: RecordedCosts, expected: DryRun, draws: int, *, certain: bool
) -> Iterator[tuple[bool, str]]:
    """A limit of the threat model ends a search only where what is left does not do for the next request, which is no
    more than a step asks for.
    """
    if costs.at_early_end is None:
        return
    queries, flops = costs.at_early_end
    per_step = expected.scored + expected.differentiated + expected.sampled + expected.answered
    size = None if record.victim_facts is None else record.victim_facts.n_params
    left = []
    if cell.threat.queries is not None:
        left.append(queries + MOST * draws * max(per_step, costs.most_queries) < cell.threat.queries)
    if cell.threat.flops is not None and size is not None:
        tokens = costs.longest_forward / (2 * size)
        known = record.task_kind == "labels" and record.defense.name == "none" and tokens > 0
        left.append(known and flops + MOST * expected.nominal(size, tokens) < cell.threat.flops)
    if left and all(left):
        yield (
            certain,
            f"a search without a success ends after {queries:,.0f} queries and {flops:.3g} FLOPs, and the threat model "
            "leaves enough for more",
        )


def _expected(cell: CellSpec) -> DryRun | None:
    """What a step asks for; None where the attack cannot be run dry without a file that the spec names."""
    attack = cell.attack.plugin
    if _has_path(attack.params):
        return None
    try:
        return dry_run_attack(attack, cell.threat)
    except HarnessError:
        return None


def _has_path(value: Any) -> bool:
    if isinstance(value, BaseModel):
        return any(_has_path(getattr(value, name)) for name in type(value).model_fields)
    if isinstance(value, dict | list | tuple | set | frozenset):
        return any(map(_has_path, value.values() if isinstance(value, dict) else value))
    return isinstance(value, Path)
