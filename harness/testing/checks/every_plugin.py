"""What every plugin promises."""

from __future__ import annotations

import json

from pydantic import ValidationError

from harness.errors import PluginError
from harness.hashing import canonical_json
from harness.registry.class_checks import check_class
from harness.testing.plugin_under_test import Subject
from harness.testing.results import Check, NotApplicableError, UnmetError


def _check_registers(subject: Subject) -> None:
    try:
        check_class(subject.kind, subject.cls, subject.cls.__module__)
    except PluginError as error:
        raise UnmetError(
            f"a class that can be registered as {subject.kind}", str(error), "as the message says"
        ) from None


def _check_parameters(subject: Subject) -> None:
    params = subject.fresh().params
    dumped = params.model_dump(mode="json")
    try:
        text = json.dumps(dumped, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UnmetError(
            "parameters that model_dump(mode='json') turns into JSON", str(error), "use types that pydantic serialises"
        ) from None
    try:
        again = type(params).model_validate(json.loads(text), context={"registry": subject.registry})
    except ValidationError as error:
        raise UnmetError(
            "parameters that validate again after model_dump(mode='json')",
            str(error),
            "let validators take what serialisers give: a spec and the records hold the parameters as JSON",
        ) from None
    if again != params:
        changed = [name for name in type(params).model_fields if getattr(again, name) != getattr(params, name)]
        raise UnmetError(
            "the same parameters after model_dump(mode='json') and model_validate",
            f"{', '.join(changed)} changed: {[(getattr(params, n), getattr(again, n)) for n in changed]}",
            "make validators leave alone what they have made already",
        )


def _check_identity(subject: Subject) -> None:
    first, second = subject.chosen().identity(), subject.chosen().identity()
    try:
        same = canonical_json(first) == canonical_json(second)
    except ValueError as error:
        raise UnmetError(
            "an identity that is JSON data without NaN or infinity", str(error), "give such a parameter another default"
        ) from None
    if not same:
        raise UnmetError(
            "the same identity from the same parameters",
            f"{first} and then {second}",
            "no default may depend on time, chance or the machine; host_field is for those that change no result",
        )


def _check_strict(subject: Subject) -> None:
    model = subject.cls.Params
    try:
        model.model_validate(subject.params | {"no_such_parameter_": 1}, context={"registry": subject.registry})
    except ValidationError:
        return
    raise UnmetError(
        "an error for a parameter that does not exist", "it was taken", "do not set extra in Params.model_config"
    )


def _check_frozen(subject: Subject) -> None:
    params = subject.fresh().params
    name = next(iter(type(params).model_fields), None)
    if name is None:
        raise NotApplicableError("there are no parameters")
    try:
        setattr(params, name, getattr(params, name))
    except ValidationError:
        return
    raise UnmetError("parameters that cannot be changed", f"{name} could be set", "do not set frozen in model_config")


CHECKS = (
    Check("registers", "the class has a name, a docstring, its methods and proper Params", _check_registers),
    Check("parameters", "parameters validate, and come back the same from JSON", _check_parameters),
    Check("identity", "the same parameters have the same identity", _check_identity),
    Check("strict", "a misspelt parameter is an error", _check_strict),
    Check("frozen", "parameters cannot be changed after they were read", _check_frozen),
)
