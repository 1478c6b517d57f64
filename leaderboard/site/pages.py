"""The pages of the site: standings, all tasks, what it is about, one per victim and defense, and side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.records.read import Run
from harness.records.visible_text import visible
from leaderboard import table_numbers as number_format
from leaderboard.fit.compared.forms.parameters import parameter_text
from leaderboard.site.contents.compared_columns import compared_lines
from leaderboard.site.contents.plugin_pages import attack_names, defense_names, plugin_pages
from leaderboard.site.contents.plugin_texts import plugin_texts
from leaderboard.site.data_format import SectionJson, SiteJson, StandingJson
from leaderboard.site.defended_victims import (
    DefendedVictim,
    DefendedVictimPage,
    defended_victim_page,
    defended_victims,
)
from leaderboard.site.page_ids import attack_id, defense_id
from leaderboard.site.provenance import SpecFile, bibtex, command_again, sources, spec_files
from leaderboard.site.published_tables import PublishedTable
from leaderboard.site.texts import best_text, judge_text, others_text, standing_text, utility_text
from leaderboard.site.texts.terms import term_anchor, term_heading, term_text
from leaderboard.site.texts.tuned_text import tuned_text
from leaderboard.standings.ranks.best_defense import best_defenses
from leaderboard.standings.ranks.between_judges import JudgeComparison
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings

PLOT_SCRIPTS = (
    "data.js",
    "vega.js",
    "numbers.js",
    "plot_style.js",
    "plot_attack.js",
    "plot_offense.js",
    "plot_rounds.js",
    "plot_pareto.js",
    "figure.js",
)
PAGE_SCRIPTS = (*PLOT_SCRIPTS, "address.js", "tip.js")
_BETWEEN_CELLS = re.compile(r"(<(?:/t[hdr]|tr|thead|/thead|tbody|/tbody)(?: [^>]*)?>)\s+(?=<)")
_STANDING_TEXTS = (
    standing_text.answered_heading,
    standing_text.answered_text,
    standing_text.clean_text,
    standing_text.asr_text,
    judge_text.corrects_asr,
    judge_text.corrected_text,
    utility_text.shows_under_attack,
    utility_text.clean_utility_text,
    utility_text.under_attack_text,
    utility_text.shows_utility,
    utility_text.utility_text,
    standing_text.cost_to_break_text,
    standing_text.examples_text,
    standing_text.defense_compute_text,
    standing_text.overhead_text,
    standing_text.offense_defense_text,
    standing_text.rank_text,
)
_BEST_TEXTS = (best_defenses, best_text.best_name, best_text.best_text, best_text.largest_text)
_JUDGE_TEXTS = (judge_text.judged_text, judge_text.agreement_text, judge_text.swap_text, judge_text.ties_text)


@dataclass(frozen=True)
class Site:
    """What the pages are made of: ``data`` is the payload, its sections in the order of ``tables``; ``prompts`` says
    whether the pages show the prompts that attack strings stand in; ``judges``: the same answers under several;
    ``forms``: whether they show forms of curves.
    """

    runs: Sequence[Run]
    tables: Sequence[Standings]
    data: SiteJson
    prompts: bool = True
    judges: Sequence[JudgeComparison] = ()
    forms: bool = False

    @property
    def sections(self) -> list[tuple[SectionJson, Standings]]:
        """Each section with its table."""
        return list(zip(self.data["sections"], self.tables, strict=True))


def write_pages(folder: Path, site: Site) -> None:
    """All pages of ``site`` into ``folder``."""
    env = _environment()
    specs = spec_files(site.runs)
    for name, text in chain.from_iterable(spec.files.items() for spec in specs.values()):
        (folder / "specs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "specs" / name).write_text(visible(text), encoding="utf-8")
    for name in ("entries", "attacks", "defenses"):
        (folder / name).mkdir()
    index = env.get_template("index.html.j2").render(
        root="",
        here="standings",
        scripts=[*PAGE_SCRIPTS, "table.js", "board.js"],
        data=site.data,
        sections=site.sections,
        judges=site.judges,
        attacks=[(attack, attack_id(attack)) for attack in attack_names(site.sections)],
        defenses=[(defense, defense_id(defense)) for defense in defense_names(site.sections)],
        specs=list(specs.values()),
    )
    _write(folder / "index.html", index)
    about = env.get_template("about.html.j2").render(
        root="",
        scripts=["address.js", "tip.js"],
        data=site.data,
        specs=list(specs.values()),
        bibtex=bibtex(site.runs),
        tells_utility=any(utility_text.shows_utility(table) for table in site.tables),
        tells_origin=any(row.evidence for table in site.tables for row in table.rows),
    )
    _write(folder / "about.html", about)
    _write(folder / "tasks.html", _tasks_page(env, site))
    compare = env.get_template("compare.html.j2").render(
        root="", scripts=[*PAGE_SCRIPTS, "compare.js"], sections=site.sections
    )
    _write(folder / "compare.html", compare)
    for victim_id, html in _defended_victim_pages(env, site, specs).items():
        _write(folder / "entries" / f"{victim_id}.html", html)
    for address, html in plugin_pages(env, PAGE_SCRIPTS, site.sections, plugin_texts()).items():
        _write(folder / address, html)


def write_published_tables_page(folder: Path, tables: Sequence[PublishedTable], target: float) -> None:
    """The page of published tables into ``folder``."""
    template = _environment().get_template("published_tables.html.j2")
    html = template.render(root="", scripts=[*PLOT_SCRIPTS, "page.js"], tables=tables, target=target)
    (folder / "index.html").write_text(visible(html), encoding="utf-8")


def _write(path: Path, html: str) -> None:
    """Without the indentation of the templates, which is a fifth of a page, and without space between the cells of
    tables, which is not shown; what is in ``pre`` stays as it is.
    """
    parts = re.split(r"(<pre.*?</pre>)", html, flags=re.DOTALL)
    parts[::2] = [_BETWEEN_CELLS.sub(r"\1", re.sub(r"\n\s+", "\n", part)) for part in parts[::2]]
    path.write_text(visible("".join(parts)), encoding="utf-8")


def _environment() -> Environment:
    """Templates, with all text escaped, and the texts of a standing."""
    env = Environment(
        loader=PackageLoader("leaderboard.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals |= {"trained_against_text": standing_text.trained_against_text, "cost_sort_key": cost_sort_key}
    env.globals |= {"missing_text": standing_text.missing_text, "rank_rule_text": standing_text.rank_rule_text}
    env.globals |= {text.__name__: text for text in (*_JUDGE_TEXTS, *_BEST_TEXTS)} | {
        "entry_of": entry_of,
        "compared_lines": compared_lines,
    }
    env.globals["answers_text"] = standing_text.answers_text
    env.globals |= {
        "tuned_text": tuned_text,
        "term_text": term_text,
        "term_anchor": term_anchor,
        "term_heading": term_heading,
        "defense_id": defense_id,
    }
    env.globals["direction_warning"] = standing_text.direction_warning
    env.globals["chance_warning"] = standing_text.chance_warning
    env.filters["rate_text"] = standing_text.rate_text
    env.filters["parameter_text"] = parameter_text
    env.globals |= {text.__name__: text for text in _STANDING_TEXTS}
    env.globals["asr_text"] = others_text.asr_with_claims
    env.globals |= {"cost_to_break_text": others_text.cost_with_claims, "rank_text": others_text.rank_with_claims}
    env.globals["others_notes"] = others_text.others_notes
    env.filters |= {
        "parameter_count": number_format.parameter_count,
        "signed": number_format.signed,
        "percent": number_format.percent,
        "target_percent": number_format.target_percent,
        "breaks": breaks,
        "linked": linked,
    }
    return env


def entry_of(section: SectionJson, table: Standings, row: Standing) -> str:
    """The id of a row's page."""
    return section["rows"][next(at for at, other in enumerate(table.rows) if other is row)]["entry"]


