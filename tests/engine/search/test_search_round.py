"""A round of a search as its journal keeps it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.engine.search.search_round import Round
from harness.errors import RunError
from harness.records.journal import Journal
from tests.engine.search.test_search import gcg, problems_of, search_of
from tests.engine.toy import ToyBackend, without_time

# As version 0.1 wrote it: the second of two strings met a limit.
LINE = """{"rows": [{"example": "v-0", "step": 2, "success": true, "score": null, "unparseable": false, "loss": 0.5,
"predicted": 1, "answer": null, "attack_loss": 0.5, "attack_text": "tPo", "attack_tokens": [84, 48], "failure": null,
"queries": 17, "attack_nominal": null, "attack_executed": 1596.0, "judge_nominal": 26040.0, "judge_executed": 84.0,
"defense_nominal": 0.0, "defense_executed": 0.0, "draws": 1, "broken_draws": 1, "seconds": 0.25}, {"example": "v-1",
"step": 2, "success": false, "score": null, "unparseable": null, "loss": null, "predicted": null, "answer": null,
"attack_loss": null, "attack_text": null, "attack_tokens": [309], "failure": "retokenisation", "queries": 3,
"attack_nominal": 1.5, "attack_executed": 2.5, "judge_nominal": 0.0, "judge_executed": 0.0, "defense_nominal": 0.0,
"defense_executed": 0.0, "draws": null, "broken_draws": null, "seconds": 0.25}],
"states": {"0": {"tokens": [84, 48], "loss": 0.5, "memory": {}}, "3": {"tokens": [309], "loss": null, "memory":
{"a": [1]}}}, "ended": {"3": "query limit"}}""".replace("\n", " ")


def test_a_line_of_before_is_read_and_written_the_same() -> None:
    done = Round.from_json(json.loads(LINE))
    assert [row.example for row in done.rows] == ["v-0", "v-1"]
    assert done.states[3].memory == {"a": [1]}
    assert done.limits == {3: "query limit"}
    written = done.to_json()
    added = [
        row.pop(name) for row in written["rows"] for name in ("answer_state", "earlier", "judge_output", "utility")
    ]
    assert added == [None] * 8
    assert json.dumps(written) == LINE


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    backend = ToyBackend()
    with Journal(tmp_path_factory.mktemp("search") / "journal.jsonl") as journal:
        search_of(backend, gcg(steps=1)).run(problems_of(backend, 3), journal)
        return journal.entries[0]


def less_of_a_row(entry: dict[str, Any]) -> None:
    del entry["rows"][0]["queries"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry.pop("rows"),
        lambda entry: entry["rows"].pop(),
        lambda entry: entry["rows"].append(entry["rows"][0]),
        lambda entry: entry["states"].popitem(),
        lambda entry: entry["states"].update({"17": entry["states"]["0"]}),
        lambda entry: entry.update(states=[1]),
        lambda entry: entry.update(rows=[3]),
        lambda entry: entry["rows"][0].update(colour="red"),
        less_of_a_row,
    ],
)
def test_a_damaged_journal_is_named(tmp_path: Any, entry: dict[str, Any], damage: Any) -> None:
    broken = json.loads(json.dumps(entry))
    damage(broken)
    backend = ToyBackend()
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append(broken)
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(RunError, match=r"journal\.jsonl: damaged"):
        search_of(backend, gcg(steps=1)).run(problems_of(backend, 3), journal)


def test_a_whole_one_is_taken_as_it_is(tmp_path: Any, entry: dict[str, Any]) -> None:
    backend = ToyBackend()
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append(entry)
    with Journal(tmp_path / "journal.jsonl") as journal:
        found = search_of(backend, gcg(steps=1)).run(problems_of(backend, 3), journal)
    assert without_time(found.rows) == [replace(row, seconds=0.0) for row in Round.from_json(entry).rows]
