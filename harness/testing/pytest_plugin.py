"""The marker ``conforms`` and the fixture ``conformance``: one test per promise of a plugin.

Loaded by every pytest run in an environment that has the harness, so nothing is imported before the marker is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

_MARK = "conforms"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}(plugin, params={{}}, skip=()): the test's `conformance` runs one check of a harness plugin, given as "
        "class or name",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test per check for each test function with the marker."""
    if "conformance" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker(_MARK)
    if mark is None or not mark.args:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: the fixture `conformance` needs a plugin; write "
            "@conforms(TheClass, {'parameter': value}) of harness.testing above the test"
        )
    from harness.testing.runner import checks_for

    subject = _subject(*mark.args, **mark.kwargs)
    skip = mark.kwargs.get("skip", ())
    checks = [check for check in checks_for(subject.kind, subject.cls) if check.name not in skip]
    tests = [(subject, check) for check in checks]
    metafunc.parametrize("conformance", tests, ids=[check.name for check in checks], indirect=True)


@pytest.fixture
def conformance(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Call it to run the check that this test is for."""
    from harness.testing.runner import run_check

    subject, check = request.param

    def run() -> None:
        __tracebackhide__ = True
        finding = run_check(check, subject)
        if finding.status == "skipped":
            pytest.skip(finding.note)
        if finding.status == "failed":
            pytest.fail(str(finding), pytrace=False)

    return run


def _subject(plugin: Any, params: dict[str, Any] | None = None, skip: Any = (), **options: Any) -> Any:
    from harness.errors import HarnessError
    from harness.testing.plugin_under_test import subject_of

    try:
        return subject_of(plugin, params, **options)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
