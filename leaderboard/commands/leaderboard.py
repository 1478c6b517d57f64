"""The commands ``harness leaderboard``, and where all commands are registered. What they need is imported only when
they run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leaderboard.commands.board.claim import claim_command
from leaderboard.commands.board.export import export_command
from leaderboard.commands.board.findings import findings_command
from leaderboard.commands.fit import fit_app
from leaderboard.commands.options import (
    ClaimsFolder,
    EntriesFolders,
    ErrataFile,
    JsonFlag,
    MarkdownFlag,
    RankByOption,
    RunsArg,
    TargetOption,
    VerifiedFolder,
    add_commands,
    refuse_both,
)
from leaderboard.commands.plot import plot_command
from leaderboard.commands.read_given import read_board, read_given
from leaderboard.commands.submission import add_command, pack_command, verify_command
from leaderboard.versions.compare_command import compare_command

if TYPE_CHECKING:
    from leaderboard.standings.standings import Standings


def register_commands(app: typer.Typer) -> None:
    """Add ``compare``, ``fit``, ``leaderboard`` and ``plot`` to ``app``."""
    app.add_typer(fit_app(), name="fit")
    group = typer.Typer(
        no_args_is_help=True,
        help="Show standings as a page or a table; submit and verify runs.",
    )
    add_commands(
        group,
        "harness leaderboard",
        {
            "build": (build_command, "runs/quickstart --out site"),
            "show": (show_command, "runs/quickstart"),
            "study": (study_command, "table.csv --out site"),
            "findings": (findings_command, "runs/study-miniature-rounds"),
            "transfer": (transfer_command, "runs/quickstart"),
            "attacks": (attacks_command, "runs/attacks --markdown"),
            "tuned": (tuned_command, "runs/tuned"),
            "stacks": (stacks_command, "runs/defenses"),
            "judges": (judges_command, "runs/one_judge runs/another_judge"),
            "pack": (pack_command, "runs/quickstart --out quickstart.zip"),
            "verify": (verify_command, "quickstart.zip --replay 2"),
            "add": (add_command, "quickstart.zip --entries leaderboard/entries"),
            "export": (export_command, "--entries leaderboard/entries --csv standings.csv"),
            "claim": (claim_command, "ENTRY.json strings.csv --row victim=VICTIM --by Doe"),
        },
    )
    app.add_typer(group, name="leaderboard")
    add_commands(
        app,
        "harness",
        {
            "plot": (plot_command, "runs/quickstart --out figure.pdf"),
            "compare": (compare_command, "runs/model_v1 runs/model_v2 --fail-if-worse 0.05"),
        },
    )


def build_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for the site: new, empty, or one that this command made.")],
    runs: RunsArg = [],  # noqa: B006 - typer copies it
    entries: EntriesFolders = [],  # noqa: B006
    verified: VerifiedFolder = None,
    claims: ClaimsFolder = None,
    errata: ErrataFile = None,
    target_asr: TargetOption = None,
    rank_by: RankByOption = "victim",
    prompts: Annotated[
        bool,
        typer.Option(
            "--prompts/--no-prompts",
            help="Show attack strings within their prompts. --no-prompts shows only strings and answers, for data sets "
            "whose licence forbids publishing prompts.",
        ),
    ] = True,
    forms: Annotated[
        bool,
        typer.Option("--forms", help="Show four forms of each attack's curve on the pages of victims; slow on many."),
    ] = False,
) -> None:
    """Write a static site with standings and curves. It opens from disk and needs no network."""
    from leaderboard.parallel import usable_processes
    from leaderboard.site.build import build_site

    with read_board(runs, entries, verified, claims, errata) as given:
        processes = usable_processes()
        index = build_site(
            given.runs, out, target_asr, processes, rank_by, prompts=prompts, forms=forms, others=given.others
        )
        typer.echo(f"Wrote {index}")


def study_command(
    tables: Annotated[list[Path], typer.Argument(help="Attack-scaling or offense-defense tables: CSV, TSV, Parquet.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the page: new, empty, or one that this command made.")],
    expected: Annotated[
        Path | None, typer.Option("--expected", help="JSON: table name to n_params, slope, intercept as reported.")
    ] = None,
    target_asr: Annotated[float, typer.Option("--target-asr", help="Success rate that counts as broken.")] = 0.02,
) -> None:
    """Write a page of published tables.

    Newly fitted slopes stand next to the reported ones.
    """
    from leaderboard.site.build import build_published_tables_page

    typer.echo(f"Wrote {build_published_tables_page(tables, out, expected, target_asr)}")


def show_command(
    runs: RunsArg = [],  # noqa: B006
    entries: EntriesFolders = [],  # noqa: B006
    verified: VerifiedFolder = None,
    claims: ClaimsFolder = None,
    errata: ErrataFile = None,
    target_asr: TargetOption = None,
    rank_by: RankByOption = "victim",
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Tables of this task alone, by its label. Repeatable.")
    ] = None,
    as_markdown: MarkdownFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Print the standings.

    With --json, everything that the page's `data.json` says about each table.
    """
    from leaderboard.commands.print_standings import print_standings, standings_markdown
    from leaderboard.commands.print_table import print_json
    from leaderboard.parallel import usable_processes
    from leaderboard.site.site_data import payload
    from leaderboard.standings.standings import standings

    refuse_both(as_markdown, as_json)
    with read_board(runs, entries, verified, claims, errata) as given:
        tables = standings(given.runs, target_asr, usable_processes(), rank_by, given.others)
        tables = _of_tasks(tables, task or [])
        if as_json:
            print_json([{**section} for section in payload(given.runs, tables)["sections"]])
        elif as_markdown:
            print(standings_markdown(tables))
        else:
            print_standings(tables)


