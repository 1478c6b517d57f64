"""Training rows of examples as they are, without any attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness import Backend, DataError, Example, RoundJob, TrainRow
from plugins.defenses._training.training_rows import TrainingExample, TrainingRowBuilder


def clean_rows(
    job: RoundJob,
    victim: Backend,
    what: str,
    examples: Sequence[Example],
    count: int,
    rng: np.random.Generator,
    name: str,
) -> list[TrainRow]:
    """Rows of ``count`` different examples that fit the victim's context, or of all such in random order where there
    are fewer.

    Args:
        what: the sort of their prompts, for the error.
        name: of the defense, for the error.

    Raises:
        DataError: none fits.
    """
    data = replace(job.data, train=examples)
    builder = TrainingRowBuilder(job.model, victim.tokenizer, victim.context, data, name)
    rows = [builder.row(TrainingExample.clean(example)) for example in builder.sample(count, rng)]
    if not rows:
        raise DataError(
            f"{name}: every {what} training prompt with its answer is longer than the victim's context of "
            f"{victim.context} tokens; use shorter texts or a victim with a longer context"
        )
    return rows
