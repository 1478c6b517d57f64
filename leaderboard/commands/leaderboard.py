"""The commands ``harness leaderboard``, and where all commands are registered. What they need is imported only when
they run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands.fit import fit_app
from leaderboard.commands.options import EntriesFolders, JsonFlag, RankByOption, RunsArg, TargetOption, VerifiedFolder
from leaderboard.commands.plot import plot_command
from leaderboard.commands.read_given import read_given
from leaderboard.commands.submission import add_command, pack_command, verify_command
from leaderboard.versions.compare_command import compare_command


def register_commands(app: typer.Typer) -> None:
    """Add ``compare``, ``fit``, ``leaderboard`` and ``plot`` to ``app``."""
    app.add_typer(fit_app(), name="fit")
    group = typer.Typer(no_args_is_help=True, help="Standings of one or more runs, as a page or in the terminal.")
    group.command("build")(build_command)
    group.command("show")(show_command)
    group.command("study")(study_command)
    group.command("transfer")(transfer_command)
    group.command("attacks")(attacks_command)
    group.command("tuned")(tuned_command)
    group.command("stacks")(stacks_command)
    group.command("judges")(judges_command)
    group.command("pack")(pack_command)
    group.command("verify")(verify_command)
    group.command("add")(add_command)
    app.add_typer(group, name="leaderboard")
    app.command("plot")(plot_command)
    app.command("compare")(compare_command)


def build_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for the site: new, empty, or one that this command made.")],
    runs: RunsArg = [],  # noqa: B006 - typer copies it
    entries: EntriesFolders = [],  # noqa: B006
    verified: VerifiedFolder = None,
    target_asr: TargetOption = None,
    rank_by: RankByOption = "victim",
    prompts: Annotated[
        bool,
        typer.Option(
            "--prompts/--no-prompts",
            help="Show attack strings in the prompts that they stand in; without, the strings and answers alone, where "
            "a data set's licence keeps its prompts from being published.",
        ),
    ] = True,
    forms: Annotated[
        bool,
        typer.Option("--forms", help="Show four forms of each attack's curve on the pages of victims; slow on many."),
    ] = False,
) -> None:
    """Write a static site: standings and curves, opens from disk, needs no network."""
    from leaderboard.parallel import usable_processes
    from leaderboard.site.build import build_site

    with read_given(runs, entries, verified) as given:
        index = build_site(given, out, target_asr, usable_processes(), rank_by, prompts=prompts, forms=forms)
        typer.echo(f"Wrote {index}")


def study_command(
    tables: Annotated[list[Path], typer.Argument(help="Attack-scaling or offense-defense tables: CSV, TSV, Parquet.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the page: new, empty, or one that this command made.")],
    expected: Annotated[
        Path | None, typer.Option("--expected", help="JSON: table name to n_params, slope, intercept as reported.")
    ] = None,
    target_asr: Annotated[float, typer.Option("--target-asr", help="Success rate that counts as broken.")] = 0.02,
) -> None:
    """Write a page of published tables, with slopes fitted anew beside those reported."""
    from leaderboard.site.build import build_published_tables_page

    typer.echo(f"Wrote {build_published_tables_page(tables, out, expected, target_asr)}")


def show_command(
    runs: RunsArg = [],  # noqa: B006
    entries: EntriesFolders = [],  # noqa: B006
    target_asr: TargetOption = None,
    rank_by: RankByOption = "victim",
    as_json: JsonFlag = False,
) -> None:
    """Print the standings, as JSON with all that the page's `data.json` says of each table."""
    from leaderboard.commands.print_standings import print_standings
    from leaderboard.commands.print_table import print_json
    from leaderboard.parallel import usable_processes
    from leaderboard.site.site_data import payload
    from leaderboard.standings.standings import standings

    with read_given(runs, entries) as given:
        tables = standings(given, target_asr, usable_processes(), rank_by)
        if as_json:
            print_json([{**section} for section in payload(given, tables)["sections"]])
        else:
            print_standings(tables)


def transfer_command(
    runs: RunsArg = [],  # noqa: B006
    entries: EntriesFolders = [],  # noqa: B006
    as_json: JsonFlag = False,
) -> None:
    """Print how defenses hold against attacks they were not trained against, and strings on victims they were not found
    on.
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
        typer.Option("--compute", help="FLOPs (nominal) per attacked example; left out: the smallest full budget."),
    ] = None,
    queries: Annotated[float | None, typer.Option("--queries", help="Queries per attacked example instead.")] = None,
    defense: Annotated[str, typer.Option("--defense", help="Label of the defense attacked.")] = "none",
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print attack × task and victim: ASR at equal compute."""
    from harness.errors import DataError
    from leaderboard.commands.attacks.print_attack_tables import attack_tables_markdown, print_attack_tables
    from leaderboard.commands.print_table import print_json
    from leaderboard.standings.fixed_compute import attack_tables

    if compute is not None and queries is not None:
        raise DataError("--compute and --queries are both given. Give one of them.")
    if as_markdown and as_json:
        raise DataError("--markdown and --json are both given. Give one of them.")
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
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print what tuning an attack gained: as tuned against as it was, at equal total compute, the search included."""
    from harness.errors import DataError
    from leaderboard.commands.attacks.print_tuned import against_untuned_markdown, print_against_untuned
    from leaderboard.commands.print_table import print_json
    from leaderboard.tuned.against_untuned import against_untuned

    if as_markdown and as_json:
        raise DataError("--markdown and --json are both given. Give one of them.")
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
    """Print for each stack of defenses whether its effect is above or below the product of its parts'."""
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
    """Print how ranks change between judges: of a run, and of what `harness run OTHER_SPEC --from RUN` made of it."""
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
