"""The command ``harness leaderboard findings``. What it needs is imported only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands.options import EntriesFolders, JsonFlag, MarkdownFlag, RunsArg, TargetOption, refuse_both


def findings_command(
    runs: RunsArg = [],  # noqa: B006 - typer copies it
    entries: EntriesFolders = [],  # noqa: B006
    published: Annotated[
        Path | None,
        typer.Option(
            "--published", help="YAML file of published figures to stand beside; default: those of arXiv 2407.18213."
        ),
    ] = None,
    target_asr: TargetOption = None,
    as_markdown: MarkdownFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Print whether the scaling study's findings hold in runs.

    The five of "Scaling Trends in Language Model Robustness", beside its own figures.

    A verdict rests on 95% intervals over seeds and examples, never on a number alone.
    """
    from leaderboard.commands.board.print_findings import findings_markdown, print_findings
    from leaderboard.commands.print_table import print_json
    from leaderboard.commands.read_given import read_given
    from leaderboard.study.findings import finding_json, study_findings
    from leaderboard.study.published import read_published

    refuse_both(as_markdown, as_json)
    beside = read_published(published)
    with read_given(runs, entries) as given:
        found = study_findings(given, target_asr)
        if as_json:
            print_json([finding_json(finding, beside) for finding in found])
        elif as_markdown:
            print(findings_markdown(found, beside))
        else:
            print_findings(found, beside)
