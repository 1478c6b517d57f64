"""The commands ``harness fit``. What they need is imported only when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from leaderboard.commands.options import (
    AsrOption,
    CensoredOption,
    CountsOption,
    CountTableArg,
    FormOption,
    JsonFlag,
    add_commands,
)


def fit_app() -> typer.Typer:
    """The group ``fit``."""
    app = typer.Typer(no_args_is_help=True, help="Fit compute curves to a run, an entry or a table.")
    add_commands(
        app,
        "harness fit",
        {
            "attack-scaling": (attack_scaling_command, "runs/quickstart"),
            "offense-defense": (offense_defense_command, "runs/quickstart --target-asr 0.5"),
            "efficiency": (efficiency_command, "runs/quickstart"),
            "size-scaling": (size_scaling_command, "runs/quickstart"),
            "repeated-sampling": (repeated_sampling_command, "runs/my_run --asks 16"),
            "corrected-asr": (corrected_asr_command, "runs/my_run --calibration judge.json"),
            "class-separation": (class_separation_command, "runs/quickstart"),
        },
    )
    return app


def attack_scaling_command(
    table: CountTableArg,
    method: CountsOption = "counts",
    asr: AsrOption = "so_far",
    form: FormOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Success against attack compute.

    Log-odds against log compute, one line per model size; or curves of other forms.
    """
    from harness.errors import DataError
    from leaderboard.commands.fits.print_fits import print_fits
    from leaderboard.commands.fits.print_forms import print_forms
    from leaderboard.fit.attack_scaling_of_source import attack_scaling_of_source
    from leaderboard.fit.compared.forms.of_source import forms_of_source
    from leaderboard.submission.leaderboard_sources import read_run_or_table

    if form is not None and method == "ols":
        raise DataError("--form: forms are fitted by likelihood. Leave out --method ols, or --form.")
    if form is not None and asr == "at_step":
        raise DataError("--form: forms are fitted to first successes. Leave out --asr at_step, or --form.")
    source = read_run_or_table(table)
    if form is not None:
        print_forms(forms_of_source(source, form, asr), as_json)
        return
    fits = attack_scaling_of_source(source, method, asr)
    print_fits("Attack scaling: log10 odds of success per log10 attack compute", [f.to_json() for f in fits], as_json)


def offense_defense_command(
    table: CountTableArg,
    target_asr: Annotated[float, typer.Option("--target-asr", help="Attack success rate that counts as broken.")],
    method: CensoredOption = "censored",
    asr: AsrOption = "so_far",
    as_json: JsonFlag = False,
) -> None:
    """Attack compute against defense compute.

    On logarithms, of what it takes to reach the target. Below slope 1 the attacker gains.
    """
    from leaderboard.commands.fits.print_fits import print_fits
    from leaderboard.data.count_table_of_run import count_table
    from leaderboard.fit.offense_defense import fit_offense_defense
    from leaderboard.submission.leaderboard_sources import read_run_or_table
    from leaderboard.table_numbers import target_percent

    fits = fit_offense_defense(count_table(read_run_or_table(table), asr), target_asr, method)
    title = f"Offense-defense: log10 attack compute to ASR {target_percent(target_asr)} per log10 defense compute"
    print_fits(title, [f.to_json() for f in fits], as_json)


def efficiency_command(
    table: CountTableArg,
    x: Annotated[
        str,
        typer.Option("--x", help="round, defense_compute, inference_compute, or another column of numbers."),
    ] = "defense_compute",
    target_asr: Annotated[
        float, typer.Option("--target-asr", help="Report what it takes to bring the ASR to this.")
    ] = 0.1,
    attack_compute: Annotated[
        float | None,
        typer.Option(
            "--attack-compute",
            help="Attack compute at which ASR is measured, as a fraction of the "
            "reference compute; default: the full budget.",
        ),
    ] = None,
    scale: Annotated[Literal["log", "linear"], typer.Option("--scale", help="Scale of the x axis.")] = "log",
    at: Annotated[
        float | None,
        typer.Option("--at", help="Report the ASR at this x, and compare the defenses of each victim there."),
    ] = None,
    method: CountsOption = "counts",
    asr: AsrOption = "so_far",
    as_json: JsonFlag = False,
) -> None:
    """Success against rounds or compute of the defense.

    Log-odds of the success of a fixed attack.
    """
    from leaderboard.commands.fits.print_at_amount import print_comparisons
    from leaderboard.commands.fits.print_fits import print_fits
    from leaderboard.data.count_table_of_run import count_table
    from leaderboard.fit.compared.at_amount import compare_at, with_asr_at
    from leaderboard.fit.defense_efficiency import fit_efficiency
    from leaderboard.submission.leaderboard_sources import read_run_or_table

    fits = fit_efficiency(count_table(read_run_or_table(table), asr), x, method, scale, target_asr, attack_compute)
    per = f"log10 {x}" if scale == "log" else x
    print_fits(f"Efficiency: log10 odds of success per {per}", [with_asr_at(f, at) for f in fits], as_json)
    if at is not None and not as_json:
        print_comparisons(compare_at(fits, at))


