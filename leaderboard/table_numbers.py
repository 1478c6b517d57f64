"""Numbers as people read them."""

from __future__ import annotations

from math import floor, isfinite, log10

UNKNOWN_COMPUTE = "Compute unknown"  # how messages and cells begin that would otherwise hold a number

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scientific(value: float) -> str:
    """Two significant digits: ``3.1 × 10¹²``; 0 as ``0``."""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else "∞"
    exponent = floor(log10(abs(value)))
    digits = round(value / 10.0**exponent, 1)
    if abs(digits) >= 10:
        digits, exponent = digits / 10, exponent + 1
    return f"{digits:.1f} × 10{str(exponent).translate(_SUPERSCRIPT)}"


def multiple(value: float) -> str:
    """A multiple of some reference: ``0.12×``, ``35×``, ``2.1 × 10⁻⁶×`` where plain digits would be long."""
    if value == 0:
        return "0×"
    if 0.01 <= value < 1000:
        return f"{value:.2g}×" if value < 100 else f"{value:.0f}×"
    return f"{scientific(value)}×"


def percent(value: float) -> str:
    """``41.7%``."""
    return f"{100 * value:.1f}%"


def target_percent(value: float) -> str:
    """A share that somebody has set, without digits that say nothing: ``50%``, ``2.5%``."""
    return f"{100 * value:g}%"


def parameter_count(count: int | None) -> str:
    """``5.1k``, ``3.2M``, ``1.4B``; ``unknown`` for None."""
    if count is None:
        return "unknown"
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)


def signed(value: float) -> str:
    """Two decimals with a true minus sign: ``−0.52``."""
    return f"{value:.2f}".replace("-", "−")


def plain_number(value: object) -> str:
    """JSON data as text: numbers to four digits, the rest as it is."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return f"{value:.4g}" if 1e-3 <= abs(value) < 1e6 or value == 0 else scientific(value)
    return str(value)


def amount(value: float) -> str:
    """A count or a mean of counts to three digits: ``2.5``, ``2,560``; scientific from a million."""
    return scientific(value) if value >= 1e6 else f"{float(f'{value:.3g}'):,.10g}"


def counted(count: int, noun: str) -> str:
    """``1 cell``, ``1,200 cells``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
