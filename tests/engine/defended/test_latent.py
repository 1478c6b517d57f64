"""Latent attacks through the engine: the harness judges the perturbed model, keeps to the radius, and meters it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.api.attack import Attack
from harness.api.judge import Answer, Judge
from harness.api.model.backend import LatentItem, PerturbItem
from harness.api.problem.latent import SLACK, Latent
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Gradient, Perturb, PerturbAnswer, Request
from harness.api.runtime_defense import GuardDefense, TransformDefense
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_attack
from harness.engine.losses import cross_entropy
from harness.engine.search.budget import SearchBudget
from harness.engine.search.request_kinds import kind_of
from harness.engine.torch.backend import TorchBackend
from harness.errors import AccessError, PluginError, VictimError
from harness.flops import Flops
from harness.records.journal import Journal
from harness.records.string_failure import BEYOND_RADIUS
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.attacks.latent import LatentAttack
from plugins.judges.labels import WrongLabel
from tests.engine.hub_models import byte_bpe, random_model
from tests.engine.toy import ToyBackend, searching, without_time

THREAT = Threat(tokens=4, access="latent", radius=0.8)


@cache
def model(head: str = "classification", family: str = "qwen2") -> TorchBackend:
    tokenizer = HFTokenizer(byte_bpe())
    kind = "classification" if head == "classification" else "label_tokens"
    return TorchBackend(random_model(family, kind, tokenizer.vocabulary), tokenizer, head)  # type: ignore[arg-type]


def victim(*layers: Layer, head: str = "classification", family: str = "qwen2") -> DefendedVictim:
    return DefendedVictim(model(head, family), layers, answer_tokens=6)


def problems(count: int = 3, threat: Threat = THREAT, head: str = "classification") -> list[Problem]:
    tokenizer = model(head).tokenizer
    labels = {"label": 0, "proxy_label": 1} if head == "classification" else {"target": " Sure"}
    examples = [
        Example(f"v-{i}", (Chunk(f"Tell me of {thing}", Edit.PERTURBABLE), Chunk(":")), **labels)  # type: ignore[arg-type]
        for i, thing in enumerate(("a red kite", "an old bell", "one more map")[:count])
    ]
    return [place(example, threat, tokenizer, allowed_tokens(tokenizer)) for example in examples]


def latent(**params: Any) -> LatentAttack:
    return LatentAttack(LatentAttack.Params(**({"steps": 3} | params)))


class Odd(Attack):
    """Returns the state, or yields the requests, that it is told to."""

    name = "odd"
    access = "latent"

    def __init__(self, make: Any, *requests: Request) -> None:
        super().__init__(self.Params(steps=1))
        self.make, self.requests, self.answers = make, requests, []

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Any:
        for request in self.requests:
            self.answers.append((yield replace(request, tokens=state.array)))
        return self.make(state)


def run(attack: Attack, *layers: Layer, **options: Any) -> Any:
    options = {"granted": "latent", "judge": WrongLabel()} | options
    them = options.pop("problems", None) or problems(1)
    return searching(victim(*layers), attack, **options).run(them)


# -- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 1])
def test_rows_are_verdicts_on_the_perturbed_model(layer: int) -> None:
    result = run(latent(layer=layer, steps=4), problems=problems())
    assert len(result.rows) == 12
    ends = {problem.example.id: (problem, state) for problem, state in result.ends()}
    for row in result.rows:
        assert row.failure is None
        assert row.loss == pytest.approx(row.attack_loss, abs=1e-5)  # what the attack knows is what is judged
        problem, state = ends[row.example]
        assert problem.survives(np.asarray([row.attack_tokens])).all()
        if row.step < 4:
            continue
        found = LatentItem(problem.prompt(row.attack_text), len(problem.before), state.latent, 1)
        (answer,) = model().answer_perturbed([found])
        assert row.predicted == int(answer.logits.argmax())
        assert row.success == (row.predicted != 0)
        assert row.loss == pytest.approx(float(cross_entropy(answer.logits, 1)), abs=1e-5)
        (plain,) = victim().ask([problem.prompt(row.attack_text)])
        assert row.loss < plain.answer(1).loss  # the string alone is not what did it


class Vowels(Judge):
    """The answer holds many vowels."""

    name = "vowels"
    reads = "text"

    def success(self, example: Example, answer: Answer) -> bool:
        assert answer.text is not None
        return sum(c in "aeiou" for c in answer.text) > 1


def test_answers_in_text_are_said_by_the_perturbed_model() -> None:
    attack = latent(steps=3, step_size=1.0)
    them = problems(head="generation", threat=Threat(tokens=4, access="latent", radius=3.0))
    searched = searching(victim(head="generation"), attack, granted="latent", judge=Vowels())
    result = searched.run(them)
    made, n = model("generation"), model("generation").n_params
    assert n is not None
    different = 0
    for problem, state in result.ends():
        row = [row for row in result.rows if row.example == problem.example.id][-1]
        prompt = problem.prompt(row.attack_text)
        (answer,) = made.answer_perturbed([LatentItem(prompt, len(problem.before), state.latent, problem.target, 6)])
        assert answer.said is not None
        assert (row.answer, row.predicted) == (answer.said.text, None)
        assert row.loss == pytest.approx(answer.loss, abs=1e-5)
        assert row.attack_loss == pytest.approx(answer.loss, abs=1e-4)
        length = answer.said.prompt_tokens
        assert row.judge_nominal == 2.0 * n * (2 * length + answer.said.new_tokens)
        (plain,) = searched.models.victim.ask([prompt], [problem.target])
        assert answer.loss < plain.nll
        different += plain.text != row.answer
    assert different


def perturbing(size: float, layer: int = 0, seed: int = 0) -> Any:
    """Gives a state a random perturbation, of this length in units of the activations' own."""

    def make(state: State) -> State:
        (problem,) = problems(1)
        item = PerturbItem(problem.before, state.array, problem.after, 1, layer)
        scale = model().perturb([item])[0].answer.scale
        delta = np.random.default_rng(seed).normal(size=(len(state.tokens), 32))
        delta[1:] *= 0.1  # the longest counts
        return replace(state, latent=Latent.of(size * scale * delta / np.linalg.norm(delta[0]), layer))

    return make


