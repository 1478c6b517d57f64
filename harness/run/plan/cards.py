"""What GPUs reach, for a plan made without one: published peaks, and the share of them that a run is taken to reach."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass

from harness.errors import RunError, did_you_mean

UTILISATION = 0.3
"""Share of the dense peak that a run is taken to reach, nominal FLOPs counted: an assumption, for models of 1B
parameters and more whose candidates fill the card. Smaller ones reach less.
"""


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU.

    Attributes:
        name: as `harness plan --card` takes it.
        half: peak of dense matrix products in bfloat16 (float16 where a card has no other), FLOP/s, without sparsity.
        single: peak in float32, in which models are trained, FLOP/s, without tensor cores.
    """

    name: str
    half: float
    single: float

    def rate(self, *, training: bool) -> float:
        """Nominal FLOP/s that a run is taken to reach."""
        return UTILISATION * (self.single if training else self.half)


# From the makers' data sheets, boards at their full power.
CARDS = (
    Card("V100", 125e12, 15.7e12),
    Card("T4", 65e12, 8.1e12),
    Card("A10", 125e12, 31.2e12),
    Card("A100", 312e12, 19.5e12),
    Card("L4", 121e12, 30.3e12),
    Card("L40S", 362e12, 91.6e12),
    Card("4090", 165e12, 82.6e12),
    Card("H100 PCIe", 756e12, 51e12),
    Card("H100", 989e12, 67e12),
    Card("H200", 989e12, 67e12),
)


def find_card(name: str) -> Card:
    """The card of that name, however written: ``h100``, ``RTX 4090``.

    Raises:
        RunError: the table has none such; names those that it has.
    """
    if (found := _match(name)) is not None:
        return found
    known = [card.name for card in CARDS]
    raise RunError(
        f"--card {name}: not in the table{did_you_mean(name, known)}; known: {', '.join(known)}. For another card, "
        "give its speed: --rate FLOP/s"
    )


def card_here() -> Card | None:
    """The first card of this machine, as its driver names it; None where there is none, or none of the table."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = [program, "--query-gpu=name", "--format=csv,noheader"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        return _match(told.partition("\n")[0])
    return None


def _match(name: str) -> Card | None:
    """A card all of whose words stand in the name; of several that of the most words."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    if "laptop" in words:  # another chip under the same number
        return None
    fitting = [card for card in CARDS if set(card.name.lower().split()) <= set(words)]
    return max(fitting, key=lambda card: len(card.name.split()), default=None)
