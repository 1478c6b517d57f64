"""What a spec says of workers: resources by victim, and the time that a step may take."""

from __future__ import annotations

import pytest

from harness.spec.resources import Resources
from tests.spec.conftest import Complain, Load

SPEC = """name: a
version: "1"
tasks: [word_length]
victims: [{tiny: {size: a}}, {tiny: {size: b}}]
attacks: [random_token]
"""


def given(load: Load, lines: str) -> list[Resources]:
    return [cell.resources for cell in load(SPEC + lines).cells]


def test_nothing_said_is_nothing_asked_for(load: Load) -> None:
    assert given(load, "") == [Resources(None, 0.0, None)] * 2


def test_the_last_entry_that_says_something_counts(load: Load) -> None:
    lines = """resources:
  - {cpus: 2, memory: 1GiB}
  - {victim: {tiny: {size: b}}, gpus: 4, memory: 16GB}
"""
    assert given(load, lines) == [Resources(2, 0.0, 2**30), Resources(2, 4.0, 16 * 10**9)]


def test_a_victim_is_meant_by_what_is_written(load: Load) -> None:
    assert given(load, "resources: [{victim: {tiny: {size: a}}, gpus: 0.5}]")[0].gpus == 0.5


def test_neither_changes_the_hash_of_the_spec(load: Load) -> None:
    plain = load(SPEC)
    more = load(SPEC + "resources: [{cpus: 2}]\nstep_seconds: 5")
    assert more.hash == plain.hash
    assert more.spec.step_seconds == 5.0


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("resources: {cpus: 2}", ":6: resources: should be a list, not a mapping"),
        ("resources: [{victim: {tiny: {size: a}}}]", ":6: resources[0]: asks for nothing; give cpus, gpus or memory"),
        ("resources: [{gpu: 1}]", ":6: resources[0].gpu: unknown field (did you mean 'gpus'?)"),
        ("resources: [{gpus: 1.5}]", ":6: resources[0].gpus: a share of one GPU (0.5) or whole ones (2)"),
        ("resources: [{cpus: 0}]", ":6: resources[0].cpus: should be greater than or equal to 1, not 0"),
        (
            "resources: [{memory: 3 Gi}]",
            ":6: resources[0].memory: could not interpret byte unit: Gi; write a number of bytes, or one with a unit: "
            "16GiB",
        ),
        (
            "resources: [{victim: tine, cpus: 1}]",
            ":6: resources[0].victim: no victim of this spec is called 'tine' (did you mean 'tiny'?)",
        ),
        (
            "resources: [{victim: {tiny: {size: c}}, cpus: 1}]",
            ":6: resources[0].victim: no victim 'tiny' of this spec has these parameters, so the entry has no effect",
        ),
        (
            "resources: [{victim: {tiny: {siz: c}}, cpus: 1}]",
            ":6: resources[0].victim.tiny.siz: unknown parameter (did you mean 'size'?); known: device, size, width",
        ),
        ("step_seconds: 0", ":6: step_seconds: should be greater than 0, not 0"),
    ],
)
def test_a_mistake_is_named_with_its_mend(complain: Complain, lines: str, problem: str) -> None:
    assert any(line.startswith(f"x.yaml{problem}") for line in complain(SPEC + lines)), complain(SPEC + lines)
