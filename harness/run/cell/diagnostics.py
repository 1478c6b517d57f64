"""What is known of a defended victim besides its ASR: calibration, worst-case accuracy, how far attacks move it, and
how clean prompts lie to each other in it.

Its compute is no attack's and no defense's, and is kept apart. A spec's ``diagnostics`` says how much is found:
``light`` is what follows from the answers that the cell has anyway; ``full`` asks about attacked prompts as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np

from harness.api.model.backend import ActivationBackend, ActivationItem, Backend
from harness.api.problem.problem import Problem
from harness.api.task import Example
from harness.engine.defended.prompt_item import Names
from harness.engine.defended.reply import Reply
from harness.engine.defended.victim import DefendedVictim
from harness.errors import VictimError
from harness.flops import Flops, known, nominal_forward
from harness.records.cell_manifest import CellRecord, DefenseFacts
from harness.records.step_row import StepRow, untold_examples
from harness.run.cell.base_record import compute
from harness.run.cell.clean_check import CleanCheck
from harness.run.cell.geometry import geometry
from harness.run.plan.diagnostics_flops import READ_EXAMPLES
from harness.spec.fields import DiagnosticsExtent
from harness.tokens.message import Prompt
from harness.tokens.prompts import encode_prompts
from harness.tokens.tokenizer import Floats

BINS = 15
POINTS = 32  # of the curve of worst-case accuracy
_AT_ONCE = 8  # prompts whose activations are read between two signs of life


def diagnose(
    victim: DefendedVictim,
    examples: Sequence[Example],
    clean: CleanCheck,
    problems: Sequence[Problem],
    rows: Sequence[StepRow],
    names: Names,
    extent: DiagnosticsExtent = "full",
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """JSON data: ``ece`` of labels (clean, under attack; null where nobody tells probabilities), ``worst_case``,
    ``shift`` per layer and `geometry` of clean prompts (null where activations cannot be read) and ``compute``. Of
    ``light`` those under attack, ``shift`` and ``geometry`` are null; ``off``: nothing.

    Args:
        problems: those attacked; none where what was found is more than a string.
        rows: of the search; the last string of each example is looked at.
        names: what the draws of a randomised defense depend on, besides the example.
        progress: told how many prompts have been read, and of how many.
    """
    if extent == "off":
        return {}
    last = last_strings(rows) if extent == "full" else {}
    attacked = [
        (problem, problem.prompt(last[problem.example.id])) for problem in problems if problem.example.id in last
    ]
    replies, asking = _replies(victim, attacked, examples, clean, names) if victim.labels else ([], Flops())
    read = attacked[:READ_EXAMPLES]
    prompts = [(p.example.prompt, p.conversation.prompt(text)) for p, text in read]
    # The first examples, whether they are attacked or not: they are the same under every attack and in every version.
    first = examples[:READ_EXAMPLES] if extent == "full" else []
    shift, placed, moving = _activations(victim.backend, prompts, first, progress)
    return {
        "ece": {
            "clean": _calibration(clean.replies, examples) if victim.labels else None,
            "attacked": _calibration(replies, [p.example for p, _ in attacked]) if victim.labels else None,
            "bins": BINS,
        },
        "worst_case": worst_case(rows, clean.accuracy, len({row.example for row in rows})),
        "shift": shift,
        "geometry": placed,
        "compute": compute(asking + moving).model_dump(mode="json"),
        "extent": extent,
    }


def tells(record: CellRecord, extent: DiagnosticsExtent) -> bool:
    """Whether a record has all the diagnostics of that extent."""
    found = {} if record.defense_facts is None else record.defense_facts.diagnostics
    has = found.get("extent", "full") if found else "off"  # those that do not say are of before there was a choice
    extents = get_args(DiagnosticsExtent)
    return extents.index(has) >= extents.index(extent)


def _replies(
    victim: DefendedVictim,
    attacked: Sequence[tuple[Problem, str]],
    examples: Sequence[Example],
    clean: CleanCheck,
    names: Names,
) -> tuple[list[Reply], Flops]:
    """The replies to attacked prompts, and what they took. One that is a clean prompt has its reply already, but of a
    randomised defense, which is asked on fresh draws.
    """
    known = {} if victim.randomised else {e.prompt: r for e, r in zip(examples, clean.replies, strict=True)}
    prompts = [problem.conversation.prompt(text) for problem, text in attacked]
    new = [pair for pair, prompt in zip(attacked, prompts, strict=True) if prompt not in known]
    draw_names = [(*names, problem.example.id, "diagnostics") for problem, _ in new]
    around = [problem.conversation for problem, _ in new]
    asked = iter(victim.ask([text for _, text in new], names=draw_names, conversations=around) if new else [])
    replies, spent = [], Flops()
    for prompt in prompts:
        reply = known.get(prompt)
        if reply is None:
            reply = next(asked)
            spent += reply.victim + reply.defense
        replies.append(reply)
    return replies, spent


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
    Examples without any verdict are left out; empty where no clean accuracy was measured.
    """
    if clean_accuracy is None:
        return []
    untold = untold_examples(rows)
    rows, attacked = [row for row in rows if row.example not in untold], attacked - len(untold)
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