@pytest.mark.parametrize("layer", [0, 1])
def test_the_harness_keeps_to_the_radius(layer: int) -> None:
    for size, failure in (
        (0.79, None),
        (0.8, None),
        (0.8 * (1 + 2 * SLACK), BEYOND_RADIUS),
        (5.0, BEYOND_RADIUS),
        (1e25, BEYOND_RADIUS),
    ):
        (row,) = run(Odd(perturbing(size, layer))).rows
        assert row.failure == failure
        if failure:
            assert (row.success, row.predicted, row.loss) == (False, None, None)
            assert row.judge_nominal > 0  # it took a forward to find out
        assert row.attack_text is not None


def test_beyond_the_radius_nothing_is_said() -> None:
    """A model that would answer NaN is measured all the same, and says nothing."""

    def far(state: State) -> State:
        # Sums and differences of these both overflow, so LayerNorm makes NaN of them however it is computed.
        row = np.where(np.arange(32) < 24, 3e38, -3e38)
        return replace(state, latent=Latent.of(np.tile(row, (len(state.tokens), 1)), 0))

    them = problems(1, head="generation")
    normed = victim(head="generation", family="gpt_neox")  # an RMSNorm makes zeros of what overflows
    (row,) = searching(normed, Odd(far), granted="latent", judge=Vowels()).run(them).rows
    n = normed.backend.n_params
    assert n is not None
    assert (row.failure, row.answer, row.loss, row.success) == (BEYOND_RADIUS, None, None, False)
    assert row.judge_nominal == 2.0 * n * (len(them[0].before) + 4 + len(them[0].after))
    inside = replace(them[0], radius=1e40)  # where it is allowed, it is told
    with pytest.raises(
        VictimError,
        match=r"with its activations perturbed .a smaller radius may help. the model answered NaN in float32",
    ):
        searching(normed, Odd(far), granted="latent", judge=Vowels()).run([inside])


class Refuses(GuardDefense):
    """Refuses everything."""

    name = "refuses"
    seen: list[str] = []  # noqa: RUF012

    def blocks(self, texts: Any, fitted: dict[str, Any]) -> list[bool]:
        self.seen.extend(texts)
        return [True for _ in texts]

    def cost(self, text: str) -> Flops:
        return Flops(7.0, 8.0)


class Capitals(TransformDefense):
    """Writes it large."""

    name = "capitals"

    def apply(self, texts: Any) -> list[str]:
        return [text.upper() for text in texts]

    def cost(self, text: str) -> Flops:
        return Flops()


