"""The tables of docs/statistics.md: how often 95% intervals hold the truth of simulated studies.

python -m tests.benchmarks.intervals [--studies COUNT] [--only GROUP] [--write docs/statistics.md]

A table is made by one process, the same studies each time. The exit status is 1 where an interval of two seeds or more
holds the truth less often than 93%, or equal rows are put into an order more often than 5%, by more than three standard
errors of the simulation.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Sequence
from math import isnan
from pathlib import Path

import numpy as np

from tests.benchmarks.intervals.attacks import ATTACKS
from tests.benchmarks.intervals.corrected import CORRECTED
from tests.benchmarks.intervals.defenses import BALANCES, TRAININGS
from tests.benchmarks.intervals.designs import SHARES, Design, Figures
from tests.benchmarks.intervals.forms import FORM_STUDIES
from tests.benchmarks.intervals.orders import EQUALS, UNEQUALS
from tests.benchmarks.intervals.paired import PAIRED
from tests.benchmarks.intervals.rates_and_costs import COSTS, RATES
from tests.benchmarks.intervals.repeated import ASR_AT, EXTRAPOLATIONS
from tests.benchmarks.intervals.shapes import SHAPES
from tests.benchmarks.intervals.sizes import SIZES
from tests.benchmarks.intervals.stacks import STACKS
from tests.benchmarks.intervals.versions import COST_RATIOS, DIFFERENCES

GROUPS: dict[str, Sequence[Design]] = {
    "ASR": RATES,
    "Compute to the target": COSTS,
    "Equal rows": EQUALS,
    "Unequal rows": UNEQUALS,
    "Attack scaling": ATTACKS,
    "Shapes": SHAPES,
    "Forms": FORM_STUDIES,
    "Offense-defense": BALANCES,
    "Efficiency": TRAININGS,
    "Size scaling": SIZES,
    "Stacks": STACKS,
    "ASR@j": ASR_AT,
    "Repeated sampling": EXTRAPOLATIONS,
    "Corrected ASR": CORRECTED,
    "Two versions": DIFFERENCES,
    "Cost ratio": COST_RATIOS,
    "Loss of utility": PAIRED,
}
STUDIES = {  # of others 500
    "Offense-defense": 300,
    "Unequal rows": 300,
    "Size scaling": 200,
    "Repeated sampling": 200,
    "Forms": 200,
}
LEAST_HELD, MOST_FALSE = 0.93, 0.05


def measure(group: str, design: Design, studies: int) -> Figures:
    """Simulate so many studies of one design; the same ones each time."""
    return design.measure(np.random.default_rng(zlib.crc32(f"{group} {design.name}".encode())), studies)


def is_wrong(design: Design, figures: Figures, studies: int) -> bool:
    """Whether an interval holds too little, or an order is false too often, beyond the simulation's own error."""
    one_seed = design.name.startswith("1 seed") or ", 1 seed" in design.name
    if one_seed and "one model" not in design.name:
        return False  # of one model only, where the truth of all seeds is asked for

    def error(share: float) -> float:
        return 3 * float(np.sqrt(share * (1 - share) / studies))

    names = ("held on average", "slope held", "ASR at full budget held", "ASR@j held")
    average = [figures.get(name, 1.0) for name in (*names, "first parameter held", "second parameter held")]
    too_narrow = any(share < LEAST_HELD - error(LEAST_HELD) for share in average if not isnan(share))
    return too_narrow or figures.get("false order", 0.0) > MOST_FALSE + error(MOST_FALSE)


def cell(heading: str, figure: float) -> str:
    """A figure as the table has it."""
    if isnan(figure):
        return "–"
    if heading in SHARES:
        return f"{100 * figure:.1f}%"
    if heading == "mean error, points":
        return f"{figure:+.1f}".replace("-", "−")
    if heading.endswith("bias"):
        return f"{100 * figure:+.1f}%".replace("-", "−")
    return str(figure) if heading == "refused" else f"{figure:.2f}"


def written(text: str, group: str, lines: Sequence[str]) -> str:
    """``text`` with another table between the marks of ``group``."""
    begin, end = f"<!-- {group}: begin -->", f"<!-- {group}: end -->"
    head, rest = text.split(begin)
    return head + begin + "\n\n" + "\n".join(lines) + "\n\n" + end + rest.split(end)[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, help="Of each design; see STUDIES.")
    parser.add_argument("--only", default="", help="One table, such as Efficiency.")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    wrong = []
    for group, designs in GROUPS.items():
        if asked.only not in ("", group):
            continue
        lines: list[str] = []
        studies = asked.studies or STUDIES.get(group, 500)
        for design in designs:
            figures = measure(group, design, studies)
            if not lines:
                lines = ["| " + " | ".join([group, *figures]) + " |", "|" + "---|" * (1 + len(figures))]
                print("\n" + "\n".join(lines))
            lines.append("| " + " | ".join([design.name, *(cell(*figure) for figure in figures.items())]) + " |")
            print(lines[-1], flush=True)
            wrong += [f"{group}: {design.name}"] * is_wrong(design, figures, studies)
        if asked.write:
            text = written(asked.write.read_text(encoding="utf-8"), group, lines)
            asked.write.write_text(text, encoding="utf-8")
    if wrong:
        print("intervals that hold too little, or false orders:", *wrong, sep="\n  ", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
