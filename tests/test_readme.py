"""What the README and the pages of docs/ show is what happens, and every page can be found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import LONGEST
from tests.run.runs import harness_here

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def block(page: str, language: str, containing: str) -> str:
    """The fenced block of that language which contains a text."""
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL) if containing in text]
    assert len(found) == 1, f"{len(found)} {language} blocks contain {containing!r}"
    return found[0]


def harness(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "harness", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=LONGEST)


@pytest.mark.parametrize("page", ["docs/README.md", "docs/specs.md", "docs/getting_started.md"])
def test_the_spec_is_valid(tmp_path, page):
    (tmp_path / "my.yaml").write_text(block(page, "yaml", "name: "))
    done = harness_here("validate", "--spec-only", "my.yaml", cwd=tmp_path)  # its data are the reader's own
    assert done.returncode == 0, done.stderr


def test_a_mistake_is_answered_as_shown(tmp_path):
    shown = re.search(r"```\n(my\.yaml:.*?)\n```", text_of("docs/specs.md"))
    assert shown
    spec = block("docs/specs.md", "yaml", "name: mine").replace("gcg: {steps: 32}", "gcg: {candidats: 32}")
    (tmp_path / "my.yaml").write_text(spec)
    done = harness_here("validate", "my.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert shown[1] in done.stderr


@pytest.mark.slow
def test_the_attack_runs_from_its_file(tmp_path):
    (tmp_path / "my_attack.py").write_text(block("docs/README.md", "python", "class ShuffleBest"))
    (tmp_path / "my.yaml").write_text(
        """
name: readme
version: "1"
tasks: [{word_length: {train_size: 300, validation_size: 20, syllables: open}}]
victims: [{tiny: {size: 7k, steps: 5}}]
attacks: [{shuffle_best: {steps: 2}}]
seeds: [0]
examples: 4
clean_examples: 20
"""
    )
    done = harness("run", "my.yaml", "--plugin", "my_attack.py", "--site", "site", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").exists()
    assert "it/s" not in done.stderr  # no other library's bars among the run's own lines


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_named_files_are_there(page):
    text = page.read_text(encoding="utf-8")
    missing = []
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text):
        linked = page.parent / path if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            missing.append(f"{path}#{anchor}")
    named = re.findall(r"`((?:harness|plugins|leaderboard|tests|specs|docs)/[\w/.]*)`", text)
    own = {"tests/test_two_point.py"}  # of the package that the tutorial writes
    if page.name != "CHANGELOG.md":  # which names files of its time
        missing += [path for path in named if path not in own and not (ROOT / path).exists()]
    assert not missing, f"{page.name} names {missing}"


def pages_linked_from(page: Path) -> set[Path]:
    links = re.findall(r"\]\((?!http)([^)#]+\.md)", page.read_text(encoding="utf-8"))
    return {(page.parent / link).resolve() for link in links}


def test_the_index_and_those_of_attacks_and_defenses_link_every_page():
    for folder in ("docs", "docs/attacks", "docs/defenses"):
        index = ROOT / folder / "README.md"
        pages = {page.resolve() for page in (ROOT / folder).glob("*.md")} - {index.resolve()}
        assert pages - pages_linked_from(index) == set()
    indexes = {(ROOT / "docs" / name / "README.md").resolve() for name in ("attacks", "defenses")}
    assert indexes <= pages_linked_from(ROOT / "docs/README.md")
    assert (ROOT / "docs/README.md").resolve() in pages_linked_from(ROOT / "README.md")


def test_the_tree_is_that_of_the_repository():
    """Every line of the tree in docs/architecture.md names what is there, and every folder of the core is in it."""
    (tree,) = re.findall(r"```\n(harness/ .*?)```", text_of("docs/architecture.md"), re.DOTALL)
    found, parents = set(), []
    for line in tree.splitlines():
        names = [name for name in re.split(r"\s{2,}", line.strip())[0].split() if not name.endswith(",")]
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], names[0].rstrip("/")]
        found |= {"/".join([*parents[:depth], name.rstrip("/")]) for name in names}
    assert [path for path in sorted(found) if not (ROOT / path).exists()] == []
    folders = {f"harness/{path.name}" for path in (ROOT / "harness").iterdir() if path.is_dir()} - {
        "harness/__pycache__"
    }
    assert folders <= found
