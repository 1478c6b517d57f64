"""What all five kinds of plugin have in common: a name, parameters, a one-line summary, a source."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Literal

from harness.api.params import Params as BaseParams

Kind = Literal["task", "victim", "attack", "defense", "judge"]
KINDS: tuple[Kind, ...] = ("task", "victim", "attack", "defense", "judge")


class Plugin:
    """A named, parameterised thing. Subclass one of Task, Victim, Attack, Defense, Judge, never this class.

    Attributes:
        name: what a spec writes; lower case, digits and underscores.
        paper: citation of the source the defaults come from, or "" when there is none.
        license: of the data or the weights that the defaults name, as their authors state it; "" when they name none.
        Params: pydantic model of the parameters; the defaults are the paper's.
    """

    kind: ClassVar[Kind]
    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    license: ClassVar[str] = ""

    class Params(BaseParams):
        """The parameters: none, unless a subclass has its own."""

    params: Any  # an instance of the subclass's own Params

    def __init__(self, params: Params | None = None) -> None:
        self.params = self.Params() if params is None else params

    @classmethod
    def summary(cls) -> str:
        """First line of the class's own docstring."""
        return (inspect.cleandoc(cls.__doc__) if cls.__doc__ else "").split("\n", 1)[0]
