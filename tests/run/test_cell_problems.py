"""`harness validate` refuses what a run would refuse, each reason once, where the spec names what it is about."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.run.runs import FAST, FROM_FILES, harness_here

PICKY = '''
from harness import DataError, TransformDefense, hookimpl


class Picky(TransformDefense):
    """Stands before answers in text alone."""

    name = "picky"

    def check(self, data):
        if data.labels:
            raise DataError("picky: needs answers in text, and the task has labels; exclude it")

    def apply(self, texts):
        return list(texts)


@hookimpl
def harness_register_defenses(register):
    register(Picky)
'''

TABLE = {"text_classification": {"path": "rows.csv", "text_column": "t", "label_column": "l", "labels": ["a", "b"]}}
LATENT = {"access": "latent", "radius": 1.0, "tokens": 4}
TRAINED = {"adversarial_training": {"attack": {"latent": {"steps": 1}}, "threat": LATENT}}


def validated(folder: Path, *options: str, **changes: Any) -> tuple[int, str]:
    """Exit status and what was said, of the small spec with some fields replaced."""
    (folder / "spec.yaml").write_text(yaml.safe_dump(yaml.safe_load(FAST) | changes))
    (folder / "picky.py").write_text(PICKY)
    done = harness_here(*FROM_FILES, "--plugin=picky.py", "validate", "spec.yaml", *options, cwd=folder)
    assert "Traceback" not in done.stderr
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_what_can_be_run_is_valid(tmp_path: Path) -> None:
    code, said = validated(tmp_path)
    assert (code, said.split()[0]) == (0, "OK")


REFUSED = [
    ({"tasks": [{"weather_or_food": {"size": 40}}, TABLE]}, r"spec.yaml:\d+: tasks\[1\]: .*rows.csv: no such file"),
    ({"victims": ["counts", {"huggingface": {"model": "./nowhere"}}]}, r"victims\[1\]: .*nowhere"),
    ({"attacks": [{"latent": {"steps": 2}}], "threats": [LATENT]}, r"attacks\[0\]: attack latent asks for latent, vic"),
    ({"attacks": ["beast"]}, r"attacks\[0\]: attack beast asks a model 'sampler' besides the victim"),
    ({"attacks": [{"transfer": {"run": "nowhere"}}]}, r"attacks\[0\]: .*nowhere: no such run directory"),
    (
        {"defenses": ["none", TRAINED]},
        r"attacks\[0\]: defense adversarial_training runs attack latent, which asks for l",
    ),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_what_a_run_refuses_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    code, said = validated(tmp_path, **changes)
    assert code == 2, said
    assert re.search(words, said), said
    assert "cannot be run)" in said
    assert validated(tmp_path, "--spec-only", **changes)[0] == 0
    code, said = validated(tmp_path, "--json", **changes)
    problems = json.loads(said)["problems"]
    assert code == 2
    assert len({problem["message"] for problem in problems}) == len(problems)
    assert all(problem["line"] for problem in problems)


def test_next_tokens_of_a_victim_behind_a_rewriting_defense(tmp_path: Path) -> None:
    """Only where the victim itself is asked, and where the attack is adaptive."""
    tiny = {"tiny": {"size": "7k"}}
    named = [{name: {"sampler": tiny, "steps": 1}} for name in ("beast", "autodan")]
    guard, vote = {"perplexity_filter": {}}, {"smoothllm": {"copies": 2}}
    topics = {"forbidden_topics": {"train_size": 40, "validation_size": 8}}
    changes: dict[str, Any] = {"tasks": [topics], "judge": "refusal_match"}
    changes |= {"victims": [tiny], "attacks": ["beast", "autodan", *named], "defenses": [guard, vote]}
    code, said = validated(tmp_path, **changes)
    assert code == 2, said
    assert re.findall(r"(\w+) draws next tokens from the victim itself, and defense (\w+)", said) == [
        ("beast", "smoothllm"),
        ("autodan", "smoothllm"),
    ], said
    assert "name another model as its `sampler`, or exclude it" in said
    assert validated(tmp_path, **changes | {"attacks": named})[0] == 0


def test_cells_of_one_reason_are_counted(tmp_path: Path) -> None:
    code, said = validated(tmp_path, attacks=["beast"], seeds=[0, 1, 2])
    assert code == 2
    assert said.count("besides the victim") == 1
    assert "so 3 cells, such as weather_or_food × counts × none × beast" in said


def test_a_plan_warns_and_plans_the_rest(tmp_path: Path) -> None:
    attacks = [{"latent": {"steps": 2}}, {"random_token": {"steps": 2}}]
    changes = {"attacks": attacks, "threats": [LATENT], "tasks": [{"weather_or_food": {"size": 40}}, TABLE]}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(yaml.safe_load(FAST) | changes))
    done = harness_here(*FROM_FILES, "plan", "spec.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "attack latent asks for latent, victim counts offers gradient" in said
    assert "rows.csv: no such file" in said
    labels = [stage["label"] for stage in json.loads(done.stdout)["stages"] if stage["what"] == "attack"]
    assert [label.split(" × ")[3] for label in labels] == ["random_token"]


def test_all_is_told_at_once_whatever_stage_would_find_it(tmp_path: Path) -> None:
    """Parameters, fields against each other, data and models: what is fixed in one go need not be asked again."""
    changes = {
        "tasks": [TABLE],
        "victims": [{"huggingface": {"model": "./nowhere"}}],
        "attacks": [
            {"random_token": {"steps": 2}},
            {"random_token": {"draws": 0}},
            {"gcg": {}},
            {"random_token": {"steps": 2}},
        ],
        "threats": [{"tokens": 4, "access": "scores"}],
        "examples": 40,
        "clean_examples": 20,
    }
    code, said = validated(tmp_path, **changes)
    assert code == 2
    for words in (
        r"attacks\[1\]\.random_token\.draws: ",
        r"attacks\[2\]: asks for gradient access, but no threat grants more than scores",
        r"attacks\[3\]: the same as attacks\[0\] on line \d+",
        r"clean_examples \(20\) must be at least examples \(40\)",
        r"tasks\[0\]: .*rows.csv: no such file",
        r"victims\[0\]: .*nowhere",
    ):
        assert re.search(words, said), (words, said)
    changes["attacks"] = [{"random_token": {"steps": 2}}]
    changes |= {"examples": 4, "exclude": [{"attack": "gcg"}]}
    code, said = validated(tmp_path, **changes)
    assert "exclude[0]" in said
    assert "nowhere" in said
    code, said = validated(tmp_path, **changes | {"exclude": []})
    assert re.search(r"rows.csv: no such file.*nowhere", said), "both are told where data and model are missing"


def test_what_follows_from_what_is_left_out_is_not_told(tmp_path: Path) -> None:
    """The exclude names an attack that is there, but for a parameter that it does not have."""
    changes = {"attacks": ["random_token", {"gcg": {"topk": -1}}], "exclude": [{"attack": "gcg"}]}
    code, said = validated(tmp_path, **changes)
    assert code == 2
    assert "attacks[1].gcg.topk" in said
    assert "exclude" not in said
