"""`Sample` and `Generate` through the engine: a beam search written here runs on a real tiny language model, is
metered, stopped and taken up again; what is malformed, not granted or not answered is an error in words.
"""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.attack import Attack
from harness.api.model.backend import Generated, GenerateItem, Sampled, SampleItem
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Generate, Sample, SampleAnswer, Score
from harness.api.runtime_defense import GuardDefense, TransformDefense
from harness.api.threat import Threat
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_attack
from harness.engine.meter import StepMeter
from harness.engine.search.search import Search
from harness.engine.torch.backend import TorchBackend
from harness.errors import AccessError, PluginError, VictimError
from harness.flops import Flops
from harness.records.journal import Journal
from harness.rng import named_seed
from harness.tokens.hf_tokenizer import HFTokenizer
from tests.engine.hub_models import byte_bpe, random_model
from tests.engine.toy import ToyBackend, searching, toy_examples, without_time

THREAT = Threat(tokens=4)


class Beams(Attack):
    """Beam search over samples of the victim itself, then a question in text; the answers go into memory."""

    name = "beams"
    access = "scores"

    class Params(Attack.Params):
        steps: int = 3
        width: int = 2
        branching: int = 3

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Any:
        beams = np.empty((1, 0), dtype=np.int64)
        for _ in range(problem.budget):
            answer: SampleAnswer = yield Sample(beams, self.params.branching, int(rng.integers(1 << 31)), top=50)
            longer = np.concatenate([np.repeat(beams, answer.tokens.shape[1], 0), answer.tokens.reshape(-1, 1)], 1)
            best = np.argsort(-answer.log_probs.ravel(), kind="stable")[: self.params.width]
            beams = longer[best]
        losses = yield Score(beams)
        new = state.best(beams, losses)
        prompts = tuple(problem.prompts(beams))
        said = yield Generate(prompts, max_tokens=6, temperature=0.8, seed=int(rng.integers(1 << 31)))
        return State(new.tokens, new.loss, {"said": [*state.memory.get("said", []), said]})


@cache
def tokenizer() -> HFTokenizer:
    return HFTokenizer(byte_bpe())


def language_model() -> TorchBackend:
    model = random_model("gpt_neox", "label_tokens", tokenizer().vocabulary)
    model.generation_config.eos_token_id = list(range(0, tokenizer().vocabulary, 12))
    return TorchBackend(model, tokenizer(), "label_tokens", (" POSITIVE", " NEGATIVE"))


@cache
def shared() -> TorchBackend:
    return language_model()


def problems_of(backend: Any, count: int = 3, threat: Threat = THREAT) -> list[Problem]:
    allowed = allowed_tokens(backend.tokenizer)
    return [place(example, threat, backend.tokenizer, allowed) for example in toy_examples(count)]


def search_of(backend: Any, attack: Attack, layers: tuple[Layer, ...] = (), **options: Any) -> Search:
    settings = {"names": (0, "cell"), "granted": "scores"} | options
    return searching(DefendedVictim(backend, layers), attack, **settings)


# -- a whole search ----------------------------------------------------------------------------------------------------


def test_a_search_is_the_same_side_by_side_and_one_by_one() -> None:
    backend = shared()
    whole = search_of(backend, Beams()).run(problems_of(backend))
    alone = [search_of(backend, Beams()).run([problem]) for problem in problems_of(backend)]
    for key in ("attack_text", "attack_tokens", "queries", "attack_nominal"):
        assert [getattr(row, key) for row in whole.rows] == [getattr(row, key) for one in alone for row in one.rows]
    assert [string.state.memory for string in whole.strings] == [one.strings[0].state.memory for one in alone]
    said = [text for string in whole.strings for texts in string.state.memory["said"] for text in texts]
    assert len(said) == 3 * 3 * 2
    assert all(isinstance(text, str) for text in said)
    assert len(set(said)) > 9


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("guarded", [False, True])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path: Any, cut: int, guarded: bool) -> None:
    layers = (Layer(NoCapitals(), {}),) if guarded else ()

    class StoppedError(Exception):
        pass

    def stop(round: int, _rows: Any) -> None:
        if round == cut:
            raise StoppedError

    # Backends of their own: what one remembers must not make the other's compute smaller.
    whole = search_of(language_model(), Beams(), layers).run(problems_of(shared()))
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(StoppedError):
        search_of(language_model(), Beams(), layers).run(problems_of(shared()), journal, stop)
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert len(journal.entries) == cut
        again = search_of(language_model(), Beams(), layers).run(problems_of(shared()), journal)
    assert without_time(again.rows) == without_time(whole.rows)
    assert [string.state for string in again.strings] == [string.state for string in whole.strings]


