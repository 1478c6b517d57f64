"""The commands ``harness leaderboard pack``, ``verify`` and ``add``. What they need is imported only when they run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from harness.replay.replay import Preparer
    from harness.replay.view import ReplayView
    from leaderboard.submission.verification.report import Report

FileArg = Annotated[Path, typer.Argument(help="What `pack` wrote, or the JSON file of an entry.")]
SpecOption = Annotated[
    Path | None, typer.Option("--spec", help="A spec file of yours that the submission must be of, to the hash.")
]
ReplayOption = Annotated[
    int, typer.Option("--replay", min=0, metavar="N", help="Put N attack strings back through the victim.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="With the hash of the file, says which strings; choose one of your own.")
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", help="Where the models to replay are, or are made, a folder or a URL; default runs/NAME/artifacts."
    ),
]
EntriesOption = Annotated[Path, typer.Option("--entries", help="Folder of entries.")]


def register(board: typer.Typer) -> None:
    """Add the commands to ``harness leaderboard``."""
    board.command("pack")(pack)
    board.command("verify")(verify)
    board.command("add")(add)


def pack(
    run: Annotated[Path, typer.Argument(help="A run directory of which every cell is done.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The file; default NAME-VERSION.submission.zip here.")
    ] = None,
) -> None:
    """Make one file of a finished run, to be submitted: records, manifests, spec and hashes; no model and no code."""
    import tempfile

    from harness.errors import DataError
    from leaderboard.submission.pack import default_name, finished_run, write_submission
    from leaderboard.submission.verification.guard import inspect_guarded

    found = finished_run(run)
    path = out or Path(default_name(found))
    if path.is_dir():
        raise DataError(f"{path}: is a folder. Give --out a file.")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.absolute().parent) as work:
            new = Path(work) / path.name
            with _watched("packing", quiet=False) as seen:
                write_submission(found, new, lambda done: seen(done, len(found.cells)))
            with _watched("checking", quiet=False) as seen:
                seen_in = inspect_guarded(new, seen)
            if seen_in.problems:
                raise DataError(f"{run}: would not be verified: {seen_in.problems[0]}")
            new.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error}). Give another --out.") from None
    typer.echo(f"Wrote {path} ({path.stat().st_size:,} bytes, {seen_in.cells} cells, sha256 {seen_in.sha256})")
    for note in seen_in.notes:
        typer.echo(f"note: {note}")


def verify(
    ctx: typer.Context,
    file: FileArg,
    replay: ReplayOption = 0,
    seed: SeedOption = 0,
    spec: SpecOption = None,
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Check a submission: hashes, format, every cell of its spec, its records, its curves; with --replay its verdicts.

    Exit status 0 only when it is verified, 1 when it is not. No file runs code or takes more than a bounded amount of
    memory.
    """
    import json

    report = _report(ctx, file, replay, seed, spec, store, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1, allow_nan=False))
    else:
        from leaderboard.commands.print_table import wide_console

        report.print(wide_console())
    if not report.verified:
        raise typer.Exit(1)


def add(
    ctx: typer.Context,
    file: FileArg,
    entries: EntriesOption = Path("leaderboard/entries"),
    replay: ReplayOption = 0,
    seed: SeedOption = 0,
    spec: SpecOption = None,
    store: StoreOption = None,
) -> None:
    """Verify a submission and put it into a folder of entries: one JSON and one Parquet file, for a pull request."""
    from leaderboard.submission.entry import write_entry
    from leaderboard.submission.submission import open_submission

    report = _report(ctx, file, replay, seed, spec, store, quiet=False)
    if not report.verified:
        from rich.console import Console

        report.print(Console(stderr=True))
        raise typer.Exit(1)
    submission = open_submission(file)
    path = write_entry(submission, entries)
    typer.echo(f"Wrote {path} and {path.with_suffix('.parquet').name}")


def _report(
    ctx: typer.Context, file: Path, count: int, seed: int, spec: Path | None, store: str | None, *, quiet: bool
) -> Report:
    from leaderboard.submission.verification.verify import Replaying, verify

    registry = ctx.obj.loaded().registry
    if not count:
        with _watched("checking", quiet) as seen:
            return verify(file, registry, spec, None, seen)
    from harness.replay.view import preparer_for

    with _view(quiet) as view:

        def preparer(spec_name: str) -> Preparer:
            # By default where `harness run` of the same spec keeps its models.
            return preparer_for(registry, store or Path("runs") / spec_name / "artifacts", view)

        how = Replaying(count, seed, preparer, view.begin, lambda each: view.string(each.problem))
        return verify(file, registry, spec, how, view.checked)


def _view(quiet: bool) -> ReplayView:
    from rich.console import Console

    from harness.replay.view import ReplayView

    return ReplayView(Console(stderr=True, quiet=quiet))


def _watched(what: str, quiet: bool) -> AbstractContextManager[Any]:
    """A bar over cells on stderr, in a terminal."""
    from rich.console import Console

    from harness.replay.view import cells_bar

    console = Console(stderr=True)
    return nullcontext(lambda _done, _total: None) if quiet or not console.is_terminal else cells_bar(console, what)
