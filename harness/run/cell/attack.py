"""The attack of a cell: whether it can be run at all, what the victim makes of clean prompts, the search itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.api.attack import Attack
from harness.api.model.backend import ReasoningBackend
from harness.api.problem.problem import Problem
from harness.api.refs import PluginRef
from harness.api.runtime_defense import TransformDefense, VoteDefense
from harness.api.task import Example, TaskData
from harness.api.threat import allows
from harness.engine.defended.layer import offers_gradient
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.budget import SearchBudget
from harness.engine.search.search import Search
from harness.errors import AccessError, VictimError
from harness.flops import Flops
from harness.isolation.step_timeout import StepLimit
from harness.records.step_row import StepRow
from harness.registry.defense_stack import parts_of
from harness.run.cell.clean_check import CleanCheck, check_clean, choose_examples, room_of, shortened
from harness.run.cell.conversation_errors import conversation_errors
from harness.run.cell.diagnostics import diagnose
from harness.run.cell_label import cell_label
from harness.run.prepare.preparer import PreparedCell
from harness.run.reporter import CellProgress, WorkReporter
from harness.run.run_folder import RunFolder
from harness.spec.cells import CellSpec
from harness.tokens.reasoning import KNOWN_MARKERS


def check_access(cell: CellSpec, data: TaskData) -> None:
    """Check that the victim and its defense offer what the attack asks for (the threat model's grant is the spec's),
    that the defense can be had, and that the attack fits the task.

    Raises:
        AccessError: they do not.
        VictimError: the defense trains weights, and this victim's are not here.
        DataError: the attack cannot be run on this task, or the defense not stand before it.
    """
    for error in access_errors(cell, data):
        raise error


def access_errors(cell: CellSpec, data: TaskData) -> Iterator[Exception]:
    """All that `check_access` would raise, one after the other."""
    card = cell.victim.plugin.card(data)
    wanted, most = cell.attack.plugin.access, card.access
    if not allows(most, wanted):
        yield AccessError(
            f"attack {cell.attack.name} asks for {wanted}, victim {cell.victim.label} offers {most}; exclude it"
        )
    opaque = [part for part in cell.runtime if not offers_gradient(part.plugin)]
    if wanted == "gradient" and opaque and not cell.static:
        yield AccessError(
            f"attack {cell.attack.name} asks for gradient, defense {opaque[0].label} offers none; exclude it"
        )
    rewriting = [part for part in cell.runtime if isinstance(part.plugin, TransformDefense | VoteDefense)]
    if wanted == "latent" and rewriting:
        yield AccessError(
            f"attack {cell.attack.name} perturbs activations at its string, defense {rewriting[0].label} rewrites the "
            "prompt before the victim sees it; exclude it"
        )
    penalising = [part for part in cell.runtime if part.plugin.offers == "surrogate"]
    if cell.attack.plugin.relaxes and (rewriting or penalising) and not cell.static:
        yield AccessError(
            f"attack {cell.attack.name} asks about relaxed strings, which are not texts, and defense "
            f"{(rewriting or penalising)[0].label} needs a text; exclude it"
        )
    if rewriting and card.language_model and not cell.static:
        for name, declared in cell.attack.plugin.models().items():
            if declared.samples and declared.victim is None and declared.sees == "text":
                yield AccessError(
                    f"attack {cell.attack.name} draws next tokens from the victim itself, and defense "
                    f"{rewriting[0].label} rewrites its prompts; name another model as its `{name}`, or exclude it"
                )
    if cell.trained is not None and not card.local:
        yield VictimError(
            f"defense {cell.trained.name} trains the victim's weights, and those of {cell.victim.label} are elsewhere; "
            "exclude it, or use a victim that runs here"
        )
    yield from conversation_errors(cell, data)
    yield from fit_errors(cell, data)


def fit_errors(cell: CellSpec, data: TaskData) -> Iterator[Exception]:
    """What the attack and the parts of the defense say against the task, whatever the victim is."""
    for part in (cell.attack, *parts_of(cell.defense)):
        try:
            part.plugin.check(data)
        except Exception as error:
            yield error


def check_inner_attacks(
    cell: CellSpec, data: TaskData, attack_of: Callable[[PluginRef, dict[str, Any]], Attack]
) -> None:
    """Check that the victim answers the attacks that its defense trains against, or is fitted with.

    Args:
        attack_of: makes the attack that a reference names.

    Raises:
        AccessError: it does not.
    """
    for error in inner_attack_errors(cell, data, attack_of):
        raise error


def inner_attack_errors(
    cell: CellSpec, data: TaskData, attack_of: Callable[[PluginRef, dict[str, Any]], Attack]
) -> Iterator[Exception]:
    """All that `check_inner_attacks` would raise."""
    card = cell.victim.plugin.card(data)
    for part in (*([cell.trained] if cell.trained else []), *cell.runtime):
        ref = part.plugin.attack()
        wanted = None if ref is None else attack_of(ref, {}).access
        if ref is not None and wanted is not None and not allows(card.access, wanted):
            yield AccessError(
                f"defense {part.name} runs attack {ref.name}, which asks for {wanted}; victim {cell.victim.label} "
                f"offers {card.access}; exclude it, or give the defense another attack"
            )


def check_sampling(cell: CellSpec, victim: DefendedVictim) -> None:
    """Check that the victim's answers can be drawn as the spec asks.

    Raises:
        VictimError: its server draws them at a temperature of its own, and the spec writes another.
    """
    answers = cell.answers
    chosen = answers.temperature is not None or answers.top_p < 1
    if answers.drawn and chosen and getattr(victim.backend, "own_temperature", False):
        raise VictimError(
            f"{cell.victim.label} draws its answers at its server's own temperature; leave `temperature` and `top_p` "
            "out of the spec's `answers` to use them as they come"
        )


@dataclass(frozen=True)
class AttackedCell:
    """What an attack came to.

    Attributes:
        examples: the clean ones that the victim was asked about.
        truncated: how many of them were cut off to fit the context.
        problems: those attacked.
        example_rows, step_rows: of the two tables.
        diagnostics: what is known of the defended victim besides its ASR.
    """

    examples: Sequence[Example]
    truncated: int
    clean: CleanCheck
    problems: Sequence[Problem]
    example_rows: list[dict[str, Any]]
    step_rows: list[StepRow]
    diagnostics: dict[str, Any]


def attack_cell(prepared: PreparedCell, folder: RunFolder, reporter: WorkReporter, limited: StepLimit) -> AttackedCell:
    """Check the clean prompts, attack what the victim gets right, judge every step.

    Args:
        folder: where the cell's journal is, which the search goes on from; it stays there.
        limited: what each step runs under.

    Raises:
        DataError: a prompt is too long, and the spec asks for an error then; or the attack can attack none of them.
        VictimError: every clean prompt was declined, and not by a content filter.
        AccessError, PluginError, RunError: as `harness.engine.search.search.Search.run`.
    """
    cell, keys, victim = prepared.cell.spec, prepared.cell.keys, prepared.victim
    judge = prepared.judge
    check_sampling(cell, victim)
    reporter.stage(f"attack {cell_label(cell)}")
    examples, truncated = list(prepared.cell.data.validation[: cell.clean_examples]), 0
    if cell.too_long == "truncate":
        examples, truncated = shortened(examples, victim, cell.threat)
    clean = check_clean(judge, examples, (cell.seed, keys.pipeline))
    if examples and all(reply.state == "failed" for reply in clean.replies):
        why = victim.backend.describe().get("first_refusal") or "no reason was given"
        raise VictimError(f"none of {len(examples)} clean prompts got an answer: {why}")
    if clean.missing:
        reporter.note(
            f"{cell_label(cell)}: {clean.missing} of {len(examples)} clean prompts got no answer ({_states(clean)}): "
            "they are not attacked, and count in no rate"
        )
    if unparseable := sum(clean.unparseable):
        reporter.note(
            f"{cell_label(cell)}: judge {cell.judge.name} gave no verdict on {unparseable} of {len(examples)} clean "
            "answers, which are not attacked and count in no rate: what its model says cannot be read"
        )
    if marker := _unexpected_marker(victim, clean):
        reporter.note(
            f"{cell_label(cell)}: clean answers hold {marker}: reasoning is judged as part of them; name the markers "
            "around it in the victim's parameter `reasoning`"
        )
    problems, example_rows = choose_examples(victim, cell, examples, clean, prepared.attack_router.victim)
    for why in _left_out(clean, example_rows, room_of(victim)):
        reporter.note(f"{cell_label(cell)}: {why}")
    for remark in cell.attack.plugin.remarks(problems):
        reporter.note(f"{cell_label(cell)}: {remark}")
    steps = _Progress(reporter, len(problems) * cell.attack.plugin.params.steps)
    with folder.journal(keys.cell) as journal:
        if journal.entries:
            reporter.note(f"{cell_label(cell)} goes on after round {len(journal.entries)}")
        search = Search(
            prepared.attack_router,
            cell.attack.plugin,
            (cell.seed, keys.search),
            cell.threat.access,
            judge,
            stop_on_success=cell.stop_on_success,
            budget=SearchBudget(cell.threat.queries, cell.threat.flops),
            limited=limited,
            note=reporter.note,
        )
        result = search.run(problems, journal, steps.add)
    in_strings = [] if cell.attack.plugin.access == "latent" else problems  # a perturbation is not in the string
    names = (cell.seed, keys.search)
    progress = partial(reporter.progress, "diagnostics, prompts read")
    diagnostics = diagnose(victim, examples, clean, in_strings, result.rows, names, cell.diagnostics, progress)
    return AttackedCell(examples, truncated, clean, problems, example_rows, result.rows, diagnostics)


def _left_out(clean: CleanCheck, example_rows: Sequence[dict[str, Any]], room: int) -> Iterator[str]:
    """Why examples are not what one expects: clean prompts that nobody could ask, or none to attack."""
    mend = (
        "write too_long: truncate in the spec, give the task a smaller max_chars, or use a victim with a longer context"
    )
    if long := sum(reply.too_long for reply in clean.replies):
        yield f"{long} of {len(clean.replies)} clean prompts are longer than the {room} tokens of the context; {mend}"
    if not any(row["attacked"] for row in example_rows):
        reasons = Counter(str(row["excluded"]).split(":")[0] for row in example_rows)
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        yield f"none of {len(example_rows)} examples can be attacked ({counts})" + (
            f"; {mend}" if not long and "too long" in reasons else ""
        )


def _states(clean: CleanCheck) -> str:
    """How many answers are missing for which reason; of those cut off, what may help."""
    counts = Counter(reply.state for reply in clean.replies if reply.missing)
    words = [f"{count} {state.replace('_', ' ')}" for state, count in sorted(counts.items())]
    return ", ".join(words) + ("; a larger answer_tokens of the task may help" if "cut_off" in counts else "")


def _unexpected_marker(victim: DefendedVictim, clean: CleanCheck) -> str | None:
    """A known marker at the end of reasoning in answers of a victim that is not said to reason."""
    if isinstance(victim.backend, ReasoningBackend) and victim.backend.reasoning is not None:
        return None
    texts = [reply.text for reply in clean.replies if reply.text]
    return next((closing for _, closing in KNOWN_MARKERS if any(closing in text for text in texts)), None)


class _Progress:
    """Adds up a cell's rows for the reporter."""

    def __init__(self, reporter: WorkReporter, total: int) -> None:
        self._reporter, self._total = reporter, total
        self._steps, self._spent = 0, Flops()
        self._asked = self._untold = 0
        self._broken: set[str] = set()
        self._told: set[str] = set()

    def add(self, _: int, rows: Sequence[StepRow]) -> None:
        """Take in the rows of a round."""
        for row in rows:
            self._steps += 1
            self._asked += row.failure is None
            self._untold += row.is_untold
            if not row.is_untold:
                self._told.add(row.example)
            if row.success:
                self._broken.add(row.example)
            self._spent += Flops(row.attack_nominal, row.attack_executed)
        asr = len(self._broken) / len(self._told) if self._told else None
        self._reporter.cell(CellProgress(self._steps, self._total, asr, self._spent, self._asked, self._untold))
