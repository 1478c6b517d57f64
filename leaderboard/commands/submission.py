"""The commands ``harness leaderboard pack``, ``verify`` and ``add``. What they need is imported only when they run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leaderboard.commands.options import LinkOption, PaperOption

if TYPE_CHECKING:
    from leaderboard.submission.verification.report import Report

FileArg = Annotated[Path, typer.Argument(help="What `pack` wrote, or the JSON file of an entry.")]
SpecOption = Annotated[
    Path | None, typer.Option("--spec", help="A spec file of yours; the submission must be of exactly this spec.")
]
ReplayOption = Annotated[
    int,
    typer.Option(
        "--replay",
        min=0,
        metavar="N",
        help="Replay N attack strings of each row of the standings through the victim again.",
    ),
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
VerifiedOption = Annotated[
    Path | None,
    typer.Option(
        "--verified",
        help="A folder of yours, where the result of the verification is kept for `build --verified`.",
    ),
]
EntriesOption = Annotated[Path, typer.Option("--entries", help="Folder of entries.")]


def pack_command(
    run: Annotated[Path, typer.Argument(help="A run directory in which every cell is done.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The file; default NAME-VERSION.submission.zip here.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who submits: names, a group. Stands on the page.")] = "",
    paper: PaperOption = "",
    link: LinkOption = "",
    tries: Annotated[
        int | None,
        typer.Option(
            "--tries",
            min=1,
            help="How many runs of this spec on these victims and defenses you made, this one included.",
        ),
    ] = None,
    registered: Annotated[
        str,
        typer.Option(
            "--registered",
            metavar="'WHERE DATE'",
            help="Where the spec's hash was registered before the run, and when: an https address or a file of the "
            "leaderboard's repository, and a date, such as 'registered/quickstart.txt 2026-01-31'.",
        ),
    ] = "",
) -> None:
    """Pack a finished run into one file to submit.

    Records, manifests, spec and hashes; no model and no code.
    """
    import tempfile

    from harness.errors import DataError
    from leaderboard.submission.file_format.manifest import check_registered
    from leaderboard.submission.pack import default_name, finished_run, write_submission
    from leaderboard.submission.verification.sandbox import inspect_in_sandbox

    check_registered(registered)
    finished = finished_run(run)
    path = out or Path(default_name(finished))
    if path.is_dir():
        raise DataError(f"{path}: this is a folder. Give --out a file.")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.absolute().parent) as work:
            packed = Path(work) / path.name
            with _progress_bar("packing", quiet=False) as progress:
                claims = {"by": by, "paper": paper, "link": link, "tries": tries, "registered": registered}
                write_submission(finished, packed, lambda done: progress(done, len(finished.cells)), claims)
            with _progress_bar("checking", quiet=False) as progress:
                inspection = inspect_in_sandbox(packed, progress)
            if inspection.problems:
                raise DataError(f"{run}: would not be verified: {inspection.problems[0]}")
            packed.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error}). Give another --out.") from None
    size = path.stat().st_size
    cells = f"{inspection.cells} {'cell' if inspection.cells == 1 else 'cells'}"
    typer.echo(f"Wrote {path} ({size:,} bytes, {cells}, sha256 {inspection.sha256})")
    for note in inspection.notes:
        typer.echo(f"note: {note}")


def verify_command(
    ctx: typer.Context,
    file: FileArg,
    replay: ReplayOption = 0,
    seed: SeedOption = 0,
    spec: SpecOption = None,
    store: StoreOption = None,
    verified: VerifiedOption = None,
    entries: Annotated[
        Path | None,
        typer.Option(
            "--entries",
            help="Of a claim: the folder with the entry that it is made against; default the folder entries beside the "
            "claim's.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Check a submission, an entry or a claim.

    Hashes, format, every cell of its spec, its records, its curves; with --replay its verdicts.

    Exit status 0 if it is verified, otherwise 1. No submitted file can run code or use more than a limited amount of
    memory.
    """
    import json

    report = _verify(ctx, file, replay, seed, spec, store, quiet=as_json, entries=entries)
    if as_json:
        # As ASCII: nothing of a stranger's file reaches a terminal as it is.
        typer.echo(json.dumps(report.to_json(), indent=1, allow_nan=False))
    else:
        from leaderboard.commands.print_report import print_report
        from leaderboard.commands.print_table import wide_console

        print_report(report, wide_console())
    if not report.verified:
        raise typer.Exit(1)
    if verified is not None:
        from leaderboard.submission.verification_record import write_verification

        typer.echo(f"Wrote {write_verification(report.record(report.read_sha256), verified)}", err=as_json)


def add_command(
    ctx: typer.Context,
    file: FileArg,
    entries: EntriesOption = Path("leaderboard/entries"),
    replay: ReplayOption = 0,
    seed: SeedOption = 0,
    spec: SpecOption = None,
    store: StoreOption = None,
    verified: VerifiedOption = None,
) -> None:
    """Verify a submission and add it to a folder of entries.

    One JSON and one Parquet file, for a pull request.
    """
    from harness.errors import DataError
    from leaderboard.submission.leaderboard_entry import write_entry
    from leaderboard.submission.submission import open_submission
    from leaderboard.submission.verification_record import write_verification

    report = _verify(ctx, file, replay, seed, spec, store, quiet=False, written_anew=True)
    if not report.verified:
        from rich.console import Console

        from leaderboard.commands.print_report import print_report

        print_report(report, Console(stderr=True))
        raise typer.Exit(1)
    submission = open_submission(file)
    if submission.claim is not None:
        raise DataError(f"{file}: is a claim, not a submission. Put both of its files into your folder of claims.")
    if submission.read_sha256 != report.read_sha256:
        raise DataError(f"{file}: was changed while it was read")
    path = write_entry(submission, entries)
    typer.echo(f"Wrote {path} and {path.with_suffix('.parquet').name}")
    if verified is not None:
        record = report.record(open_submission(path).read_sha256)
        typer.echo(f"Wrote {write_verification(record, verified)}")


def _verify(
    ctx: typer.Context,
    file: Path,
    count: int,
    seed: int,
    spec: Path | None,
    store: str | None,
    *,
    quiet: bool,
    written_anew: bool = False,
    entries: Path | None = None,
) -> Report:
    from leaderboard.submission.verification.replay_check import ReplayOptions
    from leaderboard.submission.verification.verify import verify_submission

    registry = ctx.obj.loaded().registry
    if not count:
        with _progress_bar("checking", quiet) as progress:
            return verify_submission(file, registry, spec, None, progress, written_anew=written_anew, entries=entries)
    from rich.console import Console

    from harness.replay.replay_progress import ReplayView

    with ReplayView(Console(stderr=True, quiet=quiet)) as view:
        options = ReplayOptions(count, seed, store, view)
        return verify_submission(
            file, registry, spec, options, view.checked, written_anew=written_anew, entries=entries
        )


def _progress_bar(description: str, quiet: bool) -> AbstractContextManager[Any]:
    """A bar over cells on stderr, in a terminal."""
    from rich.console import Console

    from harness.replay.replay_progress import cells_bar

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        return nullcontext(lambda _done, _total: None)
    return cells_bar(console, description)
