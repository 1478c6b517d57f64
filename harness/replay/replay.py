"""Recorded cells asked again: their clean prompts, and attack strings put back through the victim."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.engine.search.judging import JudgeRunner
from harness.errors import error_text
from harness.flops import nominal_forward
from harness.replay.certificate import certificate_problems
from harness.replay.facts import fact_problems
from harness.replay.recorded import RecordedCell, ReplayedCell, ReplayedString
from harness.replay.replay_clean import CleanAnswers, ask_clean, clean_problems, problems_by_example
from harness.replay.replay_strings import replay_strings
from harness.run.cell.attack import check_access
from harness.run.plan.estimate import make_plan, prompt_tokens
from harness.run.prepare.preparer import PreparedCell, Preparer
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.reporter import Forecast


def forecast(cells: Sequence[RecordedCell], preparer: Preparer) -> Forecast:
    """What making ready the models of these cells will take, and asking them again."""
    resolved = [preparer.resolver.resolve(cell.spec) for cell in cells]
    plan = make_plan(resolved, preparer.resolver, preparer.artifacts.store, None)
    made = [plan.forecast(what) for what in ("prepare", "defend")]
    asking, seconds = 0.0, 0.0
    devices = {stage.key: stage.device for stage in plan.stages}
    victims_asked = set[str]()
    for recorded, cell in zip(cells, resolved, strict=True):
        data = cell.data
        card = cell.spec.victim.plugin.card(data)
        longest = 0 if data.labels else 2 * cell.spec.answers.longest(data.answer_tokens)
        tokens = prompt_tokens(data, card, cell.spec.threat.tokens) + longest
        prompts = len(recorded.steps) * cell.spec.answers.samples
        if cell.keys.pipeline not in victims_asked:
            prompts += cell.spec.clean_examples
            victims_asked.add(cell.keys.pipeline)
        flops = nominal_forward(card.n_params, 1) * tokens * prompts
        rate = plan.rates.of(devices[cell.keys.cell], training=False) if card.local else None
        asking += flops
        seconds += np.nan if rate is None else flops / rate.flops
    known, timed = not np.isnan(asking), not np.isnan(seconds)
    return Forecast(
        flops=sum(part.flops for part in made) + (asking if known else 0.0),
        seconds=sum(part.seconds for part in made) + (seconds if timed else 0.0),
        stages=sum(part.stages for part in made),
        unknown=sum(part.unknown for part in made) + (not known),
        untimed=sum(part.untimed for part in made) + (not timed),
    )


def replay(
    cells: Sequence[RecordedCell],
    preparer: Preparer,
    report: Callable[[ReplayedString], None] = lambda _: None,
) -> list[ReplayedCell]:
    """Ask the defended victim of each cell about its clean prompts and its strings again, and its judge about the
    answers.

    Models are made ready as for a run, or found in the preparer's store. A cell that cannot be set up is a problem, and
    the rest goes on.

    Args:
        report: told of each string.
    """
    found: list[ReplayedCell] = []
    resolved: list[tuple[ResolvedCell, RecordedCell]] = []
    for recorded in cells:
        try:
            resolved.append((preparer.resolver.resolve(recorded.spec), recorded))
        except Exception as error:
            found.append(_not_replayed(recorded, f"cannot be replayed: {error_text(error)}"))
    answers: dict[tuple[str, str], CleanAnswers] = {}  # one victim's are the same for all that attacks it
    # Cells of one model after each other, rounds in turn, so that each is loaded once.
    for cell, recorded in sorted(resolved, key=lambda item: (item[0].keys.victim, item[0].spec.round or 0)):
        try:
            replayed = _replay_cell(cell, recorded, preparer, answers)
        except Exception as error:
            replayed = _not_replayed(recorded, f"cannot be replayed: {error_text(error)}")
        for string in replayed.strings:
            report(string)
        found.append(replayed)
    return found


def _not_replayed(recorded: RecordedCell, problem: str) -> ReplayedCell:
    return ReplayedCell(recorded.record, problems=[problem])


def _replay_cell(
    cell: ResolvedCell, recorded: RecordedCell, preparer: Preparer, answers: dict[tuple[str, str], CleanAnswers]
) -> ReplayedCell:
    spec, data, keys, record = cell.spec, cell.data, cell.keys, recorded.record
    for what, value, should in (
        ("data_hash", record.data_hash, data.hash),
        ("search", record.search, keys.search),
        ("key", record.key, keys.cell),
    ):
        if value != should:
            found_here = f"of this spec with the data and models found here {should[:20]}"
            return _not_replayed(recorded, f"its {what} is {value[:20]}, and {found_here}")
    check_access(spec, data)
    prepared = preparer.prepare(cell, preparer.weights(cell))
    judge = prepared.judge
    # What a prompt is cut to depends on the string that must fit next to it.
    asked = keys.pipeline, spec.threat.label() if spec.too_long == "truncate" else ""
    fresh = asked not in answers
    if fresh:
        answers[asked] = ask_clean(prepared, judge)
    clean = answers[asked]
    problems = [*clean_problems(recorded, prepared, clean), *fact_problems(recorded, prepared, clean)]
    if fresh:  # all cells of one defense have the same certificate, or are no submission
        problems += certificate_problems(recorded, prepared, clean.examples)
    strings = _strings(recorded, prepared, judge, clean)
    return ReplayedCell(
        record,
        strings,
        problems,
        clean_prompts=len(clean.examples) if fresh else 0,
        undecided=sum(clean.undecided) if fresh else 0,
    )


def _strings(
    recorded: RecordedCell, prepared: PreparedCell, judge: JudgeRunner, clean: CleanAnswers
) -> list[ReplayedString]:
    places = problems_by_example(prepared, clean)
    names = (recorded.spec.seed, prepared.cell.keys.search)
    return replay_strings(recorded.record, recorded.steps, places, judge, names)
