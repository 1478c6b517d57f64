"""Conversations on the page of a victim: what others wrote stays text, behind a click, without a script."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from harness.records.read import read_run
from leaderboard import harness_register_commands
from leaderboard.site.build import build_site
from tests.leaderboard.fake_run import FakeCell, first_successes, write_run

MARKUP = "</pre></details><script>alert(1)</script><img src=x onerror=alert(2)><|im_end|>\u202etxt"
SHOWN = MARKUP.replace("\u202e", "\\u202e")
CHAT = {
    "template": f"t{MARKUP}",
    "system": f"s{MARKUP}\nline",
    "system_text": f"s{MARKUP}\nline",
    "prefill": f"p{MARKUP}",
    "arguments": {MARKUP: MARKUP},
    "around": [f"before{MARKUP}", f"behind{MARKUP}"],
}
DRAWN = [(f"a{MARKUP}", "answered", True), (f"b{MARKUP}", "refused", False)]
ALLOWED = {"pre", "mark", "details", "summary", "ol", "li", "p", "span", "figure", "figcaption"}


class Page(HTMLParser):
    """The texts of ``pre``, ``mark`` and ``dd``, and whether each stands in closed details."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {"pre": [], "mark": [], "dd": []}
        self.in_strings: set[str] = set()
        self.reachable = True
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("meta", "link", "img", "input", "wbr", "br"):
            assert tag != "img"
            return
        if tag == "script":
            assert dict(attrs).get("src"), "a script of somebody"
        assert not any(name.startswith("on") for name, _ in attrs)
        if "details" in self.open:
            self.in_strings.add(tag)
        if tag == "pre":
            self.reachable &= dict(attrs).get("tabindex") == "0"
        if tag == "details":
            assert "open" not in dict(attrs)
        self.open.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open) & self.texts.keys():
            self.texts[tag][-1] += data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cell = FakeCell(
        task_kind="text",
        examples=1,
        wrong=0,
        steps=1,
        first_success=[1],
        text=MARKUP,
        messages=[(MARKUP, "other"), ("user", f"u{MARKUP}")],
        judge_output=f"j{MARKUP}",
        drawn=DRAWN,
        more={
            "agreement": {"chat": CHAT},
            "answers": {"samples": 2, "temperature": 1.0, "top_p": 1.0, "max_tokens": None},
        },
    )
    return write_run(tmp_path_factory.mktemp("talk") / "run", [cell])


def built(run: Path, out: Path, *options: str) -> tuple[Path, str]:
    app = typer.Typer()
    harness_register_commands(app)
    call = ["leaderboard", "build", str(run), "--out", str(out), *options]
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    (page,) = (out / "entries").iterdir()
    return out, page.read_text(encoding="utf-8")


def test_what_others_wrote_stays_text_behind_a_click(run: Path, tmp_path: Path) -> None:
    _, html = built(run, tmp_path / "site")
    page = Page(html)
    assert page.open == []
    assert page.reachable
    texts = page.texts["pre"]
    assert f"u{SHOWN}{SHOWN}" in texts
    assert page.texts["mark"] == [SHOWN, "message"]
    assert [text[0] for text in texts if text[1:] == SHOWN] == ["a", "j", "b", "j"]
    assert f"s{SHOWN}\nline" in texts
    assert "I will not." in texts
    assert f"before{SHOWN}messagebehind{SHOWN}" in texts
    assert {"mark", "pre", "ol"} <= page.in_strings
    for words in ("2 drawn, 1 success of the attack", "Refused by the server. No success", "set in the spec"):
        assert words in html


