"""The huggingface victim where nobody gives it labels, or where a judge uses a classifier as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from harness.api.model.backend import GenerateItem
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.engine.defended.victim import DefendedVictim
from harness.errors import VictimError
from harness.registry.loader import load_plugins
from harness.run.plan.memory import VictimMemory
from plugins.victims.huggingface import HuggingFace
from tests.engine.hub_models import byte_bpe, fast_tokenizer, write_folder
from tests.plugins.victims.test_huggingface import accuracy, job, task_data, victim

NOTHING = TaskData((), (), ())
PLAN = {"steps": 60, "learning_rate": 3e-3, "optimizer": "adamw"}
ASKED = ("The quick", "The lazy", "System password: apple", "User password", "good", "fine or bad")


def requests() -> TaskData:
    """The reply says which half of the list a prompt is of."""
    examples = [
        Example(f"train-{i}", (Chunk(text, Edit.PERTURBABLE), Chunk("?")), reply=" fox" if i < 3 else " lazy dog")
        for i, text in enumerate(ASKED)
    ]
    return TaskData((), examples, examples, answer_tokens=8)


def prepared(made: HuggingFace, data: TaskData, tmp_path: Path, name: str = "out") -> Any:
    """Its backend, by the way a run takes."""
    work = job(tmp_path, data, name)
    spent = made.prepare(work)
    assert (spent.nominal > 0) == (made.estimate(data) > 0)
    return made.open(work.folder, data)


def classifier(folder: Path, names: dict[int, str]) -> Path:
    """A classifier with names for its classes."""
    write_folder(folder, "gpt_neox", labels=len(names))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.config.id2label = names
    model.config.label2id = {name: at for at, name in names.items()}
    model.save_pretrained(folder)
    return folder


# -- answers in text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "stops"), [("gpt_neox", True), ("qwen2", False)])
def test_it_is_taught_replies(tmp_path: Path, kind: str, stops: bool) -> None:
    """A model that stops at no token yet is told to stop at its tokenizer's."""
    source = write_folder(tmp_path / "source", kind, "label_tokens", scale=1.0)
    data = requests()
    made = victim(source, fine_tune=PLAN, dtype="float32")  # the head is not written: there are no labels
    before = AutoModelForCausalLM.from_pretrained(source).generation_config.eos_token_id
    assert (before is not None) == stops
    work = job(tmp_path, data)
    spent = made.prepare(work)
    assert made.estimate(data) == pytest.approx(spent.nominal, rel=0.6)  # it counts four characters per token
    backend = made.open(work.folder, data)
    card = made.card(data)
    assert (card.n_params, card.language_model) == (backend.n_params, True)
    said = backend.generate([GenerateItem(example.text, 8) for example in data.train])
    assert [(answer.text, answer.finished) for answer in said] == [(e.reply, True) for e in data.train]
    replies = DefendedVictim(backend, answer_tokens=8).ask([example.text for example in data.train])
    assert [reply.text for reply in replies] == [e.reply for e in data.train]


def test_what_it_is_taught_follows_the_prompt_though_the_tokenizer_ends_texts(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", "gpt_neox", "label_tokens", scale=1.0)
    rust = byte_bpe()
    ends = processors.TemplateProcessing(single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)])
    rust.post_processor = ends
    rust.save(str(source / "tokenizer.json"))
    backend = prepared(victim(source, fine_tune=PLAN, dtype="float32"), requests(), tmp_path)
    said = backend.generate([GenerateItem(example.text, 8) for example in requests().train])
    assert [answer.text for answer in said] == [e.reply for e in requests().train]


