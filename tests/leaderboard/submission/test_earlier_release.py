"""Entries by an earlier release are verified by this one, as long as no number has changed in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.registry.loader import load_plugins
from harness.registry.plugin_entry import PluginEntry
from harness.replay.by_spec.same_numbers import as_installed, gives_same
from leaderboard.submission.verification.verify import verify_submission
from plugins.attacks.gcg import GCG
from tests.leaderboard.submission.test_stated_by_plugins import WORDS, problems, records_of, spec_of

ENTRIES = Path(__file__).parents[3] / "leaderboard" / "entries"


@pytest.mark.parametrize(
    ("installed", "results", "recorded", "same"),
    [
        ("0.2.0", "0.1.0", "0.1.0", True),
        ("0.2.0", "0.1.0", "0.1.3", True),
        ("0.2.0", "0.1.0", "0.2.0", True),
        ("0.10.0", "0.9.0", "0.9.1", True),  # not in the order of letters
        ("0.2.0", "0.1.0", "0.0.9", False),
        ("0.2.0", "0.1.0", "0.3.0", False),  # what it changed is not known here
        ("0.2.0", "0.2.0", "0.1.0", False),
        ("0.2.0", "0.1.0", "0.1.0, certified by all", False),
        ("3f2a", "3f2a", "3f2a", True),
        ("3f2a", "3f2a", "3f2b", False),
    ],
)
def test_which_releases_give_the_same_numbers(installed: str, results: str, recorded: str, same: bool) -> None:
    assert gives_same(PluginEntry("attack", "gcg", GCG, "here", installed, results), recorded) is same


def test_each_plugin_of_a_record_counts() -> None:
    """Of an earlier release, nothing is wrong; of one before the numbers changed, every plugin is named."""
    spec, registry = spec_of(*WORDS), load_plugins().registry
    records = records_of(spec, 500)
    for version, wrong in (("0.1.0", 0), ("0.0.1", 5 * len(records))):
        older = [
            record.model_copy(
                update={
                    kind: getattr(record, kind).model_copy(update={"version": version})
                    for kind in ("task", "victim", "defense", "attack", "judge")
                }
            )
            for record in records
        ]
        found = problems(spec, [as_installed(record, registry) for record in older])
        assert sum(f"version is '{version}'" in problem for problem in found) == wrong
        assert len(found) == wrong


@pytest.mark.slow
def test_a_listed_entry_is_verified() -> None:
    (entry,) = ENTRIES.glob("questions-stack-2-*.json")
    assert '"0.1.0"' in entry.read_text(encoding="utf-8")
    report = verify_submission(entry, load_plugins().registry)
    assert report.verified, [problem for check in report.checks for problem in check.problems][:3]
