"""Pretraining: its texts and views, one artifact for all tasks, the same tokens for all sizes, frozen models, kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from harness.api.task import TaskData
from harness.api.victim import PrepareJob, PretrainJob
from harness.cli import main
from harness.errors import HarnessError, VictimError
from harness.flops import Flops
from harness.registry.loader import load_plugins
from harness.registry.registry import Registry
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.spec.load import load_spec
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.victims._pretraining.params import Pretrain
from plugins.victims._pretraining.perturbations import TextPerturber, rewrite
from plugins.victims._pretraining.texts import cut_texts, read_texts
from plugins.victims._pretraining.views import RowMaker, kept_tokens
from plugins.victims._pretraining.word_lines import WordLines
from plugins.victims._tiny.bpe import bpe_from_texts
from plugins.victims.huggingface import HuggingFace
from plugins.victims.tiny import Tiny
from tests.engine.hub_models import write_folder
from tests.plugins.conftest import silent, task_data
from tests.processes import LONGEST
from tests.run.runs import ENVIRONMENT, harness_here, records, weights

LINES = WordLines(lines=300).texts()
TOKENIZER = HFTokenizer(bpe_from_texts(LINES, 400))
WORDS: dict[str, Any] = {"words": {"lines": 300}}
ROBUST: dict[str, Any] = {"views": 1, "loss": {"consistency": 1.0}}


def pretrain(**params: Any) -> Pretrain:
    return Pretrain.model_validate(WORDS | {"tokens": 4000, "batch_size": 8, "length": 64} | params)


def tiny(size: str = "7k", backbone: str = "trained", **params: Any) -> Tiny:
    given = {"size": size, "steps": 3, "batch_size": 8, "vocabulary": 400, "backbone": backbone}
    return Tiny(Tiny.Params.model_validate(given | {"pretrain": pretrain(**params).model_dump(mode="json")}))


def job(folder: Path, seed: int = 0) -> PretrainJob:
    folder.mkdir()
    return PretrainJob((), seed, folder, folder / "scratch", silent)


# -- texts and views --------------------------------------------------------------------------------------------------


def test_sources_are_put_in_turns_and_bad_ones_named(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("one\n\n two\n", encoding="utf-8")
    data = task_data("word_length")
    params = pretrain(file=file, tasks=["word_length"])
    texts = read_texts(params, [data])
    assert texts[:4] == ["one", data.train[0].text, LINES[0], " two"]
    assert len(texts) == 2 + len(data.train) + len(LINES)
    with pytest.raises(VictimError, match=r"word_length has no training prompts"):
        read_texts(params, [TaskData(data.labels, (), data.validation)])
    for content, message in ((b"\xff\xfe", "not UTF-8"), (b"\n \n", "holds no text")):
        file.write_bytes(content)
        with pytest.raises(VictimError, match=rf"pretrain.file: .*lines.txt.*{message}"):
            read_texts(params, [data])
    file.unlink()
    with pytest.raises(VictimError, match="cannot be read"):
        read_texts(params, [data])


def test_made_up_lines_are_the_same_everywhere_and_of_training_words() -> None:
    assert WordLines(lines=5).texts() == LINES[:5]
    assert WordLines(lines=5, seed=1).texts() != LINES[:5]
    assert len({line.split(":")[0] for line in LINES}) == 2


@given(st.integers(8, 40), st.lists(st.sampled_from(["tada", "bo", "x", "mesipoku", "\n"]), max_size=40))
@settings(deadline=None, max_examples=60)
def test_long_texts_are_cut_and_nothing_lost(longest: int, words: list[str]) -> None:
    text = " ".join(words)
    pieces, dropped = cut_texts([text], TOKENIZER, longest)
    assert all(2 <= len(ids) <= longest for ids in TOKENIZER.encode(pieces))
    if not dropped:
        assert "".join("".join(pieces).split()) == "".join(text.split())


def test_what_cannot_be_cut_is_counted() -> None:
    assert cut_texts(["", "x", "q" * 50], TOKENIZER, 8) == ([], 3)


@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
@settings(deadline=None, max_examples=60)
def test_rewrites_keep_what_a_text_says(seed: int, share: float) -> None:
    text = "Words: tada, bo, mesi. Again: tada, bo, mesi."
    changed = rewrite(text, share, np.random.default_rng(seed))
    letters = lambda of: sorted("".join(of.lower().split()))  # noqa: E731
    assert letters(changed) == letters(text)
    parts = [" ".join(part.lower().split()) for part in changed.replace(".", ":").split(":")]
    assert [sorted(part.split(", ")) for part in (parts[1], parts[3])] == [["bo", "mesi", "tada"]] * 2


@given(st.integers(0, 10_000), st.booleans(), st.integers(0, 3), st.booleans())
@settings(deadline=None, max_examples=60)
def test_views_predict_tokens_of_the_text_where_they_stand(seed: int, causal: bool, views: int, clean: bool) -> None:
    params = pretrain(views=views, clean=clean or views == 0)
    maker = RowMaker(TOKENIZER, params, None if causal else 0)
    rng, text = np.random.default_rng(seed), LINES[seed % len(LINES)]
    group = maker.group(text, TextPerturber(TOKENIZER, params), 0.7, rng)
    (ids,) = TOKENIZER.encode([text])
    assert len(group) == views + params.clean
    assert len({view.common_tokens for view in group}) == 1
    for view in group:
        assert list(view.places) == sorted(set(view.places))
        assert kept_tokens(ids, view.tokens).keys() or len(view.tokens) == 0
        if causal:
            assert [view.row.ids[place] for place in view.places] == list(view.tokens)
            assert min(view.places) > 0
    if causal and params.clean:
        assert group[0].row.ids == tuple(ids)
        assert group[0].places == tuple(range(1, len(ids)))
    assert sum(maker.drawn.values()) == len(group)


def test_masks_are_as_in_bert() -> None:
    maker = RowMaker(TOKENIZER, pretrain(tokens=40_000), mask=0)
    rows = maker.make(LINES, 0).views.views
    shown = [(view.row.ids[at], token) for view in rows for at, token in zip(view.places, view.tokens, strict=True)]
    masked = float(np.mean([one == 0 for one, _ in shown]))
    assert masked == pytest.approx(0.8, abs=0.03)
    assert float(np.mean([one == token for one, token in shown])) == pytest.approx(0.1, abs=0.03)
    assert len(shown) / sum(len(view.row.ids) for view in rows) == pytest.approx(0.15, abs=0.01)


def test_the_budget_of_tokens_is_kept_and_the_schedule_told() -> None:
    for params, passes in ((pretrain(), 1.0), (pretrain(**ROBUST), 1.0), (pretrain(loss={"adversarial": 1}), 8 / 3)):
        rows = RowMaker(TOKENIZER, params, None).make(LINES, 0)
        assert params.tokens <= rows.tokens * passes < params.tokens + 130 * passes
        assert rows.tokens == sum(len(view.row.ids) for view in rows.views.views)
    rows = RowMaker(TOKENIZER, pretrain(**ROBUST), None).make(LINES, 0)
    assert rows.clean_tokens == sum(len(group[0].row.ids) for group in rows.views.groups)
    counts = [entry["tokens"] for entry in rows.schedule]
    assert counts == sorted(set(counts))
    assert (counts[0], rows.schedule[0]["update"], rows.schedule[0]["strength"]) == (1, 1, 0.1)
    again = RowMaker(TOKENIZER, pretrain(**ROBUST), None).make(LINES, 0)
    assert (
        again.views.hash == rows.views.hash != RowMaker(TOKENIZER, pretrain(**ROBUST), None).make(LINES, 1).views.hash
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"words": None}, "it needs text"),
        ({"clean": False}, "nothing to read"),
        ({"loss": {"consistency": 1}}, "nothing to agree with"),
        ({"strength": {"start": 0.9, "end": 0.5}}, "grows"),
        ({"words": {"min_letters": 9}}, "swap them"),
        ({"perturbations": ["typos"]}, "random_tokens"),
    ],
)
def test_parameters_that_do_not_go_together(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        pretrain(**params)


def test_victims_refuse_what_they_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen needs pretrain"):
        Tiny.Params(size="7k", backbone="frozen")
    with pytest.raises(ValidationError, match="above context"):
        Tiny.Params(size="7k", context=32, pretrain=pretrain())
    stage = WORDS | {"tokens": 100}
    for wrong, message in (
        ({"fine_tune": False}, "need fine_tune"),
        ({"quantize": "nf4"}, "quantize leaves them"),
        ({"fine_tune": {"lora": {}}}, "lora leaves them"),
        ({"head": "causal_lm", "backbone": "frozen"}, "classification head alone"),
    ):
        with pytest.raises(ValidationError, match=message):
            HuggingFace.Params.model_validate({"model": "./here", "pretrain": stage} | wrong)
    victim = tiny(backbone="frozen")
    with pytest.raises(VictimError, match="answered in text"):
        victim.prepare(PrepareJob(task_data("word_length").text, 0, tmp_path, tmp_path, silent, tmp_path))


# -- models -----------------------------------------------------------------------------------------------------------


def test_sizes_share_tokens_and_tokenizer(tmp_path: Path) -> None:
    costs, made = [], []
    for size in ("7k", "26k"):
        victim = tiny(size, **ROBUST)
        costs.append(victim.pretrain(job(tmp_path / size)))
        made.append((tmp_path / size / "tokenizer.json").read_bytes())
        planned = victim.pretraining()
        assert planned is not None
        assert planned.flops == victim.card(task_data("word_length")).pretraining_flops
        assert costs[-1].training.nominal == pytest.approx(planned.flops, rel=0.05)
        assert 0.4 < costs[-1].robust.nominal / costs[-1].training.nominal < 0.7
        assert victim.trained_against(task_data("word_length")).endswith(", perturbed text in its pretraining")
    assert made[0] == made[1]
    assert costs[0].notes == costs[1].notes
    plain = tiny().pretrain(job(tmp_path / "plain"))
    assert plain.robust == Flops()
    assert plain.notes["schedule"] == []
    assert plain.training.nominal == pytest.approx(costs[0].training.nominal, rel=0.05)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_task_starts_from_the_pretrained_weights(tmp_path: Path, frozen: bool) -> None:
    from safetensors.torch import load_file

    victim, data = tiny(backbone="frozen" if frozen else "trained"), task_data("word_length")
    victim.pretrain(job(tmp_path / "base"))
    (tmp_path / "made").mkdir()
    spent = victim.prepare(PrepareJob(data, 0, tmp_path / "made", tmp_path / "scratch", silent, tmp_path / "base"))
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "made"))
    body = {name for name in before if name.startswith("gpt_neox.")}
    assert body == {name for name in after if name.startswith("gpt_neox.")}
    same = [name for name in body if (before[name] == after[name]).all()]
    assert (len(same) == len(body)) is frozen
    assert (
        0.5 < victim.estimate(data) / spent.nominal < 1.1
    )  # these lines' tokens suit the task's text less than its own
    opened = victim.open(tmp_path / "made", data)
    base = HFTokenizer.from_file(tmp_path / "base" / "tokenizer.json")
    assert opened.tokenizer.encode(["Which word?"]) == base.encode(["Which word?"])
    assert victim.card(data).n_params == opened.n_params


def encoder(folder: Path) -> Path:
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = bpe_from_texts(LINES, 400)
    tokenizer.add_special_tokens(["[MASK]"])
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=408, max_position_embeddings=64, **shape)).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", mask_token="[MASK]").save_pretrained(folder)
    return folder


def test_an_encoder_learns_masked_tokens_and_keeps_its_pooler(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = encoder(tmp_path / "bert")
    stage = pretrain(tokens=2000, **ROBUST).model_dump(mode="json")
    given = {"model": str(model), "pretrain": stage, "fine_tune": {"steps": 2, "train_examples": 20}, "device": "cpu"}
    for backbone in ("trained", "frozen"):
        victim = HuggingFace(HuggingFace.Params.model_validate(given | {"backbone": backbone}))
        base, made = tmp_path / f"{backbone}-base", tmp_path / f"{backbone}-made"
        cost = victim.pretrain(job(base))
        planned = victim.pretraining()
        assert planned is not None
        assert cost.training.nominal == pytest.approx(planned.flops, rel=0.1)
        data = task_data("word_length")
        made.mkdir()
        victim.prepare(PrepareJob(data, 0, made, tmp_path / "scratch", silent, base))
        first, second, third = (load_file(one / "model.safetensors") for one in (model, base, made))
        assert first.keys() == second.keys()
        changed = {name for name in first if not (first[name] == second[name]).all()}
        assert "embeddings.word_embeddings.weight" in changed
        assert not any(name.startswith("pooler.") for name in changed)
        kept = {name for name in second if (second[name] == third[f"bert.{name}"]).all()}
        assert (kept == second.keys()) is (backbone == "frozen")
        assert victim.open(made, data).n_labels == 2


def test_a_decoder_learns_next_tokens_and_answers_in_text_from_there(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = write_folder(tmp_path / "qwen", "qwen2", "label_tokens", scale=1.0)
    stage = pretrain(tokens=2000, length=100).model_dump(mode="json")
    given = {"model": str(model), "pretrain": stage, "fine_tune": {"steps": 1, "train_examples": 8}, "device": "cpu"}
    victim, base = HuggingFace(HuggingFace.Params.model_validate(given)), tmp_path / "base"
    cost = victim.pretrain(job(base))
    planned = victim.pretraining()
    assert planned is not None
    assert cost.training.nominal == pytest.approx(planned.flops, rel=0.1)
    first, second = (load_file(one / "model.safetensors") for one in (model, base))
    assert first.keys() == second.keys()
    assert any(not (first[name] == second[name]).all() for name in first)
    data, made = task_data("word_length").text, tmp_path / "made"
    made.mkdir()
    victim.prepare(PrepareJob(data, 0, made, tmp_path / "scratch", silent, base))
    assert victim.open(made, data).n_labels == 0
    too_long = pretrain(tokens=100, length=1000).model_dump(mode="json")
    with pytest.raises(VictimError, match=r"takes 128 tokens, and pretrain\.length is 1000"):
        HuggingFace(HuggingFace.Params.model_validate(given | {"pretrain": too_long})).pretrain(job(tmp_path / "long"))


# -- runs -------------------------------------------------------------------------------------------------------------


def spec(victims: list[dict[str, Any]], seeds: list[int]) -> str:
    word = {"instructions": "", "train_size": 200, "validation_size": 40}
    return yaml.safe_dump(
        {
            "name": "pretrained",
            "version": "1",
            "tasks": [{"word_length": word}, {"password_match": word}],
            "victims": [{"tiny": {"size": "7k", "steps": 3, "vocabulary": 400, **victim}} for victim in victims],
            "attacks": [{"random_token": {"steps": 1, "draws": 2}}],
            "examples": 4,
            "clean_examples": 8,
            "seeds": seeds,
        }
    )


@lru_cache
def registry() -> Registry:
    return load_plugins([]).registry


def resolved(folder: Path, victims: list[dict[str, Any]], seeds: list[int]) -> list[ResolvedCell]:
    path = folder / "spec.yaml"
    path.write_text(spec(victims, seeds))
    resolver = CellResolver(registry())
    return [resolver.resolve(cell) for cell in load_spec(path, registry()).cells]


def test_tasks_share_a_pretraining_and_seeds_do_where_it_has_one(tmp_path: Path) -> None:
    stage = WORDS | {"tokens": 2000}
    for fixed, count in (({}, 2), ({"seed": 5}, 1)):
        cells = resolved(tmp_path, [{"pretrain": stage | fixed}], [0, 1])
        assert len({cell.victim.pretraining_key for cell in cells}) == count
        assert len({cell.keys.victim for cell in cells}) == len(cells) == 4
        assert all(cell.artifact_keys[:2] == (cell.victim.pretraining_key, cell.keys.victim) for cell in cells)
        assert all(cell.victim.artifact.key == cell.keys.victim for cell in cells)


def test_a_plan_counts_a_shared_pretraining_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spec.yaml").write_text(spec([{"pretrain": WORDS | {"tokens": 2000}}], [0]))
    assert main(["plan", str(tmp_path / "spec.yaml"), "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    (made,) = (stage for stage in stages if "pretraining" in stage["label"] and stage["what"] == "prepare")
    assert made["flops"] == 6 * 2000 * (tiny().card(task_data("word_length").text).n_params or 0)
    assert sum(stage["what"] == "prepare" for stage in stages) == 3


def test_keys_tell_pretrainings_apart_and_leave_others_as_they_were(tmp_path: Path) -> None:
    stage = WORDS | {"tokens": 2000}
    file, data = tmp_path / "a.txt", {"word_length": {"train_size": 100, "validation_size": 10}}
    file.write_text("some text to read\n")
    others = [stage | change for change in ({"tokens": 2001}, {"views": 1}, {"tasks": [data]}, {"file": str(file)})]
    victims = [{}, {"pretrain": stage}, {"pretrain": stage, "backbone": "frozen"}, *({"pretrain": o} for o in others)]
    cells = resolved(tmp_path, victims, [0])[: len(victims) * 2]
    found: dict[str, set[str]] = {}
    for cell in cells:
        found.setdefault(cell.victim.pretraining_key, set()).add(cell.keys.victim)
    assert len(found.pop("")) == 2
    assert sorted(map(len, found.values())) == [2, 2, 2, 2, 4], "a frozen victim shares the pretraining of the other"
    of_file = next(cell for cell in cells if (stage := cell.spec.victim.plugin.params.pretrain) and stage.file)
    before = of_file.victim.pretraining_key
    file.write_text("another text to read\n")
    again = resolved(tmp_path, victims, [0])
    assert before not in {cell.victim.pretraining_key for cell in again}
    plain = next(cell for cell in again if cell.spec.victim.plugin.params.pretrain is None)
    assert not {"pretrain", "backbone"} & plain.spec.victim.identity()["params"].keys()


RUN = """
import sys
from harness.training import loop
loop.CHECKPOINT_SECONDS, loop._SAVE_SHARE = 0.0, float("inf")
from harness.cli import main
sys.exit(main(["run", "spec.yaml", "--out", "out", "--quiet", "--jobs", "0"]))
"""


@pytest.mark.slow
def test_a_killed_run_makes_one_pretraining_and_ends_bit_identical(tmp_path: Path) -> None:
    text = spec([{"pretrain": WORDS | ROBUST | {"tokens": 12_000, "batch_size": 8}}], [0])
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.yaml").write_text(text)
    folder = tmp_path / "killed"
    command = [sys.executable, "-P", "-c", RUN]
    process = subprocess.Popen(command, cwd=folder, env=os.environ | ENVIRONMENT, start_new_session=True)
    end = time.monotonic() + LONGEST
    while not any(folder.glob("out/artifacts/.partial/*/scratch/training.pt")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(LONGEST)
    for name in ("whole", "killed"):
        done = harness_here("run", "spec.yaml", "--out", "out", "--jobs", "0", cwd=tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert weights(tmp_path / "whole/out") == weights(folder / "out")
    assert records(tmp_path / "whole/out") == records(folder / "out")
    manifests = [json.loads(one.read_text()) for one in folder.glob("out/artifacts/*/manifest.json")]
    made = [one for one in manifests if one["identity"]["what"] == "pretraining"]
    assert len(made) == 1
    for path in folder.glob("out/cells/*/cell.json"):
        facts = json.loads(path.read_text())["victim_facts"]
        assert facts["pretraining"]["artifact"] == made[0]["key"]
        assert facts["pretraining"]["compute"] == made[0]["facts"]["compute"]
        assert facts["reference_flops"] == pytest.approx(facts["pretraining"]["compute"]["nominal"], rel=0.05)
        assert facts["pretraining"]["notes"]["schedule"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    victims = [{"pretrain": {"file": "not_there.txt", "tokens": 100}}]
    (cell, *_) = resolved(tmp_path, victims, [0])
    with pytest.raises(HarnessError, match=r"pretrain.file: .*not_there.txt cannot be read"):
        cell.victim.victim.plugin.pretrain(job(tmp_path / "out"))
