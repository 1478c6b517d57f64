"""Recorded verdicts against the judge itself, where it asks no model and looks at labels alone. Needs no data."""

from __future__ import annotations

from harness.api.judge import Answer, Judge, Verdict
from harness.api.task import Chunk, Edit, Example
from harness.spec.load import LoadedSpec


def verdict_on_label(spec: LoadedSpec, label: int, predicted: int) -> bool | None:
    """Whether the spec's judge takes ``predicted`` for a success where ``label`` is right; None where that depends on
    more: on a text, a model, or which label the attacker wants.
    """
    judge = spec.cells[0].judge.plugin
    if judge.reads != "labels" or judge.models() or label < 0:
        return None
    # The attacker wants what was said, or another label.
    wanted = {predicted, max(label, predicted) + 1} - {label}
    said = {_success(judge, label, proxy, predicted) for proxy in wanted}
    return said.pop() if len(said) == 1 else None


def _success(judge: Judge, label: int, proxy: int, predicted: int) -> bool | None:
    example = Example("recorded", (Chunk("", Edit.OVERWRITABLE),), label, proxy)
    judging = judge.verdict(example, Answer(predicted, (), float("nan")))
    try:
        next(judging)
    except StopIteration as stop:
        return stop.value.success if isinstance(stop.value, Verdict) else None
    except Exception:
        return None
    return None