def test_a_guard_sees_the_string_that_carries_the_perturbation() -> None:
    (row,) = run(latent(steps=1), Layer(Refuses(), {})).rows
    (problem,) = problems(1)
    assert Refuses.seen == [problem.prompt(row.attack_text)]
    assert (row.success, row.predicted, row.failure) == (False, None, None)
    assert row.loss == float("inf")
    assert (row.judge_nominal, row.defense_nominal) == (0.0, 7.0)
    assert row.attack_nominal > 0


def test_behind_a_transform_there_is_nothing_to_perturb() -> None:
    with pytest.raises(AccessError, match="defense capitals: rewrites the prompt, so it has no place to perturb"):
        run(latent(steps=1), Layer(Capitals(), {}))
    with pytest.raises(AccessError, match="defense capitals"):
        run(Odd(perturbing(0.5)), Layer(Capitals(), {}))


def test_a_victim_that_cannot_be_perturbed_says_so() -> None:
    backend = ToyBackend()
    example = Example("v", (Chunk("The fox", Edit.PERTURBABLE),), 0, 1)
    problem = place(example, THREAT, backend.tokenizer, allowed_tokens(backend.tokenizer))
    search = searching(DefendedVictim(backend), latent(), granted="latent", judge=WrongLabel())
    with pytest.raises(
        AccessError,
        match=r"step 1: this victim does not answer perturb requests \(it answers gradient, score\); use a vic",
    ):
        search.run([problem])
    unasked = Odd(lambda state: replace(state, latent=Latent.of(np.zeros((4, 3)), 0)))
    with pytest.raises(AccessError, match="does not answer perturb requests"):
        searching(DefendedVictim(backend), unasked, granted="latent", judge=WrongLabel()).run([problem])


# -- access -----------------------------------------------------------------------------------------------------------


