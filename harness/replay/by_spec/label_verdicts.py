"""Recorded verdicts against the judge itself, where it asks no model and looks at labels alone. Needs no data."""

from __future__ import annotations

from typing import Any

from harness.api.judge import Answer, Judge, Verdict
from harness.api.task import Chunk, Edit, Example
from harness.spec.load import LoadedSpec


def verdict_on_label(spec: LoadedSpec, label: int, predicted: int) -> bool | None:
    """Whether the spec's judge takes ``predicted`` for a success where ``label`` is right; None where that depends on
    more: on a text, a loss, a model, or which label the attacker wants.
    """
    judge = spec.cells[0].judge.plugin
    if judge.reads != "labels" or judge.models() or label < 0:
        return None
    # The attacker wants what was said, or another label.
    wanted = {predicted, max(label, predicted) + 1} - {label}
    said = {_success(judge, label, proxy, predicted) for proxy in wanted}
    return said.pop() if len(said) == 1 else None


class _NotesReads:
    """Notes in ``reads`` which attributes are read."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):
            object.__getattribute__(self, "__dict__").setdefault("reads", set()).add(name)
        return object.__getattribute__(self, name)


class _LabelAlone(_NotesReads, Answer):
    """An answer of which the label is known, and that it is no text."""

    known = frozenset({"label", "text", "blocked"})


class _LabelsAlone(_NotesReads, Example):
    """An example of which the labels are known."""

    known = frozenset({"label", "proxy_label"})


def _success(judge: Judge, label: int, proxy: int, predicted: int) -> bool | None:
    """None where the judge looks at anything that is not known here, whatever it makes of it."""
    example = _LabelsAlone("recorded", (Chunk("", Edit.OVERWRITABLE),), label, proxy)
    answer = _LabelAlone(predicted, (), float("nan"))
    for given in (example, answer):
        vars(given)["reads"] = set()  # those of its making do not count
    judging = judge.verdict(example, answer)
    verdict: object = None
    try:
        next(judging)
    except StopIteration as stop:
        verdict = stop.value
    except Exception:
        return None
    if not isinstance(verdict, Verdict) or any(vars(given)["reads"] - type(given).known for given in (example, answer)):
        return None
    return verdict.success
