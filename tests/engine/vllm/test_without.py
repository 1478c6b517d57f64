"""What holds where vLLM is missing, and what is decided before any engine is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness.engine.dispatch.backend import DispatchBackend
from harness.engine.dispatch.speed_measurement import (
    Calibration,
    calibration_file,
    read_calibration,
    write_calibration,
)
from harness.engine.open_backend import open_folder
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.vllm import engines
from harness.engine.vllm.engine_options import BLOCK_TOKENS, engine_options
from harness.engine.vllm.flop_costs import EngineFlops
from harness.errors import VictimError
from tests.engine.hub_models import write_folder
from tests.engine.vllm.conftest import tokens

SPECS = Path(__file__).parents[3] / "specs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("store") / "key", "gpt_neox", "classification")


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("missing")
def test_vllm_asked_for_and_missing_is_one_clear_error(folder: Path) -> None:
    with pytest.raises(VictimError, match=r'vLLM is not installed; pip install "robustness-harness\[vllm\]"'):
        open_folder(folder, device="cpu", backend="vllm")


@pytest.mark.usefixtures("missing")
def test_auto_goes_on_with_torch_and_says_so(folder: Path) -> None:
    backend = open_folder(folder, device="cpu", dtype="float32", backend="auto")
    assert isinstance(backend, DispatchBackend)
    row = tokens(9)
    plain = open_folder(folder, device="cpu", dtype="float32")
    np.testing.assert_array_equal(backend.classify([row])[0], plain.classify([row])[0])
    facts = json.loads(json.dumps(backend.describe()))
    assert facts["routes"] == {"gradient": "torch", "classify": "torch", "score": "torch"}
    assert "vLLM is not installed" in facts["note"]


def test_torch_is_the_default(folder: Path) -> None:
    assert isinstance(open_folder(folder, device="cpu"), TorchBackend)


def test_the_spec_is_the_quickstart_but_for_who_answers() -> None:
    ours, theirs = (yaml.safe_load((SPECS / f"{name}.yaml").read_text()) for name in ("quickstart_vllm", "quickstart"))
    for victim in ours["victims"]:
        assert victim["tiny"].pop("backend") == "vllm"
    for spec in (ours, theirs):
        del spec["name"], spec["summary"]
    assert ours == theirs


def test_who_answers_is_no_part_of_a_victim() -> None:
    from plugins.victims.huggingface import HuggingFace
    from plugins.victims.tiny import Tiny

    for plugin, params in ((Tiny, {}), (HuggingFace, {"model": "pythia-14m"})):
        identities = [plugin.Params(**params, backend=backend).identity() for backend in ("torch", "vllm", "auto")]
        assert identities[0] == identities[1] == identities[2]


OF: dict[str, Any] = {"head": "classification", "engine": {"shape": "abc"}}


def measured(**seconds: float) -> Calibration:
    return Calibration(of=OF, seconds={"score": seconds})


def test_the_faster_one_answers() -> None:
    assert measured(torch=1.0, vllm=2.0).route("score") == "torch"
    assert measured(torch=2.0, vllm=1.0).route("score") == "vllm"
    assert measured(torch=1.0, vllm=1.0).route("score") == "torch"
    assert measured(torch=2.0, vllm=1.0).route("generate") == "torch", "not measured"


def test_times_are_kept_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / ".calibration" / "key.json"
    assert read_calibration(path, OF, ["score"]) is None
    kept = measured(torch=1.5, vllm=0.25)
    assert write_calibration(path, kept)
    assert read_calibration(path, OF, ["score"]) == kept
    assert read_calibration(path, OF | {"head": "label_tokens"}, ["score"]) is None, "of other conditions"
    assert read_calibration(path, OF, ["score", "generate"]) is None, "something is missing"


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        "{",
        '{"format": 2}',
        "vllm to 0",
        "vllm to -1",
        "vllm to NaN",
        "vllm to null",
        "no vllm",
        "one more",
    ],
)
def test_damaged_times_are_measured_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "key.json"
    write_calibration(path, measured(torch=1.5, vllm=0.25))
    text = path.read_text()
    if damage.startswith("vllm to "):
        text = text.replace("0.25", damage.removeprefix("vllm to "))
    elif damage == "no vllm":
        text = text.replace('"vllm"', '"other"')
    elif damage == "one more":
        text = text.replace('"format"', '"fromat": 1, "format"')
    else:
        text = damage
    path.write_text(text)
    assert read_calibration(path, OF, ["score"]) is None


def test_times_lie_beside_the_artifact_and_in_no_other_folder(folder: Path, tmp_path: Path) -> None:
    assert calibration_file(folder, OF) is None, "no artifact"
    artifact = tmp_path / "store" / "key"
    artifact.mkdir(parents=True)
    (artifact / "manifest.json").write_text("{}")
    place = calibration_file(artifact, OF)
    assert place is not None
    assert place.parent == tmp_path / "store" / ".calibration"
    assert place != calibration_file(artifact, OF | {"head": "label_tokens"})


def test_times_that_cannot_be_kept_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not write_calibration(tmp_path / "file" / "key.json", measured(torch=1.0, vllm=1.0))


def test_checkpoints_of_one_shape_share_an_engine(folder: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", "gpt_neox", "classification", seed=1)
    wider = write_folder(tmp_path / "wider", "gpt_neox", "classification", hidden=64)
    three = write_folder(tmp_path / "three", "gpt_neox", "classification", labels=3)
    found = [
        engine_options(path, open_folder(path, device="cpu", dtype="float32"), 1)
        for path in (folder, other, wider, three)
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    half = engine_options(folder, open_folder(folder, device="cpu", dtype="bfloat16"), 1)
    assert half != found[0]
    names = json.loads((other / "config.json").read_text()) | {"id2label": {"0": "x", "1": "y"}}
    (other / "config.json").write_text(json.dumps(names))
    assert engine_options(other, open_folder(other, device="cpu", dtype="float32"), 1) == found[0]


def test_a_cache_always_holds_one_context(folder: Path) -> None:
    theirs = open_folder(folder, device="cpu", dtype="float32")
    assert isinstance(theirs, TorchBackend)
    theirs.context = 100_000_000  # no machine has a cache for that
    options = engine_options(folder, theirs, 1)
    per_token = 2 * 2 * 4 * 32 * 4  # keys and values, layers, heads, width as computed, bytes
    assert options.cache_bytes == 4 << 30
    assert options.context * per_token <= options.cache_bytes - BLOCK_TOKENS * per_token
    assert options.arguments(folder)["max_model_len"] == options.context + 1


def test_compute_is_that_of_tokens_not_in_the_cache() -> None:
    executed = FlopCount(per_token=10, per_row=3, per_logit_position=5, per_pair=2, attention_backward=2)
    costs = EngineFlops(executed)
    assert costs.row(20, 0, 1) == executed.forward(20, 1)
    assert costs.row(20, 15, 1) == 10 * 5 + 3 + 5 + 2 * 5 * 20
    assert EngineFlops(executed, widening=4).row(20, 0, 0) - costs.row(20, 0, 0) == 3 * 2 * 20 * 20
    assert costs.answer(20, 0, 1) == executed.forward(20, 1)
    assert costs.answer(20, 0, 3) == executed.forward(20, 1) + 2 * (10 + 5) + 2 * (21 + 22)


def test_a_model_on_several_devices_has_no_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: name)
    theirs = open_folder(folder, device="cpu")
    assert isinstance(theirs, TorchBackend)
    theirs.model.hf_device_map = {"a": 0, "b": 1}
    with pytest.raises(VictimError, match="spread over 0, 1; an engine is started on one device only"):
        DispatchBackend(folder, theirs, "vllm")
    assert "spread over" in DispatchBackend(folder, theirs, "auto").note
