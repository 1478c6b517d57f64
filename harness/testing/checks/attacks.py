"""What an attack promises."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from harness.engine.defended.layer import Layer
from harness.engine.search.search import Search
from harness.errors import AccessError, DataError
from harness.hashing import canonical_json
from harness.isolation.process_state import global_seed
from harness.records.journal import Journal
from harness.records.step_row import StepRow
from harness.testing.checks.attack_runs import (
    LimitedRequests,
    attackable_kinds,
    expect_same,
    fresh_attack,
    ordinary_cases,
    run_attack,
)
from harness.testing.plugin_under_test import Subject
from harness.testing.results import Check, NotApplicableError, UnmetError
from harness.testing.toys.examples import Case, choose_at_random, describe_case, made_up
from harness.testing.toys.faulty import Numberless
from harness.testing.toys.plugins import BlockAll


def _check_access(subject: Subject) -> None:
    for case in ordinary_cases(subject):
        try:
            run_attack(subject, case)
        except AccessError as error:
            raise UnmetError(
                f"requests within the declared access, {subject.cls.access!r}",  # type: ignore[attr-defined]
                str(error),
                "declare the access that the attack needs: gradient for Gradient and RelaxedGradient; scores for "
                "Score, Sample and Classify; text for Generate; latent for Perturb",
            ) from None


def _check_deterministic(subject: Subject) -> None:
    for case in ordinary_cases(subject):
        runs: list[list[StepRow]] = []
        for seed in (0, 1):
            with global_seed(seed):
                runs.append(run_attack(subject, case).rows)
        expect_same(
            runs[0],
            runs[1],
            "the same records from the same seed",
            "draw from the `rng` that `start` and `step` are given, never from random or np.random; keep no set's "
            "order and no time in a decision",
        )


def _check_independent(subject: Subject) -> None:
    for case in ordinary_cases(subject):
        together = run_attack(subject, case).rows
        alone = run_attack(subject, case, together=1).rows
        expect_same(
            together,
            alone,
            "the same records whether examples are searched side by side or one after the other",
            "keep what a search remembers in the State (state.memory), never on `self`: one instance serves all "
            "examples at once",
        )


def _check_resuming(subject: Subject) -> None:
    for case in ordinary_cases(subject):
        whole = run_attack(subject, case).rows
        steps = fresh_attack(subject).params.steps
        for last_step in range(1, steps):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "journal.jsonl"
                search = case.search(fresh_attack(subject), subject.cls.access)  # type: ignore[attr-defined]
                _run_until(search, case, path, last_step)
                with Journal(path) as journal:
                    again = case.search(fresh_attack(subject), subject.cls.access)  # type: ignore[attr-defined]
                    rows = again.run(case.problems(), journal).rows
            expect_same(
                whole,
                rows,
                f"the same records when the run is stopped after step {last_step} and goes on in another process",
                "keep everything that the next step needs in the State, as JSON data with text keys: what comes back "
                "from JSON has lists for tuples and text for keys",
            )


class _StoppedError(Exception):
    pass


def _run_until(search: Search, case: Case, path: Path, last_step: int) -> None:
    def stop(step: int, _rows: list[StepRow]) -> None:
        if step == last_step:
            raise _StoppedError

    with Journal(path) as journal:
        try:
            search.run(case.problems(), journal, stop)
        except _StoppedError:
            return


def _check_plain_state(subject: Subject) -> None:
    for case in ordinary_cases(subject):
        for string in run_attack(subject, case).strings:
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


def _check_threat_model(subject: Subject) -> None:
    kinds = attackable_kinds(subject)
    access = subject.cls.access  # type: ignore[attr-defined]
    searches = 0
    for number in range(subject.examples):
        case = made_up(choose_at_random(number), kinds[number % len(kinds)], access)
        searches += keeps_to_the_threat(subject, case)
    if not searches:
        raise NotApplicableError("the attack says that it cannot be run on any of the made-up examples")


def keeps_to_the_threat(subject: Subject, case: Case) -> bool:
    """Whether an attack can be run on a case; False where it says that it cannot.

    Raises:
        UnmetError: it breaks the threat model of the case, or raises an error on it.
    """
    attack = LimitedRequests(subject.fresh(steps=2))
    try:
        attack.check(case.data)
    except DataError:
        return False
    try:
        rows = run_attack(subject, case, attack).rows
    except UnmetError:
        raise
    except Exception as error:
        raise UnmetError(
            "a search that ends, whatever the prompt, the tokenizer and the threat model",
            f"{error} ({describe_case(case)})",
            "problem.random_tokens and problem.refill may give fewer strings than asked for, and none; before and "
            "after may be empty",
        ) from error
    broken = [row for row in rows if row.failure and _breaks_threat_model(row.failure)]
    if broken:
        raise UnmetError(
            "strings within the threat model: at most problem.budget tokens, all of problem.allowed",
            f"step {broken[0].step}: {broken[0].failure} ({describe_case(case)})",
            "draw tokens from problem.allowed, and let problem.fitted cut a text to what is allowed",
        )
    return True


def _breaks_threat_model(failure: str) -> bool:
    return "budget" in failure or failure == "token not allowed" or failure.startswith("perturbation beyond")


def _check_survival(subject: Subject) -> None:
    for case in ordinary_cases(subject):
        rows = run_attack(subject, case).rows
        lost = sum(row.failure == "retokenisation" for row in rows)
        if 2 * lost > len(rows):
            raise UnmetError(
                "strings that survive tokenisation, where most strings do",
                f"{lost} of {len(rows)} steps ended with one that does not",
                "propose strings through problem.refill, or filter them with problem.survives",
            )


def _expect_all_rows(subject: Subject, what: str, mend: str, **changes: Any) -> None:
    """Raise UnmetError where a search under trouble lacks a row for an example and step.

    Args:
        what: the trouble, in words.
        changes: of the ordinary case, that bring it about.
    """
    for case in ordinary_cases(subject, **changes):
        steps = int(fresh_attack(subject).params.steps)
        try:
            rows = run_attack(subject, case).rows
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


def _check_no_survivor(subject: Subject) -> None:
    _expect_all_rows(
        subject,
        "no string survives tokenisation",
        "problem.refill then gives no rows: score none, and return the state as it is (state.best does)",
        hopeless=True,
    )


def _check_nan_losses(subject: Subject) -> None:
    mend = "a loss may be NaN: state.best and state.latest pass over such; compare with np.isfinite elsewhere"
    _expect_all_rows(subject, "losses are NaN", mend, wrap=Numberless)


def _check_blocked(subject: Subject) -> None:
    mend = "a guard may refuse every prompt: losses are inf, answers None, logits NaN"
    _expect_all_rows(subject, "a guard refuses every prompt", mend, layers=(Layer(BlockAll(), {}),))


def _check_limits(subject: Subject) -> None:
    for case in ordinary_cases(subject):
        limited = case.threat.model_copy(update={"queries": 3})
        rows = run_attack(subject, Case(case.examples, limited, case.tokenizer, case.answers)).rows
        if any(sum(row.queries for row in rows if row.example == one.id) > 3 for one in case.examples):
            raise UnmetError("at most 3 queries", "more", "report this: the engine keeps the limit")


def _check_group(subject: Subject) -> None:
    size = subject.fresh().group()
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UnmetError("group() gives how many examples share a string, at least 1", repr(size), "return an int")


CHECKS = (
    Check("group", "how many examples share a string is a number from 1 on", _check_group),
    Check("access", "it never asks for more than the access it declares", _check_access),
    Check("deterministic", "its records follow from the seed alone", _check_deterministic),
    Check("independent", "no example's records depend on the others", _check_independent),
    Check("plain_state", "its state is plain data", _check_plain_state),
    Check("resumes", "stopped between any two steps and continued, it gives the same records", _check_resuming),
    Check(
        "threat_model",
        "it stays within the threat model on made-up prompts, tokenizers and threats",
        _check_threat_model,
    ),
    Check("survives", "most of its strings survive tokenisation where most strings do", _check_survival),
    Check("no_survivor", "it goes on when no string survives tokenisation", _check_no_survivor),
    Check("nan_losses", "it goes on when losses are NaN", _check_nan_losses),
    Check("blocked", "it goes on when a guard refuses every prompt", _check_blocked),
    Check("limits", "it can be ended by a limit on queries", _check_limits),
)
