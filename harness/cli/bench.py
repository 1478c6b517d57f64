"""`harness bench scoring` and `harness bench gcg`: how fast this machine answers what attacks ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.context import hide_library_progress

if TYPE_CHECKING:
    from harness.api.victim import Progress
    from harness.bench.backends import BenchBackend, PathName
    from harness.bench.model import BenchModel
    from harness.bench.workload import WorkloadShape

Model = Annotated[
    str | None, typer.Option(help="Model folder or hub id; a GPT-NeoX with random weights when left out.")
]
Size = Annotated[
    str, typer.Option(help="Size of the model with random weights: 1.7m, 21m, 1.4b, or 60k to try it out.")
]
Prefix = Annotated[int, typer.Option(min=0, help="Tokens before the attack string.")]
Suffix = Annotated[int, typer.Option(min=1, help="Tokens of the attack string.")]
Tail = Annotated[
    int, typer.Option(min=0, help="Tokens of the target; for a classifier, of the text after the attack string.")
]
Candidates = Annotated[int, typer.Option(min=1, help="Candidates per example.")]
Examples = Annotated[int, typer.Option(min=1, help="Examples whose candidates share a request.")]
Paths = Annotated[
    list[str] | None,
    typer.Option(
        help="full (A), copied_prefix (B), packed (C), packed_reuse (D), auto or vllm, by name or letter. Repeatable; "
        "all that work here when left out."
    ),
]
Rounds = Annotated[int, typer.Option(min=1, help="How many times each path is timed.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]

app = typer.Typer(no_args_is_help=True, help="Measure how fast this machine answers what attacks ask for.")


def register(main: typer.Typer) -> None:
    """Add it to the application."""
    main.add_typer(app, name="bench")


@app.command("scoring", epilog="Example: harness bench scoring --size 21M --candidates 128")
def scoring_command(
    model: Model = None,
    size: Size = "21m",
    prefix: Prefix = 100,
    suffix: Suffix = 20,
    tail: Tail = 4,
    candidates: Candidates = 512,
    examples: Examples = 1,
    positions: Annotated[
        str, typer.Option(help="Where candidates differ: one position, as in GCG, or all, as in RandomToken.")
    ] = "one",
    path: Paths = None,
    rounds: Rounds = 5,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Candidates per second of each way to score them, timed in turns.

    Also shows the rate of large matrix products on this machine, and the largest difference of a loss from a full
    forward with eager attention. Exit status 1 if a path is off by more than rounding.
    """
    from harness.bench.workload import WorkloadShape
    from harness.errors import RunError

    if positions not in ("one", "all"):
        raise RunError(f"--positions {positions}: write one or all")
    shape = WorkloadShape(prefix, suffix, tail, candidates, examples, "one" if positions == "one" else "all")
    with _prepared("scoring", shape, model, size, path, rounds, dtype, device, as_json) as (loaded, found, progress):
        from harness.bench.report import peak_line, scoring_json, scoring_table
        from harness.bench.scoring import measure_scoring

        report = measure_scoring(loaded, shape, found.backends, rounds, progress)
        if as_json:
            typer.echo(json.dumps(found.facts | scoring_json(report)))
        else:
            _show(scoring_table(report), peak_line(report.peak, report.layer_rate), found.missing)
    for wrong in report.wrong:
        difference = f"{wrong.difference:.2g} nats (tolerance {report.tolerance:g})"
        typer.echo(f"wrong: path {wrong.requested} differs from an eager full forward by {difference}", err=True)
    if report.wrong:
        raise typer.Exit(1)


