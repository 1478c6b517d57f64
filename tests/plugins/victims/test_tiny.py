"""The tiny ladder: its tokenizer, its shapes, its training, and that it is learnt, broken slowly, and not by chance."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from harness.api.problem.placement import allowed_tokens
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.api.victim import PrepareJob
from harness.engine.torch.flop_counter import count_parameters
from harness.errors import VictimError
from harness.flops import Flops
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.victims._tiny.bpe import PAD, bpe_from_texts
from plugins.victims._tiny.sizes import SHAPES
from plugins.victims._tiny.training import model_config
from plugins.victims.tiny import Tiny
from tests.engine.toy import searching
from tests.plugins.conftest import Trained, silent, task_data

TEXTS = [example.text for example in task_data("word_length").train[:500]]
BPE = bpe_from_texts(TEXTS, 600)


def tiny(**params: Any) -> Tiny:
    return Tiny(Tiny.Params(**({"size": "7k"} | params)))


def small_data(texts: list[str] | None = None, labels: int = 2) -> TaskData:
    """Short texts with a region to overwrite."""
    names = tuple(f" L{i}" for i in range(labels))
    examples = [
        Example(
            f"train-{i:05d}", (Chunk(text), Chunk("", Edit.OVERWRITABLE), Chunk(" A:")), i % labels, (i + 1) % labels
        )
        for i, text in enumerate(texts or TEXTS[:60])
    ]
    return TaskData(names, examples, examples[:4])


def job(folder: Path, data: TaskData, seed: int = 0) -> PrepareJob:
    folder.mkdir()
    return PrepareJob(data, seed, folder, folder / "scratch", silent)


# -- tokenizer --------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8"), max_size=60))
@settings(deadline=None)
def test_any_text_comes_back(text: str) -> None:
    assert BPE.decode(BPE.encode(text).ids, skip_special_tokens=False) == text


def test_the_vocabulary_is_as_large_as_asked_and_holds_all_bytes() -> None:
    for entries in (300, 600):
        made = bpe_from_texts(TEXTS, entries)
        assert made.get_vocab_size() == entries
        ours = HFTokenizer(made, rows=entries)
        assert ours.vocabulary == entries
        assert ours.special == {made.token_to_id(PAD)} == {0}
        single = {made.id_to_token(i) for i in range(entries) if len(made.id_to_token(i)) == 1}
        assert len(single) == 256
    few = bpe_from_texts(["ab"], 1024)  # there is nothing more to merge
    assert 257 <= few.get_vocab_size() < 300
    rows = HFTokenizer(few, rows=1024)  # the embedding has rows without a token: no attack may use them
    assert allowed_tokens(rows).max() < few.get_vocab_size()


def test_retokenisation_matters() -> None:
    """Letters one by one are another string of tokens than the word."""
    tokenizer = HFTokenizer(BPE)
    letters = [tokenizer.encode([c])[0][0] for c in "word"]
    assert tokenizer.encode(["word"])[0] != letters
    assert tokenizer.decode([letters]) == ["word"]


@pytest.mark.slow
def test_the_tokenizer_is_the_same_in_every_process() -> None:
    code = (
        "import hashlib; from tests.plugins.conftest import task_data\n"
        "from plugins.victims._tiny.bpe import bpe_from_texts\n"
        "made = bpe_from_texts([example.text for example in task_data('word_length').train[:500]], 600)\n"
        "print(hashlib.sha256(made.to_str().encode()).hexdigest())"
    )
    wanted = hashlib.sha256(BPE.to_str().encode()).hexdigest()
    for threads in ("1", "4"):
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "RAYON_NUM_THREADS": threads}
        found = subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True, text=True)
        assert found.stdout.strip() == wanted


# -- ladder -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("labels", [2, 3])
def test_shapes_count_what_the_model_has(size: str, labels: int) -> None:
    import torch
    from transformers import GPTNeoXForSequenceClassification

    victim = tiny(size=size)
    with torch.device("meta"):
        model = GPTNeoXForSequenceClassification(
            model_config(victim.shape, victim.params.vocabulary, victim.params.context, labels)
        )
    total, without = count_parameters(model)
    assert without == victim.shape.non_embedding + (labels - 2) * victim.shape.hidden
    card = victim.card(small_data(labels=labels))
    assert (card.n_params, card.context, card.access) == (total, 256, "latent")


def test_the_ladder_spans_its_range_in_even_steps() -> None:
    sizes = [shape.non_embedding for shape in SHAPES.values()]
    assert len(sizes) >= 5
    assert sizes == sorted(sizes)
    assert 5_000 <= sizes[0] <= 10_000
    assert 2.5e6 <= sizes[-1] <= 3.5e6
    assert max(b / a for a, b in pairwise(sizes)) < 8
    for name, size in zip(SHAPES, sizes, strict=True):
        assert size == pytest.approx(float(name[:-1]) * {"k": 1e3, "m": 1e6}[name[-1]], rel=0.1)


def test_parameters() -> None:
    for size, shape in SHAPES.items():
        params = Tiny.Params(size=size)  # type: ignore[arg-type]
        assert (params.steps, params.learning_rate) == (shape.steps, shape.learning_rate)
    assert Tiny.Params(size="3m", steps=5).steps == 5
    for wrong in ({"size": "5k"}, {"filler": 1.5}, {"vocabulary": 200}, {"stesp": 3}):
        with pytest.raises(ValidationError):
            Tiny.Params(**wrong)


def test_it_says_what_it_was_hardened_with_where_that_has_an_effect() -> None:
    assert tiny().trained_against(small_data()) == "random strings in 30% of its examples"
    assert tiny(filler=0.125, filler_tokens=4).trained_against(small_data()) == "random strings in 12% of its examples"
    for none in (tiny(filler=0), tiny(filler_tokens=0)):
        assert none.trained_against(small_data()) == ""
    assert tiny().trained_against(small_data().text) == ""  # a language model of prompts without an answer


# -- training ---------------------------------------------------------------------------------------------------------


def test_weights_depend_on_the_seed_alone(tmp_path: Path) -> None:
    import torch

    victim, made = tiny(steps=4, batch_size=8), []
    for name, seed, noise in (("a", 1, 0), ("b", 1, 7), ("c", 2, 0)):
        torch.manual_seed(noise)
        random.seed(noise)
        np.random.seed(noise)
        before = torch.get_rng_state().clone(), random.getstate(), str(np.random.get_state())
        spent = victim.prepare(job(tmp_path / name, small_data(), seed))
        after = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
        assert torch.equal(before[0], after[0])
        assert before[1:] == after[1:]
        assert spent.nominal > 0
        made.append((tmp_path / name / "model.safetensors").read_bytes())
    assert made[0] == made[1] != made[2]


def test_a_prepared_folder_opens(tmp_path: Path) -> None:
    victim, data = tiny(steps=2, batch_size=4, context=96), small_data(labels=3)
    work = job(tmp_path / "made", data)
    spent = victim.prepare(work)
    assert victim.estimate(data) == pytest.approx(spent.nominal, rel=0.3)
    backend = victim.open(work.folder, data)
    assert (backend.n_labels, backend.context) == (3, 96)
    assert backend.n_params == victim.card(data).n_params
    assert backend.tokenizer.vocabulary == victim.params.vocabulary
    assert backend.describe()["dtype"] == "float32"


def rows_trained_on(victim: Tiny, data: TaskData, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows that training would see."""
    import harness

    seen: list[Any] = []

    def instead(_model: Any, _tokenizer: Any, rows: Any, _config: Any, **_: Any) -> Flops:
        seen.extend(rows)
        return Flops()

    monkeypatch.setattr(harness, "train", instead)
    victim.prepare(job(folder, data))
    return seen


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_the_share_of_filler_is_that_asked_for(share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_data()
    victim = tiny(steps=50, batch_size=64, filler=share, filler_tokens=7)
    rows = rows_trained_on(victim, data, tmp_path / "made", monkeypatch)
    assert len(rows) == 3200
    tokenizer = HFTokenizer.from_folder(tmp_path / "made")
    clean = {
        tuple(ids): e.label for e, ids in zip(data.train, tokenizer.encode([e.text for e in data.train]), strict=True)
    }
    plain = [row for row in rows if row.ids in clean]
    filled = [row for row in rows if row.ids not in clean]
    assert len(filled) / 3200 == pytest.approx(share, abs=0.03)
    assert all(row.label == clean[row.ids] for row in plain)
    # filler stands in the region: beginning and end are the example's, and so is the label
    tail = tokenizer.encode([" A:"])[0]
    heads = {tuple(tokenizer.encode([e.chunks[0].text])[0]): e.label for e in data.train}
    for row in filled[:200]:
        assert list(row.ids[-len(tail) :]) == tail
        assert heads[row.ids[: -len(tail) - 7]] == row.label
    if filled:  # every example in turn, and the filler is drawn from all allowed tokens
        used = {i for row in filled for i in row.ids[-len(tail) - 7 : -len(tail)]}
        allowed = set(allowed_tokens(tokenizer).tolist())
        assert used <= allowed
        if share > 0.5:
            assert len(used) > 0.9 * len(allowed)


def test_each_example_is_seen_as_often_as_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_data()
    rows = rows_trained_on(tiny(steps=30, batch_size=8, filler=0), data, tmp_path / "made", monkeypatch)
    counts = {ids: sum(row.ids == ids for row in rows) for ids in {row.ids for row in rows}}
    assert set(counts.values()) == {240 // len(data.train)}


def test_a_text_too_long_is_named_with_what_to_do(tmp_path: Path) -> None:
    letters = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=200))
    data = small_data(["short", letters, "brief"])
    with pytest.raises(VictimError, match=r"train-00001 has \d+ tokens, tiny takes 64.*context.*max_chars"):
        tiny(steps=2, batch_size=4, context=64, vocabulary=300).prepare(job(tmp_path / "made", data))


