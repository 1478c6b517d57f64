"""One cell's manifest against itself."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.flops import CONVENTION
from harness.records.cell_manifest import CellRecord, Compute
from harness.records.model_role import ModelRole
from leaderboard.fit.corrected.of_run import usable_calibration
from leaderboard.submission.file_format.errors import escaped
from leaderboard.submission.file_format.limits import MAX_STEPS
from leaderboard.submission.file_format.manifest import VERSION_PATTERN, RunInfo
from leaderboard.submission.verification.checks.cell_rows import BUILTIN

_KEY = re.compile(r"[0-9a-f]{20,64}")
_MAX_LABEL = 2000
_MAX_SHORT_TEXT = 200
_CHAT: tuple[tuple[str, str, Any], ...] = (
    ("system", "system", "default"),
    ("prefill", "prefill", ""),
    ("arguments", "template_arguments", {}),
)
"""What a record says of a chat model, the victim's parameter that decides it, and what that is where it is left out."""


def manifest_problems(record: CellRecord, run: RunInfo) -> Iterator[str]:
    """What of a manifest cannot be, or does not go with the run's."""
    keys = [record.key, record.search, *([record.victim_facts.artifact] if record.victim_facts else [])]
    contents = [model.content for model in record.auxiliary.values()]
    contents += [record.victim_facts.content] if record.victim_facts else []
    keys += [content for content in contents if content]
    if not all(_KEY.fullmatch(key) for key in keys):
        yield "key, search, artifact or content is not a content address (20 to 64 hexadecimal digits)"
    if record.status != "done":
        yield f"its status is {record.status}; a submission has only finished cells"
    if (record.spec_name, record.spec_version, record.spec_hash) != (run.spec_name, run.spec_version, run.spec_hash):
        yield "it is of another spec than the submission"
    if record.accounting != CONVENTION:
        yield f"it counts compute differently from this version ({CONVENTION})"
    plugins = (record.task, record.victim, record.defense, record.attack, record.judge)
    if any(len(plugin.label) > _MAX_LABEL for plugin in plugins):
        yield f"a label is longer than {_MAX_LABEL} characters"
    for name, text in _short_texts(record):
        if len(text) > _MAX_SHORT_TEXT or not text.isprintable():
            yield f"its {name} {escaped(text)} is too long, or has invisible characters"
    for library, version in record.versions.items():
        if not (re.fullmatch(VERSION_PATTERN, library) and re.fullmatch(VERSION_PATTERN, version)):
            yield f"version {escaped(version)} of {escaped(library)} is not a library's version"
    if not 0 < record.target_asr <= 1:
        yield f"target ASR {record.target_asr:g} is not above 0 and at most 1"
    if not 0 <= record.clean_floor <= 1:
        yield f"floor of clean accuracy {record.clean_floor:g} is not between 0 and 1"
    if record.utility is not None and not 0 <= (record.utility.max_loss or 0) < 1:
        yield f"limit on the loss of utility {record.utility.max_loss:g} is not between 0 and 1"
    if record.judge_calibration is not None and isinstance(wrong := usable_calibration(record), str):
        yield f"its record names a calibration of the judge, and {wrong}"
    if record.seed < 0 or record.attack_steps < 0 or record.attack_steps > MAX_STEPS:
        yield f"seed {record.seed} or {record.attack_steps} steps is out of range (0 to {MAX_STEPS:,} steps)"
    yield from _chat_problems(record)
    yield from _count_problems(record)
    yield from _cost_problems(record)


def _chat_problems(record: CellRecord) -> Iterator[str]:
    """How a victim of the project was talked to is what its parameters say, as far as they say it."""
    facts, params = record.agreement.get("chat"), record.victim.params
    if not isinstance(facts, Mapping) or record.victim.distribution != BUILTIN:
        return
    for name, parameter, default in _CHAT:
        stated, should = facts.get(name, default), params.get(parameter, default)
        if stated != should:
            yield f"its victim was addressed with {name} {escaped(str(stated))}, and its parameters say {should!a:.80}"


def _short_texts(record: CellRecord) -> Iterator[tuple[str, str]]:
    """What stands on a page and does not follow from the spec."""
    if record.victim_facts is not None:
        yield "family", record.victim_facts.family
    for role in record.auxiliary:
        yield "role of a model", role
    if record.defense_facts is not None and record.defense_facts.certificate is not None:
        yield "unit of a certificate", record.defense_facts.certificate.unit


def _count_problems(record: CellRecord) -> Iterator[str]:
    counts = (record.n_clean, record.n_clean_correct, record.n_truncated, record.n_attacked)
    if min(counts) < 0 or max(counts) > 10**9:
        yield "a count of examples is negative, or more than can be"
    elif record.n_clean_correct > record.n_clean or record.n_truncated > record.n_clean:
        yield f"of {record.n_clean} clean examples {record.n_clean_correct} are right and {record.n_truncated} cut"
    elif record.n_attacked > record.n_clean_correct:
        yield f"{record.n_attacked} examples are attacked, and the victim gets {record.n_clean_correct} right"


def _cost_problems(record: CellRecord) -> Iterator[str]:
    facts = record.victim_facts
    if facts is None:
        yield "it lacks the facts of its victim"
        return
    defense = record.defense_facts
    amounts = [facts.preparation, record.clean_compute]
    amounts += [facts.pretraining.compute, facts.pretraining.robust] if facts.pretraining else []
    if defense is not None:
        amounts += [defense.search, defense.training, defense.fit, defense.per_query]
        amounts += [part.fit for part in defense.parts]
        amounts += defense.search_models.values()
        amounts += [defense.certificate.compute] if defense.certificate else []
    amounts += [model.preparation for model in record.auxiliary.values()]
    numbers = [facts.pretraining_flops, facts.reference_flops, record.seconds]
    numbers += [flops for amount in amounts for flops in (amount.nominal, amount.executed)]
    if not all(number is None or (math.isfinite(number) and number >= 0) for number in numbers):
        yield "an amount of compute or time is negative or not finite"
    sizes = [facts.n_params, facts.n_params_non_embedding, *(model.n_params for model in record.auxiliary.values())]
    if any(size is not None and size < 0 for size in sizes) or facts.n_params == 0:
        yield "a number of parameters is negative, or that of the victim 0"
    if facts.n_params is not None and (facts.n_params_non_embedding or 0) > facts.n_params:
        yield "the victim has more parameters without its embeddings than with them"
    if facts.reference_flops != (facts.pretraining_flops or facts.preparation.nominal or None):
        yield "reference_flops is neither the compute of pretraining nor that of preparation"
    minimum = 2.0 * (facts.n_params or 0) * record.n_clean_correct
    spent = record.clean_compute.nominal
    if record.task_kind == "labels" and not any(ModelRole.parse(role).asker == "judge" for role in record.auxiliary):
        if spent is None and facts.n_params is not None:
            yield "clean_compute is unknown, although the size of the victim is known"
        elif spent is not None and spent < minimum:
            yield (
                f"clean_compute is {spent:g} FLOPs; {record.n_clean_correct} right answers by {facts.n_params} "
                f"parameters take at least {minimum:g}"
            )
    if defense is not None and defense.round is None and (_is_spent(defense.search) or _is_spent(defense.training)):
        yield "a defense without rounds has no compute of training, but some is given"
    if defense is not None and defense.round is not None and defense.round < 1:
        yield "the round of its defense is below 1"


def _is_spent(amount: Compute) -> bool:
    return bool(amount.nominal) or bool(amount.executed)
