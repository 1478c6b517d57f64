"""The pages of the site: standings, one per victim and defense, one per attack, and the side-by-side view."""

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
from leaderboard.site.data_format import SectionJson, SiteJson, StandingJson
from leaderboard.site.defended_victims import (
    AttackLine,
    DefendedVictim,
    attack_line,
    defended_victim_page,
    defended_victims,
)
from leaderboard.site.page_ids import attack_id
from leaderboard.site.provenance import SpecFile, plugins_used, spec_files
from leaderboard.site.published_tables import PublishedTable
from leaderboard.site.texts import judge_text, standing_text, utility_text
from leaderboard.site.texts.tuned_text import tuned_text
from leaderboard.standings.ranks.between_judges import JudgeComparison
from leaderboard.standings.standings import Standings

PLOT_SCRIPTS = (
    "data.js",
    "vega.js",
    "plot_style.js",
    "plot_attack.js",
    "plot_offense.js",
    "plot_rounds.js",
    "plot_pareto.js",
    "figure.js",
)
MAX_DRAWN = 10  # rows drawn at first on an attack's page
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


@dataclass(frozen=True)
class AttackSection:
    """A section on an attack's page: its rows that were attacked so, and which of them are drawn at first."""

    section: SectionJson
    lines: Sequence[tuple[StandingJson, AttackLine]]
    drawn: Sequence[str]


def write_pages(folder: Path, site: Site) -> None:
    """All pages of ``site`` into ``folder``."""
    env = _environment()
    specs = spec_files(site.runs)
    for name, text in chain.from_iterable(spec.files.items() for spec in specs.values()):
        (folder / "specs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "specs" / name).write_text(visible(text), encoding="utf-8")
    for name in ("entries", "attacks"):
        (folder / name).mkdir()
    attacks = sorted(
        {curve["attack"] for section in site.data["sections"] for row in section["rows"] for curve in row["curves"]}
    )
    index = env.get_template("index.html.j2").render(
        root="",
        scripts=[*PLOT_SCRIPTS, "address.js", "table.js", "board.js"],
        data=site.data,
        sections=site.sections,
        judges=site.judges,
        attacks=[(attack, attack_id(attack)) for attack in attacks],
        specs=list(specs.values()),
    )
    _write(folder / "index.html", index)
    compare = env.get_template("compare.html.j2").render(root="", scripts=[*PLOT_SCRIPTS, "address.js", "compare.js"])
    _write(folder / "compare.html", compare)
    for victim_id, html in _defended_victim_pages(env, site, specs).items():
        _write(folder / "entries" / f"{victim_id}.html", html)
    for attack in attacks:
        _write(folder / "attacks" / f"{attack_id(attack)}.html", _attack_page(env, site, attack))


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
    env.globals |= {text.__name__: text for text in _JUDGE_TEXTS}
    env.globals["answers_text"] = standing_text.answers_text
    env.globals["tuned_text"] = tuned_text
    env.globals["direction_warning"] = standing_text.direction_warning
    env.filters["rate_text"] = standing_text.rate_text
    env.filters["parameter_text"] = parameter_text
    env.globals |= {text.__name__: text for text in _STANDING_TEXTS}
    env.filters |= {
        "parameter_count": number_format.parameter_count,
        "signed": number_format.signed,
        "percent": number_format.percent,
        "breaks": breaks,
    }
    return env


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
    pages_of: dict[tuple[str, str, str], list[tuple[str, DefendedVictim]]] = {}
    for section, _, victim in victims:
        pages_of.setdefault(victim.labels, []).append((f"{section['task']} · {section['threat']}", victim))
    html = {}
    for section, table, victim in victims:
        row_of = {row["id"]: row for row in section["rows"]}
        page = defended_victim_page(victim, prompts=site.prompts, forms=site.forms)
        html[victim.id] = template.render(
            root="../",
            scripts=[*PLOT_SCRIPTS, "page.js"],
            section=section,
            table=table,
            standing=victim.last,
            rows=[row_of[row_id] for row_id in page.row_ids],
            page=page,
            spec=specs.get(section["spec_hash"]),
            address=urlencode({"task": section["task"], "threat": section["threat"]}),
            also=[(name, other.id) for name, other in pages_of[victim.labels] if other.id != victim.id],
        )
    return html


def _attack_page(env: Environment, site: Site, attack: str) -> str:
    sections = []
    records = []
    for section, table in site.sections:
        attacked = [
            (row, standing)
            for row, standing in zip(section["rows"], table.rows, strict=True)
            if any(curve.attack == attack for curve in standing.curves)
        ]
        if not attacked:
            continue
        first = attacked[0][1]
        records += [cell.record for cell in first.cells if cell.record.attack.label == attack]
        lines = [(row, attack_line(standing, attack)) for row, standing in attacked]
        sections.append(AttackSection(section, lines, _drawn([row["id"] for row, _ in attacked])))
    return env.get_template("attack.html.j2").render(
        root="../",
        scripts=[*PLOT_SCRIPTS, "page.js"],
        attack=attack,
        plugins=[plugin for plugin in plugins_used(records) if plugin.kind == "attack"],
        attack_sections=sections,
    )


def cost_sort_key(row: StandingJson, rank_unit: str) -> float | str:
    """What the column of costs to break is sorted by: the unit of ranks. "" where that is unknown, which goes last."""
    cost = row["breaking"]
    value = row.get("breaking_of_reference") if rank_unit == "reference" else cost and cost["compute"]
    return "" if value is None else value


def _drawn(row_ids: list[str]) -> list[str]:
    """Of many rows those at both ends of the table."""
    return row_ids if len(row_ids) <= MAX_DRAWN else row_ids[: MAX_DRAWN // 2] + row_ids[-MAX_DRAWN // 2 :]
