"""Roles of auxiliary models are read as they are written, and written as they were read."""

from __future__ import annotations

from hypothesis import example, given, strategies as st

from harness.records.model_role import ModelRole, asked_by

ROLES = st.one_of(
    st.builds(ModelRole, st.text()).filter(lambda role: not role.name.startswith(("judge:", "defense:"))),
    st.builds(ModelRole, st.text(), st.just("judge")),
    st.builds(ModelRole, st.text(), st.just("defense"), st.integers(0, 10**9 - 1)),
)


@given(ROLES)
@example(ModelRole("a:b", "defense", 12))
def test_a_role_is_read_as_it_was_written(role: ModelRole) -> None:
    assert ModelRole.parse(str(role)) == role


@given(st.one_of(st.text(), st.from_regex(r"(judge|defense):[0-9:]{0,30}.*", fullmatch=True)))
@example("defense:007:lm")
@example("defense:²:lm")
@example("defense:" + "9" * 5000 + ":lm")
def test_any_text_is_some_role_and_keeps_its_form(text: str) -> None:
    assert str(ModelRole.parse(text)) == text


def test_the_forms_in_records() -> None:
    assert ModelRole.parse("draft") == ModelRole("draft", "attack")
    assert ModelRole.parse("judge:grader") == ModelRole("grader", "judge")
    assert ModelRole.parse("defense:0:lm") == ModelRole("lm", "defense", 0)


def test_models_of_one_asker_by_the_names_it_uses() -> None:
    models = {ModelRole.parse(text): text for text in ("lm", "judge:lm", "defense:0:lm", "defense:1:lm", "draft")}
    assert asked_by(models, "attack") == {"lm": "lm", "draft": "draft"}
    assert asked_by(models, "judge") == {"lm": "judge:lm"}
    assert asked_by(models, "defense", 1) == {"lm": "defense:1:lm"}
