"""From runs to their site, and from published tables to their page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import DataError, did_you_mean
from harness.records.read import Run
from leaderboard.others.of_rows import Others
from leaderboard.site.downloads.standings import write_downloads
from leaderboard.site.downloads.strings import write_strings
from leaderboard.site.pages import Site, write_pages, write_published_tables_page
from leaderboard.site.published_tables import published_table, read_reported_fits
from leaderboard.site.site_data import payload
from leaderboard.site.site_folder import check_replaceable, write_site_folder
from leaderboard.standings.ranks.between_judges import judge_comparisons
from leaderboard.standings.ranks.comparable import RankUnit
from leaderboard.standings.standings import standings
from leaderboard.standings.transfer import transfer_matrices


def build_site(
    runs: Sequence[Run],
    out: str | Path,
    target: float | None = None,
    processes: int = 1,
    rank_unit: RankUnit = "victim",
    *,
    prompts: bool = True,
    forms: bool = False,
    others: Others | None = None,
) -> Path:
    """Write the site of ``runs`` to folder ``out``, all or nothing, and return its index page.

    Args:
        runs: run directories, read.
        out: a new or empty folder, or a site that this function made and nobody added to.
        target: attack success rate that counts as broken; each spec's own when None.
        processes: how many may share the work of many cells; above 1, the calling script must be one that can be
            imported (``if __name__ == "__main__":``).
        rank_unit: what is ranked, and in what; see `standings`.
        prompts: whether pages and downloads have the prompts that attack strings stand in, where the records hold them.
        others: what others say of the rows: claims, the same cells run again, errata.
        forms: whether the pages of victims show four forms of each attack's curve, which takes a second for each.

    Raises:
        DataError: ``out`` holds something else, cannot be written, or the runs have no finished cell.
    """
    # A link is followed: what is replaced is the folder, not the link.
    folder = Path(out).resolve()
    check_replaceable(folder)
    tables = standings(runs, target, processes, rank_unit, others)
    if not tables:
        raise DataError("Not enough data: the runs have no finished cell. See `harness status RUN`.")
    judges = judge_comparisons(tables)
    site = Site(runs, tables, payload(runs, tables, transfer_matrices(runs), judges), prompts, judges, forms)

    def write(new: Path) -> None:
        write_downloads(new / "downloads", site.data)
        write_strings(new / "downloads" / "strings.parquet", site.sections, prompts=prompts)
        write_pages(new, site)

    return write_site_folder(folder, site.data, write)


def build_published_tables_page(
    paths: Sequence[Path], out: Path, reported: Path | None = None, target: float = 0.02
) -> Path:
    """Write the page of the tables in ``paths`` to folder ``out``, all or nothing, and return its path.

    Args:
        paths: CSV, TSV or Parquet, attack-scaling or offense-defense.
        out: a new or empty folder, or one that this function made.
        reported: JSON file: table name to a list of n_params, slope and intercept, shown next to ours.
        target: attack success rate that counts as broken.

    Raises:
        DataError: a file that cannot be read, or ``out`` holds something else.
    """
    reported_fits = read_reported_fits(reported)
    if reported_fits and not any(path.name in reported_fits for path in paths):
        near = did_you_mean(paths[0].name, reported_fits)
        raise DataError(f"{reported}: says nothing about {paths[0].name}{near}. Name its fits after the tables' files.")
    tables = [published_table(path, reported_fits, target) for path in paths]
    data = {
        "format": 1,
        "sections": [table.section for table in tables],
        "fits": {table.name: [comparison.to_json() for comparison in table.comparisons] for table in tables},
    }
    return write_site_folder(out.resolve(), data, lambda new: write_published_tables_page(new, tables, target))
