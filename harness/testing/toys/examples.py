"""Cases to try an attack on: examples and threat models, ordinary and awkward, and toy models for the victim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.api.attack import Attack
from harness.api.model.auxiliary import Auxiliary
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.task import NO_LABEL, Chunk, Edit, Example, TaskData, TaskKind
from harness.api.threat import Access, Threat
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.budget import SearchBudget
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.testing.toys.backend import ToyLatent, toy_examples
from harness.testing.toys.language_model import ToyLanguageModel
from harness.testing.toys.plugins import ToyJudge
from harness.testing.toys.task_data import LABELS, auxiliary_labels
from harness.testing.toys.tokenizers import TOKENIZER_KINDS, tokenizer_of
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.tokenizer import Tokens

TARGET = " over the fence"
RADIUS = 0.5
TEXTS = (
    "",
    " ",
    "fox",
    "The red fox jumps over the fence.",
    "  two  spaces ",
    "naïve café",
    "日本語",
    "a\n\nb\t",
    "12345 6.7",
    "🙂!?",
    "word " * 30,
)

T = TypeVar("T")


class Choose(Protocol):
    """Takes one of some options: ``rng.choice`` at run time, hypothesis' ``draw`` in a property test."""

    def __call__(self, options: Sequence[T], /) -> T: ...


@dataclass(frozen=True)
class Case:
    """Examples under a threat model, in a model's tokens.

    Attributes:
        examples: at least one.
        threat: the threat model.
        tokenizer: of the toy models.
        answers: whether the toy victim answers with labels or in text.
        hopeless: whether no attack string survives tokenisation.
        wrap: makes another backend of each toy, such as one whose losses are NaN.
        layers: the defenses before the victim.
    """

    examples: tuple[Example, ...]
    threat: Threat
    tokenizer: HFTokenizer
    answers: TaskKind = "labels"
    hopeless: bool = False
    wrap: Callable[[Any], Any] = lambda backend: backend
    layers: tuple[Layer, ...] = ()

    @property
    def data(self) -> TaskData:
        """The examples as a task's data."""
        labels = LABELS if self.answers == "labels" else ()
        return TaskData(labels, self.examples, self.examples, answer_tokens=8)

    def problems(self) -> list[Problem]:
        """The examples with a place for an attack string."""
        allowed = allowed_tokens(self.tokenizer, self.threat)
        problems = [place(one, self.threat, self.tokenizer, allowed, self.data.labels) for one in self.examples]
        return [NoSurvivorProblem(**vars(problem)) for problem in problems] if self.hopeless else problems

    def search(self, attack: Attack, granted: Access, seed: int = 0, together: int = 64) -> Search:
        """The engine's own search, with toys for the victim and for every model that the attack names.

        Args:
            granted: the access of the threat model.
            seed: of the search.
            together: examples that are searched side by side, at most.
        """
        victim = DefendedVictim(self._backend(self.answers, 0), self.layers, self.data.labels, 8)
        models = {role: self._auxiliary(need) for role, need in attack.models().items()}
        names = (seed, "conformance")
        limits = SearchBudget(self.threat.queries, self.threat.flops)
        judge = JudgeRunner(ToyJudge(), ModelRouter(victim))
        return Search(ModelRouter(victim, models), attack, names, granted, judge, together=together, budget=limits)

    def _auxiliary(self, declared: Auxiliary) -> DefendedVictim:
        labels = auxiliary_labels(declared, self.answers)
        backend = self._backend("labels" if labels else "text", 1, len(labels))
        return DefendedVictim(backend, labels=labels, answer_tokens=8)

    def _backend(self, kind: TaskKind, seed: int, labels: int = 2) -> Any:
        return self.wrap(toy_model(self.tokenizer, labels if kind == "labels" else 0, seed))


def toy_model(tokenizer: HFTokenizer, labels: int, seed: int) -> Any:
    """A toy classifier of so many labels, or a toy language model where there are none."""
    return ToyLatent(tokenizer, seed, labels, context=8192) if labels else ToyLanguageModel(tokenizer, seed)


