"""Rounds of adversarial training as they run: the pool, what is trained on, what it costs, what a kill changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.api.defense import RoundCost, RoundJob
from harness.api.problem.placement import allowed_tokens, place
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.errors import DataError
from harness.flops import Flops
from harness.rng import named_rng
from harness.run.reporter import Silent
from plugins.defenses.adversarial_training import AdversarialTraining
from tests.plugins.conftest import silent
from tests.plugins.defenses.test_adversarial_training import defense, resolve

LABELS = (" NO", " YES")
THREAT = Threat(tokens=4)
SMALL = {
    "attacked_per_round": 6,
    "examples_per_round": 10,
    "attack": {"gcg": {"candidates": 6, "topk": 8}},
    "strength": {"start": 2, "end": 3, "rounds": 2},
}


def example(i: int, text: str | None = None) -> Example:
    label = i % 2
    word = (("bad", "awful", "poor"), ("good", "great", "fine"))[label][i % 3]
    body = text or f"The {word} dog {i}."
    return Example(f"train-{i:05d}", (Chunk(body), Chunk("", Edit.OVERWRITABLE), Chunk(" Answer:")), label, 1 - label)


DATA = TaskData(LABELS, [example(i) for i in range(40)], [example(1000 + i) for i in range(4)])


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights in a folder."""
    from tests.engine.hub_models import write_folder

    return write_folder(tmp_path_factory.mktemp("victim"), "gpt_neox", scale=2.0)


class Rounds:
    """Rounds one after another, as the preparer runs them; the examples of each search are kept."""

    def __init__(self, folder: Path, victim: Path, data: TaskData = DATA, threat: Threat = THREAT) -> None:
        self.folder, self.model, self.data, self.threat = folder, victim, data, threat
        self.searched: list[list[Example]] = []
        self.steps: list[int] = []
        self.strings: list[list[str]] = []  # whole attacked prompts of each search
        self.previous: Path | None = None

    def run(self, plugin: AdversarialTraining, round: int) -> RoundCost:
        from harness.engine.open_backend import open_folder

        out = self.folder / f"round-{round}"
        (out / "scratch").mkdir(parents=True)

        def search(backend: Any, attack: Any, examples: Any) -> Any:
            self.searched.append(list(examples))
            self.steps.append(attack.params.steps)
            allowed = allowed_tokens(backend.tokenizer)
            problems = [place(e, self.threat, backend.tokenizer, allowed) for e in examples]
            found = Search(ModelRouter(DefendedVictim(backend)), attack, (0, round), "latent").run(problems)
            self.strings.append([string.problem.prompt_of(string.state) for string in found.strings])
            return found

        job = RoundJob(
            round=round,
            model=self.previous or self.model,
            previous=self.previous,
            folder=out,
            scratch=out / "scratch",
            data=self.data,
            threat=self.threat,
            seed=0,
            rng=lambda purpose: named_rng(0, round, purpose),
            open=lambda folder: open_folder(folder, labels=LABELS, dtype="float32", device="cpu"),
            search=search,
            resolve=resolve,
            progress=silent,
        )
        cost = plugin.train_round(job)
        self.previous = out
        return cost

    def pool(self, round: int) -> list[dict[str, Any]]:
        return json.loads((self.folder / f"round-{round}" / "pool.json").read_text(encoding="utf-8"))


def test_all_that_was_attacked_enters_the_pool_with_its_true_label(tmp_path: Path, victim: Path) -> None:
    rounds = Rounds(tmp_path, victim)
    made = defense(**SMALL)
    for round in (1, 2, 3):
        cost = rounds.run(made, round)
        assert cost.notes["attack_steps"] == rounds.steps[-1] == {1: 2, 2: 3, 3: 3}[round]
        pool = rounds.pool(round)
        assert len(pool) == cost.notes["pool"] == 6 * round
        assert cost.notes["attacked"] == 6
        # successful or not, in order of addition, and the earlier rounds' are still there
        assert [entry["text"] for entry in pool] == [text for strings in rounds.strings for text in strings]
        attacked = [e for examples in rounds.searched for e in examples]
        assert [entry["label"] for entry in pool] == [e.label for e in attacked]
        assert [entry["round"] for entry in pool] == [r for r in range(1, round + 1) for _ in range(6)]
    for strings in rounds.searched:
        assert len({e.id for e in strings}) == 6  # drawn without replacement
    assert len({tuple(e.id for e in strings) for strings in rounds.searched}) == 3  # and again in each round


