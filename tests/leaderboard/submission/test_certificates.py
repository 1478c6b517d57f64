"""Certificates of a submission: estimated again for some prompts, and told when they are others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leaderboard.submission.verification.inspection import inspect_submission
from tests.leaderboard.submission.forge import forged, pack_fast, parts_of, with_cells
from tests.leaderboard.submission.test_verify import problems, verify
from tests.run.runs import FAST

SMOOTHED = FAST + "defenses: [{random_smoothing: {copies: 3, certify_samples: 20}}]\n"


@pytest.fixture(scope="module")
def smoothed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission of a defense with a certificate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.leaderboard.submission.forge.FAST", SMOOTHED)
        return pack_fast(tmp_path_factory.mktemp("smoothed"))


@pytest.fixture(autouse=True)
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspection in this process: quick."""
    monkeypatch.setattr("leaderboard.submission.verification.sandbox.inspect_in_sandbox", inspect_submission)


def replay(path: Path, smoothed: Path) -> tuple[int, dict[str, Any]]:
    store = smoothed.parent / "run" / "artifacts"
    return verify(path, "--replay", 3, "--spec", smoothed.parent / "fast.yaml", "--store", store)


def test_an_honest_one(smoothed: Path) -> None:
    code, report = replay(smoothed, smoothed)
    assert (code, problems(report)) == (0, {})


def wider(certificate: dict[str, Any]) -> None:
    certificate["radii"] = [radius + 3 for radius in certificate["radii"]]


DISHONEST: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "wider radii": (wider, "certified within"),
    "fewer prompts": (lambda certificate: certificate["radii"].pop(), "its certificate is of 20 copies of 19 prompts"),
    "more copies": (lambda certificate: certificate.update(samples=2000), "its certificate is of 2000 copies"),
    "another chance of error": (lambda certificate: certificate.update(alpha=1e-9), "or probability of error"),
    "a price of its own": (
        lambda certificate: certificate["compute"].update(nominal=1.0),
        "its certificate took 1 FLOPs",
    ),
}


@pytest.mark.parametrize("name", DISHONEST)
def test_a_dishonest_one(name: str, smoothed: Path, tmp_path: Path) -> None:
    change, reason = DISHONEST[name]

    def cells(found: list[dict[str, Any]]) -> None:
        for cell in found:
            change(cell["defense_facts"]["certificate"])

    path = forged(with_cells(parts_of(smoothed), cells), tmp_path / "dishonest.zip")
    code, report = replay(path, smoothed)
    assert code == 1
    assert reason in problems(report)["replay"]


def test_none_at_all(smoothed: Path, tmp_path: Path) -> None:
    def cells(found: list[dict[str, Any]]) -> None:
        for cell in found:
            cell["defense_facts"]["certificate"] = None

    code, report = replay(forged(with_cells(parts_of(smoothed), cells), tmp_path / "none.zip"), smoothed)
    assert code == 1
    assert "it has no certificate in the records" in problems(report)["replay"]


def test_attacks_that_claim_to_be_static_where_the_spec_has_adaptive_ones(smoothed: Path, tmp_path: Path) -> None:
    def change(cells: list[dict[str, Any]]) -> None:
        for cell in cells:
            cell["defense_facts"]["adaptive"] = False

    forged(with_cells(parts_of(smoothed), change), tmp_path / "forged.zip")
    code, report = verify(tmp_path / "forged.zip", "--spec", smoothed.parent / "fast.yaml")
    assert code == 1
    assert "defense_facts.adaptive is False, the spec says True" in problems(report)["completeness"]
