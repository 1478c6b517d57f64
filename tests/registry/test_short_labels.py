"""Labels in a list say what tells its plugins apart, and no more."""

from __future__ import annotations

from hypothesis import given, strategies as st

from harness.api.refs import PluginRef
from harness.registry.loader import load_plugins
from harness.registry.short_labels import with_labels

REGISTRY = load_plugins().registry


def labels(*refs, written=None):
    kinds = {
        "tiny": "victim",
        "gcg": "attack",
        "random_token": "attack",
        "word_length": "task",
        "adversarial_training": "defense",
    }
    named = [(kinds.get(name, "defense"), PluginRef(name=name, params=params)) for name, params in refs]
    chosen = [REGISTRY.resolve(*each) for each in named]
    return [plugin.label for plugin in with_labels(chosen, written)]


def test_one_of_a_name_is_its_name():
    assert labels(("gcg", {"steps": 3}), ("random_token", {"steps": 4})) == ["gcg", "random_token"]


def test_a_single_word_that_differs_stands_alone():
    assert labels(("tiny", {"size": "26k"}), ("tiny", {"size": "150k"})) == ["tiny 26k", "tiny 150k"]


def test_as_few_parameters_as_tell_them_apart_are_named():
    assert labels(("gcg", {"steps": 3}), ("gcg", {"steps": 5, "topk": 8})) == ["gcg(steps=3)", "gcg(steps=5)"]
    assert labels(("gcg", {"steps": 3}), ("gcg", {"steps": 3, "topk": 8}), ("gcg", {"steps": 5, "topk": 8})) == [
        "gcg(steps=3, topk=256)",
        "gcg(steps=3, topk=8)",
        "gcg(steps=5, topk=8)",
    ]


def test_what_few_write_comes_first():
    first, second = {"candidates": 37}, {"candidates": 31, "merged": 7}
    assert labels(("gcg", first), ("gcg", second), written=[first, second]) == ["gcg", "gcg(merged=7)"]


def test_a_training_attack_names_its_training_and_a_group_its_field():
    attacks = [{"attack": {"latent": {}}, "strength": {"end": 9}}, {"attack": {"gcg": {}}}]
    assert labels(*(("adversarial_training", each) for each in attacks)) == [
        "adversarial_training(attack=latent)",
        "adversarial_training(attack=gcg)",
    ]
    strengths = [{"strength": {"end": 9}}, {"strength": {"end": 8}}]
    assert labels(*(("adversarial_training", each) for each in strengths)) == [
        "adversarial_training(strength.end=9)",
        "adversarial_training(strength.end=8)",
    ]


@given(st.lists(st.fixed_dictionaries({"steps": st.integers(1, 3), "topk": st.integers(1, 3)}), min_size=1, max_size=6))
def test_different_ones_have_different_labels(params):
    found = [label.partition(" #")[0] for label in labels(*(("gcg", each) for each in params))]
    for one, label in zip(params, found, strict=True):
        assert all((label == other) == (one == given) for given, other in zip(params, found, strict=True))


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
