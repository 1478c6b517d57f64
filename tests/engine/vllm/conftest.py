"""Models for the engine's tests. Engines are shared: checkpoints of one shape take turns in one, as in a run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.engine.open_backend import open_folder
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.heads import HeadName
from harness.engine.vllm.backend import VLLMBackend
from harness.engine.vllm.engines import end_engines
from harness.tokens.chat_format import ChatFormat
from tests.engine.hub_models import LABELS, write_folder

SIZES = {"hidden": 64, "context": 256, "scale": 3.0}  # heads of 16: narrower than vLLM's CPU kernels take


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Importing vLLM here to see whether it works would change the model classes of this process.
    if importlib.util.find_spec("vllm") is None:
        for item in items:
            if item.get_closest_marker("vllm"):
                item.add_marker(pytest.mark.skip(reason="vllm is not installed in this environment"))


@pytest.fixture(scope="session", autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_engines()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two classifiers and two language models, each pair of one shape."""
    root = tmp_path_factory.mktemp("models")
    heads = {"classifier": "classification", "language model": "label_tokens"}
    return {
        f"{name} {seed}": write_folder(root / f"{head}-{seed}", "gpt_neox", head, seed=seed, **SIZES)
        for name, head in heads.items()
        for seed in (0, 1)
    }


Both = tuple[VLLMBackend, TorchBackend]


def both(folder: Path, head: HeadName, labels: tuple[str, ...] = (), chat: ChatFormat | None = None) -> Both:
    """The same checkpoint behind vLLM and behind torch."""
    torch = open_folder(folder, head, labels, dtype="float32", device="cpu", chat=chat)
    assert isinstance(torch, TorchBackend)
    return VLLMBackend(folder, torch), torch


@pytest.fixture(scope="module")
def classifier(folders: dict[str, Path]) -> Both:
    return both(folders["classifier 0"], "classification")


@pytest.fixture(scope="module")
def labels(folders: dict[str, Path]) -> Both:
    """Labels of several tokens each."""
    pair = both(folders["language model 0"], "label_tokens", LABELS)
    assert all(len(label) > 1 for label in pair[1].tokenizer.encode(LABELS))
    return pair


@pytest.fixture(scope="module")
def writer(folders: dict[str, Path]) -> Both:
    """A victim that answers in text."""
    return both(folders["language model 0"], "generation")


def tokens(*shape: int, seed: int = 0) -> np.ndarray:
    """Random ordinary ids."""
    return np.random.default_rng([seed, *shape]).integers(5, 240, size=shape)
