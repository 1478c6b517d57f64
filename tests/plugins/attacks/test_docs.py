"""Every built-in attack has a page that says what its parameters are, what it may ask, and where it comes from."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from harness.registry.loader import load_plugins
from harness.spec.fields import AttackEntry

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "attacks"
ARXIV = re.compile(r"\b\d{4}\.\d{4,5}\b")


def test_every_attack_has_its_page() -> None:
    attacks = [e.cls for e in load_plugins().registry.entries("attack") if e.cls.__module__.startswith("plugins.")]
    assert len(attacks) >= 4
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    missing = []
    for attack in attacks:
        page = FOLDER / f"{attack.name}.md"
        if f"]({page.name})" not in listed:
            missing.append(f"README.md: no link to {page.name}")
        if not page.is_file():
            missing.append(f"{page.name}: no such page")
            continue
        text = page.read_text(encoding="utf-8")
        wanted = {f"parameter `{name}`": f"`{name}`" for name in attack.Params.model_fields}
        wanted["access"] = f"`{attack.access}`"
        wanted |= {f"arXiv number {number}": number for number in ARXIV.findall(attack.paper)}
        missing += [f"{page.name}: does not name its {what}" for what, mark in wanted.items() if mark not in text]
    assert not missing, "\n".join(missing)


def test_every_page_is_of_an_attack_and_no_link_is_dead() -> None:
    names = {entry.name for entry in load_plugins().registry.entries("attack")}
    wrong = [
        f"{page.name}: no attack of that name"
        for page in FOLDER.glob("*.md")
        if page.stem not in {*names, "README", "tuning"}
    ]
    for page in FOLDER.glob("*.md"):
        for path in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not (FOLDER / path).exists() and path.removesuffix(".md") not in names:  # these are told of above
                wrong.append(f"{page.name}: {path} is not there")
    assert not wrong, "\n".join(wrong)


def test_default_values_are_those_of_the_code() -> None:
    """In the tables that begin with parameter and default."""
    wrong = []
    for entry in load_plugins().registry.entries("attack"):
        page = FOLDER / f"{entry.name}.md"
        if not entry.cls.__module__.startswith("plugins.") or not page.is_file():
            continue
        rows = re.findall(r"^\| `(\w+)` \| `([^|]*)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
        for name, default in rows:
            field = entry.cls.Params.model_fields.get(name)
            if field is None or str(field.get_default(call_default_factory=True)) != default:
                wrong.append(f"{page.name}: `{name}` has not the default `{default}`")
    assert not wrong, "\n".join(wrong)


def test_what_the_pages_show_can_be_written_into_a_spec() -> None:
    registry = load_plugins().registry
    shown = 0
    for page in FOLDER.glob("*.md"):
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for written in (yaml.safe_load(block) or {}).get("attacks", []):
                registry.resolve("attack", AttackEntry.model_validate(written))  # raises where it cannot
                shown += 1
    assert shown > 3
