"""Strings brought for single examples: tried in order, whatever they are, and known by their hash."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.api.problem.placement import allowed_tokens, place
from harness.api.task import TaskData
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.errors import DataError
from plugins.attacks.jailbreaks.given_strings import GivenStrings
from plugins.judges.labels import WrongLabel
from tests.engine.toy import ToyBackend, searching, toy_examples


def attack(folder: Path, strings: dict[str, list[str]], **params: Any) -> GivenStrings:
    lines = [json.dumps({"example": example, "string": text}) for example, texts in strings.items() for text in texts]
    (folder / "strings.jsonl").write_text("\n".join(lines))
    return GivenStrings(GivenStrings.Params(path=folder / "strings.jsonl", **params))


def test_each_string_in_its_step_and_the_last_one_again(tmp_path: Path) -> None:
    backend = ToyBackend()
    allowed = allowed_tokens(backend.tokenizer)
    problems = [place(example, Threat(tokens=5), backend.tokenizer, allowed) for example in toy_examples(3)]
    one, other, third = (problem.example.id for problem in problems)
    long = " over the old fence and the river by the house"
    given = attack(tmp_path, {one: [" fox", " dog", " fox"], other: [long]}, steps=4)
    rows = searching(DefendedVictim(backend), given, granted="text", judge=WrongLabel()).run(problems).rows
    texts = {example: [row.attack_text for row in rows if row.example == example] for example in (one, third)}
    assert texts == {one: [" fox", " dog", " fox", " fox"], third: [""] * 4}  # the third is its clean prompt
    failures = {str(row.failure) for row in rows if row.example == other}
    assert all(re.fullmatch(r"\d+ tokens, budget 5", failure) for failure in failures), failures  # never cut
    assert {(row.queries, row.attack_nominal) for row in rows} == {(0, 0.0)}
    assert given.remarks(problems) == ["given_strings has no string for 1 of 3 examples"]
    given.check(TaskData((" A", " B"), [], toy_examples(3)))
    with pytest.raises(DataError, match="names the example 'validation-00001', which this task does not have"):
        given.check(TaskData((" A", " B"), [], toy_examples(1)))
    with pytest.raises(DataError, match="strings for none of the attacked examples"):
        given.remarks(problems[2:])


def test_the_hash_is_of_the_strings_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = attack(tmp_path, {"a": ["x", "y"], "b": ["z"]})
    same = attack(tmp_path / "other", {"b": ["z"], "a": ["x", "y"]})
    assert one.fingerprint() == same.fingerprint()
    assert one.params.identity() == same.params.identity()  # wherever the file lies
    for other in ({"a": ["y", "x"], "b": ["z"]}, {"a": ["x", "y"]}, {"a": ["x"], "b": ["y", "z"]}):
        assert attack(tmp_path / "other", other).fingerprint() != one.fingerprint()


def test_without_the_file_the_hash_stands_for_the_strings(tmp_path: Path) -> None:
    one = attack(tmp_path, {"a": ["x"]})
    sha256 = one.fingerprint()["strings"]
    alone = GivenStrings(GivenStrings.Params(sha256=sha256))
    assert (alone.fingerprint(), alone.facts()) == (one.fingerprint(), one.facts())
    with pytest.raises(DataError, match="no file of strings"):
        alone.remarks([])
    with pytest.raises(ValidationError, match="give path"):
        GivenStrings.Params()


def test_strings_of_another_hash_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"have the hash .*, and sha256 says 000000000000"):
        attack(tmp_path, {"a": ["x"]}, sha256="0" * 64).strings  # noqa: B018
