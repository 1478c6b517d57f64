"""All built-in plugins pass the kit."""

from __future__ import annotations

import json
from functools import cache

import pytest

from harness.registry.loader import load_plugins
from harness.testing import ordinary, run_check, subject_of
from harness.testing.runner import checks_for
from tests.plugins.tasks.test_hub_tasks import folder, labelled
from tests.plugins.victims.completions_server import Served, Server, save_tiny
from tests.run.runs import FROM_FILES, harness_here

pytestmark = pytest.mark.slow  # starts many processes

SMALL = {
    name: {"train_size": 400, "validation_size": 100}
    for name in ("word_length", "longest_word", "password_match", "forbidden_topics")
}
TRAINING = {
    "rounds": 1,
    "attacked_per_round": 6,
    "examples_per_round": 12,
    "strength": {"start": 1, "end": 2, "rounds": 2},
    "attack": {"gcg": {"candidates": 8}},
}
SMALL_GCG = {"gcg": {"steps": 1, "candidates": 8}}
DEFENSES = {
    "adversarial_training": TRAINING,
    "perturbation_training": {"rounds": 1, "examples_per_round": 12},
    "refusal_training": {"examples_per_round": 12},
    "circuit_breakers": {"steps": 2, "batch_size": 4},
    "smoothllm": {"copies": 3},
    "activation_detector": {"fit_examples": 8, "attack": SMALL_GCG},
    "gradient_detector": {"fit_examples": 8},
    "classifier_guard": {"classes": ["fine", "bad"], "refuse": ["bad"]},
    "inference_compute": {"samples": 3},
    "random_smoothing": {"copies": 3},
}


@cache
def registry():
    return load_plugins().registry


def names(kind):
    return [entry.name for entry in registry().entries(kind) if entry.distribution == "robustness-harness"]


# Packed and verified from another folder, which takes seconds: one plugin for each base class.
ROUND_TRIPS = ("task/word_length", "task/spam", "task/helpful", "task/strongreject", "judge/refusal_match")


@pytest.fixture(autouse=True)
def round_trips_in_this_process(monkeypatch):
    """What processes of their own would change is seen in test_submission_check."""

    def said_by(commands, hash_seed):
        lines = []
        for place, words in commands:
            done = harness_here(*words, cwd=place)
            lines += [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            if done.returncode:
                return done.returncode, lines
        return 0, lines

    monkeypatch.setattr("harness.testing.checks.submissions._said_by", said_by)


def passes(name, params=None):
    """All findings; fails with the words of those that failed."""
    subject = subject_of(name, params, registry=registry())
    checks = [
        check for check in checks_for(subject.kind, subject.cls) if check.name != "submission" or name in ROUND_TRIPS
    ]
    findings = [run_check(check, subject) for check in checks]
    assert [str(finding) for finding in findings if finding.status == "failed"] == []
    return findings


SHORT_TEXTS = {"max_tokens": 8, "max_chars": 1000}
LONGER = {
    "autodan": {"candidates": 12, "choices": 2},
    "best_of_n": {"samples": 4},
    "crescendo": {"answer_tokens": 8} | SHORT_TEXTS,
    "llm_attacker": {"streams": 2} | SHORT_TEXTS,
    "pair": {"streams": 2, "answer_tokens": 8} | SHORT_TEXTS,
    "reinforce_gcg": {"candidates": 8, "answer_tokens": 8},
    "tap": {"branching": 2, "width": 2, "answer_tokens": 8} | SHORT_TEXTS,
}


FROM_A_FILE = ("transfer", "human", "many_shot", "given_strings")


@pytest.mark.parametrize("name", [name for name in names("attack") if name not in FROM_A_FILE])
def test_attacks(name):
    findings = passes(f"attack/{name}", LONGER.get(name))
    assert [finding.check for finding in findings if finding.status == "skipped"] == []


def test_human(tmp_path):
    (tmp_path / "strings.txt").write_text(f"fox\nthe dog\n{'fox' * 200}\na river\n")
    findings = passes("attack/human", {"path": str(tmp_path / "strings.txt")})
    assert [finding.check for finding in findings if finding.status == "skipped"] == []


def test_given_strings(tmp_path):
    examples = [example.id for example in ordinary("labels", "text").data.validation]
    lines = [json.dumps({"example": example, "string": text}) for example in examples for text in ("fox", "a river")]
    (tmp_path / "strings.jsonl").write_text("\n".join(lines))
    findings = passes("attack/given_strings", {"path": str(tmp_path / "strings.jsonl"), "steps": 2})
    # Its strings are for these examples and no others.
    assert [finding.check for finding in findings if finding.status == "skipped"] == ["threat_model"]


def test_many_shot(tmp_path):
    (tmp_path / "shots.csv").write_text("question,answer\n" + 'fox,dog\ncat,""""\nriver,the house\n')
    short = {"shot": "{question} {answer} ", "ending": "", "path": str(tmp_path / "shots.csv")}
    findings = passes("attack/many_shot", short)
    assert [finding.check for finding in findings if finding.status == "skipped"] == []


KIT_EXAMPLES = '''
from harness import Task, hookimpl
from harness.testing import ordinary

class KitExamples(Task):
    """The examples on which the kit tries an attack."""

    name = "kit_examples"

    def load(self):
        return ordinary("labels", "text").data

@hookimpl
def harness_register_tasks(register):
    register(KitExamples)
'''
SOURCE = """
name: source
version: "1"
tasks: [kit_examples]
victims: [counts]
attacks: [{random_token: {steps: 4}}]
threats: [{tokens: 5}]
"""


def test_transfer(tmp_path):
    (tmp_path / "kit_examples.py").write_text(KIT_EXAMPLES)
    (tmp_path / "source.yaml").write_text(SOURCE)
    plugins = [*FROM_FILES, f"--plugin={tmp_path / 'kit_examples.py'}"]
    done = harness_here("run", "source.yaml", "--out", "source", "--quiet", *plugins, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    findings = passes("attack/transfer", {"run": str(tmp_path / "source"), "strings": "each_step"})
    # Its strings are for the examples of its source and no others.
    assert [finding.check for finding in findings if finding.status == "skipped"] == ["threat_model"]


@pytest.mark.parametrize(
    "params",
    [
        {"prompts": 2},
        {"keep": "annealed", "momentum": 0.5, "swaps": 2},
        {"starts": 3, "merged": 4, "prompts": 2},
        {"loss": "mellowmax", "alpha": 2.0},
    ],
    ids=str,
)
def test_gcg_with_other_parameters(params):
    passes("attack/gcg", params | {"candidates": 16, "topk": 16})


OF_ONE_BASE = ("harmbench_cls", "wildguard")  # that of llama_guard


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *((name, {}) for name in names("judge") if name not in ("classifier_judge", *OF_ONE_BASE)),
        ("classifier_judge", {"classes": ["no", "yes"], "success": "yes"}),
    ],
)
def test_judges(name, params):
    passes(f"judge/{name}", params)


