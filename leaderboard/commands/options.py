"""Arguments and options that several commands take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

RunsArg = Annotated[list[Path], typer.Argument(help="Run directories, submissions, entries or folders of entries.")]
CountTableArg = Annotated[Path, typer.Argument(help="CSV, TSV or Parquet (gzip too), or a run directory.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")]
TargetOption = Annotated[
    float | None, typer.Option("--target-asr", help="Success rate that counts as broken; the spec's own when left out.")
]


class AsrChoice(StrEnum):
    """Which success counts to take from records."""

    so_far = "so_far"
    at_step = "at_step"


class CountsMethod(StrEnum):
    """How to fit successes."""

    counts = "counts"
    ols = "ols"


class CensoredMethod(StrEnum):
    """How to fit compute to a target."""

    censored = "censored"
    ols = "ols"


class ScaleChoice(StrEnum):
    """The axis of what ASR is fitted against."""

    log = "log"
    linear = "linear"


class CoefficientChoice(StrEnum):
    """Which number of an attack-scaling fit."""

    slope = "slope"
    intercept = "intercept"


AsrOption = Annotated[
    AsrChoice,
    typer.Option(
        "--asr",
        help="Success until or at each step. Counts in a table that fall from one iteration to the next are at_step.",
    ),
]
CountsOption = Annotated[
    CountsMethod,
    typer.Option("--method", help="counts: likelihood of first successes. ols: least squares, as in arXiv 2407.18213."),
]
CensoredOption = Annotated[
    CensoredMethod,
    typer.Option(
        "--method", help="censored: likelihood, with what was never broken. ols: least squares, as in arXiv 2407.18213."
    ),
]
ScaleOption = Annotated[ScaleChoice, typer.Option("--scale", help="Axis of x.")]
CoefficientOption = Annotated[CoefficientChoice, typer.Option("--of", help="Which number of the attack-scaling fits.")]
