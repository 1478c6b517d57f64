"""`harness run`: does everything in a spec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.context import RUNS, hide_library_progress, resumable
from harness.number_format import counted

if TYPE_CHECKING:
    from harness.run.executors.executor import Executor


_MOST_NAMED = 10  # cells in a warning


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command("run", epilog="Example: harness run quickstart --jobs 2 --site site")(run_command)


def run_command(
    ctx: typer.Context,
    spec: Annotated[Path, typer.Argument(help="The spec: a YAML file, or the name of a released one.")],
    out: Annotated[
        Path | None, typer.Option(help="Run directory; default runs/NAME, for a shard runs/NAME-shard-I-of-N.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Where trained models are kept, a folder or a URL (s3://...); default OUT/artifacts, for shards "
            "runs/NAME/artifacts."
        ),
    ] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            help="A finished run to judge again without repeating its attacks, for cells that differ only in the "
            "judge. Cells behind random defenses are run again, because only one of their draws is recorded.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=0,
            help="Worker processes on this machine, default 1; 0: work in this process. With Ray, the most workers at "
            "a time; default as many as there is room for.",
        ),
    ] = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="What does the work: this machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of the Ray cluster's head; default the cluster that this machine belongs to."),
    ] = None,
    node_wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a machine that can hold what a cell asks for.")
    ] = 60.0,
    part: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Run only the I-th of N parts; `harness merge` puts them together.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=LABEL",
            help="Do no other cells than those with this label, as the page names it, such as victim='tiny 57k'; KIND "
            "is task, threat, victim, defense, attack or seed. May be given several times. The same command without it "
            "does the rest.",
        ),
    ] = None,
    site: Annotated[
        Path | None, typer.Option(help="Build the leaderboard page in this folder when everything is done.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, and nothing else.")] = False,
) -> None:
    """Run a spec: prepare victims and defenses, attack, record. Finished work is not repeated.

    Stop it with Ctrl-C; the same command continues where it stopped.
    """
    from harness.cli.console.progress_views import progress_view
    from harness.errors import RunError, one_line, tracebacks_wanted
    from harness.records.visible_text import file_name
    from harness.registry.loader import LoadedPlugins
    from harness.run.run_folder import RunFolder
    from harness.run.runner import run
    from harness.run.shards import Shard
    from harness.spec.load import load_spec
    from harness.spec.released import spec_path

    shard = Shard.parse(part) if part is not None else None
    if shard and site:
        raise RunError("--site with --shard: a page of a part would mislead; build it after `harness merge`")
    loaded: LoadedPlugins = ctx.obj.loaded()
    hide_library_progress()
    source = load_spec(spec_path(spec), loaded.registry)
    root = out or RUNS / file_name(source.spec.name)
    if shard and out is None:
        store = store or str(root / "artifacts")  # one for all shards, so that each model is made once
        root = root.with_name(f"{root.name}-shard-{shard.index}-of-{shard.of}")
    with resumable(root), progress_view(quiet or as_json) as view:
        who = _executor(executor, jobs, address, node_wait)
        outcome = run(source, loaded.registry, root, view, store, who, ctx.obj.files, reuse or (), shard, only or ())
    if as_json:
        failed = [{"cell": label, "error": error} for label, error in outcome.failed]
        untold = [{"cell": label, "untold": words} for label, words in outcome.untold]
        typer.echo(json.dumps({"run": str(root), "done": outcome.done, "failed": failed, "untold": untold}))
    elif not quiet:
        typer.echo(f"{counted(outcome.done, 'cell')} done, {len(outcome.failed)} failed: {root}")
        _warn_untold(outcome.untold)
    for label, error in outcome.failed:
        typer.echo(one_line(f"failed: {label}: {' '.join(error.splitlines())}"), err=True)
    if outcome.failed and tracebacks_wanted():
        for trace in RunFolder(root).tracebacks():
            typer.echo(trace, err=True)
    if site is not None and outcome.done:
        loaded.manager.hook.harness_publish(runs=[root], out=site)
        if not (quiet or as_json):
            typer.echo(f"Page: {site / 'index.html'}")
    if outcome.failed:
        raise typer.Exit(1)


def _warn_untold(untold: list[tuple[str, str]]) -> None:
    """Say in which cells answers have no verdict: their rates are of the others, and may be of few or none."""
    if untold:
        few = [f"  {label}: {words}" for label, words in untold[:_MOST_NAMED]]
        more = [f"  and {counted(len(untold) - len(few), 'more cell')}"] * (len(untold) > len(few))
        head = f"warning: {counted(len(untold), 'cell')} with answers without a verdict, which count in no rate:"
        typer.echo("\n".join([head, *few, *more]), err=True)


def _executor(name: str, jobs: int | None, address: str | None, node_wait: float) -> Executor:
    """The executor that the options name."""
    from harness.errors import RunError
    from harness.run.executors.executor import IN_PROCESS
    from harness.run.executors.processes import Processes
    from harness.run.executors.ray.driver import RayCluster

    if name == "ray":
        return RayCluster(address, jobs or None, node_wait)
    if address is not None:
        raise RunError("--address is for --executor ray; add that option, or leave out the address")
    return IN_PROCESS if jobs == 0 else Processes(jobs or 1)
