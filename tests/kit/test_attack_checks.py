"""An attack that breaks a promise fails the check of that promise, with words; one that keeps all passes all."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from harness.registry.loader import load_plugins
from harness.testing import check_plugin, checks_for, made_up, run_check, runner as running, subject_of
from harness.testing.checks.attacks import CHECKS, keeps_to_the_threat
from tests.kit.bad_attacks import BROKEN, Good, Sleeps

REGISTRY = load_plugins().registry


def test_a_good_attack_passes_every_check():
    findings = check_plugin(Good, registry=REGISTRY)
    assert [str(finding) for finding in findings if finding.status != "ok"] == []
    assert len(findings) == 5 + len(CHECKS)


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_promise_is_found_and_explained(cls):
    subject = subject_of(cls, registry=REGISTRY)
    (check,) = (check for check in checks_for("attack", cls) if check.name == BROKEN[cls])
    found = run_check(check, subject)
    assert found.status == "failed"
    assert all((found.expected, found.got, found.mend)), found


def test_a_step_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr(running, "LIMIT", 1.0)
    (check,) = (check for check in CHECKS if check.name == "access")
    found = run_check(check, subject_of(Sleeps, registry=REGISTRY))
    assert found.status == "failed"
    assert "still running" in found.got


@pytest.mark.parametrize("name", ["gcg", "random_search", "random_token", "beast", "latent"])
@given(data=st.data())
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_built_in_attacks_keep_to_any_threat_model(name, data):
    subject = subject_of(f"attack/{name}", registry=REGISTRY)
    kind = data.draw(st.sampled_from(["labels", "text"]))
    case = made_up(lambda options: data.draw(st.sampled_from(options)), kind, subject.cls.access)
    keeps_to_the_threat(subject, case)
