"""All that the package brings keeps its promises."""

import pytest


@pytest.mark.conforms("attack/hill_climb", {"tries": 4})
def test_hill_climb(conformance):
    conformance()


@pytest.mark.conforms("task/weather_or_food")
def test_weather_or_food(conformance):
    conformance()


@pytest.mark.conforms("victim/counts")
def test_counts(conformance):
    conformance()


@pytest.mark.conforms("defense/longest_word")
def test_longest_word(conformance):
    conformance()


@pytest.mark.conforms("defense/lower_case")
def test_lower_case(conformance):
    conformance()