def breaks(text: str) -> Markup:
    """Escaped, and a line may break after an underscore: labels are long."""
    return Markup(str(escape(text)).replace("_", "_<wbr>"))


def _defended_victim_pages(env: Environment, site: Site, specs: Mapping[str, SpecFile]) -> dict[str, str]:
    """Id to HTML."""
    template = env.get_template("defended_victim.html.j2")
    victims = [
        (section, table, victim)
        for section, table in site.sections
        for victim in defended_victims(section["id"], table)
    ]
    source_of = sources(site.runs)
    pages_of: dict[tuple[str, str, str], list[tuple[str, DefendedVictim]]] = {}
    for section, _, victim in victims:
        pages_of.setdefault(victim.labels, []).append((f"{section['task']} · {section['threat']}", victim))
    html = {}
    for section, table, victim in victims:
        row_of = {row["id"]: row for row in section["rows"]}
        page = defended_victim_page(victim, prompts=site.prompts, forms=site.forms)
        html[victim.id] = template.render(
            root="../",
            scripts=[*PAGE_SCRIPTS, "page.js"],
            section=section,
            table=table,
            standing=victim.last,
            standings=victim.rows,
            rows=[row_of[row_id] for row_id in page.row_ids],
            page=page,
            spec=specs.get(section["spec_hash"]),
            again=_again(specs.get(section["spec_hash"]), section, victim, page),
            sources=list(dict.fromkeys(source_of[record.key] for record in victim.records if record.key in source_of)),
            address=_address(section),
            also=[(name, other.id) for name, other in pages_of[victim.labels] if other.id != victim.id],
        )
    return html


