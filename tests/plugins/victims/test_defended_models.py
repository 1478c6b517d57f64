"""Published models with a defense in their weights: their sizes, what records say of them, what is not known."""

from __future__ import annotations

from typing import Any

import pytest

from harness.api.task import TaskData
from plugins.victims._huggingface.published.defended import DEFENDED
from plugins.victims._huggingface.published.presets import PRESETS, find_preset, smallest_of_family
from plugins.victims.huggingface import HuggingFace

DATA = TaskData((), [], [])
WHOLE = [one for one in DEFENDED if not one.adapter]


def victim(model: str, **params: Any) -> HuggingFace:
    return HuggingFace(HuggingFace.Params.model_validate({"model": model, "fine_tune": False} | params))


@pytest.mark.parametrize("one", WHOLE, ids=lambda one: one.hub)
def test_a_whole_model_is_a_preset_of_a_family_of_its_own(one: Any) -> None:
    preset = find_preset(one.hub)
    assert preset is not None
    assert preset.as_language_model == (7_241_732_096 if "istral" in one.base else 8_030_261_248)
    assert preset.revision is None, "no commit is known"
    assert preset.chat
    assert [other for other in PRESETS.values() if other.family == preset.family] == [preset]
    assert smallest_of_family(preset.family) is preset
    card = victim(preset.name).card(DATA)
    assert (card.pretraining_flops is None) == ("istral" in one.base), "Mistral's makers do not tell"


def test_other_families_have_the_models_that_they_had() -> None:
    assert smallest_of_family("mistral").name == "mistral-7b-instruct-v0.3"
    assert smallest_of_family("llama-3-instruct").name == "llama-3.2-1b-instruct"


def test_records_tell_the_defense_and_that_its_compute_is_unknown() -> None:
    said = victim("llama-3-8b-instruct-rr").trained_against(DATA)
    assert said == victim("grayswanai/llama-3-8b-instruct-rr").trained_against(DATA)
    assert said.startswith("circuit breakers")
    assert said.endswith("(arXiv:2406.04313); compute of this training unknown")
    assert victim("llama-3.1-8b-instruct").trained_against(DATA) == ""
    adapted = victim("llama-3.1-8b-instruct", adapter="facebook/Meta-SecAlign-8B")
    assert "SecAlign" in adapted.trained_against(DATA)
    for one in DEFENDED:
        assert one.base != one.hub
        assert one.paper.startswith("arXiv:")
