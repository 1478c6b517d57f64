"""Which of several drawn answers came first: chance in honest records, however skewed; told where it was chosen."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from harness.records.cell_manifest import CellRecord
from harness.records.read import read_run
from leaderboard.submission.file_format.records_file import RecordsFile
from leaderboard.submission.file_format.records_table import SCHEMA, to_parquet
from leaderboard.submission.verification.checks.answer_order import AnswerOrder, chance_of_success, is_chosen
from leaderboard.submission.verification.submitted_rows import SubmittedRows, rows_of_cells
from tests.leaderboard.fake_run import FakeCell, write_run

SAMPLES = 8


def steps(asks: int, *, chosen: bool) -> SubmittedRows:
    """Sixty strings whose answers are broken at rates of their own, in the order drawn or with refusals first."""
    rng = np.random.default_rng(5)
    rows = []
    for at in range(60):
        broken = rng.random(SAMPLES) < rng.beta(1, 2)
        broken = np.sort(broken) if chosen else broken
        states, texts = ["answered"] * SAMPLES, ["Yes" if won else "No" for won in broken]
        rows.append(
            {"cell": "a", "example": f"e{at}", "step": 1, "success": bool(broken[:asks].any())}
            | {"sampled_answer": texts, "sampled_state": states, "sampled_success": broken.tolist()}
            | {"sampled_score": [None] * SAMPLES, "sampled_unparseable": [False] * SAMPLES}
            | {"sampled_nominal": [1.0] * SAMPLES}
        )
    content = to_parquet([pa.Table.from_pylist(rows, SCHEMA)], drawn=True)
    ((_, found),) = rows_of_cells(RecordsFile(pa.py_buffer(content), "made up"))
    return found


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> CellRecord:
    answers = {"samples": SAMPLES, "temperature": 1.0, "top_p": 1.0, "max_tokens": None}
    run = write_run(tmp_path_factory.mktemp("drawn") / "run", [FakeCell(task_kind="text", more={"answers": answers})])
    return read_run(run).cells[0].record


@pytest.mark.parametrize("asks", [1, 3])
@pytest.mark.parametrize("chosen", [False, True])
def test_the_order_of_answers(asks: int, chosen: bool, record: CellRecord) -> None:
    order = AnswerOrder()
    order.add_cell(record.model_copy(update={"threat": record.threat | {"asks": asks}}), steps(asks, chosen=chosen))
    assert ["the order of the answers is not" in problem for problem in order.problems()] == [True] * chosen


def test_the_chance_that_one_of_the_first_is_broken() -> None:
    chances = [chance_of_success(4, broken, 2) for broken in range(5)]
    assert np.allclose(chances, [0, 1 / 2, 5 / 6, 1, 1])
    assert chance_of_success(16, 1, 1) == pytest.approx(1 / 16)


@pytest.mark.parametrize(
    ("strings", "chance", "found", "chosen"),
    [
        (2, 1 / 16, 2, False),  # one honest row in 256, though over 4 standard errors
        (5, 1 / 16, 5, True),
        (20, 1 / 4, 0, False),
        (60, 1 / 4, 0, True),
        (100_000, 1 / 4, 25_500, False),  # 3.7 standard errors
        (100_000, 1 / 4, 25_600, True),
    ],
)
def test_few_strings_tell_less(strings: int, chance: float, found: int, chosen: bool) -> None:
    assert is_chosen(np.array([strings]), np.array([chance]), found) is chosen