def test_a_perturbation_must_be_granted_and_confessed() -> None:
    with pytest.raises(AccessError, match="asked for latent, the threat model grants gradient"):
        run(latent(), granted="gradient")
    with pytest.raises(
        AccessError, match="odd, example v-0, step 1: returned a perturbation, the threat model grants g"
    ):
        run(Odd(perturbing(0.5)), granted="gradient")
    hidden = Odd(perturbing(0.5))
    hidden.access = "gradient"  # type: ignore[misc]
    with pytest.raises(
        PluginError, match="its access is 'gradient'; write access = 'latent', so that it is not ranked"
    ):
        run(hidden)
    with pytest.raises(AccessError, match="asked for a perturbation, and the threat model has no radius"):
        run(latent(), problems=problems(1, Threat(tokens=4)))
    (row,) = run(Odd(lambda state: state, Gradient(np.zeros(4, dtype=np.int64), 3))).rows
    assert row.failure is None  # latent includes gradient


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Latent(0, (3, 32), Latent.of(np.zeros((3, 32)), 0).data), r"\[3, 32\] of layer 0 does not fit 4 tokens"),
        (Latent(-1, (4, 32), Latent.of(np.zeros((4, 32)), 0).data), "of layer -1 does not fit"),
        (Latent(0, (4, 32), Latent.of(np.zeros((4, 31)), 0).data), "has 512 bytes of float32, found 496"),
        (Latent(0, (4, 32), "?!"), "not base64"),
        (Latent.of(np.full((4, 32), np.inf), 0), "entry that is not finite"),
        ({"layer": 0}, "latent is what Latent.of makes"),
    ],
)
def test_a_state_with_a_perturbation_that_is_none(made: Any, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        run(Odd(lambda state: replace(state, latent=made)))


def test_a_perturbation_that_does_not_fit_the_model() -> None:
    with pytest.raises(VictimError, match="width 31, and the activations of layer 1 have width 32"):
        run(Odd(lambda state: replace(state, latent=Latent.of(np.zeros((4, 31)), 1))))
    with pytest.raises(VictimError, match="layer 5: Qwen2ForSequenceClassification has layers 1 to 2"):
        run(latent(layer=5))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Perturb(np.zeros(4), None, -1), "Perturb.layer is 0 for the embeddings or the number of a layer, got -1"),
        (
            Perturb(np.zeros(4), np.zeros((3, 32))),
            r"Perturb.delta must be finite, of shape \[4, width\], got \[3, 32\]",
        ),
        (Perturb(np.zeros(4), np.full((4, 32), np.nan)), "must be finite"),
        (Perturb(np.zeros(4), None, 0.5), "'float' object cannot be interpreted as an integer"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_request_is_told(request_: Perturb, words: str) -> None:
    with pytest.raises(PluginError, match=f"bad request: .*{words}"):
        run(Odd(lambda state: state, request_))


# -- what it costs ----------------------------------------------------------------------------------------------------


def test_a_request_costs_a_forward_and_a_backward() -> None:
    (problem,) = problems(1)
    attack = Odd(lambda state: state, Perturb(np.zeros(4)))
    (row,) = run(attack).rows
    n, tokens = model().n_params, len(problem.before) + 4 + len(problem.after)
    assert n is not None
    assert (row.attack_nominal, row.queries) == (6.0 * n * tokens, 1)
    assert row.judge_nominal == 2.0 * n * tokens
    (answer,) = attack.answers
    assert isinstance(answer, PerturbAnswer)
    assert answer.gradient.shape == (4, 32)
    request = Perturb(np.asarray(row.attack_tokens))
    kind = kind_of(request)
    assert (kind.flops(request, problem, n), kind.sequences(request)) == (row.attack_nominal, 1)
    deep = run(Odd(lambda state: state, Perturb(np.zeros(4), None, 2))).rows[0]
    assert deep.attack_nominal == row.attack_nominal
    assert deep.attack_executed < row.attack_executed  # no backward below the layer


def test_limits_hold() -> None:
    rows = run(latent(steps=5), budget=SearchBudget(queries=3)).rows
    assert [row.queries for row in rows] == [2, 1, 0]
    assert rows[2].attack_loss == rows[1].attack_loss  # the step that was given up changes nothing


def test_an_estimate_needs_no_model() -> None:
    found = dry_run_attack(latent(), THREAT)
    assert (found.differentiated, found.scored) == (1.5, 0.0)  # the first of two steps asks twice
    assert found.nominal(10, 7.0) == 1.5 * 6 * 10 * 7


# -- plain data, groups -----------------------------------------------------------------------------------------------


def test_a_state_is_plain_data() -> None:
    delta = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    state = State((1, 2, 3), 0.5, {"a": 1}, Latent.of(delta, 2))
    again = State.from_json(json.loads(json.dumps(state.to_json())))
    assert again == state
    assert again.latent is not None
    np.testing.assert_array_equal(again.latent.array, delta)
    assert again.latent.length == pytest.approx(np.linalg.norm(delta, axis=1).max())
    bare = State((1,), None, {})
    assert bare.to_json() == {"tokens": [1], "loss": None, "memory": {}}  # as it always was
    assert State.from_json(bare.to_json()) == bare
    broken = state.to_json() | {"latent": {"layer": 2, "shape": [3, 4], "data": Latent.of(delta, 2).data}}
    with pytest.raises(ValueError, match="48 bytes of float32, found 60"):
        State.from_json(broken)


@pytest.mark.parametrize("keep", ["this_step", "best_so_far"])
def test_a_stopped_search_goes_on_where_it_was(tmp_path: Path, keep: str) -> None:
    attack = latent(steps=4, keep=keep, step_size=1.0)
    whole = run(attack, problems=problems()).rows

    class StoppedError(Exception):
        pass

    def stop(number: int, _rows: Any) -> None:
        if number == 2:
            raise StoppedError

    def search() -> Any:
        return searching(victim(), attack, granted="latent", judge=WrongLabel())

    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(StoppedError):
        search().run(problems(), journal, stop)
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert len(journal.entries) == 2
        resumed = search().run(problems(), journal).rows
    plain = [without_time(rows) for rows in (whole, resumed)]
    assert plain[0] == plain[1]


class Shared(LatentAttack):
    """One perturbation for all examples."""

    name = "shared"

    def group(self) -> int:
        return 3


def test_a_shared_perturbation_is_within_the_radius_of_every_example() -> None:
    attack = Shared(Shared.Params(steps=3, layer=1, step_size=1.0))
    result = run(attack, problems=problems())
    (string,) = result.strings
    assert len(result.rows) == 9
    assert {row.failure for row in result.rows} == {None}
    for step in (1, 2, 3):
        rows = [row for row in result.rows if row.step == step]
        assert np.mean([row.loss for row in rows]) == pytest.approx(rows[0].attack_loss, abs=1e-5)
    items = [PerturbItem(p.before, string.state.array, p.after, 1, 1) for p in problems()]
    scales = [found.answer.scale for found in model().perturb(items)]
    assert string.state.latent is not None
    assert string.state.latent.length == pytest.approx(0.8 * min(scales), rel=1e-4)
