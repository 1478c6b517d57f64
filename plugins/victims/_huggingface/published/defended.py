"""Published models that were trained to withstand attacks: what each was made from, how, and what is known of the cost.

What none of them tells is the compute of that training, so nothing here states it: the compute of pretraining that a
preset has is that of the base model, and the rest is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DefendedModel:
    """A published checkpoint, or an adapter, with a defense in its weights.

    Attributes:
        hub: hub id.
        base: what it was trained from.
        defense: what hardens it, in words.
        paper: where the defense comes from.
        adapter: whether it is an adapter of the base, to be given as `adapter`, and no whole model.
    """

    hub: str
    base: str
    defense: str
    paper: str
    adapter: bool = False

    @property
    def words(self) -> str:
        """What a record says that it was trained against."""
        return f"{self.defense} ({self.paper}); compute of this training unknown"


_RR = ("circuit breakers, by representation rerouting", "arXiv:2406.04313")
_CAT = ("continuous adversarial training on embedding attacks", "arXiv:2405.15589")
DEFENDED = (
    DefendedModel(
        "cais/zephyr_7b_r2d2",
        "mistralai/Mistral-7B-v0.1",
        "adversarial training against GCG, R2D2",
        "arXiv:2402.04249",
    ),
    DefendedModel("GraySwanAI/Llama-3-8B-Instruct-RR", "meta-llama/Meta-Llama-3-8B-Instruct", *_RR),
    DefendedModel("GraySwanAI/Mistral-7B-Instruct-RR", "mistralai/Mistral-7B-Instruct-v0.2", *_RR),
    DefendedModel(
        "LLM-LAT/robust-llama3-8b-instruct",
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "targeted latent adversarial training",
        "arXiv:2407.15549",
    ),
    DefendedModel("ContinuousAT/Zephyr-CAT", "HuggingFaceH4/zephyr-7b-beta", *_CAT, adapter=True),
    DefendedModel("ContinuousAT/Llama-2-7B-CAT", "meta-llama/Llama-2-7b-chat-hf", *_CAT, adapter=True),
    DefendedModel("ContinuousAT/Phi-CAT", "microsoft/Phi-3-mini-4k-instruct", *_CAT, adapter=True),
    DefendedModel("ContinuousAT/Llama3-8B-IT-CAT", "meta-llama/Meta-Llama-3-8B-Instruct", *_CAT, adapter=True),
    DefendedModel(
        "facebook/Meta-SecAlign-8B",
        "meta-llama/Llama-3.1-8B-Instruct",
        "preference training against prompt injection, SecAlign",
        "arXiv:2507.02735",
        adapter=True,
    ),
)
_BY_HUB = {one.hub.casefold(): one for one in DEFENDED}


def hardened_by(model: str, adapter: str | None) -> str:
    """What hardens a model and an adapter of it against attacks, by their hub ids; "" where nothing known does."""
    found = (_BY_HUB.get(model.casefold()), None if adapter is None else _BY_HUB.get(adapter.casefold()))
    return "; ".join(one.words for one in found if one is not None)
