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
    ("attacks", "3"): "9f0625b693bc835403bd97882400e495562362ad9ac66a772a26a670d44c21c0",
    ("attacks/answers", "1"): "7744bec2b14704e4156c951c85bbbabbc58feb80a18d42c1bb608b87a4beaee4",
    ("attacks/smollm2_chat", "1"): "c7d53eeef63cb0a571826320dc233eed4811bb5ecf073447e6fbd203de54ee7d",
    ("attacks/smollm2_classifier", "1"): "fa0e93a719b984a31221901a78d5771fcb14dea93d6ab59597a7d414a13816f1",
    ("chat/jbb", "1"): "7cfd9b0abe593023aecba292b01b51edeb85e77b91083bd1b93f7300a41729e2",
    ("chat/over_refusal", "1"): "c1240336bf5bf35823dd1bda731c5a516997ee60f3281fc325333074110d5388",
    ("chat/prompt_injection", "1"): "729a214db0b3ba2972afdf8a36627a4f12a7be9a8a01c2a0e7c4cc31a69f18aa",
    ("chat/strongreject", "1"): "351ca08601dfb0597fb972483d8b14fc6f34352683280e978a53197f21deb21c",
    ("chat_smollm2", "2"): "6be6fea99a8254eddd8212125acdc8d9a3e571c8ae27ab318d5e250a083ed1a4",
    ("chat_smollm2", "3"): "4a37e9838db34bbcead6caddfd860681f88604944620742954cc8d79204411c4",
    ("defenses", "2"): "def93d525b62cbfb2b4f3832c9ed71c4e50a3a686620ff6892c347764c42e8c3",
    ("defenses/answers", "1"): "ef1f872d848fd5e737ef2191483e5a07409ca8efb8db71f6a80c8dead8186ecf",
    ("defenses/answers", "2"): "10db0aef073d427a7725da7913e0c633c4be65cdd31016656b2c6a3a38ba7d70",
    ("defenses/labels", "1"): "0f6edbf098ebe1e5e6defcccde59ea47ee82a992ccf1e4daa8e38f43cfcaf7b0",
    ("defenses/over_refusal", "1"): "a393a02ae7370f94bc5073acbfe9fa86da97f263c5ddf7754b9b7ed9b1a59bf4",
    ("defenses/pretraining", "1"): "9d60ccd89f39e9048c6983643d48091c776d40337e5ad30be1461cde694f70a0",
    ("defenses/spam", "1"): "27039c969cc9bca3d777ca3d47f0145f253ac7b5e164b5cfb0a70735bfeb9976",
    ("defenses/strongreject", "1"): "437af7499de1ab3b43d2aa5c768e948248c809e47bbe03ef9ff79c7049ee837d",
    ("generation", "2"): "7f9c0e244e20e8a6a57a665f69a79776deb9f39d7dd6fa9d6df45e3bf224e83b",
    ("quantised", "2"): "89c9102b4d7cbfbece2529f642ca50c66724cd8220abbf948afc30549d1ed1f2",
    ("questions/complexity", "1"): "7d80bc31be53c45c3c80c9ce115520865bec522a65789f8fcf6cf19ba448af2f",
    ("questions/complexity", "2"): "07a10447e93370d2d97fe9b63f586767436c7dc57e1cf2e191afbf678bbaa10d",
    ("questions/inference_compute", "1"): "c7f62421596a5690c5c267d8555496ac96f738a03116b473d7fefb95b2b9f075",
    ("questions/offense_defense", "1"): "81a5fa5c7be514590f518e3ddbcdb43fee14333727b360e18133a5279444f6d4",
    ("questions/stack", "1"): "910907dd6b1644d4861ef5c5258e494ff97f04cdd00b8143013a51ef51df3e0c",
    ("questions/stack", "2"): "a2bcc77d79cf1ab550a90828fc26a846d48610d07ad2b1ee0514539ea8512427",
    ("questions/stack_smollm2", "1"): "af68a2ee2f69630b2b236bb9b18b23fb79885d73d43d6832c57bf9d874b96f4b",
    ("quickstart", "1"): "e28fcdaa7ed3c12d42dfcf7e2f30ba122850b5f46e6725f34a12bf9929db73f1",
    ("quickstart_vllm", "1"): "f3a1d596435ffabd679b805f80bfa2638b99acb9ccd55db65390b60d79110394",
    ("study/harmless", "1"): "ca8f4e1d3e0101d1375ecb0a594234b937e8d8f278fd05edd0c0776581a125e4",
    ("study/helpful", "1"): "a2bb3b1f9fa7bb5631cc5ab8b57fbe8d0c572a4a227c1757b922c531d2706ab6",
    ("study/imdb", "1"): "a2c638c2e3e6a742d16248652a02f52821e39f36a38892f924f41e4549a0253c",
    ("study/miniature/attack_compute", "1"): "bfdfca4bab477a4ede338e2347d57287b750ba2b76842361c8f8b8ed9382048c",
    ("study/miniature/offense_defense", "1"): "190375da12792ef6ba0c5f0dadd3d3250b36ed645d6be1e14246e3c337276724",
    ("study/miniature/rounds", "1"): "2a5ee601e2e3eb33c19c8c9bf73910fecbe46910547ae17b47c40212849041ed",
    ("study/miniature/short", "1"): "d1ab0db1d69aac7c950c9bd5383605e5f6b289f7d5174546dbba2ef90ae9ba48",
    ("study/miniature/transfer", "1"): "bba13f5b98ca97cb6f020c08ca5f00e3334a5be185c891a2bafadcbbc5c04495",
    ("study/miniature/undefended", "1"): "7a3b0683bb69060bbc22981c1c40fcb770420a134b8d27e4dba7ef91eebe09d1",
    ("study/password_match", "1"): "81527a84bfb66f208e3518ef245698528bdde271de78fe0b67289021f1a13a7d",
    ("study/spam", "1"): "cb79779779551cbfb465774ff319f7c444135713e3d6b20db8526313a7af9ba2",
    ("study/strongreject", "1"): "311d3ab7c62bd2cb246da701a7dba965679ec4f476deb18407c0d82b8df96a98",
    ("study/word_length", "1"): "a7a22e7a762ab89077a43004b9cbc7c963ee62d615e6b777d1802ae717d2b92a",
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