@app.command("gcg", epilog="Example: harness bench gcg --size 21M --candidates 128")
def iteration_command(
    ctx: typer.Context,
    model: Model = None,
    size: Size = "21m",
    prefix: Prefix = 100,
    suffix: Suffix = 20,
    tail: Tail = 4,
    candidates: Candidates = 512,
    examples: Examples = 1,
    attack: Annotated[str, typer.Option(help="The attack to measure, written as in a spec.")] = "gcg",
    path: Paths = None,
    rounds: Rounds = 5,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Time whole GCG iterations by each path.

    Split into gradient, sampling, filter and scoring.

    Each timed iteration follows one that fills the caches.
    """
    from harness.bench.workload import WorkloadShape

    shape = WorkloadShape(prefix, suffix, tail, candidates, examples)
    registry = ctx.obj.loaded().registry
    hide_library_progress()
    from harness.bench.attack_iteration import choose_attack, measure_iterations

    chosen = choose_attack(registry, attack, candidates)
    what = f"one iteration of {chosen.name}"
    with _prepared(what, shape, model, size, path, rounds, dtype, device, as_json) as (loaded, found, progress):
        from harness.bench.report import iteration_json, iteration_table, peak_line

        report = measure_iterations(loaded, shape, found.backends, chosen, rounds, progress)
        if as_json:
            typer.echo(json.dumps(found.facts | {"attack": chosen.name} | iteration_json(report)))
        else:
            _show(iteration_table(report), peak_line(report.peak), found.missing)


class _Found:
    """What can be measured, what cannot, and the facts that go before the figures."""

    def __init__(self, backends: list[BenchBackend], missing: dict[PathName, str], facts: dict[str, Any]) -> None:
        self.backends, self.missing, self.facts = backends, missing, facts


@contextmanager
def _prepared(
    what: str,
    shape: WorkloadShape,
    model: str | None,
    size: str,
    path: list[str] | None,
    rounds: int,
    dtype: str,
    device: str,
    silent: bool,
) -> Iterator[tuple[BenchModel, _Found, Progress]]:
    """Open the model and its paths, say what will be done, and show progress while it is."""
    hide_library_progress()
    from harness.bench.backends import close_backends, open_backends, parse_paths, path_code
    from harness.bench.model import open_bench_model
    from harness.bench.report import setup_json

    paths = parse_paths(path or ())
    loaded = open_bench_model(model, size, device, dtype)
    shape.check(loaded.context, loaded.head == "classification")
    backends, missing = open_backends(loaded, paths)
    try:
        facts = {"what": what} | setup_json(loaded, shape, rounds)
        facts["left_out"] = [
            {"path": path_code(name), "strategy": name, "reason": why} for name, why in missing.items()
        ]
        with _progress(silent) as progress:
            if not silent:
                _say(what, shape, facts, [backend.requested for backend in backends])
            yield loaded, _Found(backends, missing, facts), progress
    finally:
        close_backends(backends)


def _say(what: str, shape: WorkloadShape, facts: dict[str, Any], paths: list[PathName]) -> None:
    model, machine = facts["model"], facts["machine"]
    loss = "a label's cross-entropy" if model["head"] == "classification" else f"NLL of {shape.tail} target tokens"
    typer.echo(
        f"Measuring {what}: {model['name']} ({model['parameters']:,} parameters), {model['dtype']} on "
        f"{machine['device']}, {machine['threads']} threads.\n"
        f"{shape.examples} x {shape.candidates} candidates of {shape.suffix} tokens behind {shape.prefix}, {loss}. "
        f"{facts['rounds']} rounds of {', '.join(paths)} in turns, after one that does not count.",
        err=True,
    )


@contextmanager
def _progress(silent: bool) -> Iterator[Progress]:
    """A bar in a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if silent or not console.is_terminal:
        yield lambda _what, _done, _total: None
        return
    columns = (BarColumn(24), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def _show(table: Any, line: str, missing: dict[PathName, str]) -> None:
    from rich.console import Console

    console = Console()
    console.print(table)
    console.print(line, highlight=False, soft_wrap=True)
    for name, why in missing.items():
        console.print(f"{name} left out: {why}", highlight=False, markup=False, soft_wrap=True)
