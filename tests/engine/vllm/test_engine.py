"""The engine's process: weights that take turns in it, its deaths, and that it never outlives its parent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.api.model.backend import ScoreItem
from harness.engine.vllm.backend import VLLMBackend
from harness.engine.vllm.engines import MAX_ENGINES
from harness.engine.vllm.self_check import DisagreementError
from harness.errors import VictimError
from tests.engine.vllm.conftest import both, tokens
from tests.processes import LONGEST, started_by
from tests.run.runs import ENGINE

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def engine_processes() -> list[psutil.Process]:
    """Engine processes of this one."""
    return started_by(os.getpid(), ENGINE)


def kill(backend: VLLMBackend) -> None:
    process = backend._engine.process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)


def test_two_checkpoints_take_turns_in_one_engine(folders: dict[str, Path]) -> None:
    pairs = [both(folders[f"classifier {i}"], "classification") for i in (0, 1)]
    rows = [tokens(n, seed=n) for n in (20, 64, 100)]
    answers = [pair[1].classify(rows)[0] for pair in pairs]
    assert np.abs(answers[0] - answers[1]).max() > 0.05, "the two differ"
    starts = pairs[0][0]._engine.starts
    for turn in (0, 1, 0, 1, 1):
        np.testing.assert_allclose(pairs[turn][0].classify(rows)[0], answers[turn], atol=1e-4)
    engine = pairs[0][0]._engine
    assert pairs[1][0]._engine is engine
    assert engine.starts == max(starts, 1), "no second start"
    assert engine.loads >= 3
    assert len(engine_processes()) <= MAX_ENGINES
    assert all(pair[0].describe()["agreement"] for pair in pairs)


def test_without_emptying_the_cache_answers_would_be_wrong(folders: dict[str, Path]) -> None:
    """What the reset after new weights is for: the cached beginnings are those of the old weights."""
    pairs = [both(folders[f"classifier {i}"], "classification") for i in (0, 1)]
    rows = [tokens(100, seed=5)]
    expected = [pair[1].classify(rows)[0] for pair in pairs]
    np.testing.assert_allclose(pairs[0][0].classify(rows)[0], expected[0], atol=1e-4)
    process = pairs[0][0]._engine.process
    assert process is not None
    process.call("reload", folder=str(pairs[1][0].folder))
    stale, _ = process.call("classify", rows=rows)
    assert np.abs(stale - expected[1]).max() > 1e-3
    process.call("reset")
    fresh, _ = process.call("classify", rows=rows)
    np.testing.assert_allclose(fresh, expected[1], atol=1e-4)
    pairs[0][0]._engine.end()


def test_a_folder_written_anew_is_loaded_anew(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["classifier 0"], tmp_path / "changing")
    row = [tokens(40)]
    before = both(folder, "classification")[0].classify(row)[0]
    shutil.copy(folders["classifier 1"] / "model.safetensors", folder / "model.safetensors")
    os.utime(folder / "model.safetensors")
    ours, theirs = both(folder, "classification")
    np.testing.assert_allclose(ours.classify(row)[0], theirs.classify(row)[0], atol=1e-4)
    assert np.abs(ours.classify(row)[0] - before).max() > 1e-3


def test_a_model_that_vllm_answers_differently_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["classifier 0"], tmp_path / "other")
    ours, _ = both(folder, "classification")
    weights = load_file(folder / "model.safetensors")
    save_file({name: w * 1.05 for name, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DisagreementError, match=r"disagree .* use backend: torch"):
        ours.classify([tokens(5)])
    with pytest.raises(DisagreementError):  # not only the first time
        ours.classify([tokens(5)])


def test_an_engine_that_is_killed_is_started_again_once(folders: dict[str, Path]) -> None:
    ours, theirs = both(folders["language model 0"], "generation")
    item = ScoreItem(tokens(60), tokens(8, 6), tokens(3), (7, 9))
    expected = theirs.score([item])[0].losses
    ours.begin([tokens(40), tokens(0)])
    starts = ours._engine.starts

    def assert_right(times: int) -> None:
        np.testing.assert_allclose(ours.score([item])[0].losses, expected, atol=1e-4)
        assert ours._engine.starts == starts + times

    assert_right(0)
    kill(ours)
    assert_right(1)
    ours.begin([tokens(40)])  # the next search may lose an engine again
    kill(ours)
    assert_right(2)
    kill(ours)
    with pytest.raises(VictimError, match=r"died 2 times: it was killed by SIGKILL") as failed:
        ours.score([item])
    assert "harness-vllm-" in str(failed.value), "names its log"
    assert "Traceback" not in str(failed.value)
    assert ours._engine.process is None


@pytest.mark.parametrize("times", [1, 2])
def test_an_engine_that_is_killed_while_it_starts_is_started_again_once(folders: dict[str, Path], times: int) -> None:
    ours, theirs = both(folders["classifier 0"], "classification")
    ours._engine.end()
    ours._engine.reset_deaths()
    others, killed = engine_processes(), list[psutil.Process]()

    def kill_each() -> None:
        end = time.monotonic() + LONGEST
        while len(killed) < times and time.monotonic() < end:
            for engine in set(engine_processes()) - {*others, *killed}:
                time.sleep(1)
                engine.kill()
                killed.append(engine)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_each)
    killer.start()
    row = [tokens(30)]
    if times == 1:
        np.testing.assert_allclose(ours.classify(row)[0], theirs.classify(row)[0], atol=1e-4)
    else:
        with pytest.raises(VictimError, match="died 2 times: it was killed by SIGKILL"):
            ours.classify(row)
    killer.join()
    assert len(killed) == times


def test_settings_that_cannot_be_are_one_clear_error(folders: dict[str, Path]) -> None:
    _, theirs = both(folders["classifier 0"], "classification")
    ours = VLLMBackend(folders["classifier 0"], theirs, cache_bytes=1 << 10)
    with pytest.raises(VictimError, match="the vLLM engine could not be started") as failed:
        ours.classify([tokens(5)])
    assert "cache blocks" in str(failed.value)
    assert len(str(failed.value).splitlines()) < 12


PARENT = """
import sys, time
from harness.engine.open_backend import open_folder
from harness.engine.vllm.backend import VLLMBackend
import numpy as np
backend = VLLMBackend(sys.argv[1], open_folder(sys.argv[1], device="cpu", dtype="float32"))
backend.classify([np.arange(5, 20)])
print(backend._engine.process.pid, flush=True)
if sys.argv[2] == "waits":
    time.sleep(600)