def test_it_answers_as_it_is(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", "gpt_neox", "label_tokens")
    made = victim(source, fine_tune=False, dtype="float32")
    assert made.estimate(requests()) == 0
    backend = prepared(made, NOTHING, tmp_path)
    original = AutoModelForCausalLM.from_pretrained(source).eval()
    tokenizer = fast_tokenizer("gpt_neox")
    ids = tokenizer("The quick brown", return_tensors="pt")
    with torch.no_grad():
        whole = original.generate(**ids, max_new_tokens=5, do_sample=False)[0]
    wanted = tokenizer.decode(whole)[len("The quick brown") :]
    (answer,) = backend.generate([GenerateItem("The quick brown", 5)])
    assert wanted.removesuffix("<|endoftext|>") == answer.text
    assert backend.abilities >= {"score", "gradient", "sample", "generate"}


def test_too_long_replies_are_dropped(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", "gpt_neox", "label_tokens", context=32)
    data = requests()
    long = Example("train-long", data.train[0].chunks, reply=" fox" * 40)
    data = TaskData((), [*data.train, long], data.validation)
    with pytest.raises(Exception, match=r"train-long has \d+ tokens, the model takes 32"):
        victim(source, fine_tune={"steps": 1}).prepare(job(tmp_path, data, "a"))
    work = job(tmp_path, data, "b")
    victim(source, fine_tune={"steps": 1, "too_long": "drop"}).prepare(work)
    assert (work.folder / "training.json").read_text() == '{"rows": 6, "dropped": 1}\n'


def test_its_backend_knows_the_markers_of_its_reasoning(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", "gpt_neox", "label_tokens", scale=1.0)
    plain, thinking = (
        victim(source, fine_tune=False, **extra) for extra in ({}, {"reasoning": ["<think>", "</think>"]})
    )
    assert "reasoning" not in plain.params.identity(), "keys of before stay"
    assert thinking.params.identity()["reasoning"] == ["<think>", "</think>"]
    assert prepared(plain, NOTHING, tmp_path, "one").reasoning is None
    assert prepared(thinking, NOTHING, tmp_path, "two").reasoning == ("<think>", "</think>")
    with pytest.raises(ValueError, match="write two different markers"):
        victim(source, reasoning=["<think>", "<think>"])


@pytest.mark.parametrize("fine_tune", [False, {"steps": 1}])
def test_a_model_that_cannot_answer_in_text_is_refused(tmp_path: Path, fine_tune: Any) -> None:
    made = write_folder(tmp_path / "classifier", "gpt_neox")
    with pytest.raises(VictimError, match=r"is not a language model \(its file lacks lm_head"):
        victim(made, fine_tune=fine_tune).prepare(job(tmp_path, requests(), "a"))
    encoder = victim(write_folder(tmp_path / "bert", "bert", "label_tokens"), fine_tune=fine_tune)
    with pytest.raises(VictimError, match="cannot predict the next one; use a decoder"):
        prepared(encoder, requests(), tmp_path, "b")


@pytest.mark.parametrize("labels", [(), (" NEGATIVE", " POSITIVE")])
@pytest.mark.parametrize("head", ["sequence_classification", "causal_lm"])
def test_nothing_to_be_taught_with_is_said(tmp_path: Path, labels: tuple[str, ...], head: str) -> None:
    source = write_folder(tmp_path / "source", "gpt_neox", "label_tokens")
    made = victim(source, head=head)
    with pytest.raises(VictimError, match=r"^.*source: no training data; write fine_tune: false to use it as it is$"):
        made.prepare(job(tmp_path, TaskData(labels, (), ())))


def test_which_victims_can_be_sampled_from(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", "gpt_neox", "label_tokens")
    for model in (str(source), "pythia-14m"):
        for head, labelled in (("sequence_classification", False), ("causal_lm", True)):
            made = victim(model, head=head)
            assert made.card(task_data(4)).language_model == labelled
            assert made.card(requests()).language_model
            assert made.card(requests()).n_params == victim(model, head="causal_lm").card(task_data(4)).n_params


def test_replies_take_memory() -> None:
    made = victim("pythia-14m")
    labelled, text = (VictimMemory.of(made, data, made.card(data), 60.0).prepare for data in (task_data(4), requests()))
    assert labelled is not None
    assert text is not None
    assert text.process - labelled.process > 8 * 60 * 50_304 * 4  # logits of a batch


# -- a classifier as a judge uses it ----------------------------------------------------------------------------------


def test_classes_are_found_by_name(tmp_path: Path) -> None:
    """The order is that of the names asked for, wherever the model has them."""
    source = classifier(tmp_path / "source", {0: "Harm", 1: "refusal"})
    row = [np.asarray([40, 41, 42])]
    original = AutoModelForSequenceClassification.from_pretrained(source)
    with torch.no_grad():
        harm, refusal = original(torch.from_numpy(row[0])[None]).logits[0].tolist()
    assert harm != refusal
    found = []
    for at, labels in enumerate([(" refusal", " harm"), (" harm", " refusal"), (" bad", " good")]):
        backend = prepared(victim(source, fine_tune=False), TaskData(labels, (), ()), tmp_path, str(at))
        found.append(backend.classify(row)[0][0].tolist())
    assert found == [pytest.approx(pair, abs=1e-4) for pair in ([refusal, harm], [harm, refusal], [harm, refusal])]


def test_other_classes_are_refused(tmp_path: Path) -> None:
    source = classifier(tmp_path / "source", {0: "harm", 1: "refusal", 2: "other"})
    made = victim(source, fine_tune=False)
    for labels in ((" harm", " refusal"), (" harm", " refusal", " benign")):
        with pytest.raises(VictimError, match=r"has the classes harm, refusal, other, and harm, refusal.* are asked"):
            made.prepare(job(tmp_path, TaskData(labels, (), ()), f"of{len(labels)}"))


def test_a_regression_is_no_classifier(tmp_path: Path) -> None:
    source = classifier(tmp_path / "source", {0: "harm", 1: "refusal"})
    config = json.loads((source / "config.json").read_text()) | {"problem_type": "regression"}
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(VictimError, match=r"is a regression: its outputs are numbers, not classes"):
        victim(source, fine_tune=False).prepare(job(tmp_path, TaskData((" harm", " refusal"), (), ()), "out"))


@pytest.mark.parametrize("before", ["regression", "multi_label_classification"])
def test_a_fine_tuned_classifier_has_classes_that_exclude_each_other(tmp_path: Path, before: str) -> None:
    source = classifier(tmp_path / "source", {0: "harm", 1: "refusal"})
    config = json.loads((source / "config.json").read_text()) | {"problem_type": before}
    (source / "config.json").write_text(json.dumps(config))
    backend = prepared(victim(source, fine_tune={"steps": 1, "batch_size": 2}), task_data(4), tmp_path)
    assert not backend.independent_labels


# -- the small model of a family --------------------------------------------------------------------------------------


def test_the_small_model_of_a_family() -> None:
    registry = load_plugins().registry
    for model, small in (("pythia-410m", "pythia-14m"), ("Qwen/Qwen2.5-7B", "qwen2.5-0.5b")):
        made = HuggingFace(HuggingFace.Params(model=model, fine_tune={"steps": 7}, revision="main", dtype="float32"))
        text, task = (registry.resolve("victim", made.sibling(sees)).plugin.params for sees in ("text", "task"))  # type: ignore[arg-type]
        assert (text.model, text.head, text.fine_tune) == (small, "causal_lm", None)
        assert (task.model, task.head, task.fine_tune.steps) == (small, "sequence_classification", 7)
        assert text.revision is task.revision is None  # the victim's is of another repository
        assert text.dtype == task.dtype == "float32"
    smallest = HuggingFace(HuggingFace.Params(model="pythia-14m", fine_tune=False, head="causal_lm", revision="0" * 40))
    draft = smallest.sibling("task")
    assert draft is not None
    assert draft.params["revision"] == "0" * 40
    assert draft.params["fine_tune"] is False


def test_a_model_of_no_known_family_is_its_own_sampler(tmp_path: Path) -> None:
    """Before it was fine-tuned as a classifier, if it is a language model: the tokens are the same."""
    source = write_folder(tmp_path / "source", "gpt_neox", "label_tokens", scale=1.0)
    made = victim(source)
    assert made.sibling("task") is None
    ref = made.sibling("text")
    assert ref is not None
    sampler = load_plugins().registry.resolve("victim", ref).plugin
    assert isinstance(sampler, HuggingFace)
    assert sampler.card(task_data(4).text).language_model
    assert sampler.estimate(task_data(4).text) == 0
    assert prepared(sampler, NOTHING, tmp_path).abilities >= {"sample"}
    assert victim(write_folder(tmp_path / "classifier", "gpt_neox")).sibling("text") is None


def test_the_small_language_model_serves_a_classifier(tmp_path: Path) -> None:
    """Label tokens and a sampler are the same model: one that is fine-tuned on labels still tells next tokens."""
    source = write_folder(tmp_path / "source", "gpt_neox", "label_tokens", scale=1.0)
    data = task_data(60)
    made = victim(source, head="causal_lm", fine_tune=PLAN | {"steps": 120}, dtype="float32")
    backend = prepared(made, data, tmp_path)
    assert made.card(data).language_model
    assert backend.n_labels == 2
    assert backend.abilities >= {"sample"}
    assert accuracy(backend, data) > 0.9
