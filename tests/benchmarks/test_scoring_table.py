"""The benchmark script's own logic: rows, goals, the table in a page, arguments; and its worker, as a real process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import table
from tests.benchmarks.measure import Bench, Result, largest_difference
from tests.benchmarks.rows import ROWS, Row, select
from tests.benchmarks.worker import Worker
from tests.processes import LONGEST

SCRIPT = Path(__file__).parent / "scoring_table.py"
ROW = Row("x", "score", "a case", "60k", {}, 2.4, 3.0, 0.70, 0.80)


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    # -S: nothing that is installed can be imported, as in a bare Python.
    return subprocess.run(
        [sys.executable, "-S", str(SCRIPT), *arguments], capture_output=True, text=True, timeout=LONGEST, check=False
    )


def test_help_needs_no_package() -> None:
    done = script("--help")
    assert done.returncode == 0, done.stderr
    for word in ("--envs", "--rows", "--threads", "--write", *(row.id for row in ROWS)):
        assert word in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "21m-128,nope"], "no row is called nope"),
        (["--rounds", "0"], "at least 1"),
        (["--threads", "0"], "at least 1"),
        (["--write", "nowhere.md"], "nowhere.md: no such file"),
        (["--faster"], "unrecognized arguments"),
    ],
)
def test_bad_arguments_end_before_anything_is_made(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = script("--envs", str(tmp_path / "envs"), *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "envs").exists()


def test_rows_keep_the_table_s_order() -> None:
    assert [row.id for row in select(["cell", "21m-128"])] == ["21m-128", "cell"]
    assert select([]) == list(ROWS)
    assert len({row.id for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Result("x", 2.4, 0.70, 1e-6), True),
        (Result("x", 2.39, 0.90, 1e-6), False),
        (Result("x", 5.0, 0.69, 1e-6), False),
        (Result("x", 5.0, 0.90, 2e-4), False),
        (Result("x", missing="no GPU here"), None),
    ],
)
def test_a_must_holds_when_all_of_it_does(result: Result, expected: bool | None) -> None:
    assert table.holds(ROW, result) is expected


def test_the_table_goes_between_its_markers(tmp_path: Path) -> None:
    results = [Result("x", 2.844, 0.712, 8.3e-7), Result("x", missing="no GPU here")]
    text = table.markdown([ROW, ROW], results, "Measured here.")
    assert "| a case | 2.4×, 70% | 3×, 80% | 2.84× | 71% | 8e-07 | yes |" in text
    assert "not measured: no GPU here" in text
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {8}
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n{table.BEGIN}\nold\n{table.END}\nAfter\n")
    for _ in range(2):
        table.write(page, text)
        assert page.read_text() == f"# Before\n{table.BEGIN}\n{text}\n{table.END}\nAfter\n"
    page.write_text("no place for it\n")
    with pytest.raises(ValueError, match="must stand in it once"):
        table.write(page, text)
    assert page.read_text() == "no place for it\n"


def test_the_page_has_a_place_for_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "speed.md").read_text()
    assert page.count(table.BEGIN) == page.count(table.END) == 1


def test_the_largest_difference_is_over_all() -> None:
    assert largest_difference([[1.0, 2.0], [3.0]], [[1.0, 2.5], [3.25]]) == 0.5
    with pytest.raises(ValueError, match="shorter"):
        largest_difference([[1.0, 2.0]], [[1.0]])


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A process with our side."""
    log = tmp_path_factory.mktemp("worker") / "log"
    with Worker(Path(sys.executable), "tests.benchmarks.ours", 1, log) as started:
        yield started


@pytest.mark.slow
def test_our_worker_answers_and_says_what_fails(worker: Worker, tmp_path: Path) -> None:
    shape = {"prefix": 20, "suffix": 6, "tail": 3, "candidates": 16, "examples": 2}
    assert worker.ask("facts")["threads"] == 1
    folder = str(tmp_path / "model")
    assert worker.ask("write", size="60k", folder=folder, store=str(tmp_path / "store")) == 58_240
    items = worker.ask("items", folder=folder, shape=shape, number=3)
    assert [len(item["candidates"]) for item in items] == [16, 16]
    answers = [
        worker.ask("score", folder=folder, path=path, shape=shape, number=3, losses=True) for path in ("auto", "full")
    ]
    assert largest_difference(*(answer["losses"] for answer in answers)) < 1e-4
    assert answers[0]["executed"] < answers[1]["executed"]
    answer = worker.ask("iterate", folder=folder, shape={**shape, "examples": 1}, number=1)
    assert sum(answer["parts"].values()) == pytest.approx(answer["seconds"])
    assert len(answer["losses"]) == len(answer["item"]["candidates"]) == 16
    with pytest.raises(RuntimeError, match="no such size"):
        worker.ask("write", size="7b", folder=folder, store=str(tmp_path / "store"))
    assert worker.ask("gemm") > 1e8, "a failure does not end it"


@pytest.mark.slow
def test_sides_are_timed_in_turns(worker: Worker, tmp_path: Path) -> None:
    row = Row(
        "x",
        "paths",
        "packed_reuse against copied_prefix",
        "60k",
        {"prefix": 20, "suffix": 6, "tail": 3, "candidates": 16},
    )
    bench = Bench(worker, worker, tmp_path / "models", tmp_path / "store", rounds=3)
    calls: list[tuple[str, int]] = []
    sides = {name: lambda number, name=name: calls.append((name, number)) or 1.0 + number for name in ("a", "b")}
    seconds = bench._rounds(sides)
    assert calls == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2), ("b", 3), ("a", 3)]
    assert seconds["a"] == seconds["b"] == [2.0, 3.0, 4.0]
    result = bench.run(row)
    assert result.error is not None
    assert result.error < 1e-4
    assert result.ratio is not None
    assert result.ratio > 0
    assert result.of_peak is not None
    assert 0 < result.of_peak < 1