def test_the_mix_is_at_most_the_share_from_the_pool(tmp_path: Path, victim: Path, monkeypatch: Any) -> None:
    import harness

    seen: list[Any] = []
    real = harness.retrain

    def spy(source: Any, folder: Any, rows: Any, config: Any, **rest: Any) -> Any:
        seen.append((rows, config))
        return real(source, folder, rows, config, **rest)

    monkeypatch.setattr(harness, "retrain", spy)
    rounds = Rounds(tmp_path, victim)
    made = defense(**SMALL)
    for round, adversarial in ((1, 6), (2, 8), (3, 8)):
        before = rounds.pool(round - 1) if round > 1 else []
        cost = rounds.run(made, round)
        assert (cost.notes["adversarial"], cost.notes["clean"]) == (adversarial, 10 - adversarial)
        rows, config = seen[-1]
        assert len(rows) == 10
        assert (config.optimizer, config.learning_rate, config.batch_size, config.epochs) == ("adafactor", 1e-5, 8, 1)
        # the losses of those that were trained on are noted, and of no others
        after = rounds.pool(round)
        changed = [
            i for i, entry in enumerate(after) if entry["loss"] != (before[i]["loss"] if i < len(before) else None)
        ]
        assert len(changed) == adversarial
        assert all(after[i]["loss"] > 0 for i in changed)
    assert seen[0][0] != seen[1][0]


def test_rows_are_right(tmp_path: Path, victim: Path, monkeypatch: Any) -> None:
    """What is trained on: attacked prompts as text, tokenised again, and clean ones, each with its own label."""
    import harness

    seen: list[Any] = []
    real = harness.retrain
    monkeypatch.setattr(
        harness,
        "retrain",
        lambda *a, **k: seen.append(a[2]) or real(*a, **k),  # type: ignore[func-returns-value]
    )
    rounds = Rounds(tmp_path, victim)
    rounds.run(defense(**SMALL), 1)
    from harness.tokens.hf_tokenizer import HFTokenizer

    tokenizer = HFTokenizer.from_folder(victim)
    pool = {(entry["text"], entry["label"]) for entry in rounds.pool(1)}
    clean = {(e.text, e.label) for e in DATA.train}
    texts = [(tokenizer.decode([row.ids])[0], row.label) for row in seen[0]]
    assert set(texts[:6]) == pool
    assert set(texts[6:]) <= clean
    assert [tuple(tokenizer.encode([text])[0]) for text, _ in texts] == [row.ids for row in seen[0]]


def test_costs_are_the_searchs_and_the_trainings(tmp_path: Path, victim: Path) -> None:
    rounds = Rounds(tmp_path, victim)
    cost = rounds.run(defense(**SMALL), 1)
    from harness.engine.open_backend import open_folder

    n = open_folder(victim, device="cpu").n_params
    lengths = [len(open_folder(victim, device="cpu").tokenizer.encode([text])[0]) for text in rounds.strings[0]]
    assert cost.search.nominal == pytest.approx(2 * n * sum(lengths) * (6 + 3) * 2, rel=0.02)  # 2 steps
    assert cost.search.executed > 0
    # ten rows of about those lengths, forward and backward, and one forward for the losses of six
    assert cost.training.nominal == pytest.approx(6 * n * 10 * np.mean(lengths), rel=0.3)


def test_examples_without_room_for_the_attack_are_left_out(tmp_path: Path, victim: Path) -> None:
    from harness.tokens.hf_tokenizer import HFTokenizer

    context = 128
    around = len(HFTokenizer.from_folder(victim).encode([" Answer:"])[0])
    tight = "\n" * (context - around - 2)  # a token each: fits as it is, but not with four tokens more
    data = TaskData(LABELS, [*(example(100 + i, tight) for i in range(20)), *DATA.train[:4]], DATA.validation)
    rounds = Rounds(tmp_path, victim, data)
    cost = rounds.run(defense(**SMALL), 1)
    assert cost.notes["attacked"] == 4
    assert {e.id for e in rounds.searched[0]} == {e.id for e in DATA.train[:4]}
    only_tight = Rounds(tmp_path / "other", victim, TaskData(LABELS, data.train[:20], DATA.validation))
    with pytest.raises(DataError, match=r"every training example is longer.*128 tokens"):
        only_tight.run(defense(**SMALL), 1)


# -- through the runner -----------------------------------------------------------------------------------------------

SPEC = """
name: rounds
version: "1"
tasks: [{word_length: {instructions: "Which word is longer?", syllables: open, min_letters: 4, max_letters: 8, train_size: %(train)d, validation_size: 256}}]
victims: [{tiny: %(tiny)s}]
defenses: [none, {adversarial_training: %(defense)s}]
attacks: [%(attack)s]
examples: %(examples)d
clean_examples: %(clean)d
"""  # noqa: E501
TINY_RUN = {
    "train": 300,
    "tiny": "{size: 7k, steps: 12, batch_size: 16}",
    "defense": "{rounds: 2, attacked_per_round: 6, examples_per_round: 12, strength: {start: 2, end: 3, rounds: 2}, "
    "attack: {gcg: {candidates: 6, topk: 8}}}",
    "attack": "{random_token: {steps: 1, draws: 2}}",
    "examples": 4,
    "clean": 8,
}


