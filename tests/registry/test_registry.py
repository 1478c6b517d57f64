"""Registration, look-up, parameters, identity and labels."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from pydantic import BaseModel, Field

from harness import (
    Answer,
    AttackRef,
    Defense,
    Example,
    Judge,
    Params,
    PluginError,
    PluginRef,
    TrainedDefense,
    host_field,
)
from harness.registry.param_errors import ParamsError
from harness.registry.registry import Registry


class Plain(Judge):
    """Says yes."""

    name = "plain"

    def success(self, example: Example, answer: Answer) -> bool:
        return True


class Inner(BaseModel, extra="forbid"):
    width: int = 1


class Strict(Plain):
    """With parameters."""

    name = "strict"

    class Params(Judge.Params):
        least: int = Field(3, ge=1)
        mode: float | bool | None = None
        inner: Inner = Inner()
        device: str = host_field("auto")


class Nested(Defense):
    """Names other plugins."""

    name = "nested"

    class Params(Defense.Params):
        judge: AttackRef | None = None
        many: tuple[AttackRef, ...] = ()
        default: AttackRef = PluginRef(name="seek")


class Needy(Plain):
    """Needs a value."""

    name = "needy"

    class Params(Judge.Params):
        size: int


@pytest.fixture
def registry() -> Registry:
    from harness import Attack

    class Seek(Attack):
        """Looks."""

        name = "seek"

        class Params(Attack.Params):
            width: int = 5
            device: str = host_field("auto")

        def start(self, problem: Any, rng: Any) -> Any: ...

        def step(self, state: Any, problem: Any, rng: Any) -> Any: ...

    registry = Registry()
    for cls in (Plain, Strict, Needy):
        registry.add("judge", cls, "dist", "1")
    registry.add("defense", Nested, "dist", "1")
    registry.add("attack", Seek, "far", "2")
    return registry


def ref(name: str, **params: Any) -> PluginRef:
    return PluginRef(name=name, params=params)


def problems(registry: Registry, kind: Any, wanted: PluginRef) -> list[Any]:
    with pytest.raises(ParamsError) as caught:
        registry.resolve(kind, wanted)
    again = pickle.loads(pickle.dumps(caught.value.problems))
    assert str(caught.value).startswith(f"{kind} '{wanted.name}' (dist 1) does not accept")
    assert again == caught.value.problems
    return caught.value.problems


def test_choose_validates_with_the_plugins_own_model(registry: Registry) -> None:
    chosen = registry.resolve("judge", ref("strict", least="7", device="cuda"))
    assert chosen.plugin.params.least == 7
    assert (chosen.kind, chosen.name, chosen.distribution, chosen.version) == ("judge", "strict", "dist", "1")
    assert chosen.identity() == {
        "kind": "judge",
        "name": "strict",
        "params": {"least": 7, "mode": None, "inner": {"width": 1}},
        "distribution": "dist",
        "version": "1",
    }
    assert chosen.label == "strict(least=7)"
    assert registry.resolve("judge", ref("strict")).label == "strict"


def test_problems_have_places_and_suggestions(registry: Registry) -> None:
    found = dict(problems(registry, "judge", ref("strict", leest=3, least=0, mode="x", inner={"widht": 2})))
    assert found["leest",] == "unknown parameter (did you mean 'least'?); known: device, inner, least, mode"
    assert found["least",] == "Input should be greater than or equal to 1 (got 0)"
    assert found["inner", "widht"] == "unknown parameter (did you mean 'width'?); known: width"
    assert "valid number" in found["mode",]
    assert "valid boolean" in found["mode",]
    assert found["mode",].count("(got 'x')") == 1
    assert problems(registry, "judge", ref("plain", x=1)) == [(("x",), "unknown parameter; there are no parameters")]
    assert problems(registry, "judge", ref("needy")) == [(("size",), "is required")]


def test_nested_references_hold_full_parameters_and_identities(registry: Registry) -> None:
    chosen = registry.resolve("defense", ref("nested", judge={"seek": {"width": 9}}, many=["seek"]))
    params = chosen.plugin.params
    assert params.judge.params == {"steps": 10, "width": 9, "device": "auto"}
    assert params.default.params["width"] == 5
    inner = {"kind": "attack", "name": "seek", "distribution": "far", "version": "2"}
    identity = chosen.identity()["params"]
    assert identity["judge"] == {**inner, "params": {"steps": 10, "width": 9}}
    assert identity["many"] == [{**inner, "params": {"steps": 10, "width": 5}}]
    assert identity["default"] == {**inner, "params": {"steps": 10, "width": 5}}
    assert chosen.label == "nested(judge=seek(width=9), many=['seek'])"
    assert registry.resolve("defense", ref("nested")).label == "nested"
    assert params.model_dump(mode="json")["judge"] == {"seek": {"steps": 10, "width": 9, "device": "auto"}}
    again = registry.resolve("defense", ref("nested", **params.model_dump(mode="json")))
    assert again.plugin.params == params


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ({"seek": {"widht": 1}}, ("judge", "seek", "widht")),
        ({"name": "seek", "params": {"widht": 1}}, ("judge", "params", "widht")),
        ({"sek": {}}, ("judge", "sek")),
        ({"name": "sek"}, ("judge", "name")),
        ("sek", ("judge",)),
        ({}, ("judge",)),
        ({"seek": 3}, ("judge",)),
    ],
)
def test_problems_of_nested_references_are_where_they_were_written(
    registry: Registry, written: Any, place: tuple[str, ...]
) -> None:
    ((found, text),) = problems(registry, "defense", ref("nested", judge=written))
    assert found == place
    assert "did you mean" in text or "write a plugin's name" in text


def test_without_a_registry_only_the_form_is_checked() -> None:
    assert Nested.Params(judge={"whatever": {"x": 1}}).judge == ref("whatever", x=1)  # type: ignore[arg-type]


def test_unknown_names(registry: Registry) -> None:
    with pytest.raises(PluginError, match=r"called 'plian' \(did you mean 'plain'\?\); known: needy, plain, strict"):
        registry.get("judge", "plian")
    with pytest.raises(PluginError, match=r"no judge is called 'seek'; there is an? attack of that name"):
        registry.get("judge", "seek")
    with pytest.raises(PluginError, match="no task is called 'x'; no task is registered"):
        registry.get("task", "x")


def variant(cls: type, **body: Any) -> Any:
    return type("Odd", (cls,), {"__doc__": "Odd.", "name": "odd", **body})


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (variant(Plain, name=""), 'it has no name; add `name = "odd"`'),
        (variant(Plain, name="Odd-Name"), "name 'Odd-Name' is malformed"),
        (variant(Plain, name="params"), "reserved"),
        (variant(Plain, __doc__=None), "it has no docstring"),
        (variant(Plain, Params=BaseModel), "its Params does not inherit from harness.Params"),
        (variant(Judge), "lacks the method success (see harness.Judge)"),
        (variant(object), "does not inherit from Judge"),
        (variant(Defense), "does not inherit from Judge; it is a defense"),
        (Plain(), "is not a class"),
    ],
)
def test_classes_that_cannot_be_registered(cls: Any, words: str) -> None:
    with pytest.raises(PluginError) as caught:
        Registry().add("judge", cls, "dist", "1")
    assert words in str(caught.value)
    assert "dist 1" in str(caught.value)


def test_kinds_with_rules_of_their_own() -> None:
    from harness import Attack, GuardDefense

    with pytest.raises(PluginError, match=r"access is 'all'; write one of 'latent', 'gradient', 'scores', 'text'"):
        Registry().add("attack", variant(Attack, access="all", start=1, step=1), "dist", "1")
    with pytest.raises(PluginError, match=r"does not inherit from Attack\.Params"):
        Registry().add("attack", variant(Attack, start=1, step=1, Params=type("Params", (Params,), {})), "dist", "1")
    both = type("Both", (GuardDefense, TrainedDefense), {"__doc__": "Both.", "name": "both"})
    with pytest.raises(PluginError, match="several kinds at once"):
        Registry().add("defense", both, "dist", "1")
    with pytest.raises(PluginError, match=r"lacks the method blocks or ruling"):
        Registry().add("defense", variant(GuardDefense), "dist", "1")


def test_the_same_class_twice_is_one_entry(registry: Registry) -> None:
    assert registry.add("judge", Plain, "dist", "1") is registry.get("judge", "plain")
