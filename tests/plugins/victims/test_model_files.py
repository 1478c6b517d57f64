"""What a model folder says without being loaded: which weights count, what quantised ones stand for, and adapters."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from harness.api.task import TaskData
from harness.engine.torch.loading import load_model
from harness.errors import VictimError
from harness.flops import known
from plugins.victims._huggingface import model_files as model_files
from tests.engine.hub_models import write_folder
from tests.plugins.victims.test_huggingface import job, task_data, victim

Tensors = dict[str, torch.Tensor]
Coding = Callable[[str, torch.Tensor], Tensors]


def language_model(folder: Path, **sizes: Any) -> Path:
    return write_folder(folder, "qwen2", "label_tokens", **sizes)


def card_of(folder: Path) -> Any:
    return victim(folder, head="causal_lm", pretraining_tokens=1000).card(task_data(2))


def configured(folder: Path, **entries: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return folder


# -- which files are the model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "second",
    ["consolidated.safetensors", "original/consolidated.safetensors", "adapter_model.safetensors", "a.safetensors"],
)
def test_a_second_set_of_weights_is_not_counted(tmp_path: Path, second: str) -> None:
    folder = language_model(tmp_path / "m")
    alone, hashes = card_of(folder), victim(folder).fingerprint()
    (folder / second).parent.mkdir(exist_ok=True)
    tensors = load_file(folder / "model.safetensors")
    save_file({f"other.{name}": tensor for name, tensor in tensors.items()}, folder / second)
    assert card_of(folder) == alone
    assert alone.pretraining_flops == 6 * alone.n_params * 1000
    assert victim(folder).fingerprint() == hashes, "what is not loaded is no part of the key"


def test_shards_are_those_of_the_index(tmp_path: Path) -> None:
    whole = language_model(tmp_path / "whole")
    shards = tmp_path / "shards"
    AutoModelForCausalLM.from_pretrained(whole).save_pretrained(shards, max_shard_size="20KB")
    shutil.copy(whole / "tokenizer.json", shards)
    names = sorted(path.name for path in shards.glob("*.safetensors"))
    assert len(names) > 2
    assert card_of(shards).n_params == card_of(whole).n_params
    shutil.copy(whole / "model.safetensors", shards / "consolidated.safetensors")
    assert card_of(shards).n_params == card_of(whole).n_params
    assert {*names} < set(victim(shards).fingerprint())
    (shards / names[0]).unlink()
    with pytest.raises(VictimError, match=rf"index\.json: names {names[0]}, not in the folder; download"):
        card_of(shards)
    for broken in ("{", "[]", '{"weight_map": 3}', "{}"):
        (shards / "model.safetensors.index.json").write_text(broken)
        with pytest.raises(VictimError, match=r"not an index of safetensors files"):
            card_of(shards)


def test_weights_under_another_name_are_told(tmp_path: Path) -> None:
    folder = language_model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    with pytest.raises(VictimError, match=r"neither model\.safetensors nor .*; weights\.safetensors there is not what"):
        card_of(folder)
    number = card_of(configured(folder, transformers_weights="weights.safetensors")).n_params
    assert number == card_of(language_model(tmp_path / "other")).n_params


def test_all_that_loading_reads_is_in_the_key(tmp_path: Path) -> None:
    folder = language_model(tmp_path / "m")
    before = victim(folder).fingerprint()
    (folder / "generation_config.json").write_text('{"eos_token_id": 5}')
    assert victim(folder).fingerprint() != before


@pytest.mark.parametrize("broken", ["{", "[1]", "nonsense"])
def test_a_broken_configuration_is_told(tmp_path: Path, broken: str) -> None:
    folder = language_model(tmp_path / "m")
    (folder / "config.json").write_text(broken)
    with pytest.raises(VictimError, match=r"config\.json: not .*again"):
        card_of(folder)


def test_random_weights_are_not_taken_for_the_models(tmp_path: Path) -> None:
    folder = language_model(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    save_file({name: t for name, t in tensors.items() if "layers.1." not in name}, folder / "model.safetensors")
    made = victim(folder, fine_tune={"steps": 1, "batch_size": 2})
    with pytest.raises(VictimError, match=r"lacks weights of the model itself \(model\.layers\.1.* and \d+ more\)"):
        made.prepare(job(tmp_path, task_data(4)))


# -- adapters ---------------------------------------------------------------------------------------------------------


def adapter(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "some/base"})
    )
    save_file({"base_model.model.lora_A.weight": torch.zeros(2, 4)}, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter_is_called_one(tmp_path: Path) -> None:
    made = victim(adapter(tmp_path / "lora"))
    for ask in (lambda: made.card(task_data(2)), made.fingerprint, lambda: made.prepare(job(tmp_path, task_data(2)))):
        with pytest.raises(VictimError, match=r"lora: an adapter of some/base and no whole model.* merge it into"):
            ask()


def test_an_adapter_beside_a_model_is_told(tmp_path: Path) -> None:
    folder = language_model(tmp_path / "m")
    alone = card_of(folder)
    adapter(folder)
    assert card_of(folder) == alone, "it is no part of the model's size"
    made = victim(folder)
    for ask in (made.fingerprint, lambda: made.prepare(job(tmp_path, task_data(2)))):
        with pytest.raises(
            VictimError, match=r"an adapter .* next to the model, .* merge .* or move the adapter's files"
        ):
            ask()


def test_whoever_loads_an_adapter_is_told(tmp_path: Path) -> None:
    for folder in (adapter(tmp_path / "lora"), adapter(language_model(tmp_path / "m"))):
        with pytest.raises(VictimError, match=r"an adapter \(adapter_config\.json\).*merge it into its base model"):
            load_model(folder, "generation")


def test_an_adapter_on_the_hub_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = adapter(tmp_path / "snapshot")

    def download(_model: str, name: str, **_: Any) -> str:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"404: {name}")
        return str(folder / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(VictimError, match=r"^some/lora: an adapter of some/base and no whole model.* merge it into"):
        victim("some/lora").card(task_data(2))
    for files, words in (
        (["adapter_config.json"], "an adapter and no whole model"),
        (["config.json", "adapter_config.json"], r"an adapter \(adapter_config\.json\) next to the model"),
    ):
        info = SimpleNamespace(sha="a" * 40, siblings=[SimpleNamespace(rfilename=name) for name in files])
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, found=info, **__: found)
        model_files.commit_of.cache_clear()
        with pytest.raises(VictimError, match=rf"^some/lora: {words}"):
            victim("some/lora").fingerprint()
    model_files.commit_of.cache_clear()


# -- quantised weights ------------------------------------------------------------------------------------------------


def half(size: int) -> torch.Tensor:
    return torch.ones(size, dtype=torch.float16)


def int8(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.int8)


def uint8(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.uint8)


def int32(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.int32)


def bnb4(name: str, weight: torch.Tensor) -> Tensors:
    return {
        f"{name}.weight": uint8(weight.numel() // 2, 1),
        f"{name}.weight.absmax": uint8(weight.numel() // 64),
        f"{name}.weight.quant_map": torch.zeros(16),
        f"{name}.weight.nested_absmax": torch.zeros(1),
        f"{name}.weight.nested_quant_map": torch.zeros(256),
        f"{name}.weight.quant_state.bitsandbytes__nf4": uint8(90),
    }


def bnb4_in_bfloat16(name: str, weight: torch.Tensor) -> Tensors:
    return bnb4(name, weight) | {f"{name}.weight": torch.zeros(weight.numel() // 4, 1, dtype=torch.bfloat16)}


def bnb8(name: str, weight: torch.Tensor) -> Tensors:
    out, into = weight.shape
    return {f"{name}.weight": int8(out, into), f"{name}.SCB": torch.zeros(out), f"{name}.weight_format": uint8()}


def gptq(bits: int) -> Coding:
    def code(name: str, weight: torch.Tensor) -> Tensors:
        out, into = weight.shape
        return {
            f"{name}.qweight": int32(into * bits // 32, out),
            f"{name}.qzeros": int32(1, out * bits // 32),
            f"{name}.scales": half(out)[None],
            f"{name}.g_idx": int32(into),
        }

    return code


def awq(name: str, weight: torch.Tensor) -> Tensors:
    out, into = weight.shape
    return {
        f"{name}.qweight": int32(into, out // 8),
        f"{name}.qzeros": int32(1, out // 8),
        f"{name}.scales": half(out)[None],
    }


def packed(name: str, weight: torch.Tensor) -> Tensors:
    out, into = weight.shape
    return {
        f"{name}.weight_packed": int32(out, into // 8),
        f"{name}.weight_scale": half(out)[:, None],
        f"{name}.weight_shape": torch.tensor([out, into]),
    }


def float8(scale: str) -> Coding:
    def code(name: str, weight: torch.Tensor) -> Tensors:
        return {f"{name}.weight": weight.to(torch.float8_e4m3fn), f"{name}.{scale}": torch.ones(1, 1)}

    return code


def int8_scaled(name: str, weight: torch.Tensor) -> Tensors:
    return {f"{name}.weight": int8(*weight.shape), f"{name}.weight_scale": torch.ones(len(weight), 1)}


def mxfp4(name: str, weight: torch.Tensor) -> Tensors:
    groups = weight.numel() // 32
    return {f"{name}_blocks": uint8(groups, 16), f"{name}_scales": uint8(groups)}


def nvfp4(name: str, weight: torch.Tensor) -> Tensors:
    out, into = weight.shape
    return {
        f"{name}.weight": uint8(out, into // 2),
        f"{name}.weight_scale": torch.ones(out, into // 16).to(torch.float8_e4m3fn),
        f"{name}.weight_scale_2": torch.ones(()),
        f"{name}.input_scale": torch.ones(()),
    }


def groups(*bits: int) -> dict[str, Any]:
    return {f"group_{at}": {"weights": {"num_bits": each}} for at, each in enumerate(bits)}


CODINGS: dict[str, tuple[dict[str, Any], Coding]] = {
    "bitsandbytes": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, bnb4),
    "bitsandbytes, in bfloat16": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, bnb4_in_bfloat16),
    "bitsandbytes, 8 bits": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, bnb8),
    "gptq": ({"quant_method": "gptq", "bits": 4}, gptq(4)),
    "gptq, 3 bits": ({"quant_method": "gptq", "bits": 3}, gptq(3)),
    "gptq, 8 bits": ({"quant_method": "gptq", "bits": 8}, gptq(8)),
    "awq": ({"quant_method": "awq", "bits": 4}, awq),
    "auto-round": ({"quant_method": "auto-round", "bits": 4}, gptq(4)),
    "compressed-tensors": ({"quant_method": "compressed-tensors", "config_groups": groups(4)}, packed),
    "compressed-tensors, int8": ({"quant_method": "compressed-tensors", "config_groups": groups(8)}, int8_scaled),
    "fp8": ({"quant_method": "fp8"}, float8("weight_scale_inv")),
    "fbgemm_fp8": ({"quant_method": "fbgemm_fp8"}, float8("weight_scale")),
    "mxfp4": ({"quant_method": "mxfp4"}, mxfp4),
    "modelopt": ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, nvfp4),
}


PACKAGES = {
    "bitsandbytes": "bitsandbytes",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "auto-round": "auto_round",
    "compressed-tensors": "compressed_tensors",
}


def quantise(folder: Path, coding: Coding) -> Path:
    """Code every matrix of the layers."""
    coded: Tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        layer = name.removesuffix(".weight")
        coded |= coding(layer, tensor) if ".layers." in name and tensor.dim() == 2 else {name: tensor}
    save_file({name: tensor.contiguous() for name, tensor in coded.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("how", list(CODINGS))
def test_quantised_weights_count_as_what_they_stand_for(tmp_path: Path, how: str) -> None:
    config, coding = CODINGS[how]
    folder = language_model(tmp_path / "m")
    number = card_of(folder).n_params
    configured(quantise(folder, coding), quantization_config=config)
    card = card_of(folder)
    assert card.n_params == number
    assert card.pretraining_flops == 6 * number * 1000
    multiplies_with_slopes = ("bitsandbytes", "gptq", "awq", "compressed-tensors")
    assert card.access == ("latent" if config["quant_method"] in multiplies_with_slopes else "scores")
    if importlib.util.find_spec(PACKAGES.get(config["quant_method"], "torch")) is None:
        made = victim(folder, head="causal_lm", fine_tune=False)
        words = (
            rf"m: its weights are quantised \({config['quant_method']}.*\), for which a package is missing; run: pip"
        )
        with pytest.raises(VictimError, match=words):
            made.prepare(job(tmp_path, task_data(2)))


@pytest.mark.parametrize(
    ("config", "coding"),
    [
        ({"quant_method": "aqlm"}, gptq(4)),
        ({"quant_method": "hqq"}, bnb8),
        ({"quant_method": "compressed-tensors", "config_groups": groups(4, 8)}, packed),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": groups(4),
                "sparsity_config": {"format": "sparse-24"},
            },
            packed,
        ),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*": {"bits": 8}}}, gptq(4)),
        ({"quant_method": "gptq"}, gptq(4)),
        (None, gptq(4)),
        (None, float8("weight_scale")),
        (None, mxfp4),
    ],
)
def test_where_files_do_not_tell_the_size_is_unknown(
    tmp_path: Path, config: dict[str, Any] | None, coding: Coding
) -> None:
    folder = quantise(language_model(tmp_path / "m"), coding)
    if config:
        configured(folder, quantization_config=config)
    made = victim(folder, head="causal_lm", fine_tune={"steps": 1}, pretraining_tokens=1000)
    card = made.card(task_data(2))
    assert card.n_params is None
    assert card.pretraining_flops is None
    assert known(made.estimate(task_data(2))) is None
    assert made.memory(task_data(2)) is None
    with pytest.raises(VictimError, match=r"quantised|lacks weights of the model itself|cannot be loaded"):
        made.prepare(job(tmp_path, task_data(2)))


@pytest.mark.parametrize(
    ("name", "content", "coding"),
    [
        ("quantize_config.json", {"bits": 4}, gptq(4)),
        ("quant_config.json", {"w_bit": 4}, awq),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "NVFP4"}}, nvfp4),
    ],
)
def test_older_tools_say_it_in_files_of_their_own(tmp_path: Path, name: str, content: Any, coding: Coding) -> None:
    folder = language_model(tmp_path / "m")
    number = card_of(folder).n_params
    (quantise(folder, coding) / name).write_text(json.dumps(content))
    assert card_of(folder).n_params == number


def test_masks_and_tables_are_no_parameters() -> None:
    stored = {
        "gpt_neox.layers.0.attention.rotary_emb.inv_freq": model_files.StoredTensor("F32", (4,)),
        "bert.embeddings.position_ids": model_files.StoredTensor("I64", (1, 512)),
        "bert.weight": model_files.StoredTensor("BF16", (3, 4)),
    }
    assert model_files.parameter_shapes(stored, None) == {"bert.weight": (3, 4)}


def test_a_single_output_counts_as_it_is(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", "gpt_neox", labels=1)
    made = victim(folder, fine_tune=False)
    data = TaskData((" no", " yes"), (), ())
    work = job(tmp_path, data)
    made.prepare(work)
    assert made.card(data).n_params == made.open(work.folder, data).n_params
