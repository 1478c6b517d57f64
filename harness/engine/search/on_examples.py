"""An attack run on examples against a model without defenses: what training and fitting a defense ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.api.attack import Attack
from harness.api.model.backend import Backend
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.search_result import SearchResult
from harness.api.task import Example, TaskData
from harness.api.threat import Access, Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import RoundSeen, Search
from harness.isolation.step_timeout import StepLimit, no_step_limit
from harness.records.journal import Journal
from harness.tokens.message import Conversation
from harness.tokens.tokenizer import Tokenizer

Models = Callable[[DefendedVictim], Mapping[str, DefendedVictim]]
"""The models that the attack asks besides a victim, by name; some may be that victim itself."""


def search_on_examples(
    attack: Attack,
    examples: Sequence[Example],
    backend: Backend,
    data: TaskData,
    threat: Threat,
    names: tuple[str | int, ...],
    models: Models = lambda _: {},
    journal: Journal | None = None,
    limited: StepLimit = no_step_limit,
    note: Callable[[str], None] = lambda _: None,
    seen: RoundSeen = lambda _round, _rows: None,
) -> SearchResult:
    """Look for attack strings. The attack may ask for all that the model answers, and no judge looks at its strings.

    Args:
        data: of the task that the examples are of.
        names: what the randomness depends on besides example and step.
        journal: to go on from, and to be written to.
        limited, note: as in `Search`.
        seen: told of each round's rows.

    Raises:
        AccessError, PluginError, RunError: as `Search.run`.
    """
    victim = DefendedVictim(backend, (), data.labels, data.answer_tokens)
    router = ModelRouter(victim, models(victim))
    # Whoever trains the weights may look at all of them, whatever the attacker is granted.
    search = Search(router, attack, names, granted="latent", limited=limited, note=note)
    granted: Access = "gradient" if threat.radius is None else "latent"
    placed = place_all(examples, threat, backend.tokenizer, data.labels)
    return search.run([replace(problem, access=granted) for problem in placed], journal, seen)


def place_all(
    examples: Sequence[Example],
    threat: Threat,
    tokenizer: Tokenizer,
    labels: Sequence[str] = (),
    surround: Callable[[Conversation], Conversation] | None = None,
) -> list[Problem]:
    """Each example with the place of its attack string, as `place` finds it; all with the same allowed tokens.

    Raises:
        VictimError: the threat model allows no token of this tokenizer.
    """
    allowed = allowed_tokens(tokenizer, threat)
    return [place(example, threat, tokenizer, allowed, labels, surround) for example in examples]
