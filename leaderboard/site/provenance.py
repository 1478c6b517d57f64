"""Where the numbers of a page come from: plugins, versions, hashes, artifacts, how the victim was talked to, and the
command to make them again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from harness.records.cell_manifest import CellRecord, PluginRecord
from harness.records.read import Run
from harness.records.visible_text import visible
from leaderboard.data.chat_settings import ChatSettings, chat_settings
from leaderboard.data.visible_text import escape_invisible, shortened
from leaderboard.site.page_ids import slug

MAX_CHARS = 1_000_000  # of a file next to a spec
HARNESS = "robustness-harness"


@dataclass(frozen=True)
class SpecFile:
    """A spec as it was written, kept next to the site's pages.

    Attributes:
        name: its path there, a folder of its own where it has files next to it.
        beside: texts of the files that its victims name, by path from its folder.
    """

    name: str
    text: str
    beside: dict[str, str] = field(default_factory=dict)

    @property
    def links(self) -> list[tuple[str, str]]:
        """What there is to be downloaded: words, and path among the specs; the spec first."""
        folder = self.name.rpartition("/")[0]
        return [("spec", self.name), *((path, f"{folder}/{path}") for path in self.beside)]

    @property
    def files(self) -> dict[str, str]:
        """Texts by path among the specs."""
        return dict(zip((path for _, path in self.links), (self.text, *self.beside.values()), strict=True))


def command_again(spec: SpecFile, only: Mapping[str, str], records: Sequence[CellRecord]) -> str:
    """Installs the packages that made ``records``, in the versions that did, and runs the cells of ``spec`` that are
    theirs: those whose labels are ``only``. The harness itself is on no package index, so it comes from its repository.
    """
    used = dict.fromkeys((one.distribution, one.version) for record in records for one in _installed(record))
    own = [version for distribution, version in used if distribution == HARNESS]
    install = ""
    if own:
        versions = " and ".join(own)
        install = f"# {HARNESS} {versions} is not on PyPI: run this in a checkout of its repository at that version\n"
        install += "pip install .\n"
    if packages := [f"{name}=={version}" for name, version in used if name != HARNESS]:
        install += f"pip install {' '.join(map(shlex.quote, packages))}\n"
    chosen = " ".join(f"--only {shlex.quote(f'{kind}={label}')}" for kind, label in only.items())
    return f"{install}harness run {shlex.quote(spec.name.rsplit('/', 1)[-1])} {chosen} --out runs/again"


def _installed(record: CellRecord) -> list[PluginRecord]:
    """Plugins of a cell that are of packages, not of files."""
    plugins = (record.task, record.victim, record.defense, record.judge, record.attack)
    return [plugin for plugin in plugins if re.fullmatch(r"[0-9][A-Za-z0-9.+!]*", plugin.version)]


def bibtex(runs: Sequence[Run]) -> str:
    """How to cite the numbers of ``runs``, and the study that the harness grows from."""
    specs = dict.fromkeys(f"{run.info.get('spec_name')} {run.info.get('spec_version')}" for run in runs)
    versions = dict.fromkeys(str(run.info.get("harness_version")) for run in runs)
    years = sorted(str(run.info.get("created"))[:4] for run in runs if run.info.get("created"))
    named = visible("; ".join(specs)).translate(str.maketrans("", "", "{}\\"))
    return _BIBTEX.format(specs=named, versions=", ".join(versions), year=years[-1] if years else "")


_BIBTEX = """@misc{{robustness_harness,
  title = {{Robustness Harness: what it costs to break a language model}},
  year = {{{year}}},
  note = {{Specs: {specs}. robustness-harness {versions}}}
}}
@article{{howe2024scaling,
  title = {{Scaling Trends in Language Model Robustness}},
  author = {{Howe, Nikolaus and McKenzie, Ian and Hollinsworth, Oskar and Zaj{{\\k{{a}}}}c, Micha{{\\l}} and
    Tseng, Tom and Tucker, Aaron and Bacon, Pierre-Luc and Gleave, Adam}},
  journal = {{arXiv preprint arXiv:2407.18213}},
  year = {{2024}}
}}"""


@dataclass(frozen=True)
class PluginUse:
    """A plugin that took part: task, victim, defense, judge or attack."""

    kind: str
    label: str
    params: dict[str, Any]
    package: str


def spec_files(runs: Sequence[Run]) -> dict[str, SpecFile]:
    """Spec hash to file, of the runs that hold their spec's text."""
    files: dict[str, SpecFile] = {}
    for run in runs:
        text, spec_hash = run.info.get("spec"), run.info.get("spec_hash")
        if isinstance(text, str) and text.strip() and isinstance(spec_hash, str):
            name = slug(str(run.info.get("spec_name", "spec")), spec_hash).rsplit("-", 1)[0]
            stem = f"{name}-{slug('', spec_hash)[2:]}"
            beside = _files_beside(run.info.get("spec_files"), f"{stem}.yaml")
            files.setdefault(spec_hash, SpecFile(f"{stem}/{stem}.yaml" if beside else f"{stem}.yaml", text, beside))
    return files


