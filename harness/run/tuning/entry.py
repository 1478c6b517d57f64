"""What a search leaves behind: the entry for a spec, and a spec that holds it against the attack as it was."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.errors import RunError
from harness.records.cell_manifest import TuningRecord
from harness.run.tuning.derived_space import STEPS
from harness.run.tuning.trial import Trial
from harness.spec.fields import AttackEntry, attack_parts
from harness.spec.load import LoadedSpec
from harness.spec.yaml_file import read_yaml_file

_ROOM = 1.25
"""More steps than equal compute asks for, by which the attack as it was may go on: where it is cut is the reader's."""


def tuned_entry(entry: AttackEntry, best: Trial, record: TuningRecord) -> AttackEntry:
    """The entry with the values of a candidate, the steps of the budget, and the search."""
    params = {**entry.params, **best.values, STEPS: best.steps}
    return AttackEntry(name=entry.name, params=params, tuned=record)


def entry_yaml(entries: list[Any], header: str = "") -> str:
    """Entries as a spec's ``attacks``, in YAML."""
    text = yaml.safe_dump({"attacks": entries}, sort_keys=False, default_flow_style=None, width=120)
    return f"# {header}\n{text}" if header else text


def comparison_spec(source: LoadedSpec, place: int, tuned: AttackEntry, step_flops: float) -> str:
    """The spec with two attacks alone: as it was, with steps for the budget per example and the search's share, and as
    tuned.

    Args:
        place: of the entry among the spec's attacks.
        step_flops: what a step of it takes on one example, nominal, mean over cells.

    Raises:
        RunError: as `without_other_attacks`.
    """
    assert tuned.tuned is not None
    entry = source.spec.attacks[place]
    cells = sum(cell.attack.name == entry.name for cell in source.cells)
    share = tuned.tuned.flops / (source.spec.examples * max(cells, 1))
    steps = math.ceil(_ROOM * (tuned.tuned.per_example + share) / step_flops)
    as_it_was = AttackEntry(name=entry.name, params={**entry.params, STEPS: steps})
    data = without_other_attacks(source, entry.name)
    data["name"] = f"{source.spec.name}-tuned-{entry.name.replace('_', '-')}"
    data["attacks"] = [one.model_dump(mode="json") for one in (as_it_was, tuned)]
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)


def without_other_attacks(source: LoadedSpec, name: str) -> dict[str, Any]:
    """A spec's fields as written, with what `exclude` says of this attack and no other.

    Raises:
        RunError: it names parameters of attacks, and what would follow is not ours to guess.
    """
    data: dict[str, Any] = dict(read_yaml_file(source.path).data)
    if "exclude" in data:
        data["exclude"] = [kept for one in data["exclude"] if (kept := _kept(one, name)) is not None]
        if not data["exclude"]:
            del data["exclude"]
    return data


def _kept(excluded: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """An entry of `exclude` in a spec without other attacks; None where it is about those."""
    found = dict(excluded)
    for one in (found, *found.get("unless", ())):
        if "attack" not in one:
            continue
        ref, _ = attack_parts(one["attack"])
        if isinstance(ref, dict) and (ref.get("params") or ref.get(name)):
            raise RunError(
                "--compare: the spec's `exclude` names parameters of the attack; write the second spec yourself"
            )
    if "attack" in found and name not in (found["attack"], *_keys(found["attack"])):
        return None
    if "unless" in found:
        found["unless"] = [
            one for one in found["unless"] if name in (one.get("attack", name), *_keys(one.get("attack")))
        ]
        if not found["unless"]:
            del found["unless"]
    return found


def _keys(ref: Any) -> tuple[Any, ...]:
    return (*ref, ref.get("name")) if isinstance(ref, dict) else ()


def write_named(path: Path, text: str | None, option: str) -> None:
    """Write a file that the user named; without a text, see whether that can be done.

    Raises:
        RunError: it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_text(text, encoding="utf-8")
        elif path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise RunError(f"{option} {path}: cannot be written; name a file in a folder that you may write to")
    except OSError as error:
        raise RunError(f"{option} {path}: cannot be written ({error.strerror or error})") from None
