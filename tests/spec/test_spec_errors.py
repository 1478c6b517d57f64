# ruff: noqa: E501 (the table is easier to read with one mistake per line)
"""Each mistake in a spec is told with its line, its field and a fix; all of them at once."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.registry.registry import Registry
from harness.spec.fields import Spec
from harness.spec.load import load_spec
from harness.spec.spec_problems import InvalidSpecError
from tests.spec.conftest import Complain
from tests.spec.toys import cells_of

_HEAD = "name: q\nversion: '1'\n"
_TASKS = "tasks: [word_length]\n"
_VICTIMS = "victims: [tiny]\n"
_ATTACKS = "attacks: [gcg]\n"
_BASE = _HEAD + _TASKS + _VICTIMS + _ATTACKS  # five lines

_WRONG: list[tuple[str, list[str]]] = [
    ("- a", ["x.yaml:1: a spec is a mapping of fields"]),
    (_HEAD + _TASKS + _VICTIMS, ["x.yaml:1: attacks: is required"]),
    (_BASE + "seed: [1]\n", ["x.yaml:6: seed: unknown field (did you mean 'seeds'?)"]),
    (_BASE.replace("name: q", "name: Quick"), ["x.yaml:1: name: should match pattern"]),
    (_BASE.replace("'1'", "1"), ["x.yaml:2: version: should be text: put it in quotes"]),
    (_BASE + "seeds: []\n", ["x.yaml:6: seeds: needs at least one entry"]),
    (_BASE + "seeds:\n  - 0\n  - x\n", ["x.yaml:8: seeds[1]: should be a valid integer, not 'x'"]),
    (_BASE + "seeds:\n  - -1\n", ["x.yaml:7: seeds[0]: should be greater than or equal to 0"]),
    (_BASE + "seeds: [true]\n", ["x.yaml:6: seeds[0]: should be a valid integer, not true"]),
    (_BASE + "seeds: [3, 4, 3]\n", ["x.yaml:6: seeds[2]: the same as seeds[0] on line 6"]),
    (_HEAD + _VICTIMS + _ATTACKS + "tasks: word_length\n", ["x.yaml:5: tasks: should be a list, not 'word_length'"]),
    (_HEAD + _VICTIMS + _ATTACKS + "tasks: []\n", ["x.yaml:5: tasks: needs at least one entry"]),
    (_HEAD + _VICTIMS + _ATTACKS + "tasks: [3]\n", ["x.yaml:5: tasks[0]: write a plugin's name"]),
    (_HEAD + _VICTIMS + _ATTACKS + "tasks:\n- word_lenght\n", ["x.yaml:6: tasks[0]: no task is called 'word_lenght' (did you mean 'word_length'?)"]),
    (_HEAD + _TASKS + _ATTACKS + "victims:\n- tiny: {width: 2}\n- tiny:\n    sise: s\n", ["x.yaml:8: victims[1].tiny.sise: unknown parameter (did you mean 'size'?)"]),
    (_HEAD + _TASKS + _ATTACKS + "victims:\n- name: tiny\n  params:\n    sise: s\n", ["x.yaml:8: victims[0].params.sise: unknown parameter"]),
    (_HEAD + _TASKS + _ATTACKS + "victims:\n- tiny:\n  size: s\n", ["x.yaml:6: victims[0]: expected one plugin here, but found the keys 'tiny', 'size'; indent"]),
    (_HEAD + _TASKS + _ATTACKS + "victims:\n- tiny: s\n", ["x.yaml:6: victims[0]: the parameters of 'tiny' must be a mapping"]),
    (_HEAD + _TASKS + _ATTACKS + "victims:\n- tiny:\n- tiny: {size: s}\n", ["x.yaml:7: victims[1]: the same as victims[0] on line 6"]),
    (_HEAD + _VICTIMS + _ATTACKS + "tasks: [table]\n", ["x.yaml:5: tasks[0].table.path: is required"]),
    (_BASE + "defenses:\n- adversarial_training:\n    attack:\n      gcg:\n        stepz: 4\n", ["x.yaml:10: defenses[0].adversarial_training.attack.gcg.stepz: unknown parameter (did you mean 'steps'?)"]),
    (_BASE + "defenses:\n- adversarial_training:\n    ramp:\n      strat: 4\n", ["x.yaml:9: defenses[0].adversarial_training.ramp.strat: unknown parameter"]),
    (_BASE + "defenses:\n- adversarial_training: {rounds: 1000000000}\n", ["x.yaml:7: defenses[0]: asks for more than 10000 rounds"]),
    (_BASE + "judge: wrong_lable\n", ["x.yaml:6: judge: no judge is called 'wrong_lable' (did you mean 'wrong_label'?)"]),
    (_BASE + "threats:\n- {position: sufix}\n- {acess: text}\n", ["x.yaml:7: threats[0].position: should be 'prefix', 'infix', 'suffix' or 'answer'", "x.yaml:8: threats[1].acess: unknown field (did you mean 'access'?)"]),
    (_BASE + "threats:\n- {position: suffix}\n- {position: 1.0}\n", ["x.yaml:8: threats[1]: the same as threats[0] on line 7"]),
    (_BASE + "threats: [{access: scores}]\n", ["x.yaml:5: attacks[0]: asks for gradient access, but no threat grants more than scores"]),
    (_BASE + "threats:\n- {access: gradient}\n- {access: scores}\n", ["x.yaml:5: attacks[0]: asks for gradient access, but threats[1] on line 8 grants only scores"]),
    (_BASE + "examples: 300\n", ["x.yaml:6: examples: clean_examples (256) must be at least examples (300)"]),
    (_BASE + "clean_examples: 3\n", ["x.yaml:6: clean_examples: clean_examples (3) must be at least examples (32)"]),
    (_BASE + "examples: '3'\n", ["x.yaml:6: examples: should be a valid integer, not '3'"]),
    (_BASE + "stop_on_success: no\n", ["x.yaml:6: stop_on_success: should be a valid boolean, not 'no'"]),
    (_BASE + "target_asr: 0\n", ["x.yaml:6: target_asr: should be greater than 0"]),
    (_BASE + "exclude:\n- {}\n", ["x.yaml:7: exclude[0]: would leave out everything"]),
    (_BASE + "exclude:\n- {task: , seed: 0}\n", ["x.yaml:7: exclude[0]: 'task' has no value"]),
    (_BASE + "exclude:\n- {tsk: a}\n", ["x.yaml:7: exclude[0].tsk: unknown field (did you mean 'task'?)"]),
    (_BASE + "exclude:\n- {task: [a]}\n", ["x.yaml:7: exclude[0].task: write a plugin's name"]),
    (_BASE + "exclude:\n- {task: word_lenght}\n", ["x.yaml:7: exclude[0].task: no task of this spec is called 'word_lenght' (did you mean 'word_length'?)"]),
    (_BASE + "exclude:\n- {victim: {tiny: {size: m}}}\n", ["x.yaml:7: exclude[0].victim: no victim 'tiny' of this spec has these parameters"]),
    (_BASE + "exclude:\n- {victim: {tiny: {sise: m}}}\n", ["x.yaml:7: exclude[0].victim.tiny.sise: unknown parameter (did you mean 'size'?)"]),
    (_BASE + "exclude:\n- {seed: 1}\n", ["x.yaml:7: exclude[0].seed: no cell has seed 1"]),
    (_BASE + "exclude:\n- {round: 1}\n", ["x.yaml:7: exclude[0].round: no cell has round 1"]),
    (_BASE + "exclude:\n- {threat: {tokens: 11}}\n", ["x.yaml:7: exclude[0].threat: no threat of this spec has these fields"]),
    (_BASE + "exclude:\n- {threat: {toknes: 11}}\n", ["x.yaml:7: exclude[0].threat.toknes: unknown field (did you mean 'tokens'?)"]),
    (_BASE + "exclude:\n- {seed: 0}\n", ["x.yaml:6: exclude: leaves out every cell"]),
    (_BASE + f"seeds: {list(range(9000))}\ndefenses: [{{adversarial_training: {{rounds: 99}}}}]\n", ["x.yaml:1: makes 891000 cells, more than 100000"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), _WRONG, ids=[said[0].split(" ", 1)[1][:50] for _, said in _WRONG])
def test_told_with_line_field_and_mend(text: str, said: list[str], complain: Complain) -> None:
    lines = complain(text)
    assert len(lines) == len(said), lines
    for line, start in zip(lines, said, strict=True):
        assert line.startswith(start), line


def test_all_at_once_in_the_order_of_lines(complain: Complain) -> None:
    text = "name: Q\nversion: '1'\nattacks: [gcq]\nvictims:\n- tiny: {sise: 1}\n- 3\ntasks: [word_length]\nsed: 1\n"
    assert [line.split(": ")[:2] for line in complain(text)] == [
        ["x.yaml:1", "name"],
        ["x.yaml:3", "attacks[0]"],
        ["x.yaml:5", "victims[0].tiny.sise"],
        ["x.yaml:6", "victims[1]"],
        ["x.yaml:8", "sed"],
    ]


def test_problems_are_data_and_survive_pickling(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(_BASE + "sed: 1\n")
    with pytest.raises(InvalidSpecError) as caught:
        load_spec(path, registry)
    problem = caught.value.problems[0]
    assert problem.at is not None
    assert (problem.at.line, problem.at.column, problem.path) == (6, 1, ("sed",))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.problems) == (str(caught.value), caught.value.problems)


def test_a_spec_made_in_python_is_told_its_fields(registry: Registry) -> None:
    spec = Spec.model_validate(
        {"name": "q", "version": "1", "tasks": ["word_length"], "victims": [{"tiny": {"sise": 1}}], "attacks": ["gcg"]}
    )
    with pytest.raises(SpecError, match=r"spec 'q': victims\[0\]\.tiny\.sise: unknown parameter"):
        cells_of(spec, registry)
