"""One cell's manifest against itself."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from harness.flops import CONVENTION
from harness.records.cell import CellRecord, Compute, PluginRecord
from harness.records.model_role import ModelRole
from leaderboard.submission.file_format.limits import STEPS
from leaderboard.submission.file_format.manifest import RunInfo

_KEY = re.compile(r"[0-9a-f]{20,64}")
_LABEL = 2000


def manifest_problems(record: CellRecord, run: RunInfo) -> Iterator[str]:
    """What of a manifest cannot be, or does not go with the run's."""
    keys = [record.key, record.search, *([record.victim_facts.artifact] if record.victim_facts else [])]
    if not all(_KEY.fullmatch(key) for key in keys):
        yield "key, search or artifact is no content address (20 to 64 hexadecimal digits)"
    if record.status != "done":
        yield f"its status is {record.status}; a submission has finished cells alone"
    own = (record.spec_name, record.spec_version, record.spec_hash)
    if own != (run.spec_name, run.spec_version, run.spec_hash):
        yield "it is of another spec than the submission"
    if record.accounting != CONVENTION:
        yield f"it counts compute otherwise than this version ({CONVENTION})"
    if any(len(plugin.label) > _LABEL for plugin in _plugins(record)):
        yield f"a label is longer than {_LABEL} characters"
    if not 0 < record.target_asr <= 1:
        yield f"target ASR {record.target_asr:g} is not above 0 and at most 1"
    if record.seed < 0 or record.attack_steps < 0 or record.attack_steps > STEPS:
        yield f"seed {record.seed} or {record.attack_steps} steps is out of range (0 to {STEPS:,} steps)"
    yield from _counts(record)
    yield from _costs(record)


def _plugins(record: CellRecord) -> list[PluginRecord]:
    return [record.task, record.victim, record.defense, record.attack, record.judge]


def _counts(record: CellRecord) -> Iterator[str]:
    counts = (record.n_clean, record.n_clean_correct, record.n_truncated, record.n_attacked)
    if min(counts) < 0 or max(counts) > 10**9:
        yield "a count of examples is negative, or more than can be"
    elif record.n_clean_correct > record.n_clean or record.n_truncated > record.n_clean:
        yield f"of {record.n_clean} clean examples {record.n_clean_correct} are right and {record.n_truncated} cut"
    elif record.n_attacked > record.n_clean_correct:
        yield f"{record.n_attacked} examples are attacked, and the victim gets {record.n_clean_correct} right"


def _costs(record: CellRecord) -> Iterator[str]:
    facts = record.victim_facts
    if facts is None:
        yield "it lacks the facts of its victim"
        return
    amounts = [facts.preparation, record.clean_compute]
    if record.defense_facts is not None:
        of = record.defense_facts
        amounts += [of.search, of.training, of.fit, of.per_query, *(part.fit for part in of.parts)]
        amounts += [of.certificate.compute] if of.certificate else []
    amounts += [each.preparation for each in record.auxiliary.values()]
    numbers = [facts.pretraining_flops, facts.reference_flops, record.seconds]
    if not all(map(_sound, amounts)) or not all(x is None or (math.isfinite(x) and x >= 0) for x in numbers):
        yield "an amount of compute or time is negative or not finite"
    sizes = [facts.n_params, facts.n_params_non_embedding, *(each.n_params for each in record.auxiliary.values())]
    if any(size is not None and size < 0 for size in sizes) or facts.n_params == 0:
        yield "a number of parameters is negative, or that of the victim 0"
    if facts.n_params is not None and (facts.n_params_non_embedding or 0) > facts.n_params:
        yield "the victim has more parameters without its embeddings than with them"
    if facts.reference_flops != (facts.pretraining_flops or facts.preparation.nominal or None):
        yield "reference_flops is neither the compute of pretraining nor that of preparation"
    least = 2.0 * (facts.n_params or 0) * record.n_clean_correct
    spent = record.clean_compute.nominal
    if record.task_kind == "labels" and not any(ModelRole.parse(role).asker == "judge" for role in record.auxiliary):
        if spent is None and facts.n_params is not None:
            yield "clean_compute is unknown, although the size of the victim is known"
        elif spent is not None and spent < least:
            yield (
                f"clean_compute is {spent:g} FLOPs; {record.n_clean_correct} right answers by {facts.n_params} "
                f"parameters take at least {least:g}"
            )
    defense = record.defense_facts
    if defense is not None and defense.round is None and any(_spent(c) for c in (defense.search, defense.training)):
        yield "a defense without rounds has no compute of training, and some is given"
    if defense is not None and defense.round is not None and defense.round < 1:
        yield "the round of its defense is below 1"


def _sound(amount: Compute) -> bool:
    return all(x is None or (math.isfinite(x) and x >= 0) for x in (amount.nominal, amount.executed))


def _spent(amount: Compute) -> bool:
    return bool(amount.nominal) or bool(amount.executed)
