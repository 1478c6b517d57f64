"""What an attack promises."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.api.attack import Attack, Step
from harness.api.problem.problem import Problem
from harness.api.problem.search_result import SearchResult
from harness.api.problem.state import State
from harness.api.task import TaskKind
from harness.engine.defended.layer import Layer
from harness.engine.search.search import Search
from harness.errors import AccessError, DataError
from harness.hashing import canonical_json
from harness.isolation.process_state import global_seed
from harness.records.journal import Journal
from harness.records.step_row import StepRow
from harness.testing.plugin_under_test import Subject
from harness.testing.results import Check, NotApplicableError, UnmetError
from harness.testing.toys.examples import BlockAll, Case, at_random, made_up, ordinary, problem_text
from harness.testing.toys.faulty import Numberless

STEPS = 4
MOST_REQUESTS = 1000
"""Requests of one step; none of the built-in attacks comes near."""

_KINDS: tuple[TaskKind, ...] = ("labels", "text")


class Counted:
    """Wraps an attack's steps so that one that asks without end is stopped."""

    def __init__(self, attack: Attack) -> None:
        self._attack = attack

    def __getattr__(self, name: str) -> Any:
        return getattr(self._attack, name)

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        """As `Attack`, at most `MOST_REQUESTS` times."""
        inner, answer = self._attack.step(state, problem, rng), None
        for _ in range(MOST_REQUESTS + 1):
            try:
                request = inner.send(answer)
            except StopIteration as stop:
                after: State = stop.value
                return after
            answer = yield request
        raise UnmetError(
            f"a step that ends after at most {MOST_REQUESTS} requests",
            "it went on asking",
            "ask for many strings in one Score, and let `steps` say how often the search goes on",
        )


def attack_of(subject: Subject) -> Any:
    """A fresh instance of few steps."""
    return Counted(subject.fresh(**({} if "steps" in subject.params else {"steps": STEPS})))


def kinds_of(subject: Subject) -> list[TaskKind]:
    """How a victim may answer for this attack to work on it.

    Raises:
        NotApplicableError: it says that it cannot be run on the kit's examples.
        UnmetError: it asks for what no victim answers.
    """
    found: list[TaskKind] = []
    refusals: list[Exception] = []
    for kind in _KINDS:
        attack = subject.fresh(steps=1)
        case = ordinary(kind, "latent", _count(attack))
        try:
            attack.check(case.data)
            case.search(Counted(attack), "latent").run(case.problems()[: attack.group()])  # type: ignore[arg-type]
        except (AccessError, DataError) as error:
            refusals.append(error)
        except Exception:  # the checks themselves will say
            found.append(kind)
        else:
            found.append(kind)
    if not found and all(isinstance(error, DataError) for error in refusals):
        raise NotApplicableError(f"the attack cannot be run on the kit's examples: {refusals[0]}")
    if not found:
        raise UnmetError("an attack that some victim can answer", str(refusals[0]), "ask for what a victim offers")
    return found


def cases(subject: Subject, **changes: Any) -> Iterator[Case]:
    """The ordinary case for each kind of answers that the attack takes."""
    for kind in kinds_of(subject):
        yield ordinary(kind, subject.cls.access, _count(subject.fresh()), **changes)  # type: ignore[attr-defined]


def _count(attack: Attack) -> int:
    """Examples of the ordinary case: at least two groups."""
    return max(4, 2 * attack.group())


def searched(subject: Subject, case: Case, attack: Any = None, **options: Any) -> SearchResult:
    """A whole search by a fresh instance."""
    attack = attack_of(subject) if attack is None else attack
    return case.search(attack, subject.cls.access, **options).run(case.problems())  # type: ignore[attr-defined]


def plain(rows: list[StepRow]) -> str:
    """Rows as text, less what may differ between two runs; equal where the rows are, NaN included."""
    return json.dumps([replace(row, seconds=0.0).to_record() for row in rows], sort_keys=True)


