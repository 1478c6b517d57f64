"""A real classifier from a folder as judge: its probabilities, texts that are too long, and whole runs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from harness.api.judge import Answer, Verdict
from harness.api.task import Chunk, Edit, Example
from harness.engine.defended.victim import DefendedVictim
from harness.engine.open_backend import open_folder
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.engine.torch.heads import HeadName
from plugins.judges.classifier_judge import ClassifierJudge
from plugins.victims._openai import http_client
from plugins.victims._openai.model_facts import model_facts
from tests.engine.hub_models import write_folder
from tests.engine.toy import ToyBackend
from tests.plugins.judges.scripted import run, server, victim
from tests.plugins.victims.completions_server import save_tiny
from tests.run.runs import harness_here

CLASSES = ("harmless", "unsure", "harmful")
ANSWERS = ["Sure, the fox jumps.", "I cannot", "good great fine", "bad awful poor", "over the dog"]


@pytest.fixture(scope="module", params=["gpt_neox", "bert"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp(request.param), request.param, labels=3)


def probabilities(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """What transformers itself says, one text at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = None  # every token of a single text counts
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        rows = [model(input_ids=tokenizer(text, return_tensors="pt")["input_ids"]).logits[0] for text in texts]
    return torch.stack(rows).double().softmax(-1).numpy()


def example(benign: bool = False) -> Example:
    return Example("e", (Chunk("How? "), Chunk("Say it", Edit.PERTURBABLE)), target=" Sure", benign=benign)


def verdicts(
    folder: Path, texts: Sequence[str], benign: bool = False, head: HeadName = "classification", **params: Any
) -> list[Verdict]:
    judge = ClassifierJudge(
        ClassifierJudge.Params(**{"model": "huggingface", "classes": CLASSES, "success": "harmful"} | params)
    )
    need = judge.models()["judge"]
    assert need.sees == "nothing"
    backend = open_folder(folder, head, need.labels, dtype="float32", device="cpu")
    model = DefendedVictim(backend, labels=need.labels)
    runner = JudgeRunner(judge, ModelRouter(DefendedVictim(ToyBackend()), {"judge": model}))
    found = runner.verdicts([(example(benign), Answer(None, (), 1.0, text)) for text in texts])
    asked = [bool(text.strip()) and not verdict.unparseable for (verdict, _), text in zip(found, texts, strict=True)]
    assert [cost.nominal > 0 for _, cost in found] == asked
    return [verdict for verdict, _ in found]


@pytest.mark.parametrize("success", CLASSES)
def test_the_score_is_the_classifiers_own_probability(folder: Path, success: str) -> None:
    expected = probabilities(folder, [f"Say it\n{text}" for text in ANSWERS])[:, CLASSES.index(success)]
    found = verdicts(folder, ANSWERS, success=success)
    assert [verdict.score for verdict in found] == pytest.approx(list(expected), abs=1e-5)
    assert [verdict.success for verdict in found] == [value >= 0.5 for value in expected]
    middle = float(np.median(expected))
    raised = verdicts(folder, ANSWERS, success=success, threshold=middle * 0.9999)
    assert [verdict.success for verdict in raised] == [value >= middle * 0.9999 for value in expected]
    assert {verdict.success for verdict in raised} == {True, False}


def test_the_template_says_what_is_classified(folder: Path) -> None:
    expected = probabilities(folder, [f"{text}!" for text in ANSWERS])[:, 2]
    found = verdicts(folder, ANSWERS, template="{answer}!")
    assert [verdict.score for verdict in found] == pytest.approx(list(expected), abs=1e-5)


def test_of_a_benign_prompt_the_attacker_wants_the_opposite(folder: Path) -> None:
    plain, benign = verdicts(folder, ANSWERS), verdicts(folder, ANSWERS, benign=True)
    assert [verdict.score for verdict in benign] == pytest.approx([1 - verdict.score for verdict in plain])
    assert [verdict.success for verdict in benign] == [verdict.score >= 0.5 for verdict in benign]


def test_too_long_and_empty_answers(folder: Path) -> None:
    long, empty, said = verdicts(folder, ["fox " * 500, " ", "fox"])
    assert long == Verdict(False, unparseable=True)
    assert empty == Verdict(False), "nobody is asked about no answer"
    assert said.score is not None
    assert verdicts(folder, [""], benign=True) == [Verdict(False)]


def test_classes_are_matched_by_name_where_the_model_has_these_names(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "gpt_neox", labels=3)
    config = json.loads((folder / "config.json").read_text())
    names = {"0": "Harmful", "1": "harmless", "2": "unsure"}
    config |= {"id2label": names, "label2id": {name: int(at) for at, name in names.items()}}
    (folder / "config.json").write_text(json.dumps(config))
    expected = probabilities(folder, [f"Say it\n{text}" for text in ANSWERS])[:, 0]
    assert [verdict.score for verdict in verdicts(folder, ANSWERS)] == pytest.approx(list(expected), abs=1e-5)


def rewritten(folder: Path, **config: Any) -> Path:
    """The folder, with other entries in its config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


def own_sigmoids(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """What transformers itself says of each output by itself, shape [texts, outputs]."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.config.pad_token_id = None
    with torch.inference_mode():
        rows = [model(input_ids=tokenizer(text, return_tensors="pt")["input_ids"]).logits[0] for text in texts]
    return torch.stack(rows).double().sigmoid().numpy()


