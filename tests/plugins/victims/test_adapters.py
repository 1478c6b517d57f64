"""Adapters: peft's folders as victims, and training by LoRA; what is kept is the adapter alone."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from harness import RetrainJob, TrainConfig, TrainRow, VictimError
from harness.api.training import Lora
from harness.engine.torch.flop_counter import count_parameters, measure_flops
from harness.engine.torch.weights.adapters import new_adapter
from harness.hashing import content_key
from harness.training.training_rows import render
from plugins.victims.huggingface import HuggingFace
from tests.engine.hub_models import write_folder
from tests.plugins.victims.test_huggingface import accuracy, job, silent, task_data, victim

peft = pytest.importorskip("peft", reason="needs the package peft")


def answers(backend: Any) -> Any:
    return backend.classify([np.asarray(render("The lazy dog. Answer:", backend.tokenizer))])[0]


def write_adapter(folder: Path, source: Path, *, seed: int = 0) -> Any:
    """A random adapter as peft writes it, and the model with it."""
    model = AutoModelForCausalLM.from_pretrained(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = peft.LoraConfig(
            r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
        )
        adapted = peft.get_peft_model(model, config)
    adapted.save_pretrained(folder)
    return adapted.eval()


def opened(made: HuggingFace, tmp_path: Path, name: str, number: int = 2) -> Any:
    work = job(tmp_path, task_data(number), name)
    made.prepare(work)
    return made.open(work.folder, work.data)


def test_an_adapter_is_part_of_the_victim(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "m", "qwen2", "label_tokens", scale=1.0)
    theirs = write_adapter(tmp_path / "lora", source)
    made = victim(source, head="causal_lm", fine_tune=False, adapter=str(tmp_path / "lora"))
    backend = opened(made, tmp_path, "out")
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        torch.testing.assert_close(backend.model(ids).logits, theirs(ids).logits, atol=1e-5, rtol=1e-5)
        bare = AutoModelForCausalLM.from_pretrained(source)(ids).logits
    assert (bare - theirs(ids).logits).abs().max() > 1e-3
    assert backend.n_params == made.card(task_data(2)).n_params  # it is merged: no more products than without
    assert "adapter/adapter_model.safetensors" in made.fingerprint()
    assert not list((tmp_path / "out").glob("*model*.safetensors"))

    write_adapter(tmp_path / "lora", source, seed=1)
    with pytest.raises(VictimError, match=r"has changed since it was made ready \(adapter/adapter_model"):
        made.open(tmp_path / "out", task_data(2))


def test_an_adapter_beside_quantised_weights_is_counted(tmp_path: Path) -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("needs the package bitsandbytes")
    source = write_folder(tmp_path / "m", "qwen2", "label_tokens", scale=1.0)
    theirs = write_adapter(tmp_path / "lora", source)
    own = sum(tensor.numel() for tensor in load_file(tmp_path / "lora" / "adapter_model.safetensors").values())
    made = victim(source, head="causal_lm", fine_tune=False, adapter=str(tmp_path / "lora"), quantize="nf4")
    backend = opened(made, tmp_path, "out")
    assert backend.n_params == count_parameters(theirs.get_base_model())[0] == made.card(task_data(2)).n_params
    assert backend.n_params > own > 0
    assert np.isfinite(answers(backend)).all()


def test_adapters_that_do_not_fit(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "m", "qwen2", "label_tokens")
    write_adapter(tmp_path / "lora", write_folder(tmp_path / "wide", "qwen2", "label_tokens", hidden=64))
    bare = {"head": "causal_lm", "fine_tune": False}
    with pytest.raises(VictimError, match=r"lora: not an adapter for this model: "):
        opened(victim(source, adapter=str(tmp_path / "lora"), **bare), tmp_path, "out")
    with pytest.raises(VictimError, match=r"adapter_config\.json: no such file; an adapter is a folder with"):
        victim(source, adapter=str(tmp_path / "m"), **bare).fingerprint()
    with pytest.raises(ValueError, match="adapter only works with backend: torch"):
        victim(source, adapter=str(tmp_path / "lora"), backend="vllm", **bare)


@pytest.mark.parametrize(
    ("kind", "saved", "head"),
    [
        ("qwen2", "label_tokens", "causal_lm"),
        ("gpt_neox", "label_tokens", "sequence_classification"),
        ("bert", "classification", "sequence_classification"),
    ],
)
def test_fine_tuning_by_lora(tmp_path: Path, kind: str, saved: str, head: str) -> None:
    source = write_folder(tmp_path / "m", kind, saved, scale=1.0)
    before = {file.name: file.read_bytes() for file in source.iterdir()}
    data = task_data(60)
    plan = {"epochs": 6, "learning_rate": 2e-2, "optimizer": "adamw", "lora": {"r": 4, "alpha": 8}}
    made = victim(source, head=head, fine_tune=plan, dtype="float32")
    work = job(tmp_path, data)
    spent = made.prepare(work)
    backend = made.open(work.folder, data)
    if kind == "bert":  # at random its embeddings tell an adapter too little; the head and the pooler are trained whole
        kept, began = load_file(work.folder / "adapter_model.safetensors"), load_file(source / "model.safetensors")
        for name in ("classifier.weight", "bert.pooler.dense.weight", "bert.encoder.layer.0.output.dense.weight"):
            assert not torch.equal(backend.model.get_parameter(name), began[name])
        name = "classifier.weight"
        torch.testing.assert_close(backend.model.get_parameter(name), kept[f"base_model.model.{name}"])
    else:
        assert accuracy(backend, data) > 0.9
    files = {file.name for file in work.folder.iterdir()}
    assert "adapter_model.safetensors" in files
    assert "model.safetensors" not in files
    assert json.loads((work.folder / "base.json").read_text())["content"] == made.fingerprint()
    assert str(tmp_path) not in (work.folder / "adapter_config.json").read_text()
    assert before == {file.name: file.read_bytes() for file in source.iterdir()}
    whole = victim(source, head=head, fine_tune=plan | {"lora": None})
    assert made.estimate(data) == pytest.approx(whole.estimate(data) * 2 / 3)
    assert 0.3 < made.estimate(data) / spent.nominal < 3


def test_trained_defenses_train_the_same_adapter_on(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "m", "qwen2", "label_tokens", scale=1.0)
    data, lora = task_data(16), {"r": 2, "targets": ["q_proj"]}
    made = victim(source, head="causal_lm", fine_tune={"steps": 2, "lora": lora})
    first = job(tmp_path, data, "first")
    made.prepare(first)
    tokenizer = made.open(first.folder, data).tokenizer
    rows = [TrainRow(render(example.text, tokenizer), example.label) for example in data.train]

    def trained(start: Path, name: str, **config: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        recipe = TrainConfig(steps=2, **config)
        assert (
            made.retrain(RetrainJob(start, folder, rows, recipe, data, 1, tmp_path / f"{name}-s", silent)).nominal > 0
        )
        return folder

    on = trained(first.folder, "on", lora=lora)
    base = json.loads((on / "base.json").read_text())
    assert base == json.loads((first.folder / "base.json").read_text())
    other = trained(on, "other", lora={"r": 4})  # another adapter, upon the first
    assert json.loads((other / "base.json").read_text())["artifact"] == "on"
    whole = trained(other, "whole")
    assert (whole / "model.safetensors").is_file()
    seen = [answers(made.open(folder, data)) for folder in (first.folder, on, other, whole)]
    for one, next_one in pairwise(seen):
        assert np.abs(one - next_one).max() > 1e-6
    shutil.rmtree(on)
    with pytest.raises(VictimError, match="other: is based on the artifact on, which is missing next to it"):
        made.open(other, data)


def test_compute_through_frozen_weights(tmp_path: Path) -> None:
    """Backward is as much as forward, and as much again for the adapter alone: as torch counts it."""
    source = write_folder(tmp_path / "m", "qwen2", "label_tokens", scale=1.0, layers=8)
    model = AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager")
    adapted = new_adapter(model, Lora(r=2, targets=["down_proj", "q_proj"]), classifies=False, seed=0).get_base_model()
    ids = torch.arange(3, 35)[None]
    count = measure_flops(adapted, lambda rows: adapted(input_ids=rows), ids[0])
    with FlopCounterMode(display=False) as counter:
        adapted(input_ids=ids).logits.sum().backward()
    assert count.training(32, 32) == pytest.approx(counter.get_total_flops(), rel=0.03)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    total, _ = count_parameters(adapted)
    products = replace(count, per_pair=0.0)
    assert products.training(32, 32) / products.forward(32, 32) == pytest.approx(2 + trained / total, rel=0.02)


def test_what_has_no_adapter_keeps_its_keys() -> None:
    plain = TrainConfig()
    assert "lora" not in plain.model_dump(mode="json")
    assert plain.learning_rate == 1e-5
    with_one = TrainConfig.model_validate({"lora": {}})
    assert with_one.learning_rate == 2e-4
    assert content_key(plain.model_dump(mode="json")) != content_key(with_one.model_dump(mode="json"))
    made = victim("pythia-14m", fine_tune={"lora": {"r": 8}})
    assert made.params.identity()["fine_tune"]["lora"] == {"r": 8, "alpha": 32.0, "targets": "all-linear"}


def test_the_commit_of_a_hub_adapter_can_be_named(tmp_path: Path) -> None:
    commits = {"revision": "0" * 40, "adapter_revision": "1" * 40}
    params = {"model": "someone/model", "adapter": "someone/adapter", "fine_tune": False}
    named = HuggingFace(HuggingFace.Params(**params, **commits))
    assert named.fingerprint()["adapter commit"] == "1" * 40
    assert named.params.identity() == HuggingFace.Params(**params).identity()  # the fingerprint tells it
    for given in ({"adapter": str(tmp_path)}, {"adapter": None}):
        with pytest.raises(ValidationError, match="adapter_revision is only for an adapter's hub id"):
            HuggingFace.Params(**params | given, adapter_revision="main")