def _same(one: list[StepRow], other: list[StepRow], expected: str, mend: str) -> None:
    if plain(one) == plain(other):
        return
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if plain([a]) != plain([b])), 0)
    a, b = one[at].to_record(), other[at].to_record() if other else {}
    names = [name for name in b if name != "seconds" and a[name] != b[name]]
    where = f"example {one[at].example}, step {one[at].step}"
    values = "; ".join(f"{name} {a[name]!r} and {b[name]!r}" for name in names[:3])
    raise UnmetError(expected, f"at {where} they differ: {values}", mend)


def _access(subject: Subject) -> None:
    for case in cases(subject):
        try:
            searched(subject, case)
        except AccessError as error:
            raise UnmetError(
                f"requests within the declared access, {subject.cls.access!r}",  # type: ignore[attr-defined]
                str(error),
                "declare the access that the attack needs: gradient for Gradient; scores for Score, Sample and "
                "Classify; text for Generate; latent for Perturb",
            ) from None


def _seeded(subject: Subject) -> None:
    for case in cases(subject):
        found: list[list[StepRow]] = []
        for other in (0, 1):
            with global_seed(other):
                found.append(searched(subject, case).rows)
        _same(
            found[0],
            found[1],
            "the same records from the same seed",
            "draw from the `rng` that `start` and `step` are given, never from random or np.random; keep no set's "
            "order and no time in a decision",
        )


def _company(subject: Subject) -> None:
    for case in cases(subject):
        together = searched(subject, case).rows
        alone = searched(subject, case, together=1).rows
        _same(
            together,
            alone,
            "the same records whether examples are searched side by side or one after the other",
            "keep what a search remembers in the State (state.memory), never on `self`: one instance serves all "
            "examples at once",
        )


def _resumes(subject: Subject) -> None:
    for case in cases(subject):
        whole = searched(subject, case).rows
        steps = attack_of(subject).params.steps
        for cut in range(1, steps):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "journal.jsonl"
                search = case.search(attack_of(subject), subject.cls.access)  # type: ignore[attr-defined]
                _stopped(search, case, path, cut)
                with Journal(path) as journal:
                    again = case.search(attack_of(subject), subject.cls.access)  # type: ignore[attr-defined]
                    rows = again.run(case.problems(), journal).rows
            _same(
                whole,
                rows,
                f"the same records when the run is stopped after step {cut} and goes on in another process",
                "keep everything that the next step needs in the State, as JSON data with text keys: what comes back "
                "from JSON has lists for tuples and text for keys",
            )


class _StoppedError(Exception):
    pass


def _stopped(search: Search, case: Case, path: Path, cut: int) -> None:
    def stop(number: int, _rows: list[StepRow]) -> None:
        if number == cut:
            raise _StoppedError

    with Journal(path) as journal:
        try:
            search.run(case.problems(), journal, stop)
        except _StoppedError:
            return


def _plain_state(subject: Subject) -> None:
    for case in cases(subject):
        for string in searched(subject, case).strings:
            data = string.state.to_json()
            try:
                text = canonical_json({**data, "loss": None})  # a loss may be NaN, where the victim said so
            except ValueError as error:
                raise UnmetError(
                    "a State whose memory is JSON data: text keys, no NaN, no arrays", str(error), "use plain lists"
                ) from None
            if len(text) > 10_000_000:
                raise UnmetError(
                    "a State of at most 10 MB, since it is written after every step",
                    f"{len(text) / 1e6:.0f} MB",
                    "keep what the next step needs and nothing else",
                )


def _threat(subject: Subject) -> None:
    kinds = kinds_of(subject)
    access = subject.cls.access  # type: ignore[attr-defined]
    tried = 0
    for number in range(subject.examples):
        case = made_up(at_random(number), kinds[number % len(kinds)], access)
        tried += keeps_to_the_threat(subject, case)
    if not tried:
        raise NotApplicableError("the attack says that it cannot be run on any of the made-up examples")


