"""What is known of a defended victim besides its ASR: calibration, worst-case accuracy, and how far attacks move it.

Its compute is no attack's and no defense's, and is kept apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np

from harness.api.model.backend import ActivationBackend, ActivationItem, Backend
from harness.api.problem.problem import Problem
from harness.api.task import Example
from harness.engine.defended.prompt_item import Names
from harness.engine.defended.reply import Reply
from harness.engine.defended.victim import DefendedVictim
from harness.errors import VictimError
from harness.flops import Flops, known, nominal_forward
from harness.records.cell_manifest import DefenseFacts
from harness.records.step_row import StepRow, unanswered_examples
from harness.run.cell.base_record import compute
from harness.run.cell.clean_check import CleanCheck
from harness.tokens.message import Prompt
from harness.tokens.prompts import encode_prompts
from harness.tokens.tokenizer import Floats

BINS = 15
MOVED = 16  # examples whose activations are compared
POINTS = 32  # of the curve of worst-case accuracy


def diagnose(
    victim: DefendedVictim,
    examples: Sequence[Example],
    clean: CleanCheck,
    problems: Sequence[Problem],
    rows: Sequence[StepRow],
    names: Names,
) -> dict[str, Any]:
    """JSON data: ``ece`` of labels (clean, under attack; null where nobody tells probabilities), ``worst_case``,
    ``shift`` per layer (null where activations cannot be read) and ``compute``.

    Args:
        problems: those attacked; none where what was found is more than a string.
        rows: of the search; the last string of each example is looked at.
        names: what the draws of a randomised defense depend on, besides the example.
    """
    last = last_strings(rows)
    attacked = [
        (problem, problem.prompt(last[problem.example.id])) for problem in problems if problem.example.id in last
    ]
    draw_names = [(*names, problem.example.id, "diagnostics") for problem, _ in attacked]
    around = [problem.example.conversation for problem, _ in attacked]
    replies = (
        victim.ask([text for _, text in attacked], names=draw_names, conversations=around)
        if victim.labels and attacked
        else []
    )
    spent = sum((reply.victim + reply.defense for reply in replies), Flops())
    shift, moving = _shift(
        victim.backend,
        [(p.example.prompt, p.example.conversation.prompt(text)) for p, text in attacked[:MOVED]],
    )
    return {
        "ece": {
            "clean": _calibration(clean.replies, examples) if victim.labels else None,
            "attacked": _calibration(replies, [p.example for p, _ in attacked]) if victim.labels else None,
            "bins": BINS,
        },
        "worst_case": worst_case(rows, clean.accuracy, len({row.example for row in rows})),
        "shift": shift,
        "compute": compute(spent + moving).model_dump(mode="json"),
    }


def last_strings(rows: Sequence[StepRow]) -> dict[str, str]:
    """The string of each example that was judged last."""
    in_order = sorted(rows, key=lambda row: row.step)
    return {row.example: row.attack_text for row in in_order if row.attack_text is not None and row.failure is None}


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> float | None:
    """Mean over answers of |accuracy − mean confidence| of the bin that they fall into, bins of equal width (Guo et al.
    2017, arXiv 1706.04599); None without answers.
    """
    if not confidences:
        return None
    sure, hit = np.asarray(confidences), np.asarray(right, dtype=np.float64)
    at = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = [abs(float((hit - sure)[at == one].sum())) for one in range(bins)]
    return sum(gaps) / len(sure)


def worst_case(rows: Sequence[StepRow], clean_accuracy: float | None, attacked: int) -> list[dict[str, Any]]:
    """Accuracy left when each example is attacked with so many steps, clean accuracy · (1 − ASR so far), and the
    mean nominal FLOPs that this takes per example (null where unknown). Starts at step 0; at most `POINTS` + 1 entries.
    Examples without any answer are left out; empty where no clean accuracy was measured.
    """
    if clean_accuracy is None:
        return []
    unanswered = unanswered_examples(rows)
    rows, attacked = [row for row in rows if row.example not in unanswered], attacked - len(unanswered)
    steps = max((row.step for row in rows), default=0)
    broken_at: dict[str, int] = {}
    spent = np.zeros(steps + 1)
    for row in rows:
        spent[row.step] += row.attack_nominal
        if row.success:
            broken_at[row.example] = min(row.step, broken_at.get(row.example, steps))
    cumulative = np.cumsum(spent) / max(1, attacked)
    wanted = sorted({round(at) for at in np.linspace(0, steps, min(steps, POINTS) + 1)})
    return [
        {
            "step": step,
            "flops": known(float(cumulative[step])),
            "accuracy": clean_accuracy * (1 - sum(at <= step for at in broken_at.values()) / max(1, attacked)),
        }
        for step in wanted
    ]


def _calibration(replies: Sequence[Reply], examples: Sequence[Example]) -> float | None:
    answered = [(r.logits, e.label) for r, e in zip(replies, examples, strict=True) if r.logits is not None]
    chances = [(_softmax(logits), label) for logits, label in answered]
    return expected_calibration_error(
        [float(chance.max()) for chance, _ in chances], [int(chance.argmax()) == label for chance, label in chances]
    )


def _shift(backend: Backend, pairs: Sequence[tuple[Prompt, Prompt]]) -> tuple[list[dict[str, float]] | None, Flops]:
    """How far the activations at the last token move from the clean to the attacked prompt, layer by layer (0: the
    embeddings): mean L2 distance over the mean norm of the clean ones. The prompts are as written.
    """
    if not pairs or "activations" not in backend.abilities or not isinstance(backend, ActivationBackend):
        return None, Flops()
    tokenizer = backend.tokenizer
    encoded = encode_prompts(tokenizer, [prompt for pair in pairs for prompt in pair])
    rows = [np.asarray([*tokenizer.left, *ids, *tokenizer.right], dtype=np.int64) for ids in encoded]
    fits = [i for i in range(len(pairs)) if len(rows[2 * i]) > 0 and len(rows[2 * i + 1]) <= backend.context]
    rows = [rows[2 * i + side] for i in fits for side in (0, 1)]
    found: list[dict[str, float]] = []
    spent = Flops()
    for layer in count() if rows else ():
        try:
            answers = backend.activations([ActivationItem(row, layer) for row in rows])
        except VictimError:
            break  # there are no more layers
        clean, attacked = (np.stack([answer.values for answer in answers[side::2]]) for side in (0, 1))
        moved = float(np.linalg.norm(attacked - clean, axis=1).mean())
        found.append({"layer": layer, "moved": moved / max(float(np.linalg.norm(clean, axis=1).mean()), 1e-12)})
        nominal = nominal_forward(backend.n_params, sum(map(len, rows)))
        spent += Flops(nominal, sum(answer.executed for answer in answers))
    return found or None, spent


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def rejudged(facts: DefenseFacts, rows: Sequence[StepRow], clean_accuracy: float | None, attacked: int) -> DefenseFacts:
    """The same under another judge: only the worst case depends on it."""
    if not facts.diagnostics:
        return facts
    changed = {"worst_case": worst_case(rows, clean_accuracy, attacked)}
    return facts.model_copy(update={"diagnostics": facts.diagnostics | changed})
