"""`harness run` as scripts and people see it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.console.progress_views import LiveView, PlainView
from harness.flops import Flops
from harness.run.reporter import CellEnd, CellProgress, Forecast
from tests.processes import LONGEST
from tests.run.runs import ENVIRONMENT, FAST, FROM_FILES, TINY, command, harness, harness_here

ARGUMENTS = ["run", "spec.yaml", "--out", "out", *FROM_FILES]
ESCAPE = "\x1b"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(FAST)
    return tmp_path


@pytest.mark.slow
def test_plain_lines_when_not_a_terminal(folder: Path) -> None:
    done = harness(*ARGUMENTS, cwd=folder)
    assert done.returncode == 0
    assert done.stdout == "2 cells done, 0 failed: out\n"
    lines = done.stderr.splitlines()
    assert re.fullmatch(
        r"2 cells, 0 done already; the rest is estimated at .* FLOP \(nominal\), about .*|2 cells, 0 done .*", lines[0]
    )
    timed = [re.fullmatch(r"\d+:\d\d:\d\d  (.*)", line) for line in lines[1:]]
    said = [line[1] for line in timed if line]
    assert said[:2] == ["start a worker", "prepare counts on weather_or_food, seed 0"]
    cell = "weather_or_food × counts × none × random_token × suffix, 4 tokens, gradient, seed 0"
    assert said[2:4] == ["load counts", f"attack {cell}"]
    assert re.fullmatch(re.escape(f"done    {cell}: ASR ") + r"\d+%, clean accuracy 100.0%, about .* left", said[4])
    assert "left" not in said[-1], "nothing is left"
    assert (len(lines), len(said)) == (8, 7)
    assert ESCAPE not in done.stderr + done.stdout
    again = harness_here(*ARGUMENTS, cwd=folder)
    assert again.stderr == "2 cells, 2 done already\n"
    assert again.stdout == done.stdout


def test_json_is_all_there_is_on_stdout(folder: Path) -> None:
    done = harness(*ARGUMENTS, "--json", cwd=folder)
    assert done.stderr == ""
    assert json.loads(done.stdout) == {"run": "out", "done": 2, "failed": [], "untold": []}


@pytest.mark.slow
def test_quiet_is_silent(folder: Path) -> None:
    done = harness(*ARGUMENTS, "--quiet", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_folder_by_default_is_named_after_the_spec(folder: Path) -> None:
    assert harness_here("run", "spec.yaml", "--quiet", *FROM_FILES, cwd=folder).returncode == 0
    assert (folder / "runs" / "fast" / "run.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "missing.yaml"], "missing.yaml"),
        (["run", "."], "."),
        (["run", "spec.yaml"], "did you mean"),
        (["run", "spec.yaml", "--jobs", "-1"], "--jobs"),
        (["run", "spec.yaml", "--plugin", "no.py"], "no.py: No such file"),
        (["plan", "missing.yaml"], "missing.yaml"),
        (["status", "nowhere"], "nowhere: no run there"),
    ],
)
def test_a_mistake_is_status_2_and_says_which(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "spec.yaml").write_text(TINY.replace("word_length", "word_lenght"))
    done = harness_here(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_a_page_is_built_at_the_end(folder: Path) -> None:
    done = harness_here(*ARGUMENTS, "--site", "site", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Page: site/index.html"
    page = (folder / "site" / "index.html").read_text()
    assert "weather_or_food" in page
    quiet = harness_here(*ARGUMENTS, "--site", "again", "--json", cwd=folder)
    assert json.loads(quiet.stdout)["done"] == 2
    assert (folder / "again" / "index.html").exists()


def in_terminal(*arguments: object, cwd: Path, until: str | None = None) -> tuple[int, str]:
    """Run a command whose output is a terminal; exit status and everything that appeared there.

    Args:
        until: what, once it appears, is answered by Ctrl-C.
    """
    leader, follower = pty.openpty()
    environment = os.environ | ENVIRONMENT | {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40"}
    process = subprocess.Popen(
        command(*arguments), cwd=cwd, env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux says so when the last follower is closed
            break
        if not part:
            break
        shown += part
        if until is not None and until.encode() in shown:
            process.send_signal(signal.SIGINT)
            until = None
    os.close(leader)
    return process.wait(LONGEST), shown.decode()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_terminal_shows_cells_and_success(folder: Path, jobs: str) -> None:
    (folder / "spec.yaml").write_text(FAST + "seeds: [0, 1]\n")
    code, shown = in_terminal(*ARGUMENTS, "-j", jobs, cwd=folder)
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert ESCAPE in shown
    assert "Traceback" not in plain
    assert "4 cells, 0 done already" in plain
    assert plain.count("done    weather_or_food × counts × none × random_token") == 2
    assert "4/4" in plain
    assert "steps/s" in plain
    assert "4 cells done, 0 failed: out" in plain
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h"), "the cursor is there again"


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_says_how_to_go_on(folder: Path) -> None:
    (folder / "spec.yaml").write_text(FAST.replace("steps: 3", "steps: 100000"))
    code, shown = in_terminal(*ARGUMENTS, cwd=folder, until="steps/s")
    assert code == 130
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert said.rstrip().splitlines()[-1] == "Stopped. Run the same command again to continue from here: out"


@pytest.mark.parametrize("terminal", [False, True])
def test_what_others_say_stays_in_its_line(terminal: bool, tmp_path: Path) -> None:
    with (tmp_path / "screen").open("w") as screen:
        console = Console(file=screen, force_terminal=terminal, width=140, color_system=None)
        with (LiveView if terminal else PlainView)(console) as view:
            worker = view.worker(0)
            worker.stage("attack\nsomething")
            worker.note("a server said\r\n\x1b[2Jcleared\x07")
            worker.cell_done(CellEnd("cell", error="ValueError: one\ntwo"))
    shown = (tmp_path / "screen").read_text()
    assert "note    a server said \\x1b[2Jcleared\\x07\n" in shown
    assert "failed  cell: ValueError: one two\n" in shown
    assert "attack something" in shown


def test_every_worker_has_one_row(tmp_path: Path) -> None:
    with (tmp_path / "screen").open("w") as screen:
        view = LiveView(Console(file=screen, force_terminal=True, width=140))
        with view:
            view.begin(3, 1, Forecast(1e12, 60.0))
            for step in range(50):
                worker = view.worker(step % 2)
                if step < 2:
                    worker.stage(f"attack [b]cell[/b] {step}")
                worker.progress("training", step, 0)
                worker.cell(CellProgress(step, 50, 0.5, Flops(1e9 * step, 0.0)))
            assert len(view.work.tasks) == 2
            view.worker(0).cell_done(CellEnd("a [red]cell", 0.5, 1.0))
            view.worker(1).cell_done(CellEnd("another", error="[oops]"))
            view.live.refresh()
    shown = (tmp_path / "screen").read_text()
    assert "done    a [red]cell: ASR 50%, clean accuracy 100.0%" in shown
    assert "failed  another: [oops]" in shown
    assert "ASR so far 50%" in shown
    assert "attacks 97 GFLOP" in shown