def test_requests_are_metered() -> None:
    backend = language_model()
    (problem,) = problems_of(backend, 1)
    rng = np.random.default_rng(0)
    strings = rng.choice(problem.allowed, size=(5, 2))
    meter = StepMeter()
    DefendedVictim(backend).sample([(problem, Sample(strings, 3, 7), meter)])
    assert meter.queries == 5
    assert meter.attack.nominal == 2 * backend.n_params * 5 * (len(problem.before) + 2)
    (alone,) = backend.sample([SampleItem(problem.before, strings, problem.allowed, 3, 7)])
    assert 0 < alone.executed < meter.attack.executed  # the beginning was computed, and is remembered

    meter = StepMeter()
    prompts = ("The quick brown fox", "good", "The quick brown fox")
    ((*texts,),) = DefendedVictim(backend).generate([(problem, Generate(prompts, 9, 1.0, seed=5), meter)])
    items = [GenerateItem(prompt, 9, 1.0, named_seed("generate", 5, at)) for at, prompt in enumerate(prompts)]
    answers = backend.generate(items)
    assert texts == [answer.text for answer in answers]
    assert texts[0] != texts[2]  # equal prompts are drawn apart
    assert meter.queries == 3
    assert meter.attack.nominal == 2 * backend.n_params * sum(a.prompt_tokens + a.new_tokens for a in answers)
    assert meter.attack.executed == pytest.approx(sum(answer.executed for answer in answers))


def test_a_victim_of_unknown_size_costs_an_unknown_amount_and_is_recorded_as_such(tmp_path: Any) -> None:
    backend = language_model()
    backend.n_params = None
    problems = problems_of(backend, 2)
    with Journal(tmp_path / "journal.jsonl") as journal:
        rows = search_of(backend, Beams()).run(problems, journal).rows
    assert all(np.isnan(row.attack_nominal) and row.attack_executed > 0 for row in rows)
    with Journal(tmp_path / "journal.jsonl") as journal:
        again = search_of(backend, Beams()).run(problems, journal)
    assert len(again.rows) == len(rows)
    assert np.isnan(again.cost.nominal)
    assert again.cost.executed == pytest.approx(sum(row.attack_executed for row in rows))


def test_requests_of_many_examples_are_answered_together() -> None:
    class Counting(TorchBackend):
        calls: list[tuple[str, int]]

        def sample(self, items: Any) -> list[Sampled]:
            self.calls.append(("sample", len(items)))
            return super().sample(items)

        def generate(self, items: Any) -> list[Generated]:
            self.calls.append(("generate", len(items)))
            return super().generate(items)

    model = random_model("gpt_neox", "label_tokens", tokenizer().vocabulary)
    backend = Counting(model, tokenizer(), "label_tokens", (" POSITIVE", " NEGATIVE"))
    backend.calls = []
    search_of(backend, Beams(Beams.Params(steps=1))).run(problems_of(backend))
    assert backend.calls == [("sample", 3)] * 4 + [("generate", 6)]


# -- defenses ----------------------------------------------------------------------------------------------------------


class NoCapitals(GuardDefense):
    """Refuses prompts with a capital Z."""

    name = "no_capitals"

    def blocks(self, texts: Any, fitted: Any) -> list[bool]:
        return ["Z" in text for text in texts]

    def cost(self, text: str) -> Flops:
        return Flops(1.0, 2.0)


class Lower(TransformDefense):
    """Writes prompts in small letters."""

    name = "lower"

    def apply(self, texts: Any) -> list[str]:
        return [text.lower() for text in texts]

    def cost(self, text: str) -> Flops:
        return Flops(10.0, 20.0)