def test_a_name_may_stand_in_a_folder(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert spec_path(Path("study/spam")) == FOLDER / "study/spam.yaml" == spec_path(Path("study/spam@1"))
    assert spec_path(Path("defenses")) == FOLDER / "defenses.yaml"  # next to a folder of that name
    assert spec_path(Path("defenses/spam")) == FOLDER / "defenses/spam.yaml"
    assert spec_path(Path("elsewhere/spam")) == Path("elsewhere/spam")  # told where it is read
    assert spec_path(Path("/study/spam")) == Path("/study/spam")
    (tmp_path / "study").mkdir()
    (tmp_path / "study/spam").write_text("name: mine")
    assert spec_path(Path("study/spam")) == Path("study/spam")
    assert main(["spec", "show", "defenses/spam"]) == 0
    assert capsys.readouterr().out == (FOLDER / "defenses/spam.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("study/spma", r"study/spma: no such file, and no released spec \(did you mean 'study/spam'\?\)"),
        ("study/spam@9", r"study/spam@9: no such file, and no version '9'; released are 1"),
        (
            "quikstart",
            r"quikstart: no such file, and no released spec \(did you mean 'quickstart'\?\); released are adv",
        ),
        ("attacks@1", r"attacks@1: no such file, and no version '1'; released are 2, 3"),
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
    with pytest.raises(SpecError, match=r"released\.json: cannot be read .*install the harness again"):
        find_released("quickstart", tmp_path)


def test_commands_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["specs", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == {name for name, _ in FROZEN}
    quickstart = rows["quickstart"]
    assert (quickstart["cells"], quickstart["needs"]) == (48, [])
    assert quickstart["flops"] == pytest.approx(3.5e13, rel=0.1)
    assert quickstart["seconds"] > 0
    study = rows["study/spam"]
    assert (study["cells"], study["needs"], study["unknown"]) == (1675, ["a hub", "GPUs"], 0)
    guarded = rows["defenses/strongreject"]  # the size of its guard's model is not known without a hub
    assert guarded["unknown"] > 0
    assert guarded["seconds"] is None
    assert main(["specs"]) == 0
    assert "e28fcdaa7ed3" in capsys.readouterr().out
    assert main(["spec", "show", "quickstart"]) == 0
    assert capsys.readouterr().out == (FOLDER / "quickstart.yaml").read_text(encoding="utf-8")
