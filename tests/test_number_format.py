"""Amounts of the largest runs stay readable."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from harness.errors import RunError
from harness.number_format import format_flops, format_seconds, parse_flops


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


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        ("1e12", 1e12),
        ("500GFLOP", 5e11),
        ("1.5 TFLOPs", 1.5e12),
        ("3m", 3e6),
        ("2 FLOP", 2.0),
        ("1E+9", 1e9),
    ],
)
def test_an_amount_of_compute_is_read_as_people_write_it(text: str, flops: float) -> None:
    assert parse_flops(text, "--flops") == flops


@pytest.mark.parametrize("text", ["", "0", "-1", "1.2.3", "GFLOP", "1e12 bytes", "nan", "1e999", "."])
def test_what_is_no_amount_of_compute_is_refused(text: str) -> None:
    with pytest.raises(RunError, match=r"--flops .*: no amount of compute above 0"):
        parse_flops(text, "--flops")


@given(st.floats(1, 1e26))
def test_what_is_printed_reads_back_to_its_digits(flops: float) -> None:
    assert parse_flops(format_flops(flops), "--flops") == pytest.approx(flops, rel=6e-3)