def test_generation_goes_through_guards_and_transforms_and_the_blocked_are_none() -> None:
    backend, meter = shared(), StepMeter()
    (problem,) = problems_of(backend, 1)
    request = Generate(("The QUICK fox", "A Z", "good GREAT"), 7)
    victim = DefendedVictim(backend, [Layer(NoCapitals(), {}), Layer(Lower(), {})])
    ((first, blocked, last),) = victim.generate([(problem, request, meter)])
    wanted = backend.generate([GenerateItem("the quick fox", 7), GenerateItem("good great", 7)])
    assert (first, blocked, last) == (wanted[0].text, None, wanted[1].text)
    assert meter.queries == 3
    assert meter.defense == Flops(3 * 1.0 + 2 * 10.0, 3 * 2.0 + 2 * 20.0)
    assert meter.attack.nominal == 2 * backend.n_params * sum(a.prompt_tokens + a.new_tokens for a in wanted)

    def all_blocked(state: State, problem: Problem, rng: Any) -> Any:
        assert (yield Generate(("Z",), 3)) == [None]
        assert (yield Generate((), 3)) == []
        return state

    rows = search_of(backend, Odd(all_blocked), victim.layers).run([problem]).rows
    assert (rows[0].queries, rows[0].attack_nominal, rows[0].defense_nominal) == (1, 0.0, 1.0)


def test_samples_are_the_bare_models_behind_a_guard_and_refused_behind_a_transform() -> None:
    backend, meter = shared(), StepMeter()
    (problem,) = problems_of(backend, 1)
    request = Sample(problem.allowed[None, :2], 4, 1)
    (behind,) = DefendedVictim(backend, [Layer(NoCapitals(), {})]).sample([(problem, request, meter)])
    (bare,) = DefendedVictim(backend).sample([(problem, request, meter)])
    assert behind.tokens.tolist() == bare.tokens.tolist()
    assert meter.defense == Flops()
    with pytest.raises(AccessError, match=r"defense lower: rewrites the prompt.*use an attack that"):
        search_of(backend, Beams(), (Layer(Lower(), {}),)).run([problem])


# -- what is wrong with a request --------------------------------------------------------------------------------------


class Odd(Attack):
    """An attack whose step is given by the test."""

    name = "odd"

    class Params(Attack.Params):
        steps: int = 1

    _made = count()

    def __init__(self, step: Any) -> None:
        super().__init__()
        self._step, self._number = step, next(self._made)

    def fingerprint(self) -> dict[str, str]:
        return {"step": str(self._number)}

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Any:
        return (yield from self._step(state, problem, rng))


def asking(request: Any) -> Odd:
    def step(state: State, problem: Problem, rng: Any) -> Any:
        yield request(problem) if callable(request) else request
        return state

    return Odd(step)


