"""Multiple choice: which choice is right, however a table says it; accuracy without an attack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.api.task import TaskData
from harness.cli import main
from harness.errors import DataError
from harness.records.read import read_run
from plugins.tasks.multiple_choice import MultipleChoice
from tests.engine.hub_models import write_folder

ROW = {"question": "Which is red?", "choices": ["sky", "blood", "grass", "2"], "answer": "B"}


def load(path: Path, rows: list[dict[str, Any]], **params: Any) -> TaskData:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return MultipleChoice(MultipleChoice.Params(path=path, **params)).load()


@pytest.mark.parametrize(
    ("answer", "label"), [("B", 1), ("b", 1), (1, 1), ("1", 1), (1.0, 1), ("blood", 1), (3, 3), ("grass", 2), ("3", 3)]
)
def test_the_right_choice_is_named_in_any_of_three_ways(tmp_path: Path, answer: Any, label: int) -> None:
    (example,) = load(tmp_path / "d.jsonl", [ROW | {"answer": answer}]).validation
    assert (example.label, example.attackable) == (label, False)
    assert example.chunks[1].text == "Which is red?\nA. sky\nB. blood\nC. grass\nD. 2"
    assert example.chunks[2].text == "\nAnswer:"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"answer": "E"},
            "holds 'E', which names no choice or two: write a letter up to D, a number from 0",
        ),
        ({"answer": "2"}, "names no choice or two"),  # the third by its number, the fourth by its text
        ({"answer": 4}, "names no choice or two"),
        ({"answer": None}, "names no choice or two"),
        ({"choices": ["a", "b"]}, "has 2 choices where 4 are expected; give `choices`"),
        ({"choices": "a"}, "has str, not a list where 4"),
        ({"question": " "}, "the text is empty"),
    ],
)
def test_rows_that_do_not_tell_are_errors(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(tmp_path / "d.jsonl", [ROW | changes])


def test_choices_in_columns_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("ask,one,two,right\nWhich?,left,right,two\nWhich now?,left,right,left\n")
    params = {"question_column": "ask", "choice_columns": ["one", "two"], "choices": 2, "answer_column": "right"}
    with pytest.raises(DataError, match="line 2: column 'right' holds 'two'"):
        MultipleChoice(MultipleChoice.Params(path=path, **params)).load()
    path.write_text("ask,one,two,right\nWhich?,left,right,right\n")
    (example,) = MultipleChoice(MultipleChoice.Params(path=path, **params)).load().validation
    assert (example.label, example.chunks[1].text) == (1, "Which?\nA. left\nB. right")
    with pytest.raises(ValueError, match="names 2 columns, and `choices` is 4"):
        MultipleChoice.Params(path=path, choice_columns=["one", "two"])


def test_training_questions_of_the_subject_stand_before_each_question(tmp_path: Path) -> None:
    asked = {"choices": ["yes", "no"], "answer": 1}
    train = [asked | {"question": f"{subject}{at}?", "subject": subject} for subject in "xy" for at in range(3)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))
    rows = [asked | {"question": "Is y?", "subject": "y"}, asked | {"question": "Is x?", "subject": "x"}]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = {"train": tmp_path / "train.jsonl", "validation": tmp_path / "test.jsonl"}
    common = {"path": path, "choices": 2, "subject_column": "subject", "instructions": "Answer."}

    def prompts(**params: Any) -> set[str]:
        data = MultipleChoice(MultipleChoice.Params(**common | params)).load()
        assert all(example.text.startswith("Answer.\n\n" + example.chunks[1].text) for example in data.train)
        return {example.text for example in data.validation}

    choices = "\nA. yes\nB. no\nAnswer:"
    assert prompts() == {f"Answer.\n\nIs {subject}?{choices}" for subject in "xy"}
    assert prompts(shots=2) == {
        f"Answer.\n\n{subject}0?{choices} B\n\n{subject}1?{choices} B\n\nIs {subject}?{choices}" for subject in "xy"
    }
    assert prompts(shots=6, subject_column=None) == {
        "Answer.\n\n" + "".join(f"{row['question']}{choices} B\n\n" for row in train) + f"Is {subject}?{choices}"
        for subject in "xy"
    }
    with pytest.raises(
        DataError, match=r"shots is 4, and there are 3 training questions of subject '[xy]'; lower shots"
    ):
        prompts(shots=4)
    with pytest.raises(DataError, match="shots is 1, and there are 0 training questions; lower shots"):
        load(tmp_path / "d.jsonl", [ROW], shots=1)


def test_a_run_tells_the_accuracy_and_attacks_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [ROW | {"question": f"Which is red of {i}?", "answer": i % 4} for i in range(20)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_folder(tmp_path / "m", "gpt_neox", "label_tokens")
    spec = {
        "name": "utility",
        "version": "1",
        "tasks": [{"multiple_choice": {"path": "d.jsonl"}}],
        "victims": [{"huggingface": {"model": "./m", "head": "causal_lm", "fine_tune": False}}],
        "attacks": ["none"],
        "threats": [{"tokens": 4}],
        "examples": 20,
        "clean_examples": 20,
        "diagnostics": "off",
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(spec))
    assert main(["run", "s.yaml", "--jobs", "0", "--quiet"]) == 0
    (cell,) = read_run(tmp_path / "runs" / "utility")
    assert (cell.record.status, cell.record.n_clean, cell.record.n_attacked) == ("done", 20, 0)
    said = cell.examples(["label", "predicted"]).to_pylist()
    assert cell.record.n_clean_correct == sum(row["label"] == row["predicted"] for row in said)
