"""`harness tune`: finds an attack's parameters on training examples, at a compute that is fixed beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.beforehand.tune_text import outcome_json, outcome_lines, plan_json, plan_lines
from harness.cli.context import RUNS, hide_library_progress, resumable
from harness.number_format import counted, format_flops, parse_flops

if TYPE_CHECKING:
    from harness.registry.loader import LoadedPlugins
    from harness.run.reporter import CellEnd, WorkReporter
    from harness.run.tuning.plan import Plan, Wanted
    from harness.run.tuning.trial import Trial
    from harness.run.tuning.tune import Tuned
    from harness.spec.load import LoadedSpec

_MOST_REFUSED = 3  # candidates in turn of which it is said why they cannot be tried


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command("tune", epilog="Example: harness tune gcg my_spec.yaml --flops 1e13 --out tuned.yaml")(tune_command)


def tune_command(
    ctx: typer.Context,
    attack: Annotated[str, typer.Argument(help="An attack of the spec, by name or label.")],
    spec: Annotated[Path, typer.Argument(help="The spec: a YAML file, or the name of a released one.")],
    flops: Annotated[
        str,
        typer.Option(
            "--flops", help="The most nominal FLOPs that the whole search may take: 1e12, 500GFLOP.", metavar="B"
        ),
    ],
    per_example: Annotated[
        str | None,
        typer.Option(
            "--per-example",
            metavar="F",
            help="Nominal FLOPs per example at which candidates are compared, which sets the number of steps; "
            "default what the attack takes as the spec has it.",
        ),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option("--examples", min=2, help="Training examples of each cell; default as many as the spec attacks."),
    ] = None,
    space: Annotated[
        list[str],
        typer.Option(
            "--space",
            metavar="NAME=LOW..HIGH",
            help="What to try for a parameter: a range, values (NAME=a,b,c) or one (NAME=a); or a YAML file with such "
            "lines. The rest follows from the attack's parameters.",
        ),
    ] = [],  # noqa: B006 - typer copies it
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed for the examples and the candidates.")] = 0,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where candidates are kept; default runs/NAME/tuning.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Where trained models are kept, a folder or a URL; default runs/NAME/artifacts.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write the spec's entry to.")] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare",
            help="File to write a spec to that runs the attack as it was and as tuned; `harness leaderboard tuned` "
            "then compares them at equal total compute.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be tried and what it takes; run nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the entry and errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, and nothing else.")] = False,
) -> None:
    """Find an attack's parameters at a fixed compute.

    They are tried on a task's training examples. Writes the attack's entry for a spec.

    The entry says what the search took, which counts as part of the attack's compute. Stop it with Ctrl-C; the same
    command continues where it stopped, and with a larger --flops goes further.
    """
    from harness.errors import RunError
    from harness.records.visible_text import file_name
    from harness.run.prepare.resolved_cell import CellResolver
    from harness.run.tuning.entry import comparison_spec, entry_yaml, tuned_entry, without_other_attacks, write_named
    from harness.run.tuning.plan import Wanted, make_plan
    from harness.run.tuning.sampler import require_optuna
    from harness.run.tuning.written_space import read_space
    from harness.spec.load import load_spec
    from harness.spec.released import spec_path

    require_optuna()
    given = per_example and parse_flops(per_example, "--per-example")
    budget, named = parse_flops(flops, "--flops"), read_space(space)
    wanted = Wanted(attack, budget, given or None, examples, named, seed)
    loaded: LoadedPlugins = ctx.obj.loaded()
    hide_library_progress()
    source = load_spec(spec_path(spec), loaded.registry)
    plan = make_plan(source, wanted, CellResolver(loaded.registry, outlined=dry_run))
    if not (quiet or as_json):
        typer.echo("\n".join(plan_lines(plan, wanted.flops)), err=not dry_run)
    if dry_run:
        if as_json:
            typer.echo(json.dumps(plan_json(plan, wanted.flops)))
        return
    root = RUNS / file_name(source.spec.name)
    for path, option in ((out, "--out"), (compare, "--compare")):
        if path is not None:
            if path.resolve() in {source.path.resolve(), out.resolve() if out and path is compare else None}:
                raise RunError(f"{option} {path}: this is the spec itself, or the file of --out; name another file")
            write_named(path, None, option)  # before anything is spent
    if compare is not None:
        without_other_attacks(source, plan.entry.name)  # raises where it cannot be written
    place = _Place(folder or root / "tuning", store or str(root / "artifacts"))
    found = _search(plan, wanted, source, loaded, place, silent=quiet or as_json)
    entry = tuned_entry(plan.entry, found.best, found.record)
    if out is not None:
        write_named(out, entry_yaml([entry.model_dump(mode="json")], f"by harness tune {attack} {spec}"), "--out")
    if compare is not None:
        write_named(compare, comparison_spec(source, plan.place, entry, plan.step_flops), "--compare")
    if as_json:
        typer.echo(json.dumps(outcome_json(found, entry)))
        return
    if not quiet:
        typer.echo("\n".join(outcome_lines(found)), err=True)
    typer.echo(entry_yaml([entry.model_dump(mode="json")]), nl=False)


@dataclass(frozen=True)
class _Place:
    """Where candidates and models are kept."""

    folder: Path
    store: str


def _search(
    plan: Plan, wanted: Wanted, source: LoadedSpec, loaded: LoadedPlugins, place: _Place, *, silent: bool
) -> Tuned:
    """The search, shown as it goes on."""
    from harness.cli.console.progress_views import progress_view
    from harness.records.visible_text import file_name
    from harness.run.prepare.preparer import Preparer
    from harness.run.run_folder import RunFolder
    from harness.run.tuning.tune import tune
    from harness.store.open_store import open_store

    with (
        resumable(place.folder),
        progress_view(silent, "candidates") as view,
        RunFolder(place.folder).locked("--folder"),
    ):
        worker = _Candidates(view.worker(0))
        preparer = Preparer(open_store(place.store), loaded.registry, worker)
        preparer.artifacts.store.check()
        path = place.folder / f"{file_name(plan.entry.name)}-{plan.key}.jsonl"
        return tune(plan, wanted, source, preparer, path, lambda trial: _show(trial, worker), worker.begin)


class _Candidates:
    """Passes on what is told, but of the search itself no stages: models are loaded again for each candidate."""

    def __init__(self, worker: WorkReporter) -> None:
        self.note, self.progress, self.cell, self.cell_done = (
            worker.note,
            worker.progress,
            worker.cell,
            worker.cell_done,
        )
        self._worker, self._begun = worker, False
        self._refused = 0  # in turn

    def begin(self) -> None:
        """The first candidate is next."""
        self._worker.stage("try candidates")
        self._begun = True

    def stage(self, what: str) -> None:
        """A new piece of work."""
        if not self._begun:
            self._worker.stage(what)

    def refused(self, label: str, why: str) -> None:
        """A candidate cannot be tried. Where many in turn cannot, the first few say why."""
        self._refused += 1
        if self._refused <= _MOST_REFUSED:
            self.note(f"{label}: not tried: {why}")
        elif self._refused == _MOST_REFUSED + 1:
            self.note("candidates after these cannot be tried either; the next line is of one that can")

    def tried(self, end: CellEnd) -> None:
        """A candidate was tried."""
        self._refused = 0
        self.cell_done(end)


def _show(trial: Trial, worker: _Candidates) -> None:
    """A line for a candidate that has been tried."""
    from harness.run.reporter import CellEnd
    from harness.run.tuning.dimension import words

    label = f"candidate {trial.number}: {words(trial.values)}"
    if trial.state == "refused":
        worker.refused(label, trial.why)
    elif trial.same_as is None:
        reached = trial.whole or trial.half
        given_up = ", dropped after half of the examples" if trial.state == "given up" else ""
        took = f"{counted(trial.steps, 'step')}, {format_flops(trial.flops)}{given_up}"
        worker.tried(CellEnd(f"{label} ({took})", None if reached is None else reached.asr))
