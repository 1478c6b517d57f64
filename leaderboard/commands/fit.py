"""The commands ``harness fit``. What they need is imported only when they run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

TableArg = Annotated[Path, typer.Argument(help="CSV, TSV or Parquet (gzip too), or a run directory.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")]


class Asr(StrEnum):
    """Which success counts to take from records."""

    so_far = "so_far"
    at_step = "at_step"


class Counts(StrEnum):
    """How to fit successes."""

    counts = "counts"
    ols = "ols"


class Reaching(StrEnum):
    """How to fit compute to a target."""

    censored = "censored"
    ols = "ols"


class Scale(StrEnum):
    """The axis of what ASR is fitted against."""

    log = "log"
    linear = "linear"


class SizeOf(StrEnum):
    """Which number of an attack-scaling fit."""

    slope = "slope"
    intercept = "intercept"


AsrOption = Annotated[
    Asr,
    typer.Option(
        "--asr",
        help="Success until or at each step. Counts in a table that fall from one iteration to the next are at_step.",
    ),
]
CountsOption = Annotated[
    Counts,
    typer.Option("--method", help="counts: likelihood of first successes. ols: least squares, as in arXiv 2407.18213."),
]
CensoredOption = Annotated[
    Reaching,
    typer.Option(
        "--method", help="censored: likelihood, with what was never broken. ols: least squares, as in arXiv 2407.18213."
    ),
]


def fit_app() -> typer.Typer:
    """The group ``fit``."""
    app = typer.Typer(no_args_is_help=True, help="Fit compute curves to a table or a run, with 95% intervals.")
    app.command("attack-scaling")(attack_scaling)
    app.command("offense-defense")(offense_defense)
    app.command("efficiency")(efficiency)
    app.command("size-scaling")(size_scaling)
    return app


def attack_scaling(
    table: TableArg, method: CountsOption = Counts.counts, asr: AsrOption = Asr.so_far, as_json: JsonFlag = False
) -> None:
    """Log-odds of success against log attack compute, one line per model size."""
    from leaderboard.commands.print_fits import print_fits
    from leaderboard.fit.sources import attack_scaling_of

    fits = attack_scaling_of(table, method.value, asr.value)
    print_fits("Attack scaling: log10 odds of success per log10 attack compute", [f.to_json() for f in fits], as_json)


def offense_defense(
    table: TableArg,
    target_asr: Annotated[float, typer.Option("--target-asr", help="Attack success rate that counts as broken.")],
    method: CensoredOption = Reaching.censored,
    asr: AsrOption = Asr.so_far,
    as_json: JsonFlag = False,
) -> None:
    """Log attack compute to reach the target against log defense compute. Below slope 1 the attacker gains."""
    from leaderboard.commands.print_fits import print_fits
    from leaderboard.data.table_files import read_table
    from leaderboard.fit.offense_defense import fit_offense_defense

    fits = fit_offense_defense(read_table(table, asr.value), target_asr, method.value)
    title = f"Offense-defense: log10 attack compute to ASR {target_asr:g} per log10 defense compute"
    print_fits(title, [f.to_json() for f in fits], as_json)


def efficiency(
    table: TableArg,
    x: Annotated[
        str,
        typer.Option("--x", help="round, defense_compute, inference_compute, or another column of numbers."),
    ] = "defense_compute",
    target_asr: Annotated[float, typer.Option("--target-asr", help="Tell what it takes to bring ASR to this.")] = 0.1,
    attack_compute: Annotated[
        float | None,
        typer.Option("--attack-compute", help="As a fraction of the reference compute; left out: the full budget."),
    ] = None,
    scale: Annotated[Scale, typer.Option("--scale", help="Axis of x.")] = Scale.log,
    method: CountsOption = Counts.counts,
    asr: AsrOption = Asr.so_far,
    as_json: JsonFlag = False,
) -> None:
    """Log-odds of a fixed attack's success against rounds or compute of the defense."""
    from leaderboard.commands.print_fits import print_fits
    from leaderboard.data.table_files import read_table
    from leaderboard.fit.efficiency import fit_efficiency

    fits = fit_efficiency(read_table(table, asr.value), x, method.value, scale.value, target_asr, attack_compute)
    per = f"log10 {x}" if scale is Scale.log else x
    print_fits(f"Efficiency: log10 odds of success per {per}", [f.to_json() for f in fits], as_json)


def size_scaling(
    table: TableArg,
    of: Annotated[SizeOf, typer.Option("--of", help="Which number of the attack-scaling fits.")] = SizeOf.slope,
    method: CountsOption = Counts.counts,
    asr: AsrOption = Asr.so_far,
    as_json: JsonFlag = False,
) -> None:
    """Slopes of attack scaling against log model size."""
    from leaderboard.commands.print_fits import print_fits
    from leaderboard.fit.size_scaling import fit_size_scaling
    from leaderboard.fit.sources import attack_scaling_of

    fits = fit_size_scaling(attack_scaling_of(table, method.value, asr.value), of.value)
    print_fits(f"Size scaling: attack-scaling {of.value} per log10 parameters", [f.to_json() for f in fits], as_json)
