"""The cells of a made-up study like the quickstart's."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from tests.leaderboard.fake_run import FakeCell


def quickstart_cells(seeds: int = 2, tasks: Sequence[str] = ("word_length", "password_match")) -> list[FakeCell]:
    """Cells like the quickstart's: tasks × sizes × {none, adversarial training} × {random_token, gcg} × seeds."""
    cells = []
    for t, task in enumerate(tasks):
        for size, n_params in (("xs", 12_000), ("s", 110_000), ("m", 900_000)):
            for defense, round_ in (("none", None), ("adversarial_training", 1), ("adversarial_training", 4)):
                for attack, extra in (("random_token", 0.9), ("gcg", 0.0)):
                    for seed in range(seeds):
                        scale = math.log10(n_params) - 5
                        flops = n_params * 2.0 * 45 * 128
                        cells.append(
                            FakeCell(
                                task=task,
                                data_hash=hashlib.sha256(task.encode()).hexdigest(),
                                victim=f"tiny(size={size})",
                                n_params=n_params,
                                defense=defense,
                                round=round_,
                                against=None if round_ is None else {"attack": "gcg", "threat": FakeCell.threat},
                                defense_flops=0 if round_ is None else 4e5 * flops * round_,
                                attack=attack,
                                seed=seed,
                                examples=100,
                                wrong=3,
                                steps=20,
                                step_flops=flops,
                                hardness=9.7 + scale * 1.1 + extra + 0.25 * (round_ or 0) + 0.1 * t,
                                slope=2.2,
                                reference_flops=6e9 * n_params,
                            )
                        )
    return cells