FIT = np.asarray([[40, 41]])
BAD: list[tuple[Any, str]] = [
    (Sample(np.asarray([40, 41]), 2, 0), "integer array"),
    (Sample(np.asarray([[0.5]]), 2, 0), "integer array"),
    (Sample(np.full((2, 4), 40), 2, 0), "4 tokens per string and the next one, the threat model allows 4"),
    (Sample(np.full((1, 1), 10**6), 2, 0), "token ids must lie in"),
    (Sample(np.full((1, 1), -1), 2, 0), "token ids must lie in"),
    (Sample(np.full((1, 1), 0), 2, 0), "token 0 is not allowed by the threat model"),
    (Sample(FIT, 0, 0), "Sample.k must be at least 1, got 0"),
    (Sample(FIT, 1.5, 0), "integer"),  # type: ignore[arg-type]
    (Sample(FIT, 2, "a"), "integer"),  # type: ignore[arg-type]
    (Sample(FIT, 2, 0, top=0), "Sample.top must be at least 1, got 0"),
    (Generate("a prompt"), "Generate.prompts must be a tuple of strings"),  # type: ignore[arg-type]
    (Generate(("a", None)), "Generate.prompts must be a tuple of strings"),  # type: ignore[arg-type]
    (Generate(("a",), max_tokens=0), "Generate.max_tokens must be at least 1, got 0"),
    (Generate(("a",), max_tokens=2.5), "integer"),  # type: ignore[arg-type]
    (Generate(("a",), temperature=-1.0), "Generate.temperature must be 0 or above, got -1.0"),
    (Generate(("a",), temperature=float("nan")), "Generate.temperature must be 0 or above, got nan"),
    (Generate(("a",), temperature=float("inf")), "Generate.temperature must be 0 or above, got inf"),
    (Generate(("a",), seed=None), "integer"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("request_", "words"), BAD, ids=[words[:30] for _, words in BAD])
def test_a_bad_request_names_attack_example_and_step(request_: Any, words: str) -> None:
    with pytest.raises(PluginError, match="attack odd, example validation-00000, step 1: bad request: ") as caught:
        search_of(shared(), asking(request_)).run(problems_of(shared(), 1))
    assert words in str(caught.value)


def test_numpy_numbers_and_huge_seeds_are_fine() -> None:
    def step(state: State, problem: Problem, rng: Any) -> Any:
        answer = yield Sample(FIT, np.int64(2), np.int64(-5), np.int64(9))  # type: ignore[arg-type]
        assert answer.tokens.shape == (1, 2)
        answer = yield Sample(FIT, 2, 10**30)
        assert answer.tokens.shape == (1, 2)
        answer = yield Sample(np.empty((0, 3), dtype=np.int64), 2, 0)
        assert answer.tokens.shape == (0, 2)
        texts = yield Generate(["a", "b"], np.int64(2), np.float32(0.5), 10**30)  # type: ignore[arg-type]
        assert len(texts) == 2
        return state

    search_of(shared(), Odd(step)).run(problems_of(shared(), 2))


def test_access_is_checked_where_the_request_arrives() -> None:
    backend = shared()
    with pytest.raises(AccessError, match=r"beams.*asked for scores, the threat model grants text"):
        search_of(backend, Beams(), granted="text").run(problems_of(backend))
    rows = search_of(backend, asking(Generate(("a",), 2)), granted="text").run(problems_of(backend, 1)).rows
    assert rows[0].queries == 1


@pytest.mark.parametrize(("request_", "name"), [(Sample(FIT, 2, 0), "sample"), (Generate(("a",), 2), "generate")])
def test_a_victim_without_the_ability_is_named_with_a_mend(request_: Any, name: str) -> None:
    backend = ToyBackend()
    words = (
        rf"attack odd, example .* step 1: this victim does not answer {name} requests \(it answers gradient, score\)"
    )
    with pytest.raises(AccessError, match=words + "; use a language model"):
        search_of(backend, asking(request_)).run(problems_of(backend, 1))
    for ask in (lambda: backend.sample([]), lambda: backend.generate([])):
        with pytest.raises(AccessError, match="does not answer"):
            ask()


def test_a_prompt_beyond_the_context_is_an_error_in_words() -> None:
    with pytest.raises(VictimError, match="leaves no room for an answer"):
        search_of(shared(), asking(Generate(("fox " * 300,), 2))).run(problems_of(shared(), 1))


# -- planning ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_samples_and_answers() -> None:
    found = dry_run_attack(Beams(Beams.Params(width=2, branching=3)), THREAT)
    assert (found.scored, found.differentiated, found.sampled, found.answered) == (2, 0, 1 + 2 + 2 + 2, 2)
    assert found.text_tokens == 2 * (6 + THREAT.tokens / 4)
    assert found.nominal(1000, 50.0) == 2 * 1000 * (50.0 * (2 + 7 + 2) + found.text_tokens)
    assert np.isnan(found.nominal(None, 50.0))


@given(
    n=st.integers(0, 4),
    m=st.integers(0, 3),
    k=st.integers(1, 2000),
    top=st.none() | st.integers(1, 2000),
    seed=st.integers(),
)
@settings(max_examples=30, deadline=None)
def test_made_up_answers_have_the_right_form(n: int, m: int, k: int, top: int | None, seed: int) -> None:
    def step(state: State, problem: Problem, rng: Any) -> Any:
        strings = rng.choice(problem.allowed, size=(n, m))
        answer = yield Sample(strings, k, seed, top)
        width = min(k, len(problem.allowed), top or len(problem.allowed))
        assert answer.tokens.shape == answer.log_probs.shape == (n, width)
        assert np.isin(answer.tokens, problem.allowed).all()
        assert (answer.log_probs <= 0).all()
        texts = yield Generate(("a", "b"), max_tokens=1 + k)
        assert len(texts) == 2
        assert all(text and isinstance(text, str) for text in texts)
        return state

    found = dry_run_attack(Odd(step), THREAT)
    assert (found.sampled, found.answered) == (n, 2)