def _files_beside(data: object, spec: str) -> dict[str, str]:
    """Of the files that a run says its spec needs, those that are text as it is seen and stay in the spec's folder."""
    if not isinstance(data, Mapping):
        return {}
    return {
        path: text
        for path, text in data.items()
        if isinstance(path, str) and isinstance(text, str) and _stays_inside(path) and path != spec
        if visible(text) == text and len(text) <= MAX_CHARS
    }


def _stays_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return path.isprintable() and "\\" not in path and bool(pure.name) and not {"/", ".."} & set(pure.parts)


@dataclass(frozen=True)
class Source:
    """Where the records of cells come from: when and with what they were made, and of a submission, who says so."""

    created: str
    harness_version: str
    by: str = ""
    paper: str = ""
    link: str = ""


def sources(runs: Sequence[Run]) -> dict[str, Source]:
    """By key of the cell."""
    found: dict[str, Source] = {}
    for run in runs:
        told = {name: str(run.info.get(name) or "") for name in ("created", "harness_version", "by", "paper", "link")}
        found |= {cell.record.key: Source(**told) for cell in run.cells}
    return found


def plugins_used(records: Sequence[CellRecord]) -> list[PluginUse]:
    """Task, victim, defense, judge and attacks with package, version and parameters, each once."""
    uses: dict[tuple[str, str, str], PluginUse] = {}
    for record in records:
        for kind in ("task", "victim", "defense", "judge", "attack"):
            plugin: PluginRecord = getattr(record, kind)
            package = f"{plugin.distribution} {plugin.version}"
            uses.setdefault((kind, plugin.label, package), PluginUse(kind, plugin.label, plugin.params, package))
    return list(uses.values())


def library_versions(records: Sequence[CellRecord]) -> dict[str, str]:
    """Library to version; several where cells were made with several."""
    versions: dict[str, set[str]] = {}
    for record in records:
        for name, version in record.versions.items():
            versions.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(of_library)) for name, of_library in sorted(versions.items())}


def artifact_keys(records: Sequence[CellRecord]) -> list[tuple[str, str]]:
    """What was attacked, and its artifact's key, by seed."""
    keys: dict[tuple[str, str], None] = {}
    for record in sorted(records, key=lambda record: record.seed):
        if record.victim_facts is not None:
            keys[f"victim, seed {record.seed}", record.victim_facts.artifact] = None
        if record.defense_facts is not None and record.defense_facts.artifact:
            round_ = "" if record.defense_facts.round is None else f", round {record.defense_facts.round}"
            keys[f"defense, seed {record.seed}{round_}", record.defense_facts.artifact] = None
    return list(keys)


@dataclass(frozen=True)
class ChatLines:
    """Settings of a chat model.

    Attributes:
        lines: label and text of each.
        around: all that the model reads before and behind a message of the user; None where nobody says.
        comment: the settings in a line, to be shown with a command.
    """

    lines: list[tuple[str, str]]
    around: tuple[str, str] | None
    comment: str


def chat_lines(records: Sequence[CellRecord]) -> list[ChatLines]:
    """Each way in which the victim of these cells was talked to, once; none of a model that is no chat model."""
    found = dict.fromkeys(settings for record in records if (settings := chat_settings(record)) is not None)
    return [_lines(settings) for settings in found]


def _lines(settings: ChatSettings) -> ChatLines:
    system = {"default": "the template's own", "none": "none"}.get(settings.system, "set in the spec")
    told = [
        ("Chat template", settings.template),
        ("System prompt", f"{system}: {settings.system_text}" if settings.system_text else system),
        ("Answers begin with", settings.prefill),
        ("Template arguments", settings.arguments),
        ("Reasoning stands between", settings.reasoning),
        ("Date in the template", settings.date),
    ]
    around = None if settings.around is None else (shortened(settings.around[0]), shortened(settings.around[1]))
    lines = [(label, shortened(text)) for label, text in told if text]
    return ChatLines(lines, around, escape_invisible(" ".join(settings.comment.split())))
