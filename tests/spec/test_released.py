"""Released specs are frozen, listed with what they ask, and run by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import SpecError
from harness.spec.released import FOLDER, content_hash, find_released, released_specs, spec_path

# What was released. Never change a line: a changed spec is a new version, with a line of its own.
FROZEN = {
    ("adversarial_training", "1"): "e0ac51b6177197e5aedd25b686ee04d9e15d4b018cadac29b50ce17c38f01409",
    ("attacks", "2"): "e8828dec14f11ccaba64c136d2c88c4b5a13f106f2d7e53e460fa41e1aa67a36",
    ("chat_smollm2", "2"): "6be6fea99a8254eddd8212125acdc8d9a3e571c8ae27ab318d5e250a083ed1a4",
    ("chat_smollm2", "3"): "4a37e9838db34bbcead6caddfd860681f88604944620742954cc8d79204411c4",
    ("defenses", "2"): "def93d525b62cbfb2b4f3832c9ed71c4e50a3a686620ff6892c347764c42e8c3",
    ("generation", "2"): "7f9c0e244e20e8a6a57a665f69a79776deb9f39d7dd6fa9d6df45e3bf224e83b",
    ("quantised", "2"): "89c9102b4d7cbfbece2529f642ca50c66724cd8220abbf948afc30549d1ed1f2",
    ("quickstart", "1"): "e28fcdaa7ed3c12d42dfcf7e2f30ba122850b5f46e6725f34a12bf9929db73f1",
    ("quickstart_vllm", "1"): "f3a1d596435ffabd679b805f80bfa2638b99acb9ccd55db65390b60d79110394",
}


def test_released_specs_are_frozen() -> None:
    listed = {(one.name, one.version): one for one in released_specs()}
    assert {key: one.hash for key, one in listed.items()} == FROZEN
    for key, one in listed.items():
        assert content_hash(FOLDER / one.file) == FROZEN[key], f"{one.file}: a change is a new version of {key[0]}"
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yaml")}
    assert files == {one.file for one in listed.values()}, "run docs/write_suite.py"


def test_page_lists_what_is_released() -> None:
    page = (Path(__file__).parents[2] / "docs" / "suite.md").read_text(encoding="utf-8")
    for one in released_specs():
        assert f"| `{one.name}` | {one.version} | `{one.hash[:12]}` | {one.cells} |" in page


def test_hash_is_of_content_and_of_files_beside_it(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "prompts", tmp_path / "prompts")
    spec = tmp_path / "chat.yaml"
    spec.write_text("# A comment.\n" + (FOLDER / "chat_smollm2.yaml").read_text(encoding="utf-8"))
    assert content_hash(spec) == FROZEN["chat_smollm2", "3"]
    prompts = tmp_path / "prompts" / "everyday_requests.csv"
    prompts.write_text(prompts.read_text(encoding="utf-8") + "\n")
    assert content_hash(spec) != FROZEN["chat_smollm2", "3"]


def test_a_name_is_a_released_spec_unless_there_is_a_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()  # as of a page or a run
    assert spec_path(Path("quickstart")) == FOLDER / "quickstart.yaml" == spec_path(Path("quickstart@1"))
    assert spec_path(Path("my.yaml")) == Path("my.yaml")
    (tmp_path / "generation").write_text("name: mine")
    assert spec_path(Path("generation")) == Path("generation")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "quikstart",
            r"quikstart: no such file, and no released spec \(did you mean 'quickstart'\?\); released are adv",
        ),
        ("attacks@1", r"attacks@1: no such file, and no version '1'; released are 2"),
    ],
)
def test_unknown_name_is_answered_with_those_there_are(name: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        spec_path(Path(name))


def test_newest_version_is_the_default(tmp_path: Path) -> None:
    rows = json.loads((FOLDER / "released.json").read_text(encoding="utf-8"))
    newer = rows[0] | {"version": "9", "file": "newer.yaml"}
    (tmp_path / "released.json").write_text(json.dumps([*rows, newer]))
    assert find_released(newer["name"], tmp_path).file == "newer.yaml"
    assert find_released(f"{newer['name']}@{rows[0]['version']}", tmp_path).file == rows[0]["file"]
    (tmp_path / "released.json").write_text("[{}]")
    with pytest.raises(SpecError, match=r"released\.json: cannot be read .*install the harness anew"):
        find_released("quickstart", tmp_path)


def test_commands_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["specs", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == {name for name, _ in FROZEN}
    quickstart = rows["quickstart"]
    assert (quickstart["cells"], quickstart["needs"]) == (48, [])
    assert quickstart["flops"] == pytest.approx(3.5e13, rel=0.1)
    assert quickstart["seconds"] > 0
    assert main(["specs"]) == 0
    assert "e28fcdaa7ed3" in capsys.readouterr().out
    assert main(["spec", "show", "quickstart"]) == 0
    assert capsys.readouterr().out == (FOLDER / "quickstart.yaml").read_text(encoding="utf-8")
