"""Attack strings out of records, put back through the victim that they are said to break, or not to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.api.judge import Answer, Verdict
from harness.api.task import Example
from harness.engine.defended.reply import Reply
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.on_examples import place_all
from harness.errors import error_text
from harness.flops import Flops, nominal_forward
from harness.records.cell import CellRecord
from harness.run.cell.attack import check_access
from harness.run.cell.clean_check import shortened
from harness.run.plan.estimate import make_plan, prompt_tokens
from harness.run.prepare.preparer import PreparedCell, Preparer
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.reporter import Forecast
from harness.spec.cells import CellSpec

CLOSE = 1e-3  # logits that are nearer than this may change places on another machine


@dataclass(frozen=True)
class Recorded:
    """A step as it was recorded: its string, what came of it, and the answer to its example when clean."""

    record: CellRecord
    example: str
    step: int
    attack_text: str
    success: bool
    predicted: int | None
    answer: str | None
    loss: float | None
    judge_nominal: float | None
    clean_predicted: int | None
    clean_answer: str | None


@dataclass(frozen=True)
class Replayed:
    """What came of a string this time.

    Attributes:
        problem: what is otherwise than recorded; "" where nothing is.
        close: the verdict is another, but the victim is undecided between two labels: no problem.
        loss_difference: between recorded and found; None where either is unknown.
    """

    recorded: Recorded
    success: bool | None
    problem: str = ""
    close: bool = False
    loss_difference: float | None = None


def forecast(cells: Sequence[CellSpec], strings: int, preparer: Preparer) -> Forecast:
    """What making ready the models of these cells will take, and asking them about so many strings."""
    resolved = [preparer.resolver.resolve(cell) for cell in cells]
    plan = make_plan(resolved, preparer.resolver, preparer.artifacts.store, None)
    made = [plan.forecast(what) for what in ("prepare", "defend")]
    asking = 0.0
    for cell in resolved:
        data = cell.data
        card = cell.spec.victim.plugin.card(data)
        tokens = prompt_tokens(data, card, cell.spec.threat.tokens) + (0 if data.labels else 2 * data.answer_tokens)
        asking += nominal_forward(card.n_params, 1) * tokens * strings / len(cells)
    known = not np.isnan(asking)
    return Forecast(
        flops=sum(part.flops for part in made) + (asking if known else 0.0),
        seconds=sum(part.seconds for part in made) + (asking / plan.rate if known else 0.0),
        stages=sum(part.stages for part in made),
        unknown=sum(part.unknown for part in made) + (not known),
        untimed=sum(part.untimed for part in made) + (not known),
    )


def replay(
    cells: Sequence[tuple[CellSpec, Sequence[Recorded]]],
    preparer: Preparer,
    report: Callable[[Replayed], None] = lambda _: None,
) -> list[Replayed]:
    """Ask the defended victim of each cell about its strings again, and its judge about the answers.

    Models are made ready as for a run, or found in the preparer's store. A cell that cannot be set up makes a problem
    of all its strings, and the rest goes on.

    Args:
        report: told of each string.
    """
    found: list[Replayed] = []

    def add(results: Sequence[Replayed]) -> None:
        for each in results:
            found.append(each)
            report(each)

    resolved: list[tuple[ResolvedCell, Sequence[Recorded]]] = []
    for spec, strings in cells:
        try:
            resolved.append((preparer.resolver.resolve(spec), strings))
        except Exception as error:
            add(_all_with(strings, f"cannot be replayed: {error_text(error)}"))
    # Cells of one model after each other, rounds in turn, so that each is loaded once.
    for cell, strings in sorted(resolved, key=lambda item: (item[0].keys.victim, item[0].spec.round or 0)):
        try:
            results = _of_cell(cell, strings, preparer)
        except Exception as error:
            results = _all_with(strings, f"cannot be replayed: {error_text(error)}")
        add(results)
    return found


def _all_with(strings: Sequence[Recorded], problem: str) -> list[Replayed]:
    return [Replayed(each, None, problem) for each in strings]


def _of_cell(cell: ResolvedCell, strings: Sequence[Recorded], preparer: Preparer) -> list[Replayed]:
    spec, data, keys = cell.spec, cell.data, cell.keys
    claimed = strings[0].record
    for what, value, should in (
        ("data_hash", claimed.data_hash, data.hash),
        ("search", claimed.search, keys.search),
        ("key", claimed.key, keys.cell),
    ):
        if value != should:
            found_here = f"of this spec with the data and models found here {should[:20]}"
            return _all_with(strings, f"its {what} is {value[:20]}, and {found_here}")
    check_access(spec, data)
    prepared = preparer.prepare(cell, preparer.weights(cell))
    victim = prepared.victim
    size = None if claimed.victim_facts is None else claimed.victim_facts.n_params
    if victim.backend.n_params != size:
        parameters = f"{size} parameters in the records, and {victim.backend.n_params} here"
        return _all_with(strings, f"its victim has {parameters}")
    clean = min(spec.clean_examples, len(data.validation))
    if data.labels and claimed.n_clean != clean:
        counts = f"{claimed.n_clean} clean examples were asked in the records, and there are {clean}"
        return _all_with(strings, counts)
    examples = list(data.validation[: spec.examples])
    if spec.too_long == "truncate":
        examples, _ = shortened(examples, victim, spec.threat)
    by_id = {example.id: example for example in examples}
    known = [each for each in strings if each.example in by_id]
    unknown = [each for each in strings if each.example not in by_id]
    replayed = _replayed(prepared, known, [by_id[each.example] for each in known])
    return replayed + _all_with(unknown, "the task has no such example")


def _replayed(prepared: PreparedCell, strings: Sequence[Recorded], examples: Sequence[Example]) -> list[Replayed]:
    """Put each string back into its example, and see what victim and judge make of it now."""
    spec, keys, victim = prepared.cell.spec, prepared.cell.keys, prepared.victim
    judge = JudgeRunner(spec.judge.plugin, prepared.judge_router, spec.judge_draws, prepared.cell.data.labels)
    problems = place_all(examples, spec.threat, victim.backend.tokenizer, victim.labels)
    draws = judge.draws if victim.randomised else 1
    each_draw = [(at, draw) for at in range(len(strings)) for draw in range(draws)]
    replies = victim.ask(
        [problems[at].prompt(strings[at].attack_text) for at, _ in each_draw],
        [problems[at].target for at, _ in each_draw],
        [(spec.seed, keys.search, strings[at].example, strings[at].step, "verdict", draw) for at, draw in each_draw],
    )
    drawn_examples = [problems[at].example for at, _ in each_draw]
    answers = [reply.answer(example.goal) for reply, example in zip(replies, drawn_examples, strict=True)]
    verdicts = judge.verdicts(list(zip(drawn_examples, answers, strict=True)))
    clean = victim.ask(
        [problem.example.text for problem in problems],
        names=[(spec.seed, keys.pipeline, problem.example.id, "clean") for problem in problems],
    )
    found = []
    for at, (each, problem, clean_reply) in enumerate(zip(strings, problems, clean, strict=True)):
        differences = _clean_differences(each, clean_reply)
        tokens = problem.tokens_of(each.attack_text)
        if tokens is not None and len(tokens) > problem.budget and each.success:
            length = f"{len(tokens)} tokens here, and the threat model allows {problem.budget}"
            differences.append(f"its string has {length}")
        draws_of_it = slice(at * draws, (at + 1) * draws)
        drawn = list(zip(replies[draws_of_it], answers[draws_of_it], verdicts[draws_of_it], strict=True))
        found.append(_compared(each, drawn, differences))
    return found


def _clean_differences(each: Recorded, reply: Reply) -> list[str]:
    if reply.logits is None or reply.label == each.clean_predicted or _undecided(reply):
        return []  # texts differ in a word or two from machine to machine; labels do not
    return [f"its clean prompt got label {each.clean_predicted} in the records, {reply.label} here"]


def _compared(
    each: Recorded, draws: Sequence[tuple[Reply, Answer, tuple[Verdict, Flops]]], differences: list[str]
) -> Replayed:
    """A recorded step against what comes of it now, once for each draw of a randomised defense.

    Args:
        differences: those found already.
    """
    broken = sum(verdict.success and not reply.too_long for reply, _, (verdict, _) in draws)
    success = 2 * broken > len(draws)
    losses = [answer.loss for _, answer, _ in draws if not answer.blocked and not np.isnan(answer.loss)]
    loss = float(np.mean(losses)) if losses else np.nan
    apart = None if each.loss is None or not np.isfinite([each.loss, loss]).all() else abs(each.loss - loss)
    close = success != each.success and any(_undecided(reply) for reply, _, _ in draws)
    if success != each.success and not close:
        differences.append(f"a {_word(each.success)} in the records, a {_word(success)} here")
    spent = sum(reply.victim.nominal + cost.nominal for reply, _, (_, cost) in draws)
    labels = all(reply.label is not None and not reply.too_long for reply, _, _ in draws)
    # The convention counts tokens: no rounding, no machine.
    if each.judge_nominal is not None and labels and not np.isclose(spent, each.judge_nominal, rtol=1e-9, atol=0.0):
        differences.append(f"judging it took {each.judge_nominal} FLOPs in the records, {spent:g} here (nominal)")
    return Replayed(each, success, "; ".join(differences), close, apart)


def _undecided(reply: Reply) -> bool:
    if reply.logits is None or len(reply.logits) < 2:
        return False
    second, first = np.sort(reply.logits)[-2:]
    return bool(first - second < CLOSE)


def _word(success: bool) -> str:
    return "success" if success else "failure"
