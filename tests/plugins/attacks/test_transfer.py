"""Strings of another run, tried on another victim: the same strings, no search, verdicts of its own."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings, strategies as st

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.state import State
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.api.threat import Threat
from harness.cli import main
from harness.engine.dry_run import dry_run_attack
from harness.errors import DataError
from harness.records.journal import Journal
from harness.records.read import read_run
from harness.records.schema import STEPS
from plugins.attacks._common.recorded_strings import RecordedString
from plugins.attacks.transfer import Transfer, clean_string, string_for_step, tokens_in_context
from plugins.judges.labels import WrongLabel
from tests.engine.toy import ToyBackend, searching, toy_examples, without_time
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.run.runs import FAST, FROM_FILES, TINY, harness_here
from tests.tokens.kinds import CUTTING, OTHERS, tokenizer_of

EMPTY = State(())

# -- whole runs --------------------------------------------------------------------------------------------------------


def run(folder: Path, text: str, name: str) -> int:
    spec = folder / f"{name}.yaml"
    spec.write_text(text, encoding="utf-8")
    return int(main([*FROM_FILES, "run", str(spec), "--out", str(folder / name), "--quiet", "--jobs", "0"]))


def replaying(source: Path, seeds: str = "[1]", **params: Any) -> str:
    """The spec with the attack replaced, and another seed: another victim of the same task."""
    attacks = f"attacks: {json.dumps([{'transfer': {'run': str(source)} | params}])}"
    lines = [attacks if line.startswith("attacks:") else line for line in FAST.strip().splitlines()]
    return "\n".join([*lines, f"seeds: {seeds}", ""])


def rows(folder: Path, attack: str = "transfer") -> list[dict[str, Any]]:
    (cell,) = [cell for cell in read_run(folder) if cell.record.attack.name == attack]
    return cell.steps().to_pylist()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transfer")
    assert run(folder, FAST, "source") == 0
    return folder / "source"


def test_the_best_string_is_replayed_at_no_cost(tmp_path: Path, source: Path) -> None:
    assert run(tmp_path, replaying(source, attack="hill_climb"), "replay") == 0
    there: dict[str, list[dict[str, Any]]] = {}
    for row in rows(source, "hill_climb"):
        there.setdefault(row["example"], []).append(row)
    replayed = rows(tmp_path / "replay")
    assert replayed
    for row in replayed:
        assert (row["attack_nominal"], row["attack_executed"], row["queries"]) == (0.0, 0.0, 0)
        own = [one for one in there.get(row["example"], []) if one["attack_text"] is not None]
        won = [one for one in own if one["success"]]
        best = won[0] if won else min(own, key=lambda one: one["loss"]) if own else {"attack_text": ""}
        assert row["attack_text"] == best["attack_text"]
    (cell,) = read_run(tmp_path / "replay")
    facts = cell.record.attack_facts["source"]
    assert (facts["attack"], facts["seed"], facts["defense"]) == ("hill_climb", 0, "none")
    assert (facts["victim"], facts["threat"]) == ("counts", "suffix, 4 tokens, gradient")
    assert facts["examples"] == len(there)
    assert "lowest_of_seeds" not in facts
    assert str(source) not in (cell.folder / "cell.json").read_text()


def test_each_step_is_replayed_in_turn(tmp_path: Path, source: Path) -> None:
    text = replaying(source, "[0]", attack="random_token", strings="each_step", steps=4)
    assert run(tmp_path, text, "replay") == 0
    wanted = {(row["example"], row["step"]): row for row in rows(source, "random_token")}
    again = {(row["example"], row["step"]): row for row in rows(tmp_path / "replay")}
    assert len(again) == len(wanted) * 4 // 3  # a step more than there are strings: the last one stays
    for (example, step), row in again.items():
        there = wanted[example, min(step, 3)]
        for same in ("attack_text", "success", "loss", "predicted"):  # the same victim says the same
            assert row[same] == there[same]


@pytest.mark.parametrize(
    ("params", "change", "words"),
    [
        ({}, ("", ""), "transfer: 2 cells of .* match; choose one by attack .*attack: hill_climb | random_token"),
        ({"attack": "gcg"}, ("", ""), "no finished cell of attack 'gcg': it has .*hill_climb.*; change the filters"),
        ({"run": "elsewhere"}, ("", ""), "elsewhere: no such run directory"),
        (
            {"attack": "hill_climb"},
            ("size: 40", "size: 50"),
            r"were found on other data \(task weather_or_food, hash \w+\) than this task's \(hash \w+\); use the same",
        ),
    ],
)
def test_what_cannot_be_replayed_is_one_error(
    tmp_path: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    params: dict[str, Any],
    change: tuple[str, str],
    words: str,
) -> None:
    assert run(tmp_path, replaying(source, **params).replace(*change), "replay") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(words, said), said
    assert said.count("transfer: ") == 1
    assert "Traceback" not in said


def test_a_path_counts_from_the_spec_and_is_no_part_of_the_key(tmp_path: Path, source: Path) -> None:
    shutil.copytree(source, tmp_path / "moved")
    assert run(tmp_path, replaying(source, attack="hill_climb"), "one") == 0
    assert run(tmp_path, replaying(Path("moved"), attack="hill_climb"), "two") == 0
    ((one,), (two,)) = (read_run(tmp_path / name) for name in ("one", "two"))
    assert one.record.key == two.record.key
    assert run(tmp_path, replaying(source, attack="random_token"), "three") == 0
    ((three,),) = (read_run(tmp_path / "three"),)
    assert three.record.key != one.record.key


@pytest.mark.slow
def test_strings_of_one_tiny_victim_on_another(tmp_path: Path) -> None:
    spec = yaml.safe_load(TINY) | {"defenses": ["none"], "seeds": [0]}
    spec["attacks"] = [{"gcg": {"steps": 6, "candidates": 32, "topk": 32}}]
    (tmp_path / "source.yaml").write_text(yaml.safe_dump(spec))
    done = harness_here("run", "source.yaml", "--out", "source", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    attacks = [{"transfer": {"run": "source", "strings": strings, "steps": n}} for strings, n in REPLAYS]
    victims = [{"tiny": {"size": "26k", "steps": 30}}]
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec | {"victims": victims, "attacks": attacks}))
    done = harness_here("run", "spec.yaml", "--out", "replay", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    there = {(row["example"], row["step"]): row["attack_text"] for row in rows(tmp_path / "source", "gcg")}
    cells = list(read_run(tmp_path / "replay"))
    assert len(cells) == len(REPLAYS)
    replayed = 0
    for cell in cells:
        assert cell.record.attack_facts["source"]["victim"] == "tiny"
        assert cell.record.data_hash == read_run(tmp_path / "source").cells[0].record.data_hash
        for row in cell.steps().to_pylist():
            assert (row["queries"], row["attack_nominal"], row["judge_nominal"] > 0) == (0, 0.0, row["failure"] is None)
            if cell.record.attack.params["strings"] == "each_step" and row["attack_text"]:
                assert row["attack_text"] == there[row["example"], row["step"]]
                replayed += 1
    assert replayed > 12
    # Verdicts are those of the victim that is asked: a victim of its own, reopened.
    from harness.engine.defended.victim import DefendedVictim
    from plugins.tasks.word_length import WordLength
    from plugins.victims.tiny import Tiny

    (task,) = spec["tasks"]
    data = WordLength(WordLength.Params(**task["word_length"])).load()
    record = cells[0].record
    assert record.victim_facts is not None
    folder = tmp_path / "replay" / "artifacts" / record.victim_facts.artifact
    victim = DefendedVictim(Tiny(Tiny.Params(size="26k", steps=30)).open(folder, data), labels=data.labels)
    examples = {example.id: example for example in data.validation}
    for row in cells[0].steps().to_pylist():
        if row["failure"] is None:
            example = examples[row["example"]]
            prompt = place(example, Threat(tokens=5), victim.backend.tokenizer, np.arange(9)).prompt(row["attack_text"])
            (reply,) = victim.ask([prompt])
            assert row["predicted"] == reply.label
            assert row["success"] == (reply.label != example.label)


REPLAYS = (("best", 1), ("each_step", 6))

# -- which cell, which string ------------------------------------------------------------------------------------------


def fake(folder: Path, *cells: FakeCell, **info: Any) -> Path:
    return write_run(folder / "run", [replace(cell, examples=4, steps=3) for cell in cells], **info)


def transfer(path: Path, **params: Any) -> Transfer:
    return Transfer(Transfer.Params(run=path, **params))


def test_the_lowest_seed_is_taken_and_told(tmp_path: Path) -> None:
    path = fake(tmp_path, *(FakeCell(seed=seed) for seed in (3, 1, 2)))
    facts = transfer(path).facts()["source"]
    assert (facts["seed"], facts["lowest_of_seeds"]) == (1, [1, 2, 3])
    facts = transfer(path, seed=2).facts()["source"]
    assert facts["seed"] == 2
    assert "lowest_of_seeds" not in facts


@pytest.mark.parametrize(
    ("wanted", "key"),
    [
        ({"defense": "none"}, FakeCell()),
        ({"round": 4}, FakeCell(defense="adversarial_training(rounds=4)", round=4)),
        ({"defense": "adversarial_training", "round": 1}, FakeCell(defense="adversarial_training(rounds=4)", round=1)),
        ({"victim": "tiny(size=large)"}, FakeCell(victim="tiny(size=large)")),
        ({"threat": "prefix, 4 tokens, text"}, FakeCell(threat="prefix, 4 tokens, text")),
        ({"task": "password_match"}, FakeCell(task="password_match")),
    ],
)
def test_filters_are_labels_or_names(tmp_path: Path, wanted: dict[str, Any], key: FakeCell) -> None:
    base = {"defense": "none", "victim": "tiny(size=small)", "threat": FakeCell.threat, "task": "word_length"}
    path = fake(
        tmp_path,
        FakeCell(),
        FakeCell(defense="adversarial_training(rounds=4)", round=1),
        FakeCell(defense="adversarial_training(rounds=4)", round=4),
        FakeCell(victim="tiny(size=large)"),
        FakeCell(threat="prefix, 4 tokens, text"),
        FakeCell(task="password_match"),
    )
    rest = {} if "round" in wanted else base
    facts = transfer(path, **(rest | wanted)).facts()["source"]
    found = (facts["task"], facts["victim"], facts["defense"], facts["round"], facts["threat"])
    assert found == (key.task, key.victim, key.defense, key.round, key.threat)


@pytest.mark.parametrize(
    ("cells", "info", "params", "words"),
    [
        ([FakeCell(), FakeCell(victim="tiny(size=l)")], {}, {}, r"2 cells of .* choose one by victim \(victim: tiny"),
        ([FakeCell(), FakeCell(task="spam")], {}, {}, "choose one by task"),
        ([FakeCell()], {"cells": 4}, {"attack": "beast"}, "3 of its cells are not done: finish that run first"),
        ([], {"cells": 2}, {}, "no finished cell: none is done; 2 of its cells are not done"),
        ([FakeCell(space="latent")], {}, {}, "no finished cell: none is done"),
        ([FakeCell(status="failed")], {"cells": 1}, {}, "none is done; 1 of its cells are not done"),
        ([FakeCell(), FakeCell(hardness=3.0)], {}, {}, "cells that cannot be told apart"),
    ],
)
def test_no_cell_or_several_is_an_error_with_a_mend(
    tmp_path: Path, cells: list[FakeCell], info: dict[str, Any], params: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        transfer(fake(tmp_path, *cells, **info), **params).fingerprint()


def test_a_damaged_source_is_an_error_with_a_mend(tmp_path: Path) -> None:
    path = fake(tmp_path, FakeCell())
    (steps,) = path.glob("cells/*/steps.parquet")
    steps.write_bytes(b"not a table")
    with pytest.raises(DataError, match=r"steps\.parquet: cannot be read as Parquet"):
        transfer(path).fingerprint()
    steps.unlink()
    with pytest.raises(DataError, match=r"steps\.parquet: missing"):
        transfer(path).facts()


def test_the_fingerprint_is_of_what_is_read(tmp_path: Path) -> None:
    path = fake(tmp_path, FakeCell())
    (steps,) = path.glob("cells/*/steps.parquet")
    first = transfer(path).fingerprint()
    table = pq.read_table(steps).to_pylist()
    for column, value, same in (("seconds", 9.0, True), ("queries", 3, True), ("attack_text", "zz", False)):
        pq.write_table(pa.Table.from_pylist([table[0] | {column: value}, *table[1:]], STEPS), steps)
        assert (transfer(path).fingerprint() == first) == same


def test_the_data_must_be_the_same(tmp_path: Path) -> None:
    data = TaskData((" A", " B"), [], toy_examples(2))
    attack = transfer(fake(tmp_path, FakeCell(data_hash=data.hash)))
    attack.check(data)
    with pytest.raises(DataError, match=f"hash {data.hash[:12]}.* use the same task and parameters"):
        attack.check(TaskData((" A", " B"), [], toy_examples(3)))


def tried(*rows: tuple[int, bool, float]) -> list[RecordedString]:
    return [RecordedString(step, f"string {step}", success, loss) for step, success, loss in rows]


INF = math.inf


@pytest.mark.parametrize(
    ("there", "strings", "step", "wanted"),
    [
        (tried((1, False, 2.0), (2, False, 1.0), (3, False, 3.0)), "best", 1, "string 2"),
        (tried((1, False, 0.1), (2, True, 1.0), (3, True, 0.5)), "best", 1, "string 2"),
        (tried((1, False, INF), (2, False, INF)), "best", 1, "string 2"),  # losses unknown: the newest
        (tried((1, True, INF), (2, False, INF)), "best", 1, "string 1"),
        (tried((1, True, 0.1), (2, False, 1.0)), "last", 1, "string 2"),
        (tried((1, False, 1.0), (3, False, 1.0)), "each_step", 1, "string 1"),
        (tried((1, False, 1.0), (3, False, 1.0)), "each_step", 2, "string 1"),  # none in step 2
        (tried((1, False, 1.0), (3, False, 1.0)), "each_step", 3, "string 3"),
        (tried((1, False, 1.0), (3, False, 1.0)), "each_step", 9, "string 3"),
        (tried((2, False, 1.0)), "each_step", 1, None),
        ([], "best", 1, None),
    ],
)
def test_which_string_is_tried(there: list[RecordedString], strings: str, step: int, wanted: str | None) -> None:
    assert string_for_step(there, strings, step) == wanted


# -- strings in their new place ----------------------------------------------------------------------------------------


def toy_source(folder: Path, texts: dict[str, list[str | None]]) -> Path:
    """A run whose only cell has these strings, step by step."""
    path = fake(folder, FakeCell())
    (steps,) = path.glob("cells/*/steps.parquet")
    row = pq.read_table(steps).to_pylist()[0]
    table = [
        row | {"example": example, "step": step, "attack_text": text, "loss": 1.0 if text else None, "success": False}
        for example, own in texts.items()
        for step, text in enumerate(own, start=1)
    ]
    pq.write_table(pa.Table.from_pylist(table, STEPS), steps)
    return path


def toy_search(attack: Transfer, *, edit: Edit = Edit.OVERWRITABLE, threat: Threat | None = None) -> Any:
    from harness.engine.defended.victim import DefendedVictim

    backend = ToyBackend()
    allowed, threat = allowed_tokens(backend.tokenizer), threat or Threat(tokens=5)
    problems = [place(example, threat, backend.tokenizer, allowed) for example in toy_examples(3, edit)]
    search = searching(DefendedVictim(backend), attack, granted="text", judge=WrongLabel())
    return search, problems


def test_a_string_that_is_too_long_or_merges_is_a_failed_step_and_never_cut(tmp_path: Path) -> None:
    long = " over the old fence and the river by the house"
    path = toy_source(tmp_path, {"validation-00000": [" fox"], "validation-00001": [long], "validation-00002": ["ver"]})
    middle = Threat(tokens=5, position=0.5)  # in the middle of a word, which "ver" makes another one
    search, problems = toy_search(transfer(path), edit=Edit.PERTURBABLE, threat=middle)
    fine, too_long, merged = search.run(problems).rows
    assert (fine.attack_text, fine.failure) == (" fox", None)
    assert re.fullmatch(r"\d+ tokens, budget 5", too_long.failure)
    assert len(too_long.attack_tokens) > 5
    assert problems[2].tokens_of("ver") is None
    assert (merged.failure, merged.attack_text) == ("retokenisation", None)
    assert not too_long.success and not merged.success  # noqa: PT018


def test_an_example_without_a_string_is_tried_with_its_clean_prompt(tmp_path: Path) -> None:
    path = toy_source(tmp_path, {"validation-00001": [None, None]})
    for edit, threat, clean_text in (
        (Edit.OVERWRITABLE, Threat(tokens=5), ""),
        (Edit.PERTURBABLE, Threat(tokens=5), ""),
        (Edit.PERTURBABLE, Threat(tokens=12, edit="replace"), " over the old fence"),
    ):
        search, problems = toy_search(transfer(path), edit=edit, threat=threat)
        for problem, row in zip(problems, search.run(problems).rows, strict=True):
            assert clean_string(problem) == row.attack_text == clean_text
            assert problem.prompt(row.attack_text) == problem.example.text
    search, problems = toy_search(transfer(path), edit=Edit.PERTURBABLE, threat=Threat(tokens=1, edit="replace"))
    (length,) = {len(problem.tokens_of(" over the old fence")) for problem in problems}
    told = {row.failure for row in search.run(problems).rows}
    assert told == {f"{length} tokens, budget 1"}  # no success by leaving out


def test_a_stopped_replay_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(round: int, _rows: Any) -> None:
        if round == 1:
            raise StoppedError

    texts = {f"validation-0000{i}": [" fox", None, " dog", " cat"] for i in range(2)}
    attack = transfer(toy_source(tmp_path, texts), strings="each_step", steps=4)
    search, problems = toy_search(attack)
    whole = search.run(problems)
    assert [row.attack_text for row in whole.rows[:4]] == [" fox", " fox", " dog", " cat"]
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(StoppedError):
        search.run(problems, journal, stop)
    with Journal(tmp_path / "journal.jsonl") as journal:
        again = search.run(problems, journal)
    assert without_time(again.rows) == without_time(whole.rows)
    assert all(
        State.from_json(json.loads(json.dumps(string.state.to_json()))) == string.state for string in whole.strings
    )


@given(
    kind=st.sampled_from([*CUTTING, *OTHERS]),
    text=st.text(st.sampled_from("ab xT1.,'\n\u00e9\u65e5"), max_size=12),
    before=st.sampled_from(["", "Say it", "Say: ", "x\n"]),
    after=st.sampled_from(["", " now", ".", "\n\nAnswer:"]),
)
@settings(max_examples=150, deadline=None)
def test_in_any_tokenizer_a_string_is_replayed_as_it_is_or_fails(kind: str, text: str, before: str, after: str) -> None:
    tokenizer = tokenizer_of(kind)
    example = Example("e", (Chunk(before), Chunk("", Edit.OVERWRITABLE), Chunk(after)), 0, 1)
    problem = place(example, Threat(tokens=50), tokenizer, allowed_tokens(tokenizer))
    tokens = tokens_in_context(problem, text)
    (put,) = problem.attack_texts(tokens[None])
    if put is None:  # a failed step
        return
    # What is judged reads, to this victim, as the string itself would.
    assert tokenizer.encode([problem.prompt(put)]) == tokenizer.encode([problem.prompt(text)])


def test_nothing_is_asked_and_the_plan_knows_it(tmp_path: Path) -> None:
    found = dry_run_attack(transfer(fake(tmp_path, FakeCell())), Threat(tokens=5))
    assert (found.answered, found.scored, found.sampled, found.differentiated) == (0, 0, 0, 0)
    assert transfer(fake(tmp_path / "b", FakeCell())).params.identity().keys().isdisjoint({"run"})
