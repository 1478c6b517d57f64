"""What judges that are a published model share: the model by name and revision, the text around what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, PositiveInt

from harness import Answer, DataError, Example, Judge, Params, PluginRef, SpecPath, TaskKind, VictimRef
from plugins._common.prompt_template import check_template, fill_template
from plugins.judges._request_and_answer import answer_text, request_text, shortened

ROLE = "judge"


def published(model: str, revision: str, **params: Any) -> PluginRef:
    """A reference to the victim that is a model of the hub, used as it is."""
    return PluginRef(
        name="huggingface", params={"model": model, "revision": revision, "fine_tune": False, "chat": "off"} | params
    )


class NamedModelParams(Params):
    """Which model judges, and how much it is shown."""

    model: VictimRef = Field(description="the judging model; its folder in place of a hub: {huggingface: {...}}")
    template_file: SpecPath | None = Field(
        None, description="file with the text that its authors ask it with; by default our own words in that form"
    )
    max_chars: PositiveInt = Field(
        2000, ge=100, description="longest request and longest answer that it is shown, in characters"
    )


def preset_model(model: PluginRef) -> Any:
    """The parameter ``model`` with a default."""
    return Field(model, description=NamedModelParams.model_fields["model"].description)


class NamedModelJudge(Judge):
    """Base of judges that are a published model.

    Attributes:
        template: the text around request and answer in the form that the model was trained on, in our own words.
        places: what stands for the request and for the answer in it, as its authors write them.
    """

    reads: ClassVar[TaskKind] = "text"
    template: ClassVar[str]
    places: ClassVar[tuple[str, str]]

    Params = NamedModelParams

    def shown(self, example: Example, answer: Answer) -> tuple[str, str]:
        """The request and the answer, not longer than `max_chars`."""
        longest = self.params.max_chars
        return shortened(request_text(example), longest), shortened(answer_text(answer), longest)

    def prompt(self, request: str, answer: str) -> str:
        """The text that the model is asked with.

        Raises:
            DataError: the file of the template cannot be read, or lacks a place.
        """
        places: Mapping[str, str] = dict(zip(self.places, (request, answer), strict=True))
        return fill_template(_template(self.params.template_file, self.template, self.places), **places)


def _template(path: Path | None, own: str, places: tuple[str, str]) -> str:
    if path is None:
        return own
    try:
        return check_template(path.read_text(encoding="utf-8"), places)
    except (OSError, ValueError) as error:
        raise DataError(f"template_file {path}: {error}") from None