def _activations(
    backend: Backend,
    pairs: Sequence[tuple[Prompt, Prompt]],
    first: Sequence[Example],
    progress: Callable[[int, int], None],
) -> tuple[list[dict[str, float]] | None, dict[str, Any] | None, Flops]:
    """How far the activations at the last token move from the clean to the attacked prompt, layer by layer (0: the
    embeddings): mean L2 distance over the mean norm of the clean ones; and the `geometry` of the ``first`` examples'
    clean prompts. The prompts are as written; each is read once, all its layers in one forward.
    """
    if not (pairs or first) or "activations" not in backend.abilities or not isinstance(backend, ActivationBackend):
        return None, None, Flops()
    tokenizer = backend.tokenizer
    encoded = encode_prompts(tokenizer, [prompt for pair in pairs for prompt in pair] + [one.prompt for one in first])
    every = [(*tokenizer.left, *ids, *tokenizer.right) for ids in encoded]
    rows, alone = every[: 2 * len(pairs)], every[2 * len(pairs) :]
    kept = {one.id: row for one, row in zip(first, alone, strict=True) if row and len(row) <= backend.context}
    both = [
        (clean, attacked)
        for clean, attacked in zip(rows[::2], rows[1::2], strict=True)
        if clean and len(attacked) <= backend.context
    ]
    if all(clean == attacked for clean, attacked in both):  # nothing moves: the one tells how many layers there are
        both = both[:1]
    wanted = list(dict.fromkeys([*(row for pair in both for row in pair), *kept.values()]))
    found: dict[tuple[int, ...], Sequence[Floats]] = {}
    spent = Flops()
    progress(0, len(wanted))
    try:
        for at in range(0, len(wanted), _AT_ONCE):
            part = wanted[at : at + _AT_ONCE]
            answers = backend.activations([ActivationItem(np.asarray(row, dtype=np.int64), None) for row in part])
            found |= {row: answer.by_layer for row, answer in zip(part, answers, strict=True)}
            nominal = nominal_forward(backend.n_params, sum(map(len, part)))
            spent += Flops(nominal, sum(answer.executed for answer in answers))
            progress(len(found), len(wanted))
    except VictimError:  # its layers cannot be told from its other parts
        return None, None, spent
    shift = []
    for layer in range(len(found[wanted[0]]) if both else 0):
        clean, attacked = (np.stack([found[pair[side]][layer] for pair in both]) for side in (0, 1))
        moved = float(np.linalg.norm(attacked - clean, axis=1).mean())
        shift.append({"layer": layer, "moved": moved / max(float(np.linalg.norm(clean, axis=1).mean()), 1e-12)})
    placed = geometry(list(kept), [found[row] for row in kept.values()]) if kept else None
    return shift or None, placed, spent


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def rejudged(
    facts: DefenseFacts,
    rows: Sequence[StepRow],
    clean_accuracy: float | None,
    attacked: int,
    extent: DiagnosticsExtent = "full",
) -> DefenseFacts:
    """The same under another judge: only the worst case depends on it. What a spec asks for less is left out."""
    if not facts.diagnostics:
        return facts
    if extent == "off":
        return facts.model_copy(update={"diagnostics": {}})
    changed: dict[str, Any] = {"worst_case": worst_case(rows, clean_accuracy, attacked), "extent": extent}
    if extent == "light":
        ece = facts.diagnostics.get("ece") or {}
        changed |= {
            "ece": ece | {"attacked": None},
            "shift": None,
            "geometry": None,
            "compute": compute(Flops()).model_dump(mode="json"),
        }
    return facts.model_copy(update={"diagnostics": facts.diagnostics | changed})
