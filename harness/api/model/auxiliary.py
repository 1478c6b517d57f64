"""Auxiliary models: what an attack or a judge asks besides the victim.

They are victims of their own, opened and metered by the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.api.refs import PluginRef


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """A model that requests can be sent to, by the name of its role: ``Generate(prompts, model="attacker")``.

    Attributes:
        victim: which model, as a reference to a victim plugin. None: the victim itself if it is a language model and
            ``sees`` is ``text``, else the small model that the victim names (`Victim.sibling`).
        sees: what it is made ready with: the ``text`` of the task without labels, as a language model; the ``task``
            with its labels, as another victim of it; ``nothing``, being used as it is.
        labels: of a model that sees nothing, the names of its classes if it is a classifier.
        same_tokens: whether it has to have the victim's tokens, because strings of tokens are sent to it.
        samples: whether next tokens are drawn from it (`Sample`), which the victim itself cannot answer behind a
            defense that rewrites prompts: such cells are then refused before anything is run.
    """

    victim: PluginRef | None = None
    sees: Literal["text", "task", "nothing"] = "text"
    labels: tuple[str, ...] = ()
    same_tokens: bool = False
    samples: bool = False
