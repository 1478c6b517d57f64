"""The pages of the site: standings, one per victim and defense, one per attack, and the side-by-side view."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.records.read import Run
from leaderboard import number_format as words
from leaderboard.site import cell_text as cells_text
from leaderboard.site.details import DetailEntry, attack_line, entries, entry_page
from leaderboard.site.page_ids import attack_id
from leaderboard.site.provenance import plugins, spec_files
from leaderboard.standings.standings import Standings

PLOTTING = (
    "data.js",
    "vega.js",
    "plot_style.js",
    "plot_attack.js",
    "plot_offense.js",
    "plot_rounds.js",
    "figure.js",
)
DRAWN = 10  # rows drawn at first on an attack's page
BETWEEN_CELLS = re.compile(r"(<(?:/t[hdr]|tr|thead|/thead|tbody|/tbody)(?: [^>]*)?>)\s+(?=<)")
TEXTS = ("clean", "asr", "breaking", "examples", "defense", "overhead", "balance", "rank")


@dataclass(frozen=True)
class Site:
    """What the pages are made of: ``data`` is the payload, its sections in the order of ``tables``."""

    runs: Sequence[Run]
    tables: Sequence[Standings]
    data: dict[str, Any]


def write_pages(folder: Path, site: Site) -> None:
    """All pages of ``site`` into ``folder``."""
    env = environment()
    specs = spec_files(site.runs)
    for spec in specs.values():
        (folder / "specs").mkdir(exist_ok=True)
        (folder / "specs" / spec.name).write_text(spec.text, encoding="utf-8")
    for name in ("entries", "attacks"):
        (folder / name).mkdir()
    sections = list(zip(site.data["sections"], site.tables, strict=True))
    attacks = sorted({curve["attack"] for section, _ in sections for row in section["rows"] for curve in row["curves"]})
    index = env.get_template("index.html.j2").render(
        root="",
        scripts=[*PLOTTING, "address.js", "table.js", "board.js"],
        data=site.data,
        sections=sections,
        attacks=[(name, attack_id(name)) for name in attacks],
        specs=list(specs.values()),
    )
    _write(folder / "index.html", index)
    compare = env.get_template("compare.html.j2").render(root="", scripts=[*PLOTTING, "address.js", "compare.js"])
    _write(folder / "compare.html", compare)
    template = env.get_template("entry.html.j2")
    places = _places(sections)
    for section, table in sections:
        by_id = {row["id"]: row for row in section["rows"]}
        for entry in entries(section["id"], table):
            page = entry_page(entry)
            html = template.render(
                root="../",
                scripts=[*PLOTTING, "page.js"],
                section=section,
                table=table,
                standing=entry.last,
                rows=[by_id[name] for name in page["ids"]],
                page=page,
                spec=specs.get(section["spec_hash"]),
                address=urlencode({"task": section["task"], "threat": section["threat"]}),
                also=[(name, at) for name, at in places[_model(entry)] if at != entry.id],
            )
            _write(folder / "entries" / f"{entry.id}.html", html)
    for name in attacks:
        html = _attack_page(env, name, sections)
        _write(folder / "attacks" / f"{attack_id(name)}.html", html)


def _write(path: Path, html: str) -> None:
    """Without the indentation of the templates, which is a fifth of a page, and without space between the cells of
    tables, which is not shown; what is in ``pre`` stays as it is.
    """
    parts = re.split(r"(<pre.*?</pre>)", html, flags=re.DOTALL)
    parts[::2] = [BETWEEN_CELLS.sub(r"\1", re.sub(r"\n\s+", "\n", part)) for part in parts[::2]]
    path.write_text("".join(parts), encoding="utf-8")


def environment() -> Environment:
    """Templates, with all text escaped, and the words of the cells."""
    env = Environment(
        loader=PackageLoader("leaderboard.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals |= {f"{name}_text": getattr(cells_text, f"{name}_text") for name in TEXTS}
    env.filters |= {"parameters": words.parameters, "signed": words.signed, "percent": words.percent, "breaks": breaks}
    return env


def breaks(text: str) -> Markup:
    """Escaped, and a line may break after an underscore: labels are long."""
    return Markup(str(escape(text)).replace("_", "_<wbr>"))


Sections = Sequence[tuple[dict[str, Any], Standings]]


def _model(entry: DetailEntry) -> tuple[str, str, str]:
    return entry.last.family, entry.last.victim, entry.last.defense


def _places(sections: Sections) -> dict[tuple[str, str, str], list[tuple[str, str]]]:
    """Where each victim and defense is tested: name of the table and page."""
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for section, table in sections:
        for entry in entries(section["id"], table):
            name = f"{section['task']} · {section['threat']}"
            found.setdefault(_model(entry), []).append((name, entry.id))
    return found


def _attack_page(env: Environment, name: str, sections: Sections) -> str:
    parts = []
    records = []
    for section, table in sections:
        pairs = [
            (row, standing)
            for row, standing in zip(section["rows"], table.rows, strict=True)
            if any(curve.attack == name for curve in standing.curves)
        ]
        if not pairs:
            continue
        records += [c.record for _, standing in pairs[:1] for c in standing.cells if c.record.attack.label == name]
        lines = [(row, attack_line(standing, name)) for row, standing in pairs]
        parts.append({"section": section, "lines": lines, "drawn": _drawn([row["id"] for row, _ in pairs])})
    return env.get_template("attack.html.j2").render(
        root="../",
        scripts=[*PLOTTING, "page.js"],
        name=name,
        plugins=[plugin for plugin in plugins(records) if plugin["kind"] == "attack"],
        parts=parts,
    )


def _drawn(ids: list[str]) -> list[str]:
    """Of many rows those at both ends of the ranking."""
    return ids if len(ids) <= DRAWN else ids[: DRAWN // 2] + ids[-DRAWN // 2 :]