class NoSurvivorProblem(Problem):
    """A problem in which no attack string survives tokenisation but the empty one."""

    def survives(self, candidates: Tokens) -> NDArray[np.bool_]:
        """Whether each string is the empty one, shape [K]."""
        rows = np.asarray(candidates)
        return np.full(len(rows), rows.ndim == 2 and rows.shape[1] == 0)

    def attack_texts(self, candidates: Tokens) -> list[str | None]:
        """The text of the empty string; None of others; length K."""
        return ["" if survives else None for survives in self.survives(candidates)]

    def tokens_of(self, text: str) -> Tokens | None:
        """No tokens of the empty text; None of others."""
        return np.empty(0, dtype=np.int64) if not text else None


def ordinary(answers: TaskKind, access: Access, count: int = 4, tokens: int = 5, **changes: Any) -> Case:
    """A case that makes no trouble: a few sentences, a byte-level BPE, and by default an attack string of five tokens.

    Args:
        answers: whether the victim answers with labels or in text.
        changes: further fields of `Case`.
    """
    examples = toy_examples(count, target=TARGET if answers == "text" else "")
    return Case(tuple(examples), toy_threat(access, tokens=tokens), tokenizer_of("byte_bpe"), answers, **changes)


def made_up(choose: Choose, answers: TaskKind, access: Access) -> Case:
    """A case whose threat model, prompts and tokenizer are chosen from ordinary and awkward ones.

    Args:
        choose: takes one of some options.
        answers: whether the victim answers with labels or in text.
        access: of the threat model.
    """
    texts = [choose(TEXTS) for _ in range(3)]
    edit = choose((Edit.PERTURBABLE, Edit.OVERWRITABLE))
    layout = choose(("first", "middle", "last", "only"))
    region = Chunk(texts[0], edit)
    chunks = {
        "first": (region, Chunk(texts[1])),
        "middle": (Chunk(texts[1]), region, Chunk(texts[2])),
        "last": (Chunk(texts[1]), region),
        "only": (region,),
    }[layout]
    goal: dict[str, Any] = {"target": TARGET}
    if answers == "labels":
        goal = {"label": 0, "proxy_label": choose((1, NO_LABEL))}
    first = Example("validation-00000", chunks, **goal)
    second = replace(toy_examples(2, edit, TARGET if answers == "text" else "")[1])
    threat = toy_threat(
        access,
        tokens=choose((1, 2, 3, 8, 20)),
        position=choose(("suffix", "prefix", "infix", 0.0, 0.4)),
        alphabet=choose(("all", "printable_ascii")),
        edit=choose(("as_task", "insert", "replace")),
    )
    return Case((first, second), threat, tokenizer_of(choose(TOKENIZER_KINDS)), answers)


def toy_threat(access: Access, **fields: Any) -> Threat:
    """A threat model of that access, with a radius where it needs one.

    Args:
        fields: further ones of `Threat`.
    """
    return Threat(access=access, radius=RADIUS if access == "latent" else None, **fields)


def choose_at_random(seed: int) -> Choose:
    """A `Choose` that draws by a generator of this seed."""
    rng = np.random.default_rng(seed)

    def choose(options: Sequence[T], /) -> T:
        return options[int(rng.integers(len(options)))]

    return choose


def describe_case(case: Case, names: Mapping[int, str] | None = None) -> str:
    """A case in a line, so that its author can make it again.

    Args:
        names: of tokenizers, by ``id``; by default of those of `tokenizer_of`.
    """
    prompt = "|".join(f"[{c.text!r} {c.edit}]" if c.edit is not Edit.IMMUTABLE else repr(c.text) for c in _first(case))
    known = names or {id(tokenizer_of(kind)): kind for kind in TOKENIZER_KINDS}
    return f"{case.threat.label()}, tokenizer {known.get(id(case.tokenizer), '?')}, prompt {prompt}"


def _first(case: Case) -> tuple[Chunk, ...]:
    return case.examples[0].chunks
