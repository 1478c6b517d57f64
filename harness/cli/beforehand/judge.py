"""`harness judge calibrate`: how often a judge errs, by answers that people have judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.context import RUNS, hide_library_progress

if TYPE_CHECKING:
    from harness.records.judge_calibration import JudgeCalibration
    from harness.registry.registry import Registry
    from harness.registry.resolved_plugin import ResolvedPlugin


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    group = typer.Typer(help="Measure how often a judge errs.", no_args_is_help=True)
    group.callback()(lambda: None)  # or a single command would take the group's name
    group.command("calibrate", epilog="Example: harness judge calibrate refusal_match labelled.csv")(calibrate_command)
    app.add_typer(group, name="judge")


def calibrate_command(
    ctx: typer.Context,
    judge: Annotated[
        str,
        typer.Argument(help="Its name or, as in a spec, '{NAME: {...}}'; or a spec file, to use its judge."),
    ],
    labelled: Annotated[
        Path, typer.Argument(help="CSV, JSON lines or Parquet with prompts, answers and labels given by people.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write the result to, which a spec may name; default LABELLED.JUDGE.json here."),
    ] = None,
    prompt_column: Annotated[str | None, typer.Option(help="Default: goal or prompt.")] = None,
    answer_column: Annotated[str | None, typer.Option(help="Default: target_response or answer.")] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Default: human_majority or label. 1, true, yes or success: the attacker won.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Where prepared models are kept, a folder or a URL; default runs/judges.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a judge's verdicts with people's.

    Prints sensitivity, specificity and agreement, with 95% intervals.

    `harness fit corrected-asr` reads the file that this writes, and corrects the ASR for the judge's errors.
    """
    from harness.run.calibration.calibrate_judge import calibrate
    from harness.run.calibration.labelled_answers import read_labelled_answers
    from harness.run.prepare.artifacts import Artifacts
    from harness.run.reporter import Silent
    from harness.store.atomic import write_json
    from harness.store.open_store import open_store

    registry = ctx.obj.loaded().registry
    hide_library_progress()
    chosen = _judge(judge, registry)
    answers = read_labelled_answers(labelled, prompt_column, answer_column, label_column)
    artifacts = Artifacts(open_store(store or str(RUNS / "judges")), Silent())
    found = calibrate(chosen, answers, labelled, registry, artifacts)
    place = out or Path(f"{labelled.stem}.{chosen.name}.json")
    write_json(place, found.model_dump(mode="json"))
    told = figures(found)
    if as_json:
        typer.echo(json.dumps({"kept_in": str(place), **found.model_dump(mode="json"), **told}))
        return
    typer.echo(
        f"{found.judge.label} on {labelled}: {found.successes} successes and {found.failures} failures by people"
    )
    for name in ("sensitivity", "specificity", "agreement"):
        value, low, high = told[name]
        typer.echo(f"{name:12} {100 * value:5.1f}% ({100 * low:.1f} – {100 * high:.1f}%)")
    typer.echo(f"kappa        {told['kappa']:5.2f}")
    if found.unparseable or found.no_answer:
        typer.echo(f"not counted: {found.unparseable} that the judge could not rate, {found.no_answer} empty answers")
    typer.echo(f"Wrote {place}")


def figures(found: JudgeCalibration) -> dict[str, Any]:
    """Its rates, each with its 95% interval (Wilson 1927)."""
    from scipy.stats import binomtest

    counts = {
        "sensitivity": (found.true_positive, found.successes),
        "specificity": (found.true_negative, found.failures),
        "agreement": (found.true_positive + found.true_negative, found.successes + found.failures),
    }
    told: dict[str, Any] = {"kappa": found.kappa}
    for name, (hits, of) in counts.items():
        interval = binomtest(hits, of).proportion_ci(method="wilson")
        told[name] = [hits / of, float(interval.low), float(interval.high)]
    return told


def _judge(text: str, registry: Registry) -> ResolvedPlugin:
    """The judge that a reference names, or that of a spec file."""
    import yaml
    from pydantic import ValidationError

    from harness.api.refs import PluginRef
    from harness.errors import SpecError
    from harness.spec.load import load_spec

    if Path(text).suffix in (".yaml", ".yml"):
        return load_spec(text, registry).cells[0].judge
    try:
        ref = PluginRef.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError):
        raise SpecError(f"{text}: not a judge; write a name, '{{NAME: {{PARAMETER: VALUE}}}}' or a spec file") from None
    return registry.resolve("judge", ref)