"""


@pytest.mark.parametrize("how", ["waits", "ends"])
def test_no_engine_outlives_its_parent(folders: dict[str, Path], how: str) -> None:
    folder = str(folders["classifier 0"])
    command = [sys.executable, "-c", PARENT, folder, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        engine = psutil.Process(int(parent.stdout.readline()))
        family = [engine, *engine.children(recursive=True)]
        if how == "waits":
            parent.kill()  # SIGKILL, and it alone: the engine has a session of its own
        _, alive = psutil.wait_procs(family, timeout=LONGEST)
        assert alive == []
        parent.wait(LONGEST)
    if how == "ends":
        assert parent.returncode == 0


def test_a_parent_killed_while_the_engine_starts(folders: dict[str, Path]) -> None:
    command = [sys.executable, "-c", PARENT, str(folders["classifier 0"]), "waits"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as parent:
        family: list[psutil.Process] = []
        end = time.monotonic() + LONGEST
        while not family and time.monotonic() < end:
            time.sleep(0.05)
            family = psutil.Process(parent.pid).children(recursive=True)
        assert family
        time.sleep(0.5)
        parent.kill()
        assert psutil.wait_procs(family, timeout=LONGEST)[1] == []


def test_torch_s_model_classes_stay_untouched(folders: dict[str, Path]) -> None:
    """vLLM patches transformers where it is imported, so it never is here."""
    both(folders["classifier 0"], "classification")[0].classify([tokens(5)])
    assert not any(name == "vllm" or name.startswith("vllm.") for name in sys.modules)
    assert torch.get_num_threads() == 1


def test_the_record_tells_what_answered(folders: dict[str, Path]) -> None:
    ours, _ = both(folders["classifier 0"], "classification")
    ours.classify([tokens(5)])
    facts = json.loads(json.dumps(ours.describe()))
    assert facts["vllm"]
    assert facts["agreement"]["difference"] <= facts["agreement"]["tolerance"] == 1e-4
    assert facts["engine"]["starts"] >= 1
