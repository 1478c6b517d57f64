"""What a record says of its victim and its defense, held against the models that are found here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from harness.replay.recorded import RecordedCell
from harness.replay.replay_clean import CleanAnswers
from harness.replay.tolerance import OF_TEXTS
from harness.run.cell.manifest import auxiliary_facts, measured_defense_facts, measured_victim_facts
from harness.run.prepare.preparer import PreparedCell

TOLERANCE = 0.05  # of an amount: a search in training may end a step earlier on another machine

NOT_FOUND = ("executed", "certificate", "diagnostics")
"""Fields that are not compared here: what a machine ran, certificates, what diagnoses say."""

_TALKED_TO = ("chat", "temperature")
"""Of how a victim was opened, what a page shows: template, system prompt and prefill, and whose temperature it is."""

_COUNTS = ("reached", "blocked", "unread", "benign_clean", "over_refused")
_PER_ANSWER = ("per_query", "per_answer")


def fact_problems(recorded: RecordedCell, prepared: PreparedCell, answers: CleanAnswers) -> Iterator[str]:
    """What of a record's facts is otherwise here, each a line in words; amounts within `TOLERANCE`.

    What a store says that training and fitting took is believed: of another's store it is another's word.
    """
    record, spec, victim = recorded.record, recorded.spec, prepared.victim
    card = spec.victim.plugin.card(prepared.cell.data)
    here = measured_victim_facts(prepared).model_copy(
        update={"family": card.family, "pretraining_flops": card.pretraining_flops}
    )
    yield from _differences("victim_facts", record.victim_facts, here)
    defense = measured_defense_facts(prepared, answers.examples, answers.clean, None)
    # A run judged again has the answers to the listed prompts alone.
    judged_anew = record.task_kind == "text" and record.n_clean == len(recorded.examples) < len(answers.examples)
    varies = (*_COUNTS, *_PER_ANSWER) if judged_anew else ()
    loose = _PER_ANSWER if record.task_kind == "text" else ()
    undecided = sum(answers.undecided)
    yield from _differences("defense_facts", record.defense_facts, defense, varies, loose, undecided)
    models = auxiliary_facts(prepared.cell, prepared.auxiliary, prepared.base)
    yield from _data_differences(
        "auxiliary",
        {role: facts.model_dump(mode="json") for role, facts in record.auxiliary.items()},
        {role: facts.model_dump(mode="json") for role, facts in models.items()},
    )
    yield from _data_differences("attack_facts", record.attack_facts, spec.attack.plugin.facts())
    described = victim.backend.describe()
    talked_to, here_as = ({name: facts.get(name) for name in _TALKED_TO} for facts in (record.agreement, described))
    yield from _data_differences("agreement", talked_to, here_as)
    if ("server" in record.agreement) != ("server" in described):
        yield "its agreement says that the victim is a served model, and here it is not, or the other way round"


def _differences(
    where: str,
    recorded: BaseModel | None,
    found: BaseModel,
    varies: tuple[str, ...] = (),
    loose: tuple[str, ...] = (),
    undecided: int = 0,
) -> Iterator[str]:
    if recorded is None:
        yield f"{where} is missing"
        return
    theirs, ours = recorded.model_dump(mode="json"), found.model_dump(mode="json")
    yield from _data_differences(where, theirs, ours, varies, loose, undecided)


def _data_differences(
    where: str,
    recorded: Mapping[str, Any],
    found: Mapping[str, Any],
    varies: tuple[str, ...] = (),
    loose: tuple[str, ...] = (),
    undecided: int = 0,
) -> Iterator[str]:
    """JSON data that differ, by dotted name, each a line in words; not those under a name of ``varies``, and those of
    ``loose`` only where they are far apart.
    """
    theirs, ours = _leaves(recorded), _leaves(found)
    for name in sorted(theirs.keys() | ours.keys()):
        field = name.rpartition(".")[2]
        if set(name.split(".")) & {*NOT_FOUND, *varies}:
            continue
        value, should = theirs.get(name), ours.get(name)
        if "notes" in name.split(".") and isinstance(value, int | float) and isinstance(should, int | float):
            continue  # what was measured in training: of remarks the words must be the same
        older = value is None and "per_answer" in name
        tolerance = OF_TEXTS if set(name.split(".")) & {*loose} else TOLERANCE
        if not older and not _alike(value, should, undecided if field in _COUNTS else 0, tolerance):
            yield f"{where}.{name} is {value!a:.80} in the records, {should!a:.80} here"


def _alike(value: Any, should: Any, off_by: int, tolerance: float) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, should))
    if not numbers:
        return type(value) is type(should) and bool(value == should)
    if isinstance(should, int):
        return bool(abs(value - should) <= off_by)
    return bool(abs(value - should) <= tolerance * abs(should))


def _leaves(data: Mapping[str, Any] | list[Any], where: str = "") -> dict[str, Any]:
    """Values by dotted name; a list's by place, with its length."""
    pairs = data.items() if isinstance(data, Mapping) else enumerate(data)
    found: dict[str, Any] = {} if isinstance(data, Mapping) else {f"{where}length": len(data)}
    for name, value in pairs:
        if isinstance(value, Mapping | list):
            found |= _leaves(value, f"{where}{name}.")
        else:
            found[f"{where}{name}"] = value
    return found
