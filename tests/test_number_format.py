"""Amounts of the largest runs stay readable."""

from __future__ import annotations

import pytest

from harness.number_format import format_flops, format_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (45, "45 s"),
        (720, "12 min"),
        (86_400, "24.0 h"),
        (7 * 86_400, "7 days"),
        (3.1 * 31_557_600, "3.1 years"),
        (7_123 * 31_557_600, "7,100 years"),
    ],
)
def test_seconds(seconds: float | None, text: str) -> None:
    assert format_seconds(seconds) == text


def test_flops() -> None:
    assert [format_flops(7.31e21), format_flops(2e25)] == ["7.31 ZFLOP", "20 YFLOP"]