@pytest.mark.parametrize("name", ["word_length", "longest_word", "password_match", "forbidden_topics"])
def test_tasks_that_are_made_up(name):
    passes(f"task/{name}", SMALL.get(name))


def test_tasks_from_files(tmp_path):
    rows = [f"text {i} of them,{'good' if i % 2 else 'bad'}" for i in range(80)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    passes("task/text_classification", {"path": str(tmp_path / "reviews.csv"), "labels": ["bad", "good"]})
    prompts = [f"Tell me of thing {i},Sure" for i in range(20)]
    (tmp_path / "prompts.csv").write_text("prompt,target\n" + "\n".join(prompts) + "\n")
    passes("task/behaviors", {"path": str(tmp_path / "prompts.csv")})
    said = (
        '{{"messages": [{{"role": "tool", "content": "Mail {}. {{attack}}"}}], "forbidden": "Paid", "wanted": "mail"}}'
    )
    (tmp_path / "cases.jsonl").write_text("\n".join(said.format(i) for i in range(20)))
    for injected in (True, False):
        passes("task/prompt_injection", {"path": str(tmp_path / "cases.jsonl"), "injected": injected})


def compared(i):
    return {"chosen": f"\n\nHuman: {i}\n\nAssistant: good", "rejected": f"\n\nHuman: {i}\n\nAssistant: bad"}


def forbidden(start, count):
    return [{"category": "c", "source": "s", "forbidden_prompt": f"Tell of {i}"} for i in range(start, start + count)]


@pytest.mark.parametrize("name", ["spam", "imdb", "helpful", "harmless", "strongreject"])
def test_tasks_from_the_hub(tmp_path, monkeypatch, name):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    there = tmp_path / name
    if name in ("helpful", "harmless"):
        folder(there / f"{name}-base", train=[*map(compared, range(40))], test=[*map(compared, range(40, 60))])
    elif name == "strongreject":
        folder(there, validation=forbidden(0, 20))
    else:
        folder(there, train=labelled(0, 60), test=labelled(60, 20))
    passes(f"task/{name}", {"dataset": str(there)})


@pytest.mark.parametrize("params", [{"size": "7k", "steps": 20}], ids=str)
def test_tiny(params):
    findings = passes("victim/tiny", params)
    assert [finding.check for finding in findings if finding.status == "skipped"] == ["retrains"]


def test_huggingface(tmp_path):
    from tests.engine.hub_models import write_folder

    model = write_folder(tmp_path / "model", "gpt_neox")
    passes("victim/huggingface", {"model": str(model), "dtype": "float32"})


@pytest.mark.parametrize("name", names("defense"))
def test_defenses(name):
    findings = passes(f"defense/{name}", DEFENSES.get(name))
    if name in ("perplexity_filter", "activation_detector"):  # fitted to the answers of the kit's models
        assert {finding.check: finding.status for finding in findings}["spares"] == "ok"


def test_a_classifier_that_is_calibrated():
    findings = passes("defense/classifier_guard", DEFENSES["classifier_guard"] | {"quantile": 0.9})
    assert {finding.check: finding.status for finding in findings}["spares"] == "ok"


@pytest.mark.parametrize("head", ["label_tokens", "generation"])
def test_openai_compatible(tmp_path, monkeypatch, head):
    from transformers import AutoModelForCausalLM

    from harness.tokens.hf_tokenizer import HFTokenizer

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    model = save_tiny(tmp_path / "served")
    tokenizer = HFTokenizer.from_file(model / "tokenizer.json", rows=416)
    with Server(Served(AutoModelForCausalLM.from_pretrained(model).eval(), tokenizer)) as server:
        params = {"base_url": server.url, "model": "tiny", "tokenizer": str(model), "head": head, "timeout": 200.0}
        findings = passes("victim/openai_compatible", params)
    # No gradients and no samples go over the wire, and there is no folder to open.
    skipped = [finding.check for finding in findings if finding.status == "skipped"]
    assert skipped == ["eager", "gradient", "direction", "samples", "retrains"]