# -- what the ladder is for -------------------------------------------------------------------------------------------


def accuracy(victim: Trained) -> float:
    examples = list(victim.data.validation)
    return len(victim.correct(victim.open(), examples)) / len(examples)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "wanted"), [("word_length", 0.95), ("password_match", 0.92)])
def test_both_tasks_are_learnt(trained: Callable[..., Trained], task: str, wanted: float) -> None:
    found = accuracy(trained(task, "26k"))
    print(task, found)
    assert found >= wanted


@pytest.mark.slow
def test_success_rises_with_compute(trained: Callable[..., Trained]) -> None:
    """One random draw breaks few, a longer search most, and there is much between.

    Weights differ a little from one kind of processor to another, and how fast a victim falls differs more.
    """
    from harness.engine.defended.victim import DefendedVictim
    from plugins.attacks.gcg import GCG
    from plugins.attacks.random_token import RandomToken
    from plugins.judges.labels import WrongLabel

    victim = trained("word_length", "26k")
    backend = victim.open()
    problems = victim.problems(backend, 40)

    def success(attack: Any) -> np.ndarray:
        """Share of examples broken so far after each step."""
        search = searching(DefendedVictim(backend), attack, (0, attack.name), "gradient", WrongLabel())
        found = search.run(problems).rows
        table = np.asarray([row.success for row in found]).reshape(len(problems), -1)
        return np.logical_or.accumulate(table, axis=1).mean(axis=0)

    one = success(RandomToken(RandomToken.Params(steps=1, draws=1)))
    curve = success(GCG(GCG.Params(steps=24, candidates=63, keep="best_so_far")))
    print("one draw", one, "gcg", curve.round(2))
    assert one[0] <= 0.2
    assert curve[-1] > 0.5
    assert curve[0] < curve[-1] - 0.25
    assert curve[3] < curve[-1]
