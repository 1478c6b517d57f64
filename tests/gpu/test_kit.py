"""The kit itself: on a processor with small shapes, with parts that fail, crash and hang, and stopped and gone on."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.gpu import kit, results
from tests.gpu.parts import PARTS, Part, Row, Setting
from tests.gpu.process import Ending, _work, run_part

CPU = Setting("cpu", small=True)


def run(out: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Status and parts in the file."""
    status = kit.main(["--device", "cpu", "--out", str(out), "--patience", "30", *arguments])
    return status, json.loads(out.read_text())["parts"]


def run_here(part: Part, setting: Setting, known: Collection[str], seen: Callable[[str, Row], None]) -> Ending:
    """As `run_part` without a process, each of which would import torch again."""
    sent: list[Any] = []
    _work(SimpleNamespace(send=sent.append), part, setting, known)  # type: ignore[arg-type]
    for message in sent[:-1]:
        seen(*message)
    ending: Ending = sent[-1]
    return ending


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_every_part_measures_something_on_a_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kit, "run_part", run_here)
    status, parts = run(tmp_path / "kit.json")
    assert (status, {name: part["state"] for name, part in parts.items()}) == (0, {part.name: "done" for part in PARTS})
    figures = {name: {what: row["figures"] for what, row in part["rows"].items()} for name, part in parts.items()}
    for row in figures["exactness"].values():
        assert "A" in row["errors"]
        assert all(error <= row["allowed"] for error in row["errors"].values())
    assert set(figures["exactness"]["gpt_neox, bfloat16"]["errors"]) == set("ABCD")
    for name in ("GPT-NeoX 60k", "Qwen2 of that size"):
        assert [path["path"] for path in figures["shares"][name]["paths"]] == list("ABCD")
        assert all(path["share_of_peak"] > 0 for path in figures["shares"][name]["paths"])
        (reuse, _) = figures["iteration"][name]["paths"]
        assert sum(reuse["parts"].values()) == pytest.approx(reuse["iteration_seconds"], rel=1e-6)
        assert {"plain", "flash for CPUs"} == set(figures["attention"][f"{name}, float32: prefix"]["seconds"])
        assert max(figures["attention"][f"{name}, float32: FlexAttention"]["errors"].values()) < 1e-5
    assert figures["memory"]["short of memory, gradients"]["limited"]
    assert "vLLM is not installed" in str(parts["vllm_rates"]) or figures["vllm_rates"]
    printed = capsys.readouterr().out
    assert all(part.name in printed for part in PARTS)
    assert "!" not in printed


MODULE = """
import os, signal, time
from pathlib import Path
from tests.gpu.parts import Row, SkippedError

HERE = Path(__file__).parent

def noted(what):
    with (HERE / "noted").open("a") as file:
        file.write(what + " ")
    return Row(f"{what} was measured", {"value": 1.5})

def failing():
    if (HERE / "mended").exists():
        return noted("failing")
    raise ValueError("no luck\\nin two lines")

def skipped():
    raise SkippedError("not here")

def measure(setting):
    yield "first", lambda: noted("first")
    yield "failing", failing
    yield "skipped", skipped
    yield "last", lambda: noted("last")
"""
CRASHING = """
import os, signal
from tests.gpu.parts import Row

def measure(setting):
    yield "first", lambda: Row("it works")
    yield "second", lambda: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kit of three parts: one fails and can be mended, one cannot even begin, one ends its process."""
    (tmp_path / "kit_part.py").write_text(MODULE)
    (tmp_path / "kit_broken.py").write_text("import nothing_of_that_name")
    (tmp_path / "kit_crashing.py").write_text(CRASHING)
    monkeypatch.syspath_prepend(tmp_path)
    parts = [Part(name, f"kit_{name}", "made up", 60.0) for name in ("broken", "crashing", "part")]
    for module in (kit, results):
        monkeypatch.setattr(module, "PARTS", parts)
    return tmp_path


@pytest.mark.slow
def test_what_fails_leaves_the_rest_alone_and_is_made_again(made_up: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = made_up / "kit.json"
    status, parts = run(out)
    assert (status, [part["state"] for part in parts.values()]) == (1, ["failed"] * 3)
    assert "No module named 'nothing_of_that_name'" in parts["broken"]["why"]
    assert parts["crashing"]["why"] == f"its process ended with status {-signal.SIGKILL}"
    assert list(parts["crashing"]["rows"]) == ["first"], "what was measured before is kept"
    rows = parts["part"]["rows"]
    assert rows["failing"]["told"] == "ValueError: no luck"
    assert "in two lines" in rows["failing"]["traceback"]
    assert (rows["skipped"]["skipped"], rows["last"]["figures"]) == (True, {"value": 1.5})
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("! ValueError: no luck", "left out: not here", "! failed: ModuleNotFoundError", "last was measured"):
        assert words in printed
    assert (made_up / "noted").read_text() == "first last "

    (made_up / "mended").touch()
    status, parts = run(out, "--only", "part")
    assert (status, parts["part"]["state"]) == (1, "done"), "the others are not mended"
    assert (made_up / "noted").read_text() == "first last failing "
    assert parts["broken"]["state"] == "failed"
    run(out, "--only", "part")
    assert (made_up / "noted").read_text() == "first last failing ", "what is done is read from the file"
    assert f"done, read from {out}" in capsys.readouterr().err
    run(out, "--only", "part", "--again", "part")
    assert (made_up / "noted").read_text() == "first last failing first failing last "


@pytest.mark.slow
def test_a_part_ends_at_its_limit_or_is_killed(made_up: Path) -> None:
    (made_up / "kit_hanging.py").write_text(
        "import time\ndef measure(setting):\n    time.sleep(1000)\n    yield 'never', None"
    )
    seen: list[str] = []
    hanging = Part("hanging", "kit_hanging", "", 0.5)
    state, why = run_part(hanging, CPU, (), lambda what, _: seen.append(what), grace=2.0)
    assert (state, why) == ("out of time", "killed 2 s after its limit of 0 s")
    state, why = run_part(Part("part", "kit_part", "", 0.0), CPU, (), lambda what, _: seen.append(what))
    assert (state, why, seen) == ("out of time", "", [])


def test_files_of_another_setting_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, broken = tmp_path / "other.json", tmp_path / "broken.json"
    other.write_text(json.dumps({"setting": {"device": "cuda", "small": False}, "parts": {}}))
    broken.write_text("[]")
    for path, words in ((other, "was measured on cuda; name another file"), (broken, "not a file of this kit")):
        before = path.read_text()
        assert kit.main(["--device", "cpu", "--out", str(path)]) == 2
        assert f"error: {path}: {words}" in capsys.readouterr().err
        assert path.read_text() == before
    assert kit.main(["--device", "abacus", "--out", str(tmp_path / "new.json")]) == 2
    assert "write auto, cpu, cuda" in capsys.readouterr().err


def test_no_part_is_fine_that_has_not_ended(tmp_path: Path) -> None:
    made = results.Results(tmp_path / "kit.json", CPU)
    made.begin(PARTS[0])
    made.add(PARTS[0], "one", Row("good"))
    assert not made.fine
    assert results.Results(tmp_path / "kit.json", CPU).known(PARTS[0]) == ["one"]
    made.end(PARTS[0], "done", "", 1.0)
    assert made.fine
    made.add(PARTS[0], "two", Row("bad", wrong=True))
    assert not made.fine