def test_every_string_can_be_had_with_prompt_right_answer_and_what_was_said(tmp_path: Path) -> None:
    cells = [
        FakeCell(attack=attack, defense=defense, labels=("short", "long"), messages=[("user", "Is it long? ")])
        for attack in ("gcg", "random_token")
        for defense in ("none", "guard")
    ]
    site = build_site([read_run(write_run(tmp_path / "run", cells))], tmp_path / "site").parent
    strings = pq.read_table(site / "downloads" / "strings.parquet").to_pylist()
    for cell in cells:
        mine = {s["example"]: s for s in strings if (s["attack"], s["defense"]) == (cell.attack, cell.defense)}
        fell = {f"e{at}": step for at, step in enumerate(first_successes(cell)) if step}
        assert {name: string["step"] for name, string in mine.items()} == fell
        assert len(mine) > 3  # more than a page shows
        assert all(s["right_answer"] == ("short", "long")[int(name[1:]) % 2] for name, s in mine.items())
    first = strings[0]
    at = first["string_at"]
    said = first["messages"][at["message"]]["content"]
    assert said[: at["start"]] == "Is it long? "
    assert said[at["start"] : at["end"]] == first["string"], "the conversation as the victim got it"
    assert (first["string"], first["clean_answer"]) == (FakeCell.text, first["right_answer"])
    ids = {row["id"] for section in json.loads((site / "data.json").read_text())["sections"] for row in section["rows"]}
    assert {string["row"] for string in strings} == ids
    page = next((site / "entries").glob("*none*.html")).read_text()
    assert '<span class="role">right</span> short' in page


def test_the_settings_stand_beside_the_command(run: Path, tmp_path: Path) -> None:
    _, html = built(run, tmp_path / "site")
    (command,) = [text for text in Page(html).texts["pre"] if "harness run" in text]
    where, install, line, settings = command.split("\n")  # a line break in a setting begins no line of its own
    assert where.startswith("# robustness-harness 0.1.0 is not on PyPI")
    assert install == "pip install ."
    assert line.endswith("--only defense=none --out runs/again")
    assert settings.startswith(f"# chat template t{SHOWN}, system ")
    assert "prefill" in settings


def test_prompts_stand_on_the_page_of_the_victim_and_in_the_strings_and_can_be_left_out(
    run: Path, tmp_path: Path
) -> None:
    site, _ = built(run, tmp_path / "site")
    with_prompts = [file for file in site.rglob("*") if file.is_file() and b"u&lt;/pre&gt;" in file.read_bytes()]
    assert [file.parent.name for file in with_prompts] == ["entries"]
    (string,) = pq.read_table(site / "downloads" / "strings.parquet").to_pylist()
    whole = {"role": "user", "content": f"u{MARKUP}{string['string']}"}
    assert string["messages"][-2:] == [{"role": MARKUP, "content": "other"}, whole]
    _, without = built(run, tmp_path / "without", "--no-prompts")
    (string,) = pq.read_table(tmp_path / "without" / "downloads" / "strings.parquet").to_pylist()
    assert (string["messages"], string["string_at"], string["string"]) == (None, None, MARKUP)
    page = Page(without)
    assert f"u{SHOWN}{SHOWN}" not in page.texts["pre"]
    assert SHOWN in page.texts["pre"]
    assert [text[0] for text in page.texts["pre"] if text[1:] == SHOWN] == ["a", "j", "b", "j"]


def test_a_chat_template_lies_beside_the_spec_and_no_file_elsewhere(tmp_path: Path) -> None:
    outside = {"../up.jinja": "x", "/etc/up.jinja": "x", "a/../../up.jinja": "x", "odd": 3}
    given = {"templates/mine.jinja": "{{ messages }}\n", "turned.jinja": "\u202e"} | outside
    write_run(tmp_path / "run", [FakeCell("c1")], spec_files=given)
    site, html = built(tmp_path / "run", tmp_path / "site")
    (spec,) = (site / "specs").glob("*/*.yaml")
    assert {file.relative_to(site / "specs").as_posix() for file in (site / "specs").rglob("*") if file.is_file()} == {
        f"{spec.parent.name}/{spec.name}",
        f"{spec.parent.name}/templates/mine.jinja",
    }
    assert (spec.parent / "templates" / "mine.jinja").read_text() == "{{ messages }}\n"
    assert f"harness run {spec.name} --only task=c1 " in html
    for page, root in ((html, "../"), ((site / "index.html").read_text(), "")):
        assert f'href="{root}specs/{spec.parent.name}/templates/mine.jinja"' in page
        assert f'href="{root}specs/{spec.parent.name}/{spec.name}"' in page
    assert not list(tmp_path.rglob("up.jinja"))
