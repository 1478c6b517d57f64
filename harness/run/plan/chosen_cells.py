"""Which cells of a spec to do, by their labels: ``--only victim=…`` of `harness run` and `harness plan`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.errors import RunError, did_you_mean, one_line
from harness.records.planned import PlannedCell

KINDS = ("task", "threat", "victim", "defense", "attack", "seed")


def chosen_keys(cells: Iterable[PlannedCell], only: Sequence[str]) -> set[str]:
    """Keys of the cells that fit ``only``, each ``KIND=LABEL``: of several of one kind any, of each kind one.

    Raises:
        RunError: one names no kind of label, or a label that no cell has; or no cell fits all of them.
    """
    left = list(cells)
    labels: dict[str, set[str]] = {}
    for text in only:
        kind, _, label = text.partition("=")
        if kind not in KINDS or not label:
            raise RunError(
                f"--only {text}: write KIND=LABEL, KIND one of {', '.join(KINDS)}{did_you_mean(kind, KINDS)}"
            )
        known = sorted({label_of(cell, kind) for cell in left})
        if label not in known:
            raise RunError(
                f"--only {text}: no cell has this {kind}{did_you_mean(label, known)}. There are: {'; '.join(known)}"
            )
        labels.setdefault(kind, set()).add(label)
    found = {cell.key for cell in left if all(label_of(cell, kind) in wanted for kind, wanted in labels.items())}
    if not found:
        raise RunError(f"--only {' --only '.join(only)}: no cell fits all of this")
    return found


def label_of(cell: PlannedCell, kind: str) -> str:
    """The label of this kind, as `--only` takes it."""
    return one_line(str(getattr(cell, kind)))
