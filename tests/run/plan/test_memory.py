"""The memory that a plan states, against what runs and models really take."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import transformers as tf
import yaml
from hypothesis import given, strategies as st

from harness import MemoryFacts, ModelShape
from harness.api.model.shape import Memory
from harness.api.training import Lora
from harness.number_format import format_memory
from harness.run.plan.memory import PROCESS, VictimMemory, largest
from plugins.tasks.word_length import WordLength
from plugins.victims._huggingface.published.presets import PRESETS
from plugins.victims._tiny.sizes import SHAPES
from plugins.victims._tiny.training import model_config
from plugins.victims.huggingface import HuggingFace
from plugins.victims.tiny import Tiny
from tests.run.runs import FAST, FROM_FILES, TINY, Started, harness_here

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "vocab_size": 500,
}


def stated(folder: Path, *options: object) -> dict[str, Any]:
    done = harness_here("plan", "spec.yaml", "--json", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peak_of(folder: Path, *arguments: object) -> int:
    """Most bytes that the largest process of a command had in use, looked at again and again."""
    run, most = Started(*arguments, cwd=folder), 0
    while run.process.poll() is None:
        with contextlib.suppress(psutil.Error):  # one that has just ended
            driver = psutil.Process(run.process.pid)
            for process in [driver, *driver.children(recursive=True)]:
                most = max(most, process.memory_info().rss)
        time.sleep(0.02)
    assert run.end() == 0, run.stderr
    return most


@pytest.mark.slow
@pytest.mark.parametrize("size", ["7k", "3m"])
def test_a_run_takes_no_more_than_the_plan_says(tmp_path: Path, size: str) -> None:
    changes = {"victims": [{"tiny": {"size": size, "steps": 6}}], "seeds": [0], "examples": 8}
    spec = yaml.safe_load(TINY) | changes
    spec["defenses"][1]["adversarial_training"]["rounds"] = 1
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    most = stated(tmp_path)["memory_bytes"]["process"]
    assert 1 / 3 < peak_of(tmp_path, "run", "spec.yaml", "--quiet") / most < 1


def test_a_plan_states_memory(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FAST)
    found = stated(tmp_path, *FROM_FILES)
    each = [stage["memory"]["process"] for stage in found["stages"]]
    assert found["memory_bytes"] == {"process": max(each), "gpu": 0.0}
    assert min(each) > PROCESS
    shown = harness_here("plan", "spec.yaml", *FROM_FILES, cwd=tmp_path).stdout
    assert f"Memory at most {format_memory(Memory(max(each)))}; --jobs N takes up to N times that." in shown


def test_a_run_states_memory_as_it_begins(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FAST)
    done = harness_here("run", "spec.yaml", *FROM_FILES, cwd=tmp_path)
    assert re.search(r"; memory at most \d+ MB$", done.stderr.splitlines()[0])


def test_shapes_are_those_of_the_models() -> None:
    data = WordLength(WordLength.Params(train_size=50, validation_size=10)).load()
    facts = Tiny(Tiny.Params(size="57k")).memory(data)
    config = model_config(SHAPES["57k"], 1024, 256, 2)
    assert facts.shape == ModelShape.from_config(config.to_dict())
    model = tf.GPTNeoXForSequenceClassification(config)
    assert facts.n_params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("config", "kv_width"),
    [
        (tf.GPTNeoXConfig(**SMALL), 64),
        (tf.LlamaConfig(**SMALL, num_key_value_heads=2), 32),
        (tf.Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=32), 64),
        (tf.GPT2Config(n_embd=64, n_layer=3, n_head=4, n_inner=96, vocab_size=500), 64),
        (tf.BertConfig(**SMALL), 64),
        (tf.BloomConfig(hidden_size=64, n_layer=3, n_head=4, vocab_size=500), 64),
    ],
)
def test_shapes_are_read_off_configurations(config: Any, kv_width: int) -> None:
    wide = 256 if isinstance(config, tf.BloomConfig) else 96
    assert ModelShape.from_config(config.to_dict()) == ModelShape(64, 3, 4, wide, 500, kv_width)
    assert ModelShape.from_config({"model_type": "odd"}) is None


def test_bytes_per_token_bound_what_a_layer_keeps() -> None:
    """Against the tensors that autograd saves of a real model."""
    config = tf.GPTNeoXConfig(**SMALL)
    model, shape = (
        tf.AutoModelForCausalLM.from_config(config).base_model.eval(),
        ModelShape.from_config(config.to_dict()),
    )
    assert shape is not None
    saved: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(x: torch.Tensor) -> torch.Tensor:
        if x.untyped_storage().data_ptr() not in weights:
            saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    ids = torch.arange(8 * 40).reshape(8, 40)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        hidden = model(input_ids=ids, use_cache=False).last_hidden_state
    assert hidden.requires_grad
    kept = sum(saved.values()) / ids.numel()
    assert kept < shape.backward(40, 4) < 3 * kept
    cache = model(input_ids=ids, use_cache=True).past_key_values
    exact = sum(x.numel() * 4 for layer in cache.layers for x in (layer.keys, layer.values)) / ids.numel()
    assert exact == shape.kept(4)


@given(n=st.integers(10_000, 10**12), tokens=st.floats(5, 2000), batch=st.integers(0, 64), examples=st.integers(1, 500))
def test_more_never_takes_less(n: int, tokens: float, batch: int, examples: int) -> None:
    facts = MemoryFacts(n, ModelShape.guess(n), batch=batch)
    need, longer = VictimMemory(facts, tokens), VictimMemory(facts, 2 * tokens)
    for one, more in [
        (need.prepare, longer.prepare),
        (need.attack(examples, "scores"), longer.attack(examples, "scores")),
        (need.attack(examples, "scores"), need.attack(examples, "gradient")),
        (need.attack(examples, "gradient"), need.attack(examples + 1, "gradient")),
        (need.attack(64, "gradient"), need.defend()),
    ]:
        assert one is not None
        assert more is not None
        assert PROCESS + 4 * n <= one.process <= more.process


def test_published_models_take_what_is_known_of_them() -> None:
    data = WordLength(WordLength.Params(train_size=50, validation_size=10)).load()
    for fine_tune, states in (({"optimizer": "adamw"}, 2), ({}, 0)):
        victim = HuggingFace(HuggingFace.Params(model="pythia-1.4b", fine_tune=fine_tune, device="cuda"))
        need = VictimMemory.of(victim, data, victim.card(data), 60.0)
        n = PRESETS["pythia-1.4b"].as_classifier(2)
        assert need.prepare is not None
        attack = need.attack(64, "gradient")
        assert attack is not None
        assert (2 + states) * 4 * n < need.prepare.gpu < (4 + states) * 4 * n + 12e9
        assert 2 * n < attack.gpu < 2 * n + 60e9  # bfloat16, and room for the largest forwards
    plain = HuggingFace(HuggingFace.Params(model="pythia-14m", fine_tune=False, device="cpu"))
    need = VictimMemory.of(plain, data, plain.card(data), 60.0)
    assert need.prepare == Memory(PROCESS + 2 * 4 * PRESETS["pythia-14m"].as_classifier(2))


def test_an_adapter_takes_little_beside_the_weights_beneath_it() -> None:
    data = WordLength(WordLength.Params(train_size=50, validation_size=10)).load()

    def need(**params: Any) -> VictimMemory:
        made = HuggingFace(HuggingFace.Params(model="qwen2.5-7b", device="cuda", **params))
        return VictimMemory.of(made, data, made.card(data), 60.0)

    n = PRESETS["qwen2.5-7b"].as_classifier(2)
    plain, packed = need(fine_tune={"lora": {}}).prepare, need(fine_tune={"lora": {}}, quantize="nf4").prepare
    whole, adapted = need(fine_tune=False).defend(), need(fine_tune=False).defend(Lora())
    attacked, unpacked = (need(fine_tune=False, **more).attack(4, "text") for more in ({"quantize": "nf4"}, {}))
    found = [plain, packed, whole, adapted, attacked, unpacked]
    assert None not in found
    plain, packed, whole, adapted, attacked, unpacked = (memory.gpu for memory in found)  # type: ignore
    assert plain - packed > 2.5 * n  # of four bytes per weight one is left, with the embeddings
    assert whole - adapted > 7 * n  # no gradients of the weights, and no copy to compute with
    assert unpacked - attacked > 0.8 * n


def test_a_plan_for_a_card_places_there_what_goes_to_a_gpu_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.run.plan.memory.has_gpu", lambda: False)
    facts = [MemoryFacts(10**9, ModelShape.guess(10**9), batch=8, device=device) for device in ("auto", "cuda", "cpu")]
    by_itself, told, kept = ([VictimMemory(one, 60.0, planned_gpu=gpu) for gpu in (True, False)] for one in facts)
    assert by_itself[0].attack(4, "scores") == told[0].attack(4, "scores") == told[1].attack(4, "scores")
    assert by_itself[0].prepare == told[0].prepare
    assert by_itself[1].attack(4, "scores") == kept[0].attack(4, "scores") == kept[1].attack(4, "scores")


def test_an_engine_beside_torch_takes_as_much_again() -> None:
    data = WordLength(WordLength.Params(train_size=50, validation_size=10)).load()
    found = []
    for backend in ("torch", "vllm"):
        victim = Tiny(Tiny.Params(backend=backend))
        found.append(VictimMemory.of(victim, data, victim.card(data), 60.0))
    alone, beside = (need.attack(16, "gradient") for need in found)
    assert alone is not None
    assert beside is not None
    assert (1 << 30) < beside.process - alone.process < (1 << 30) + 100e6
    assert found[0].prepare == found[1].prepare


def test_what_nobody_knows_is_not_guessed() -> None:
    assert (
        VictimMemory(None, 10.0).prepare
        is VictimMemory(None, 10.0).defend()
        is VictimMemory(None, 10.0).attack(3, "scores")
        is None
    )
    assert VictimMemory(None, 10.0, local=False).attack(3, "text") == Memory(PROCESS)
    assert largest([None, None]) is None
    assert largest([Memory(3, 1), None, Memory(2, 5)], jobs=2) == Memory(6, 10)
    assert format_memory(None) == "unknown"
    assert format_memory(Memory(1.25e9, 14e9)) == "1.2 GB and 14 GB on the GPU"