def _of_tasks(tables: list[Standings], tasks: list[str]) -> list[Standings]:
    from harness.errors import DataError, did_you_mean

    found = list(dict.fromkeys(table.section.scope.task for table in tables))
    for task in tasks:
        if task not in found:
            raise DataError(
                f"--task {task}: no run is of that task{did_you_mean(task, found)}. Give {' or '.join(found)}."
            )
    return [table for table in tables if not tasks or table.section.scope.task in tasks]


def transfer_command(
    runs: RunsArg = [],  # noqa: B006
    entries: EntriesFolders = [],  # noqa: B006
    as_json: JsonFlag = False,
) -> None:
    """Print what carries over to other attacks and victims.

    How defenses do against attacks that they were not trained against, and how attack strings do on victims that they
    were not found on.
    """
    from leaderboard.commands.print_table import print_json
    from leaderboard.commands.print_transfer import print_transfer
    from leaderboard.standings.transfer import transfer_matrices

    with read_given(runs, entries) as given:
        matrices = transfer_matrices(given)
        if as_json:
            print_json([matrix.to_json() for matrix in matrices])
        else:
            print_transfer(matrices)


def attacks_command(
    runs: RunsArg = [],  # noqa: B006
    entries: EntriesFolders = [],  # noqa: B006
    compute: Annotated[
        float | None,
        typer.Option("--compute", help="FLOPs (nominal) per attacked example; default: the smallest full budget."),
    ] = None,
    queries: Annotated[float | None, typer.Option("--queries", help="Queries per attacked example instead.")] = None,
    defense: Annotated[str, typer.Option("--defense", help="Label of the defense attacked.")] = "none",
    as_markdown: MarkdownFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Print attack × task and victim: ASR at equal compute."""
    from harness.errors import DataError
    from leaderboard.commands.attacks.print_attack_tables import attack_tables_markdown, print_attack_tables
    from leaderboard.commands.print_table import print_json
    from leaderboard.standings.fixed_compute import attack_tables

    if compute is not None and queries is not None:
        raise DataError("--compute and --queries are both given. Give one of them.")
    refuse_both(as_markdown, as_json)
    with read_given(runs, entries) as runs_read:
        if queries is None:
            tables = attack_tables(runs_read, compute, "compute", defense)
        else:
            tables = attack_tables(runs_read, queries, "queries", defense)
        if as_json:
            print_json([entry for table in tables for entry in table.to_json()])
        elif as_markdown:
            print(attack_tables_markdown(tables))
        else:
            print_attack_tables(tables)


def tuned_command(
    runs: RunsArg = [],  # noqa: B006 - typer copies it
    entries: EntriesFolders = [],  # noqa: B006
    as_markdown: MarkdownFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Print what tuning an attack gained.

    Before and after, at equal total compute, including the search.
    """
    from leaderboard.commands.attacks.print_tuned import against_untuned_markdown, print_against_untuned
    from leaderboard.commands.print_table import print_json
    from leaderboard.tuned.against_untuned import against_untuned

    refuse_both(as_markdown, as_json)
    with read_given(runs, entries) as given:
        found = against_untuned(given)
        if as_json:
            print_json([one.to_json() for one in found])
        elif as_markdown:
            print(against_untuned_markdown(found))
        else:
            print_against_untuned(found)


def stacks_command(
    runs: RunsArg = [],  # noqa: B006
    entries: EntriesFolders = [],  # noqa: B006
    as_json: JsonFlag = False,
) -> None:
    """Print what stacks of defenses add to their parts.

    For each whether its effect is above or below the product of its parts'.
    """
    from leaderboard.commands.print_stacks import print_stacks
    from leaderboard.commands.print_table import print_json
    from leaderboard.standings.stack_effects import stack_effects

    with read_given(runs, entries) as given:
        effects = stack_effects(given)
        if as_json:
            print_json([effect.to_json() for effect in effects])
        else:
            print_stacks(effects)


def judges_command(
    runs: RunsArg = [],  # noqa: B006
    entries: EntriesFolders = [],  # noqa: B006
    target_asr: TargetOption = None,
    rank_by: RankByOption = "reference",
    as_json: JsonFlag = False,
) -> None:
    """Print how ranks change between judges.

    Give a run, and the one that `harness run OTHER_SPEC --from RUN` made.
    """
    from leaderboard.commands.print_judges import print_judge_comparisons
    from leaderboard.commands.print_table import print_json
    from leaderboard.parallel import usable_processes
    from leaderboard.site.texts.judge_text import comparison_json
    from leaderboard.standings.ranks.between_judges import require_comparisons
    from leaderboard.standings.standings import standings

    with read_given(runs, entries) as given:
        comparisons = require_comparisons(standings(given, target_asr, usable_processes(), rank_by))
        if as_json:
            print_json([{**comparison_json(found)} for found in comparisons])
        else:
            print_judge_comparisons(comparisons)