def size_scaling_command(
    table: CountTableArg,
    of: Annotated[
        Literal["slope", "intercept"], typer.Option("--of", help="Which number of the attack-scaling fits to use.")
    ] = "slope",
    parameters: Annotated[
        Literal["all", "non-embedding"],
        typer.Option(
            "--parameters",
            help="Count all of a victim's parameters as used, or those without input, position and untied output "
            "embeddings. A table needs a column n_params_non_embedding for that.",
        ),
    ] = "all",
    method: CountsOption = "counts",
    asr: AsrOption = "so_far",
    as_json: JsonFlag = False,
) -> None:
    """Slopes of attack scaling against log model size."""
    from leaderboard.commands.fits.print_fits import print_fits
    from leaderboard.fit.attack_scaling_of_source import attack_scaling_of_source
    from leaderboard.fit.sizes.model_sizes import sizes_without_embeddings
    from leaderboard.fit.sizes.size_scaling import fit_size_scaling
    from leaderboard.submission.leaderboard_sources import read_run_or_table

    source = read_run_or_table(table)
    sizes = None if parameters == "all" else sizes_without_embeddings(source)
    fits = fit_size_scaling(attack_scaling_of_source(source, method, asr), of, sizes)
    counted = "" if parameters == "all" else " without embeddings"
    title = f"Size scaling: attack-scaling {of} per log10 parameters{counted}"
    print_fits(title, [f.to_json() for f in fits], as_json)


def repeated_sampling_command(
    run: Annotated[
        Path,
        typer.Argument(help="A run directory, submission or entry whose spec draws several answers to each string."),
    ],
    asks: Annotated[
        list[int],
        typer.Option(
            "--asks",
            min=2,
            help="A number of asks beyond the recorded answers. Repeatable; default: 2, 4 and 16 "
            "times as many as recorded.",
        ),
    ] = [],  # noqa: B006 - typer copies it
    as_json: JsonFlag = False,
) -> None:
    """ASR@j beyond the answers that were drawn.

    By a beta-binomial over prompts, checked on held-out answers.
    """
    from leaderboard.commands.fits.print_repeated import print_extrapolations
    from leaderboard.fit.repeated.extrapolation_of_run import extrapolate_run
    from leaderboard.submission.leaderboard_sources import read_one

    print_extrapolations(extrapolate_run(read_one(run), asks), as_json)


def corrected_asr_command(
    run: Annotated[Path, typer.Argument(help="A run directory, submission or entry whose victims answer in text.")],
    calibration: Annotated[
        Path | None,
        typer.Option(help="File of `harness judge calibrate`; default: the one that the run's spec names."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """ASR corrected for the judge's errors.

    It is that of the strings that searches ended with.
    """
    from leaderboard.commands.print_judges import print_corrected
    from leaderboard.fit.corrected.of_run import corrected_asr_of_run
    from leaderboard.submission.leaderboard_sources import read_one

    print_corrected(corrected_asr_of_run(read_one(run), calibration), as_json)


def class_separation_command(
    run: Annotated[
        Path, typer.Argument(help="A run directory, submission or entry of tasks with labels, with diagnostics: full.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """How far apart classes lie inside the victims.

    The mean silhouette of their representations, layer by layer.
    """
    from leaderboard.commands.fits.print_separation import print_separation
    from leaderboard.submission.leaderboard_sources import read_one
    from leaderboard.versions.class_separation import class_separation

    print_separation(class_separation(read_one(run)), as_json)