def _again(spec: SpecFile | None, section: SectionJson, victim: DefendedVictim, page: DefendedVictimPage) -> str:
    """The command that makes the numbers of a page again; "" without a spec."""
    if spec is None:
        return ""
    rows = {"task": section["task"], "threat": section["threat"], "victim": victim.last.victim}
    command = command_again(spec, rows | {"defense": victim.last.defense}, victim.records)
    return "\n".join([command, *(f"# {chat.comment}" for chat in page.chats)])


@dataclass(frozen=True)
class VictimOverTasks:
    """A victim on the page of all tasks.

    Attributes:
        columns: of the site's sections, the indices of those that it is in.
        rows: each defense, with its last round in each of these sections; None where it is not in it.
    """

    name: str
    family: str
    n_params: int | None
    columns: list[int]
    rows: list[tuple[str, list[tuple[StandingJson, Standing] | None]]]


def victims_over_tasks(sections: Sequence[tuple[SectionJson, Standings]]) -> list[VictimOverTasks]:
    """The largest first; defenses by their place in the first table that they are in, hardest to break first."""
    found: dict[tuple[str, str], dict[str, dict[int, tuple[StandingJson, Standing]]]] = {}
    for at, (section, table) in enumerate(sections):
        for row, standing in zip(section["rows"], table.rows, strict=True):
            cells = found.setdefault((row["family"], row["victim"]), {}).setdefault(row["defense"], {})
            if at not in cells or (row["round"] or 0) > (cells[at][0]["round"] or 0):
                cells[at] = row, standing
    victims = []
    for (family, name), of_defense in found.items():
        columns = sorted({at for cells in of_defense.values() for at in cells})
        rows = [(defense, [cells.get(at) for at in columns]) for defense, cells in of_defense.items()]
        rows.sort(key=lambda row: _place(row[1]))
        sizes = [row["n_params"] for cells in of_defense.values() for row, _ in cells.values()]
        victims.append(VictimOverTasks(name, family, max(filter(None, sizes), default=None), columns, rows))
    return sorted(victims, key=lambda victim: (-(victim.n_params or 0), victim.family, victim.name))


def _place(cells: Sequence[tuple[StandingJson, Standing] | None]) -> tuple[int, int, float]:
    """Sorts the rows of a victim: which table comes first, without a rank last, then by what breaking costs."""
    at, (row, standing) = next((at, cell) for at, cell in enumerate(cells) if cell is not None)
    cost = standing.cost_to_break
    if cost is None or (cost.compute is None and cost.reached):
        return at, 2, 0.0
    return at, 0 if row["rank"] else 1, -(cost.compute if cost.compute is not None else float("inf"))


def _tasks_page(env: Environment, site: Site) -> str:
    sections = site.sections
    return env.get_template("tasks.html.j2").render(
        root="",
        here="tasks",
        scripts=["address.js", "tip.js"],
        sections=sections,
        victims=victims_over_tasks(sections),
        judges=len({section["judge"] for section, _ in sections}),
        addresses=[_address(section) for section, _ in sections],
    )


def _address(section: SectionJson) -> str:
    """The view of a section, behind the address of the standings."""
    return urlencode({"task": section["task"], "threat": section["threat"]})


def linked(text: str) -> Markup:
    """Escaped, with arXiv numbers as links."""
    link = r'<a href="https://arxiv.org/abs/\2">\1\2</a>'
    return Markup(re.sub(r"(arXiv[: ])([0-9]{4}\.[0-9]{4,5})", link, str(escape(text))))


def cost_sort_key(row: StandingJson, rank_unit: str) -> float | str:
    """What the column of costs to break is sorted by: the unit of ranks. "" where that is unknown, which goes last."""
    cost = row["breaking"]
    value = row.get("breaking_of_reference") if rank_unit == "reference" else cost and cost["compute"]
    return "" if value is None else value
