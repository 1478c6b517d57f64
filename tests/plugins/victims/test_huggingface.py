"""The huggingface victim against local folders in hub layout; the hub itself is stood in for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, GPTNeoXConfig, Qwen2Config

from harness import Chunk, Edit, Example, PrepareJob, TaskData, VictimError
from harness.engine.torch.flop_counter import count_parameters
from harness.training.training_rows import render
from plugins.victims._huggingface import hub_reach, model_files
from plugins.victims._huggingface.fine_tuning import FineTune
from plugins.victims._huggingface.published.presets import PRESETS, Preset, find_preset
from plugins.victims.huggingface import HuggingFace
from tests.engine.hub_models import LABELS, write_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def silent(_what: str, _done: float, _total: float) -> None:
    """No progress wanted."""


def task_data(number: int = 120) -> TaskData:
    """POSITIVE when the prompt has a good word; trivial to learn."""
    words = (("bad", "awful", "poor"), ("good", "great", "fine"))
    rng = np.random.default_rng(0)

    def make(split: str, i: int) -> Example:
        label = int(rng.integers(2))
        text = f"The {words[label][rng.integers(3)]} dog jumps over the {rng.choice(['fox', 'pear', 'apple'])}."
        return Example(
            f"{split}-{i:05}", (Chunk(text), Chunk("", Edit.PERTURBABLE), Chunk(" Answer:")), label, 1 - label
        )

    return TaskData(LABELS, [make("train", i) for i in range(number)], [make("validation", i) for i in range(40)])


def victim(model: Path | str, **params: Any) -> HuggingFace:
    return HuggingFace(HuggingFace.Params(model=str(model), device="cpu", **params))


def job(tmp_path: Path, data: TaskData, name: str = "out", seed: int = 1) -> PrepareJob:
    folder = tmp_path / name
    folder.mkdir()
    return PrepareJob(data, seed, folder, tmp_path / f"{name}-scratch", silent)


def accuracy(made: Any, data: TaskData) -> float:
    rows = [np.asarray(render(example.text, made.tokenizer)) for example in data.validation]
    return float((made.classify(rows)[0].argmax(1) == [e.label for e in data.validation]).mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "saved", "head"),
    [
        ("gpt_neox", "label_tokens", "sequence_classification"),  # as a pretrained model comes from the hub
        ("qwen2", "label_tokens", "causal_lm"),
        ("bert", "classification", "sequence_classification"),
    ],
)
def test_fine_tuning_learns(tmp_path: Path, kind: str, saved: str, head: str) -> None:
    source = write_folder(tmp_path / "source", kind, saved, scale=1.0)
    data = task_data()
    plan = {"epochs": 8, "learning_rate": 3e-3, "optimizer": "adamw", "train_examples": 100}
    made = victim(source, head=head, fine_tune=plan, dtype="float32")
    work = job(tmp_path, data)
    spent = made.prepare(work)
    backend = made.open(work.folder, data)
    assert accuracy(backend, data) > 0.95
    assert made.card(data).n_params == pytest.approx(backend.n_params, rel=0.001 if kind != "bert" else 0.05)
    assert made.card(data).context == 128
    assert 0.2 < made.estimate(data) / spent.nominal < 5
    assert json.loads((work.folder / "training.json").read_text()) == {"rows": 100, "dropped": 0}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in work.folder.iterdir()}


def test_seeds_differ_and_repeat(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", "gpt_neox", "label_tokens", scale=1.0)
    made = victim(source, fine_tune={"steps": 2})
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        work = job(tmp_path, task_data(16), name, seed)
        made.prepare(work)
        weights.append((work.folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_as_it_is(tmp_path: Path) -> None:
    data = task_data(8)
    source = write_folder(tmp_path / "source", "gpt_neox")
    made = victim(source, fine_tune=False)
    work = job(tmp_path, data)
    assert made.estimate(data) == 0.0
    assert made.prepare(work).nominal == 0.0
    ours = made.open(work.folder, data)
    original = AutoModelForSequenceClassification.from_pretrained(source)
    row = render(data.train[0].text, ours.tokenizer)
    with torch.no_grad():
        wanted = original(torch.tensor([row])).logits.numpy()
    np.testing.assert_allclose(ours.classify([np.asarray(row)])[0], wanted, atol=1e-4)

    language_model = write_folder(tmp_path / "lm", "qwen2", "label_tokens")
    with pytest.raises(VictimError, match="no trained head"):
        victim(language_model, fine_tune=False).prepare(job(tmp_path, data, "bad"))


def test_long_examples_are_an_error_or_are_dropped(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", "gpt_neox", context=24)
    data = task_data(8)
    long = Example("train-long", (Chunk("fox " * 40), Chunk("", Edit.PERTURBABLE)), 0, 1)
    data = TaskData(data.labels, [*data.train, long], data.validation)
    with pytest.raises(Exception, match="train-long"):
        victim(source).prepare(job(tmp_path, data, "a"))
    work = job(tmp_path, data, "b")
    victim(source, fine_tune={"steps": 1, "too_long": "drop"}).prepare(work)
    assert json.loads((work.folder / "training.json").read_text()) == {"rows": 8, "dropped": 1}


def test_parameters() -> None:
    plain = HuggingFace.Params(model="pythia-14m")
    assert plain.fine_tune == FineTune(
        epochs=3, learning_rate=1e-5, optimizer="adafactor", schedule="linear", batch_size=8, train_examples=20_000
    )
    assert HuggingFace.Params(model="x/y", fine_tune=True).fine_tune == plain.fine_tune
    assert HuggingFace.Params(model="x/y", fine_tune=None).fine_tune is None
    with pytest.raises(ValidationError, match="trust_remote_code"):
        HuggingFace.Params(model="x/y", trust_remote_code=True)


def test_identity_is_content_not_place(tmp_path: Path) -> None:
    one, two = write_folder(tmp_path / "one", "gpt_neox"), write_folder(tmp_path / "two", "gpt_neox")
    assert victim(one).params.identity() == victim(two).params.identity()
    assert victim(one).fingerprint() == victim(two).fingerprint()
    assert set(victim(one).fingerprint()) >= {"config.json", "tokenizer.json", "model.safetensors"}
    other = write_folder(tmp_path / "three", "gpt_neox", seed=5)
    assert victim(one).fingerprint() != victim(other).fingerprint()
    short, full = victim("pythia-14m", revision=COMMIT), victim("EleutherAI/pythia-14m", revision=COMMIT)
    assert short.params.identity() == full.params.identity()
    assert short.fingerprint() == full.fingerprint() == {"repository": "EleutherAI/pythia-14m", "commit": COMMIT}
    assert "device" not in short.params.identity()
    assert victim(one, dtype="float32").params.identity() != victim(one).params.identity()


def test_commit_from_hub_then_cache_then_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Info:
        sha = COMMIT

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: Info)
    assert model_files.commit_of("some/model", "main") == COMMIT

    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    cached = tmp_path / "snapshots" / COMMIT / "config.json"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(cached))
    assert model_files.commit_of("cached/model", None) == COMMIT
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(VictimError, match=r"no network.*give revision: <commit"):
        model_files.commit_of("unknown/model", None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    with pytest.raises(VictimError, match=r"config\.json.*no network"):
        victim("unknown/model").card(task_data(2))


def test_a_hub_that_does_not_answer_is_asked_once_and_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[int] = []

    class Session:
        def head(self, *_: Any, **__: Any) -> None:
            asked.append(1)
            raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    monkeypatch.setattr(hub_reach, "_last", [])
    for name in ("unknown/model", "other/model"):
        with pytest.raises(VictimError, match=r"config\.json \(the hub does not answer: no route\)"):
            victim(name).card(task_data(2))
    assert len(asked) == 1


def test_local_folder_cards(tmp_path: Path) -> None:
    for kind in ("gpt_neox", "qwen2"):
        source = write_folder(tmp_path / kind, kind, "label_tokens")
        model = AutoModelForCausalLM.from_pretrained(source)
        as_lm = victim(source, head="causal_lm", family="mine", pretraining_tokens=100).card(task_data(2))
        assert as_lm.n_params == count_parameters(model)[0]
        assert as_lm.family == "mine"
        assert as_lm.pretraining_flops == 6 * as_lm.n_params * 100
        card = victim(source).card(task_data(2))
        assert card.n_params == count_parameters(model.base_model)[0] + 2 * 32
        assert (card.family, card.pretraining_flops, card.access) == (kind, None, "latent")
    with pytest.raises(VictimError, match=r"config\.json"):
        victim(tmp_path).card(task_data(2))
    (tmp_path / "gpt_neox" / "model.safetensors").write_bytes(b"oops")
    with pytest.raises(VictimError, match="not a safetensors file"):
        victim(tmp_path / "gpt_neox").card(task_data(2))


def real_config(preset: Preset) -> Any:
    common = {
        "vocab_size": preset.vocabulary,
        "hidden_size": preset.hidden,
        "num_hidden_layers": preset.layers,
        "num_attention_heads": preset.heads,
        "intermediate_size": preset.intermediate,
        "tie_word_embeddings": preset.tied,
        "num_labels": 2,
    }
    if preset.family == "pythia":
        return GPTNeoXConfig(**common)
    return Qwen2Config(**common, num_key_value_heads=preset.kv_heads)


@pytest.mark.parametrize("name", ["pythia-14m", "pythia-410m", "qwen2.5-0.5b"])
def test_preset_counts_are_those_of_the_real_classes(name: str) -> None:
    preset = PRESETS[name]
    with torch.device("meta"):
        classifier = AutoModelForSequenceClassification.from_config(real_config(preset))
        language_model = AutoModelForCausalLM.from_config(real_config(preset))
    total, without = count_parameters(classifier)
    assert (total, without) == (preset.as_classifier(2), preset.non_embedding + 2 * preset.hidden)
    assert count_parameters(language_model) == (preset.as_language_model, preset.non_embedding)


def test_preset_counts_are_those_published() -> None:
    pythia = [
        7_629_056,
        17_617_408,
        44_672_000,
        123_691_008,
        353_824_768,
        908_763_136,
        1_311_629_312,
        2_646_435_840,
        6_650_740_736,
        11_586_560_000,
    ]  # as in the study's published run data
    assert [p.as_classifier(2) for p in PRESETS.values() if p.family == "pythia"] == pythia
    qwen = [494_032_768, 1_543_714_304, 3_085_938_688, 7_615_616_512, 14_770_033_664]
    assert [p.as_language_model for p in PRESETS.values() if p.family == "qwen2.5"] == qwen


def test_chat_presets_count_as_published_and_stand_at_a_commit() -> None:
    published = {
        "llama-3.2-1b-instruct": 1_235_814_400,
        "llama-3.2-3b-instruct": 3_212_749_824,
        "llama-3.1-8b-instruct": 8_030_261_248,
        "mistral-7b-instruct-v0.3": 7_248_023_552,
        "gemma-2-2b-it": 2_614_341_888,
        "gemma-2b": 2_506_172_416,
        "qwen2.5-7b-instruct": 7_615_616_512,
    }
    for name, count in published.items():
        assert PRESETS[name].as_language_model == count
        made = victim(name, fine_tune=False)
        assert made.fingerprint()["commit"] == PRESETS[name].revision  # without asking the hub
        assert victim(name, fine_tune=False, revision=COMMIT).fingerprint()["commit"] == COMMIT
    assert victim("mistral-7b-instruct-v0.3", fine_tune=False).card(task_data(2)).pretraining_flops is None


def test_preset_cards() -> None:
    data = task_data(2)
    card = victim("pythia-70m").card(data)
    assert (card.family, card.n_params, card.context) == ("pythia", 44_672_000, 2048)
    assert card.pretraining_flops == pytest.approx(6 * (44_672_000 - 1024) * 299_892_736_000)
    assert victim("Qwen/Qwen2.5-7B", head="causal_lm").card(data).n_params == 7_615_616_512
    three, seven = (victim(f"qwen2.5-{size}b").card(data).pretraining_flops for size in (3, 7))
    assert three is not None
    assert seven is not None
    assert 2.2 < seven / three < 2.4
    assert victim("pythia-70m", pretraining_flops=7.0).card(data).pretraining_flops == 7.0
    assert find_preset("eleutherai/PYTHIA-70M") is PRESETS["pythia-70m"]
    assert find_preset("pythia") is None


def test_a_card_needs_no_torch() -> None:
    code = (
        "import sys; from harness import TaskData; from plugins.victims.huggingface import HuggingFace as H\n"
        "v = H(H.Params(model='pythia-14m', revision='0' * 40)); d = TaskData((' a', ' b'), [], [])\n"
        "v.card(d), v.estimate(d), v.fingerprint(), v.params.identity()\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
