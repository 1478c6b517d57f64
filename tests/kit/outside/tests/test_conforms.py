"""All that the package brings keeps its promises."""

from harness.testing import conforms


@conforms("attack/hill_climb", {"tries": 4})
def test_hill_climb(conformance):
    conformance()


@conforms("task/weather_or_food")
def test_weather_or_food(conformance):
    conformance()


@conforms("victim/counts")
def test_counts(conformance):
    conformance()


@conforms("defense/longest_word")
def test_longest_word(conformance):
    conformance()


@conforms("defense/lower_case")
def test_lower_case(conformance):
    conformance()