class Stop(Silent):
    """Interrupts at the ``nth`` word of a piece of work."""

    def __init__(self, what: str, nth: int) -> None:
        self.what, self.left = what, nth

    def progress(self, what: str, done: float, total: float) -> None:
        self.left -= what == self.what
        if self.left == 0:
            self.left = -1
            raise KeyboardInterrupt


def run_spec(folder: Path, reporter: Any = None, **values: Any) -> Any:
    from harness.registry.loader import load_plugins
    from harness.run.runner import run
    from harness.spec.load import load_spec

    folder.mkdir(exist_ok=True)
    (folder / "spec.yaml").write_text(SPEC % (TINY_RUN | values))
    registry = load_plugins().registry
    outcome = run(load_spec(folder / "spec.yaml", registry), registry, folder / "run", reporter or Silent())
    assert not outcome.failed
    return outcome


def artifacts(folder: Path) -> dict[str, Any]:
    """Facts and file hashes of each finished artifact."""
    found = [json.loads(path.read_text()) for path in (folder / "run/artifacts").glob("*/manifest.json")]
    return {manifest["key"]: (manifest["facts"], manifest["files"]) for manifest in found}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_spec(folder).done == 3  # none, and one cell per round
    return folder


@pytest.mark.slow
def test_compute_adds_up_over_the_rounds(undisturbed: Path) -> None:
    made = {facts["round"]: facts for facts, _ in artifacts(undisturbed).values() if "round" in facts}
    assert sorted(made) == [1, 2]
    for kind in ("search", "training"):
        own = [Flops.from_json(made[round]["this_round"][kind]) for round in (1, 2)]
        assert all(cost.nominal > 0 and cost.executed > 0 for cost in own)
        assert Flops.from_json(made[1][kind]) == own[0]
        assert Flops.from_json(made[2][kind]) == own[0] + own[1]
    assert [made[round]["notes"]["attack_steps"] for round in (1, 2)] == [2, 3]
    cells = [json.loads(path.read_text()) for path in (undisturbed / "run/cells").glob("*/cell.json")]
    facts = {cell["defense_facts"]["round"]: cell["defense_facts"] for cell in cells}
    assert facts[None]["search"] == {"nominal": 0.0, "executed": 0.0}
    assert all(facts[round]["search"] == made[round]["search"] for round in (1, 2))


@pytest.mark.slow
@pytest.mark.parametrize(("what", "nth"), [("training attack", 1), ("training attack", 4), ("training", 17)])
def test_a_stopped_training_ends_with_the_same_artifacts(
    tmp_path: Path, undisturbed: Path, what: str, nth: int
) -> None:
    """Stopped in round 1's search, in round 2's, and in round 1's training, after the victim's 12 updates."""
    with pytest.raises(KeyboardInterrupt):
        run_spec(tmp_path, Stop(what, nth))
    assert len(artifacts(tmp_path)) < 3
    journals = list((tmp_path / "run/artifacts/.partial").glob("*/scratch/search-1.jsonl"))
    assert len(journals) == 1
    lines = len(journals[0].read_text().splitlines())
    seen: list[tuple[float, float]] = []

    class Watch(Silent):
        def progress(self, what: str, done: float, total: float) -> None:
            if what == "training attack":
                seen.append((done, total))

    run_spec(tmp_path, Watch())
    assert seen[0][0] == 6 * lines  # what the journal holds was not searched again
    assert artifacts(tmp_path) == artifacts(undisturbed)
    assert not list((tmp_path / "run/artifacts/.partial").iterdir())


@pytest.mark.slow
def test_a_few_rounds_make_the_attack_harder(tmp_path: Path) -> None:
    """GCG's success on held-out examples, undefended against three rounds."""
    run_spec(
        tmp_path,
        train=4000,
        tiny="{size: 26k, steps: 300, filler: 0.2}",
        defense="{rounds: 3, evaluate: last, attacked_per_round: 64, examples_per_round: 400, epochs: 2, "
        "optimizer: adamw, learning_rate: 1e-3, batch_size: 16, "
        "strength: {start: 4, end: 8, rounds: 3}, attack: {gcg: {candidates: 32}}}",
        attack="{gcg: {steps: 12, candidates: 48}}",
        examples=48,
        clean=128,
    )
    import pyarrow.parquet as pq

    found = {}
    for path in (tmp_path / "run/cells").glob("*/cell.json"):
        cell = json.loads(path.read_text())
        steps = pq.read_table(path.parent / "steps.parquet", columns=["example", "success"]).to_pylist()
        broken = {row["example"] for row in steps if row["success"]}
        found[cell["defense"]["name"]] = (len(broken) / cell["n_attacked"], cell["n_clean_correct"] / cell["n_clean"])
    print(found)
    (undefended, clean), (defended, still_clean) = found["none"], found["adversarial_training"]
    assert undefended > 0.5
    assert defended < undefended - 0.2
    assert still_clean > clean - 0.1