def keeps_to_the_threat(subject: Subject, case: Case) -> bool:
    """Raise `UnmetError` where an attack breaks the threat model of a case, or breaks down on it; False where it says
    that it cannot be run on the case.
    """
    attack = Counted(subject.fresh(steps=2))
    try:
        attack.check(case.data)
    except DataError:
        return False
    try:
        rows = searched(subject, case, attack).rows
    except UnmetError:
        raise
    except Exception as error:
        raise UnmetError(
            "a search that ends, whatever the prompt, the tokenizer and the threat model",
            f"{error} ({problem_text(case)})",
            "problem.random_tokens and problem.refill may give fewer strings than asked for, and none; before and "
            "after may be empty",
        ) from error
    broken = [row for row in rows if row.failure and _breaks(row.failure)]
    if broken:
        raise UnmetError(
            "strings within the threat model: at most problem.budget tokens, all of problem.allowed",
            f"step {broken[0].step}: {broken[0].failure} ({problem_text(case)})",
            "draw tokens from problem.allowed, and let problem.fitted cut a text to what is allowed",
        )
    return True


def _breaks(failure: str) -> bool:
    return "budget" in failure or failure == "token not allowed" or failure.startswith("perturbation beyond")


def _survives(subject: Subject) -> None:
    for case in cases(subject):
        rows = searched(subject, case).rows
        lost = sum(row.failure == "retokenisation" for row in rows)
        if 2 * lost > len(rows):
            raise UnmetError(
                "strings that survive tokenisation, where most strings do",
                f"{lost} of {len(rows)} steps ended with one that does not",
                "propose strings through problem.refill, or filter them with problem.survives",
            )


def _survived(subject: Subject, what: str, mend: str, **changes: Any) -> None:
    """Whether a search in trouble has a row for each example and step."""
    for case in cases(subject, **changes):
        steps = int(attack_of(subject).params.steps)
        try:
            rows = searched(subject, case).rows
        except UnmetError:
            raise
        except Exception as error:
            raise UnmetError(f"a search that goes on when {what}", str(error), mend) from error
        if len(rows) != steps * len(case.examples):
            raise UnmetError(
                f"a row for each of {len(case.examples)} examples and {steps} steps when {what}",
                f"{len(rows)} rows",
                mend,
            )


def _no_survivor(subject: Subject) -> None:
    _survived(
        subject,
        "no string survives tokenisation",
        "problem.refill then gives no rows: score none, and return the state as it is (state.best does)",
        hopeless=True,
    )


def _no_number(subject: Subject) -> None:
    mend = "a loss may be NaN: state.best and state.latest pass over such; compare with np.isfinite elsewhere"
    _survived(subject, "losses are NaN", mend, wrap=Numberless)


def _blocked(subject: Subject) -> None:
    mend = "a guard may refuse every prompt: losses are inf, answers None, logits NaN"
    _survived(subject, "a guard refuses every prompt", mend, layers=(Layer(BlockAll(), {}),))


def _limited(subject: Subject) -> None:
    for case in cases(subject):
        limited = case.threat.model_copy(update={"queries": 3})
        rows = searched(subject, Case(case.examples, limited, case.tokenizer, case.answers)).rows
        if any(sum(row.queries for row in rows if row.example == one.id) > 3 for one in case.examples):
            raise UnmetError("at most 3 queries", "more", "report this: the engine keeps the limit")


def _group(subject: Subject) -> None:
    size = subject.fresh().group()
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UnmetError("group() gives how many examples share a string, at least 1", repr(size), "return an int")


CHECKS = (
    Check("group", "how many examples share a string is a number from 1 on", _group),
    Check("access", "it never asks for more than the access it declares", _access),
    Check("deterministic", "its records follow from the seed alone", _seeded),
    Check("independent", "no example's records depend on the others", _company),
    Check("plain_state", "its state is plain data", _plain_state),
    Check("resumes", "cut between any two steps and gone on, it gives the same records", _resumes),
    Check("threat_model", "it keeps to the threat model on made-up prompts, tokenizers and threats", _threat),
    Check("survives", "most of its strings survive tokenisation where most strings do", _survives),
    Check("no_survivor", "it goes on when no string survives tokenisation", _no_survivor),
    Check("nan_losses", "it goes on when losses are NaN", _no_number),
    Check("blocked", "it goes on when a guard refuses every prompt", _blocked),
    Check("limits", "it can be ended by a limit on queries", _limited),
)
