"""The field `utility` of a spec: which tasks it means, what is wrong with it, and what it leaves as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records.cell_manifest import UtilityRecord
from harness.registry.loader import load_plugins
from harness.replay.by_spec.expected_cells import completeness_problems
from harness.run.cell.base_record import base_record
from harness.spec.load import load_spec
from harness.spec.spec_problems import InvalidSpecError
from tests.spec.conftest import Complain, Load

TOYS = Path(__file__).parents[2] / "harness" / "testing" / "toys" / "registered.py"
SPEC = """name: a
version: "1"
tasks: [word_length, {word_length: {size: 7}}, {table: {path: t.csv}}]
victims: [{tiny: {size: a}}, {tiny: {size: b}}]
defenses: [none, {adversarial_training: {rounds: 2}}]
attacks: [random_token]
"""
BOUND = "utility: {tasks: [TASK], max_loss: 0.02}\n"


@pytest.fixture(autouse=True)
def table(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("text\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("task", "means"),
    [
        ("table", ["table"]),
        ("word_length", ["word_length(size=100)", "word_length(size=7)"]),
        ("{word_length: {size: 7}}", ["word_length(size=7)"]),
    ],
)
def test_tasks_are_meant_by_what_is_written_and_recorded_by_their_labels(load: Load, task: str, means: list) -> None:
    found = load(SPEC + BOUND.replace("TASK", task))
    record = base_record(found.cells[0], found, "0" * 32)
    assert record.utility is not None
    assert record.utility.tasks == means
    assert record.utility.max_loss == 0.02


def test_it_is_in_the_hash_of_a_spec_and_in_no_cell(load: Load) -> None:
    plain, bound = load(SPEC), load(SPEC + BOUND.replace("TASK", "table"))
    other = load(SPEC + BOUND.replace("TASK", "table").replace("0.02", "0.03"))
    assert "utility" not in plain.identity, "hashes are those of before there was such a field"
    assert base_record(plain.cells[0], plain, "0" * 32).utility is None
    assert len({plain.hash, bound.hash, other.hash}) == 3
    labels = [base_record(cell, plain, "").model_copy(update={"spec_hash": ""}) for cell in plain.cells]
    same = [base_record(cell, bound, "").model_copy(update={"spec_hash": "", "utility": None}) for cell in bound.cells]
    assert labels == same, "it is about how records are read"
    both = "utility: {tasks: [table, word_length]}\n"
    assert load(SPEC + both).hash == load(SPEC + both.replace("table, word_length", "word_length, table")).hash


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("utility: {}", "utility: says nothing; give tasks, max_loss, or both"),
        ("utility: 0.02", "utility: should be a mapping of fields"),
        ("utility: {max_lost: 0.02}", "utility.max_lost: unknown field (did you mean 'max_loss'?)"),
        ("utility: {max_loss: 2}", "utility.max_loss: should be less than 1, not 2"),
        ("utility: {max_loss: -0.1}", "utility.max_loss: should be greater than or equal to 0"),
        ("utility: {tasks: [[mmlu]]}", "utility.tasks[0]: write a plugin's name"),
        (
            "utility: {tasks: [tabel]}",
            "utility.tasks[0]: no task of this spec is called 'tabel' (did you mean 'table'?)",
        ),
        (
            "utility: {tasks: [table, {word_length: {size: 8}}]}",
            "utility.tasks[1]: no task 'word_length' of this spec has these parameters, so it does not measure "
            "utility; add it",
        ),
        ("utility: {tasks: [{word_length: {sise: 8}}]}", "utility.tasks[0].word_length.sise: unknown parameter"),
        (
            "utility: {tasks: [table]}\n"
            "exclude: [{task: table, victim: {tiny: {size: b}}, defense: adversarial_training}]",
            "utility.tasks[0]: table is left out for tiny b with adversarial_training, so its",
        ),
        (
            "utility: {max_loss: 0.1}\nexclude: [{defense: none, victim: {tiny: {size: b}}}]",
            "utility.max_loss: is a loss against the undefended victim, and tiny b has no cell with the defense",
        ),
    ],
)
def test_what_is_wrong_is_said_with_field_and_mend(complain: Complain, lines: str, problem: str) -> None:
    found = complain(SPEC + lines)
    assert len(found) == 1
    assert problem in found[0]


def test_an_undefended_spec_cannot_bound_a_loss(complain: Complain) -> None:
    (found,) = complain(SPEC.replace("[none, ", "[") + "utility: {max_loss: 0.1}")
    assert "add it to `defenses`" in found


def test_a_submitter_cannot_say_otherwise(load: Load) -> None:
    spec = load(SPEC + BOUND.replace("TASK", "table"))
    records = [base_record(cell, spec, f"{at:032x}") for at, cell in enumerate(spec.cells)]
    looser = UtilityRecord(tasks=["table"], max_loss=0.5)
    forged = [records[0].model_copy(update={"utility": looser}), *records[1:]]
    told = [list(completeness_problems(spec, each, {}, {})) for each in (records, forged)]
    found = [line for line in told[1] if line not in told[0]]
    assert found == [f"cell {records[0].key!a}: utility.max_loss is 0.5, the spec says 0.02"]
    assert not any("utility" in line for line in told[0])


def test_tasks_of_labels_stand_beside_text_where_they_show_utility(tmp_path: Path) -> None:
    spec = """name: a
version: "1"
tasks: [kit_labels, kit_text]
victims: [kit_victim]
attacks: [none]
judge: refusal_match
"""
    path = tmp_path / "s.yaml"
    registry = load_plugins([str(TOYS)]).registry
    path.write_text(spec)
    with pytest.raises(InvalidSpecError, match=r"tasks\[0\]: is answered with labels, .*name it in utility\.tasks"):
        load_spec(path, registry)
    path.write_text(spec + "utility: {tasks: [kit_labels]}\n")
    found = load_spec(path, registry)
    assert {cell.task.name: cell.judge.name for cell in found.cells} == {
        "kit_labels": "wrong_label",
        "kit_text": "refusal_match",
    }
