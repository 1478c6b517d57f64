"""Labels in a list say what tells its plugins apart, and no more."""

from __future__ import annotations

from harness.api.refs import PluginRef
from harness.registry.loader import load_plugins
from harness.registry.short_labels import with_labels


def labels(*refs):
    registry = load_plugins().registry
    kinds = {"tiny": "victim", "gcg": "attack", "random_token": "attack", "word_length": "task"}
    chosen = [registry.resolve(kinds[name], PluginRef(name=name, params=params)) for name, params in refs]
    return [plugin.label for plugin in with_labels(chosen)]


def test_one_of_a_name_is_its_name():
    assert labels(("gcg", {"steps": 3}), ("random_token", {"steps": 4})) == ["gcg", "random_token"]


def test_a_single_word_that_differs_stands_alone():
    assert labels(("tiny", {"size": "26k"}), ("tiny", {"size": "150k"})) == ["tiny 26k", "tiny 150k"]


def test_several_differences_are_named():
    assert labels(("gcg", {"steps": 3}), ("gcg", {"steps": 5, "topk": 8})) == [
        "gcg(steps=3, topk=256)",
        "gcg(steps=5, topk=8)",
    ]


def test_equal_ones_are_numbered():
    assert labels(("gcg", {}), ("gcg", {})) == ["gcg #1", "gcg #2"]


def test_a_label_is_one_line_whatever_its_parameters_hold():
    first, second = labels(
        ("word_length", {"instructions": "Which?\nSay."}), ("word_length", {"instructions": "\t\x1b[2J"})
    )
    assert (first, second) == ("word_length Which?\\nSay.", "word_length \\t\\x1b[2J")
    registry = load_plugins().registry
    params = {"instructions": "Which?\nSay."}
    alone = registry.resolve("task", PluginRef(name="word_length", params=params))
    assert alone.label == "word_length(instructions=Which?\\nSay.)"
    assert alone.plugin.params.instructions == "Which?\nSay.", "the parameter itself stays as it is"
