"""The latent attack is projected gradient descent, and a run marks what it finds as no text attack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, strategies as st

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Perturb, PerturbAnswer
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.api.victim import VictimCard
from harness.engine.dry_run import FakeTokenizer
from harness.errors import AccessError
from harness.records.read import Cell, read_run
from harness.run.cell.attack import check_access
from harness.spec.cells import CellSpec as Planned
from plugins.attacks.latent import LatentAttack, project_to_ball, unit_gradients
from tests.engine.toy import toy_examples, toy_tokenizer
from tests.run.runs import harness_here

RADIUS, WIDTH, SCALE = 0.5, 6, 2.0


def latent(**params: Any) -> LatentAttack:
    return LatentAttack(LatentAttack.Params(**params))


def pretend_problem(tokens: int = 4) -> Problem:
    """Every string survives tokenisation."""
    empty = np.empty(0, dtype=np.int64)
    example = Example("pretend", (Chunk("", Edit.OVERWRITABLE),), 0, 1)
    return Problem(example, "", "", empty, empty, tokens, np.arange(50), FakeTokenizer(), radius=RADIUS)


class Bowl:
    """Answers as a model whose loss is the distance to a goal."""

    def __init__(self, seed: int = 0, far: float = 10.0) -> None:
        self.goal = far * np.random.default_rng(seed).normal(size=(4, WIDTH))
        self.asked: list[Perturb] = []

    def loss(self, delta: np.ndarray[Any, Any]) -> float:
        return float(np.square(delta - self.goal).sum())

    def answer(self, request: Perturb) -> PerturbAnswer:
        self.asked.append(request)
        delta = np.zeros((4, WIDTH)) if request.delta is None else request.delta
        return PerturbAnswer(self.loss(delta), 2 * (delta - self.goal), SCALE)


def drive(attack: LatentAttack, bowl: Bowl, steps: int) -> list[State]:
    """The states after each step, each as it comes back from a journal."""
    problem, rng = pretend_problem(), np.random.default_rng(0)
    states = [attack.start(problem, rng)]
    for _ in range(steps):
        step = attack.step(states[-1], problem, rng)
        answer: Any = None
        while True:
            try:
                answer = bowl.answer(step.send(answer))
            except StopIteration as stop:
                states.append(State.from_json(json.loads(json.dumps(stop.value.to_json()))))
                break
    return states


# -- the algorithm ----------------------------------------------------------------------------------------------------


def test_the_first_steps_are_as_defined() -> None:
    bowl = Bowl()
    start, first, second = drive(latent(step_size=0.2, layer=3), bowl, 2)
    assert start.latent is None
    assert start.tokens == first.tokens == second.tokens
    assert [request.delta is None for request in bowl.asked] == [True, False, False]
    assert {request.layer for request in bowl.asked} == {3}
    # one step from zero: each token goes its way along its own gradient, 0.2 · radius · scale far
    unit = bowl.goal / np.linalg.norm(bowl.goal, axis=1, keepdims=True)
    assert first.latent is not None
    assert second.latent is not None
    np.testing.assert_allclose(first.latent.array, 0.2 * RADIUS * SCALE * unit, rtol=1e-5)
    rest = bowl.goal - first.latent.array
    onward = first.latent.array + 0.2 * RADIUS * SCALE * rest / np.linalg.norm(rest, axis=1, keepdims=True)
    np.testing.assert_allclose(second.latent.array, onward, rtol=1e-5)
    assert (first.loss, second.loss) == (bowl.loss(first.latent.array), bowl.loss(second.latent.array))
    np.testing.assert_array_equal(bowl.asked[1].delta, first.latent.array)  # what was asked about is what is judged


def test_no_token_leaves_its_ball_and_all_end_at_its_edge_nearest_to_the_goal() -> None:
    bowl = Bowl()
    states = drive(latent(step_size=0.3), bowl, 40)
    for state in states[1:]:
        assert state.latent is not None
        assert np.linalg.norm(state.latent.array, axis=1).max() <= RADIUS * SCALE * (1 + 1e-6)
    best = project_to_ball(bowl.goal, RADIUS * SCALE)
    assert states[-1].latent is not None
    np.testing.assert_allclose(states[-1].latent.array, best, atol=0.02)


def test_the_best_so_far_is_kept_and_the_search_goes_on_from_this_step() -> None:
    near = Bowl(far=0.05)  # a step leaps over the goal and back
    last, best = (drive(latent(step_size=0.9, keep=keep), near, 6) for keep in ("this_step", "best_so_far"))
    # the same way is gone, whatever is kept
    here = [state.memory.get("here", state.latent and state.latent.to_json()) for state in best[1:]]
    assert here == [state.latent and state.latent.to_json() for state in last[1:]]
    losses = [state.loss for state in last[1:]]
    start = near.loss(np.zeros((4, WIDTH)))
    assert [state.loss for state in best[1:]] == [min([start, *losses[: i + 1]]) for i in range(6)]
    assert losses[0] > start  # nothing found is better than nothing
    assert best[1].latent is None


def test_where_there_is_no_slope_nothing_moves() -> None:
    bowl = Bowl(far=0.0)
    (*_, end) = drive(latent(), bowl, 2)
    assert end.latent is not None
    assert not end.latent.array.any()


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_projection_is_onto_the_ball(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    delta = rng.normal(size=(5, 7)) * 10.0 ** rng.integers(-4, 4, size=(5, 1))
    delta[0] = 0.0
    found, length = project_to_ball(delta, limit), np.linalg.norm(delta, axis=1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.minimum(length, limit), rtol=1e-9)
    np.testing.assert_array_equal(found[length <= limit], delta[length <= limit])
    np.testing.assert_allclose(unit_gradients(found)[1:], unit_gradients(delta)[1:], atol=1e-9)
    assert not unit_gradients(delta)[0].any()


def test_the_string_is_as_asked() -> None:
    tokenizer, rng = toy_tokenizer(), np.random.default_rng(0)
    problem = place(toy_examples()[0], Threat(tokens=4), tokenizer, allowed_tokens(tokenizer))
    drawn = {latent().start(problem, rng).tokens for _ in range(3)}
    assert len(drawn) == 3
    texts = {latent(initial=" fox").start(problem, rng).tokens for _ in range(3)}
    assert tokenizer.decode(list(texts)) == [" fox fox fox fox"]


# -- in a run ---------------------------------------------------------------------------------------------------------

TASK = {
    "word_length": {
        "train_size": 500,
        "validation_size": 60,
        "instructions": "Which word is longer?",
        "syllables": "open",
        "min_letters": 4,
        "max_letters": 6,
    }
}
SPEC = {
    "name": "latent",
    "version": "1",
    "tasks": [TASK],
    "victims": [{"tiny": {"size": "7k", "steps": 60, "filler": 0.0}}],
    "attacks": [{"latent": {"steps": 4}}, {"random_token": {"steps": 2, "draws": 4}}],
    "threats": [{"access": "latent", "radius": 1.0, "tokens": 5}],
    "examples": 12,
    "clean_examples": 40,
}


def command(folder: Path, what: str, **changes: Any) -> Any:
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC | changes))
    options = () if what == "validate" else ("--out", "out", *(["--quiet"] if what == "run" else ["--json"]))
    return harness_here(what, "spec.yaml", *options, cwd=folder)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Cell]]:
    folder = tmp_path_factory.mktemp("latent")
    done = command(folder, "run")
    assert done.returncode == 0, done.stderr
    return folder, {cell.record.attack.name: cell for cell in read_run(folder / "out")}


@pytest.mark.slow
def test_records_say_that_it_is_no_text_attack(cells: tuple[Path, dict[str, Cell]]) -> None:
    found = cells[1]
    assert {name: cell.record.space for name, cell in found.items()} == {"latent": "latent", "random_token": "text"}
    record = found["latent"].record
    assert record.threat_label == "suffix, 5 tokens, latent, radius 1"
    assert record.threat["radius"] == 1.0
    assert record.agreement["perturbations"] == {"layers": 2, "difference": 0.0, "reason": ""}
    steps = found["latent"].steps().to_pylist()
    assert len(steps) == 4 * record.n_attacked > 0
    assert {row["failure"] for row in steps} == {None}
    first = {row["example"]: row["attack_text"] for row in steps if row["step"] == 1}
    assert all(row["attack_text"] == first[row["example"]] for row in steps)  # the string stays
    assert np.mean([row["loss"] for row in steps if row["step"] == 4]) < np.mean(
        [row["loss"] for row in steps if row["step"] == 1]
    )
    assert {row["queries"] for row in steps if row["step"] > 1} == {1}


@pytest.mark.slow
def test_a_plan_tells_what_it_costs(cells: tuple[Path, dict[str, Cell]]) -> None:
    folder, found = cells
    stages = json.loads(command(folder, "plan").stdout)["stages"]
    stage = next(stage for stage in stages if stage["key"] == found["latent"].record.key)
    record, steps = found["latent"].record, found["latent"].steps().to_pylist()
    spent = record.clean_compute.nominal + sum(row["attack_nominal"] + row["judge_nominal"] for row in steps)
    # for all examples as if all were attacked, and 1.5 requests per step where it is 1.25 over four steps
    assert stage["flops"] * record.n_attacked / 12 == pytest.approx(spent, rel=0.3)


MISTAKES = [
    ({"threats": [{"access": "latent"}]}, "threats[0]: access: latent needs a limit on the perturbation; add radius"),
    (
        {"threats": [{"radius": 1.0}]},
        "threats[0]: radius limits a perturbation, and access: gradient allows none; remove one of them",
    ),
    (
        {"threats": [{"access": "gradient"}]},
        "attacks[0]: asks for latent access, but no threat grants more than gradient; raise a threat's access",
    ),
    (
        {"threats": [{"access": "latent", "radius": 1.0}, {"access": "gradient"}]},
        "attacks[0]: asks for latent access, but threats[1]",
    ),
    (
        {
            "attacks": ["random_token"],
            "threats": [{}],
            "defenses": [{"adversarial_training": {"attack": "latent", "rounds": 1}}],
        },
        "defenses[0]: trains against attack latent, which perturbs activations, under a threat model without a radius; "
        "give the defense a threat of its own: {access: latent, radius: ...}",
    ),
    (
        {"defenses": [{"adversarial_training": {"threat": {"access": "latent"}}}]},
        "defenses[0].adversarial_training.threat: access: latent needs a limit on the perturbation",
    ),
]


@pytest.mark.parametrize(("changes", "words"), MISTAKES)
def test_mistakes_are_told_before_anything_is_spent(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    done = command(tmp_path, "validate", **changes)
    assert done.returncode != 0
    assert words in " ".join(done.stderr.split()).replace("spec.yaml:", "")


def test_threats_of_both_kinds_stand_in_one_spec(tmp_path: Path) -> None:
    threats = [{"access": "latent", "radius": 1.0}, {"access": "scores"}]
    exclude = [{"attack": "latent", "threat": {"access": "scores"}}]
    done = command(tmp_path, "validate", threats=threats, exclude=exclude)
    assert done.returncode == 0, done.stderr
    # and a defense that is trained against it stands under a threat model of its own
    trained = {"adversarial_training": {"attack": "latent", "threat": {"access": "latent", "radius": 0.5}}}
    done = command(tmp_path, "validate", attacks=["random_token"], threats=[{}], defenses=[trained])
    assert done.returncode == 0, done.stderr


def test_a_victim_elsewhere_is_refused_in_words() -> None:
    class Chosen:
        """Stands for a plugin that was chosen."""

        def __init__(self, plugin: Any, name: str) -> None:
            self.plugin, self.name, self.label = plugin, name, name

    class Far:
        """A victim that gives scores alone."""

        def card(self, data: Any) -> VictimCard:
            return VictimCard("far", None, None, "scores", 512, local=False)

    chosen: Any = [Chosen(Far(), "far"), Chosen(latent(), "latent"), Chosen(None, "none")]
    threat = Threat(access="latent", radius=1.0)
    planned = Planned(chosen[2], chosen[0], chosen[2], chosen[1], chosen[2], threat, 0, None, False, 1, 1)
    with pytest.raises(AccessError, match="attack latent asks for latent, victim far offers scores; exclude it"):
        check_access(planned, None)  # type: ignore[arg-type]


def test_a_threat_without_a_radius_has_the_key_it_always_had() -> None:
    assert "radius" not in Threat().identity()
    one, other = (Threat(access="latent", radius=radius) for radius in (0.5, 1.0))
    assert one.identity()["radius"] == 0.5
    assert one.identity() != other.identity()
    assert one.label() != other.label()
    assert one.unlimited().radius == 0.5
