"""How fast a plan takes the work to go: by device, by card, as given, or by a guess that is kept."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import yaml

from harness.errors import RunError
from harness.run.plan import rate as rate_module
from harness.run.plan.cards import CARDS, UTILISATION, find_card
from harness.run.plan.rate import find_rates, has_gpu
from tests.engine.hub_models import write_folder
from tests.run.runs import harness_here


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(rate_module, "card_here", lambda: None)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("a100", "A100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA GeForce RTX 4090", "4090"),
        ("NVIDIA L40S", "L40S"),
        ("h200", "H200"),
    ],
)
def test_cards_are_known_as_people_and_drivers_write_them(written: str, name: str) -> None:
    assert find_card(written).name == name


@pytest.mark.parametrize("written", ["", "A10000", "NVIDIA GeForce RTX 4090 Laptop GPU", "potato"])
def test_a_card_that_is_not_known_is_a_mistake_in_words(written: str) -> None:
    with pytest.raises(RunError, match=r"not in the table.*known: V100, .*--rate FLOP/s"):
        find_card(written)


def test_every_card_trains_more_slowly_than_it_answers() -> None:
    assert len({card.name for card in CARDS}) == len(CARDS)
    for card in CARDS:
        assert find_card(card.name) is card
        assert 1e12 < card.single < card.half < 5e15


def test_the_guess_is_kept_and_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([7e10, 1e9])
    monkeypatch.setattr(rate_module, "rate_of_one_thread", lambda: next(measured))
    first, second = find_rates(None), find_rates(None)
    assert first == second, "measured once"
    kept = tmp_path / "cache" / "rates.json"
    assert f"kept in {kept}" in first.cpu.source
    (processor,) = json.loads(kept.read_text())
    assert processor in first.cpu.source
    kept.write_text("[not json", encoding="utf-8")
    assert find_rates(None).cpu.flops == pytest.approx(first.cpu.flops / 70), "what is damaged is measured anew"


def test_a_guess_is_of_one_thread_by_the_processors_own_time() -> None:
    assert 1e9 < rate_module.rate_of_one_thread() < 1e12


def plan(folder: Path, device: str, *options: object) -> dict:
    """Of a model used as it is, on that device."""
    model = folder / "model"
    if not model.exists():
        write_folder(model, "gpt_neox", "classification")
    victim = {"huggingface": {"model": str(model), "fine_tune": False, "device": device}}
    spec = {"name": "one", "version": "1", "tasks": [{"word_length": {"train_size": 20, "validation_size": 8}}]}
    spec |= {"victims": [victim], "attacks": [{"random_token": {"steps": 1}}], "examples": 4, "clean_examples": 8}
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    done = harness_here("plan", "spec.yaml", "--json", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_rate_of_this_processor_says_nothing_of_a_gpu(tmp_path: Path) -> None:
    there = plan(tmp_path, "cuda")
    assert there["remaining_of_unknown_seconds"] == 1, "and no number of hours"
    shown = harness_here("plan", "spec.yaml", cwd=tmp_path)
    assert "rate unknown; give --card (V100, T4, A10, A100" in " ".join(shown.stdout.split())
    found = plan(tmp_path, "cuda", "--card", "a100")
    assert found["remaining_seconds"] == pytest.approx(found["remaining_flops"] / (UTILISATION * 312e12))
    assert "30% of the 312 TFLOP/s that A100 reaches in half precision" in found["rates"]["gpu"]["source"]
    done = harness_here("plan", "spec.yaml", "--card", "H101", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'H100'?" in done.stderr


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_each_device_has_the_rate_that_is_its_own() -> None:
    card, alone, given = find_rates(None, "A100"), find_rates(None), find_rates(None, given=2e9)
    half, single = UTILISATION * 312e12, UTILISATION * 19.5e12
    for device in ("cuda", "cuda:1", "auto", "spread"):
        rates = [card.of(device, training=training) for training in (False, True)]
        assert [rate and rate.flops for rate in rates] == pytest.approx([half, single])
    for rates in (card, alone):
        assert rates.of("cpu", training=False) == rates.of("cpu", training=True) == alone.cpu
    assert alone.of("auto", training=False) == alone.cpu, "there is no other here"
    assert alone.of("cuda", training=False) is None
    assert {given.of(device, training=False).flops for device in ("cpu", "cuda", "auto")} == {2e9}


@pytest.mark.parametrize(
    ("card", "given", "words"),
    [(None, 0.0, "--rate 0: a rate is above 0"), (None, math.nan, "above 0"), ("H100", 1e9, "leave one out")],
)
def test_a_rate_that_is_none_is_a_mistake_in_words(card: str | None, given: float, words: str) -> None:
    with pytest.raises(RunError, match=words):
        find_rates(None, card, given)


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a card")
def test_a_machine_without_a_driver_has_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    from harness.run.plan.cards import card_here

    assert card_here() is None