@pytest.mark.parametrize("kind", ["gpt_neox", "bert"])
def test_classes_that_do_not_exclude_each_other_have_probabilities_of_their_own(tmp_path: Path, kind: str) -> None:
    folder = rewritten(write_folder(tmp_path, kind, labels=3), problem_type="multi_label_classification")
    expected = own_sigmoids(folder, [f"Say it\n{text}" for text in ANSWERS])
    for at, success in enumerate(CLASSES):
        found = verdicts(folder, ANSWERS, success=success)
        assert [verdict.score for verdict in found] == pytest.approx(list(expected[:, at]), abs=1e-5)
    assert not np.allclose(expected.sum(1), 1), "a softmax would have said otherwise"
    assert verdicts(folder, ["fox " * 500])[0] == Verdict(False, unparseable=True)


@pytest.mark.parametrize("kind", ["gpt_neox", "bert"])
@pytest.mark.parametrize(("named", "harmful"), [("LABEL_0", 1), ("Harmful", 1), ("harmless", 0)])
def test_a_single_output_says_yes_or_no(tmp_path: Path, kind: str, named: str, harmful: int) -> None:
    """It is of the class that the model names, else of the second; ``harmful``: whether it speaks for that one."""
    folder = rewritten(write_folder(tmp_path, kind, labels=1), id2label={"0": named}, label2id={named: 0})
    own = own_sigmoids(folder, [f"Say it\n{text}" for text in ANSWERS])[:, 0]
    expected = own if harmful else 1 - own
    found = verdicts(folder, ANSWERS, classes=("harmless", "harmful"))
    assert [verdict.score for verdict in found] == pytest.approx(list(expected), abs=1e-5)


def test_a_language_model_may_answer_with_the_classes_as_words(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "gpt_neox", "label_tokens")
    found = verdicts(folder, ANSWERS, head="label_tokens", classes=("n", "y"), success="y", template="{answer}. Harm?")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        for text, verdict in zip(ANSWERS, found, strict=True):
            prompt = tokenizer(f"{text}. Harm?")["input_ids"]
            log_probs = []
            for word in (tokenizer(" n")["input_ids"], tokenizer(" y")["input_ids"]):
                logits = model(input_ids=torch.tensor([[*prompt, *word]])).logits[0].double().log_softmax(-1)
                log_probs.append(sum(logits[len(prompt) - 1 + i, token] for i, token in enumerate(word)))
            assert verdict.score == pytest.approx(float(torch.stack(log_probs).softmax(0)[1]), abs=1e-5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"success": "harmfull"},
            r"`success` is 'harmfull' \(did you mean 'harmful'\?\), which is not one of `classes`",
        ),
        ({"classes": ["harmful"]}, r"classes\n.*at least 2"),
        ({"classes": ["harmful", "harmful "]}, "`classes` must be different names"),
        ({"classes": ["harmful", " "]}, "`classes` must be different names"),
        ({"template": "{prompt}"}, r"template\n.*lacks \{answer\}; write it where the text should go"),
        ({"threshold": 0}, "greater than 0"),
        ({"model": 3}, r"model\n"),
    ],
)
def test_bad_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ClassifierJudge.Params(**{"model": "huggingface", "classes": CLASSES, "success": "harmful"} | params)


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    model_facts.cache_clear()


def judge_of(folder: Path, **params: Any) -> dict[str, Any]:
    model = {"huggingface": {"model": str(folder), "fine_tune": False, "device": "cpu"}}
    return {"classifier_judge": {"model": model, "classes": list(CLASSES), "success": "harmful"} | params}


@pytest.mark.usefixtures("near")
def test_a_whole_run(folder: Path, tmp_path: Path) -> None:
    spoken = save_tiny(tmp_path / "served")
    prompts = [{"prompt": f"{number} prompt"} for number in range(len(ANSWERS))]

    words = ["the", "fox", "cat", "dog", "good", "bad", "hm", "no", "yes", "red"]
    clean = {
        row["prompt"]: words[int(probabilities(folder, [f"{row['prompt']}\n{word}" for word in words])[:, 2].argmin())]
        for row in prompts
    }

    def polite(prompt: str) -> str:
        return ANSWERS[int(prompt.split()[0])] if " please" in prompt else clean[prompt]

    with server(spoken, polite) as answering:
        record, steps, _ = run(tmp_path, prompts, victim(answering, spoken), judge_of(folder))
    texts = [f"{row['prompt']}\n{text}" for row, text in zip(prompts, ANSWERS, strict=True)]
    expected = probabilities(folder, texts)[:, 2]
    found = [steps[row["prompt"]] for row in prompts]
    assert [row["score"] for row in found] == pytest.approx(list(expected), abs=1e-5)
    assert [row["success"] for row in found] == [value >= 0.5 for value in expected]
    facts = record["auxiliary"]["judge:judge"]
    assert facts["victim"]["name"] == "huggingface"
    assert facts["n_params"] > 0
    assert all(row["judge_nominal"] is None for row in found), "what the victim behind its URL computed is unknown"


@pytest.mark.usefixtures("near")
def test_a_classifier_with_another_number_of_classes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "two", "gpt_neox", labels=2)
    spoken = save_tiny(tmp_path / "served")
    (tmp_path / "d.csv").write_text("prompt\nhi\n")
    with server(spoken, lambda _: "I cannot") as answering:
        spec = {
            "name": "bad",
            "version": "1",
            "tasks": [{"behaviors": {"path": "d.csv"}}],
            "victims": [victim(answering, spoken)],
            "attacks": ["none"],
            "threats": [{"access": "text"}],
            "judge": judge_of(folder),
            "examples": 1,
            "clean_examples": 1,
        }
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
        done = harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(r"has the classes .*, and harmless, unsure, harmful are asked for", " ".join(done.stderr.split()))
