"""What can be wrong with prompts and their parameters: one error that says where, and how to fix it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.errors import DataError
from plugins.tasks.behaviors import Behaviors
from plugins.tasks.forbidden_topics import ForbiddenTopics
from plugins.tasks.prompt_sets.strongreject import StrongReject


@pytest.mark.parametrize(
    ("name", "content", "params", "message"),
    [
        ("d.csv", "prmpt\nhi\n", {}, r"d\.csv, line 2: no column 'prompt' \(did you mean 'prmpt'\?\)"),
        ("d.csv", "prompt,x\nhi,1\n ,2\n", {}, r"line 3: the text is empty; remove the row or give `empty: drop`"),
        ("d.csv", "prompt\nhi\n", {"target_column": "target"}, r"line 2: no column 'target'; columns there"),
        ("d.csv", "prompt\nhi\n", {"reply_column": "answer"}, r"line 2: no column 'answer'; columns there"),
        ("d.csv", "prompt\nhi\n", {"benign_column": "label"}, r"line 2: no column 'label'; columns there"),
        ("d.jsonl", '{"prompt": 5}', {}, r"column 'prompt' holds int, not text; name another `prompt_column`"),
        ("d.jsonl", '{"prompt": "a", "target": [1]}', {}, r"'target' holds list, .*another `target_column`"),
        ("d.jsonl", '{"prompt": "a", "reply": 1}', {}, r"'reply' holds int, .*another `reply_column`"),
        (
            "d.csv",
            "prompt,benign\nhi,mostly\n",
            {},
            r"line 2: column 'benign' holds 'mostly', which is in neither `benign_values` nor `harmful_values`",
        ),
        ("d.csv", "prompt,benign\nhi,saef\n", {}, r"holds 'saef' \(did you mean 'safe'\?\)"),
        ("d.csv", "prompt\nhi\n", {"only": "benign"}, r"`only: benign` leaves none of 1 prompts; .*`benign_column`"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, params: dict[str, Any], message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        Behaviors(Behaviors.Params(path=path, **params)).load()


def test_empty_prompts_may_be_dropped(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("prompt,x\nhi,1\n ,2\n")
    data = Behaviors(Behaviors.Params(path=tmp_path / "d.csv", empty="drop")).load()
    assert [example.chunks[1].text for example in data.validation] == ["hi"]
    assert data.source["dropped, empty"] == "1"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"path": None}, "no data: give `path` .* or `dataset`"),
        ({"target": " "}, r"target\n.*write the first words of an answer, e.g. ' Sure, here'"),
        ({"benign_target": ""}, r"benign_target\n.*write the first words of an answer"),
        ({"benign": True, "benign_column": "x"}, "leave out `benign_column`"),
        ({"benign": True, "only": "harmful"}, "leave no prompt: keep one"),
        ({"benign_values": ["Yes"], "harmful_values": ["yes "]}, r"\['yes'\] stand in `benign_values` and in"),
        ({"header": False}, "columns are numbers from 0, got"),
        ({"only": "bad"}, "'harmful' or 'benign'"),
        ({"answer_tokens": 0}, "greater than 0"),
        ({"validation_fraction": 1.1}, "less than or equal to 1"),
    ],
)
def test_bad_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Behaviors.Params(**{"path": "a.csv"} | params)


def test_a_strongreject_file_of_another_layout_names_its_columns(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("category,source,forbidden_promt\na,b,c\n")
    with pytest.raises(DataError, match=r"line 2: no column 'forbidden_prompt' \(did you mean 'forbidden_promt'\?\)"):
        StrongReject(StrongReject.Params(path=tmp_path / "d.csv")).load()
    (tmp_path / "d.jsonl").write_text('{"content": [1, 2]}\n')
    with pytest.raises(DataError, match=r"column 'content' holds list, not text; name another `prompt_column`"):
        StrongReject(StrongReject.Params(path=tmp_path / "d.jsonl")).load()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"things": 1}, "greater than or equal to 2"),
        ({"things": 1000}, "less than or equal to"),
        ({"forbidden_share": 0.0}, "greater than 0"),
        ({"things": 2, "forbidden_share": 0.1}, "none forbidden or none allowed: raise `things`"),
        ({"prompts": "all"}, "'forbidden', 'allowed' or 'both'"),
    ],
)
def test_bad_topics(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ForbiddenTopics.Params(**params)


def test_more_topics_than_there_are() -> None:
    task = ForbiddenTopics(ForbiddenTopics.Params(things=2, adjectives=2, wordings=1))
    with pytest.raises(DataError, match=r"10000 train examples are asked for and there are \d: lower train_size, or"):
        task.load()
