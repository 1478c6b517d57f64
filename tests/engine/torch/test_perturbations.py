"""Perturbed activations: what a torch model says under them, and the gradients that attacks get."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.api.model.backend import GenerateItem, GradientItem, LatentItem, Perturbable, PerturbItem, ScoreItem
from harness.api.problem.latent import Latent
from harness.engine.dispatch.backend import DispatchBackend
from harness.engine.losses import cross_entropy
from harness.engine.open_backend import open_folder
from harness.engine.torch.activations.hidden_layers import LayerPerturbation, _PerturbingHook, perturbed_layers
from harness.engine.torch.backend import TorchBackend
from harness.engine.vllm import engines
from harness.errors import VictimError
from tests.engine.hub_models import write_folder
from tests.engine.torch.scoring.test_packed import CONFIGS, HEADS, NO_SUCH_MODEL, backend, model_of
from tests.engine.torch.test_flop_counter import CPU_KERNELS

CASES = [(kind, head) for kind in CONFIGS for head in HEADS if (kind, head) not in NO_SUCH_MODEL]
TEXT = ("gpt_neox", "llama", "qwen2", "gpt2")
WIDTH, LAYERS = 32, 2


def item_of(made: TorchBackend, seed: int = 0, layer: int = 0, shape: tuple[int, int, int] = (6, 4, 3)) -> PerturbItem:
    rng = np.random.default_rng(seed)
    ids = [rng.choice(made._ordinary_ids, size=n) for n in shape]
    target = 1 if made.n_labels else tuple(rng.choice(made._ordinary_ids, size=3).tolist())
    return PerturbItem(*ids, target, layer)  # type: ignore[arg-type]


def moved(item: PerturbItem, size: float, seed: int = 1) -> PerturbItem:
    """The same with a random perturbation whose tokens have this length."""
    delta = np.random.default_rng(seed).normal(size=(len(item.tokens), WIDTH))
    return replace(item, delta=size * delta / np.linalg.norm(delta, axis=1, keepdims=True))


def row_of(item: PerturbItem) -> np.ndarray[Any, Any]:
    return np.concatenate([item.before, item.tokens, item.after])


# -- losses and gradients ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "head"), CASES)
def test_zeros_change_nothing(kind: str, head: str) -> None:
    made = backend(kind, head, "full")
    assert made.perturbations.to_json() == {"layers": LAYERS, "difference": 0.0, "reason": ""}
    for layer in range(LAYERS + 1):
        item = item_of(made, layer, layer)
        (scored,) = made.score([ScoreItem(item.before, item.tokens[None], item.after, item.target)])
        for same in (item, replace(item, delta=np.zeros((4, WIDTH)))):
            (found,) = made.perturb([same])
            assert found.answer.loss == pytest.approx(float(scored.losses[0]), abs=1e-5)


@pytest.mark.parametrize(("kind", "head"), [case for case in CASES if case[1] == "classification" or case[0] in TEXT])
def test_the_gradient_of_embeddings_is_the_one_that_substitutions_get(kind: str, head: str) -> None:
    made = backend(kind, head, "full")
    allowed = made._ordinary_ids
    item = item_of(made)
    (asked,) = made.gradient(
        [GradientItem(item.before, item.tokens, item.after, item.target, allowed, top=len(allowed))]
    )
    (found,) = made.perturb([item])
    values = found.answer.gradient @ made._embedding_table.embeddings(allowed).double().numpy().T
    order = np.argsort(asked.answer.tokens, axis=1)
    wanted = np.take_along_axis(asked.answer.values, order, axis=1)
    np.testing.assert_allclose(values, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize(("kind", "head"), [(k, h) for k in TEXT for h in HEADS])
def test_the_gradient_is_the_slope(kind: str, head: str, layer: int) -> None:
    made = backend(kind, head)
    start = moved(item_of(made, layer=layer), 0.3)
    assert start.delta is not None
    (at,) = made.perturb([start])
    rng, width = np.random.default_rng(0), 0.02
    for _ in range(3):
        way = rng.normal(size=start.delta.shape)
        way += 2 * at.answer.gradient / np.linalg.norm(at.answer.gradient)  # or the slope might be lost in rounding
        way /= np.linalg.norm(way)
        up, down = (
            made.perturb([replace(start, delta=start.delta + sign * width * way)])[0].answer.loss for sign in (1, -1)
        )
        slope = float((at.answer.gradient * way).sum())
        assert (up - down) / (2 * width) == pytest.approx(slope, rel=0.02, abs=2e-4)


@pytest.mark.parametrize("kind", ["gpt_neox", "llama", "qwen2", "gpt2", "bert"])
def test_the_scale_is_the_mean_length_of_what_is_perturbed(kind: str) -> None:
    made = backend(kind, "classification")
    model, _ = model_of(kind, "classification")
    for layer in range(LAYERS):
        item = moved(item_of(made, layer=layer), 5.0)
        row = torch.as_tensor(row_of(item))[None]
        with torch.no_grad():
            states = model(input_ids=row, output_hidden_states=True).hidden_states
            known = model.get_input_embeddings()(row) if layer == 0 else states[layer]
        (found,) = made.perturb([item])
        assert found.answer.scale == pytest.approx(float(known[0, 6:10].norm(dim=-1).mean()), rel=1e-5)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("kind", ["gpt_neox", "llama", "qwen2"])
def test_losses_are_those_of_the_layers_above_alone(kind: str, layer: int) -> None:
    """The perturbed activations, computed apart, are given to the rest of the model as its embeddings."""
    made = backend(kind, "classification")
    model, _ = model_of(kind, "classification")
    item = moved(item_of(made, layer=layer), 2.0)
    assert item.delta is not None
    row = torch.as_tensor(row_of(item))[None]
    with torch.no_grad():
        states = model(input_ids=row, output_hidden_states=True).hidden_states[layer].clone()
        states[0, 6:10] += torch.as_tensor(item.delta, dtype=torch.float32)
        rest = copy.deepcopy(model)
        rest.base_model.layers = rest.base_model.layers[layer:]
        rest.config.num_hidden_layers = LAYERS - layer
        rest.config.pad_token_id = None
        logits = rest(inputs_embeds=states, use_cache=False).logits[0].double().numpy()
    (found,) = made.perturb([item])
    assert found.answer.loss == pytest.approx(float(cross_entropy(logits, 1)), abs=1e-5)
    (plain,) = made.perturb([replace(item, delta=None)])
    assert abs(found.answer.loss - plain.answer.loss) > 0.01


@pytest.mark.parametrize("head", HEADS)
def test_an_answer_does_not_depend_on_the_others(head: str) -> None:
    made = backend("qwen2", head)
    shapes = [(6, 4, 3), (2, 4, 3), (0, 1, 5), (6, 4, 3), (6, 2, 0)]
    items = [moved(item_of(made, i, i % 3, shape), 0.5, seed=i) for i, shape in enumerate(shapes)]
    for found, item in zip(made.perturb(items), items, strict=True):
        (alone,) = made.perturb([item])
        assert found.answer.loss == pytest.approx(alone.answer.loss, abs=1e-5)
        assert found.answer.scale == pytest.approx(alone.answer.scale, rel=1e-5)
        assert found.executed == alone.executed
        np.testing.assert_allclose(found.answer.gradient, alone.answer.gradient, atol=1e-5)
    assert made.perturb([]) == []


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", ["gpt_neox", "llama", "gpt2"])
def test_executed_agrees_with_the_counter(kind: str, head: str, layer: int) -> None:
    made = backend(kind, head)
    item = moved(item_of(made, layer=layer, shape=(20, 6, 5)), 0.5)
    made.perturb([item])  # what is measured once
    with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
        (found,) = made.perturb([item])
    assert found.executed == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_memory_that_runs_out_halves_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = model_of("gpt_neox", "classification")
    made = TorchBackend(model, tokenizer)
    items = [moved(item_of(made, i), 0.5) for i in range(6)]
    wanted = made.perturb(items)
    right, tried = made.head.outputs, []

    def scarce(model: Any, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        tried.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return right(model, rows, targets)

    monkeypatch.setattr(made.head, "outputs", scarce)
    found = made.perturb(items)
    assert tried[0] == 6
    assert tried[-1] <= 3
    for one, other in zip(found, wanted, strict=True):
        assert one.answer.loss == pytest.approx(other.answer.loss, abs=1e-5)


# -- answers ----------------------------------------------------------------------------------------------------------

PROMPT = "The quick brown fox jumps"


def latent_of(
    made: TorchBackend, layer: int, size: float, start: int = 2, tokens: int = 3, seed: int = 0
) -> LatentItem:
    delta = np.random.default_rng(seed).normal(size=(tokens, WIDTH))
    delta *= size / np.linalg.norm(delta, axis=1, keepdims=True)
    target = 1 if made.n_labels else (7, 9)
    return LatentItem(PROMPT, start, Latent.of(delta, layer), target, 6)


def as_request(made: TorchBackend, item: LatentItem) -> PerturbItem:
    row, end = np.asarray(made.tokenizer.encode([item.prompt])[0]), item.start + item.latent.shape[0]
    return PerturbItem(
        row[: item.start], row[item.start : end], row[end:], item.target, item.latent.layer, item.latent.array
    )


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", TEXT)
def test_the_judge_sees_what_the_attack_saw(kind: str, head: str) -> None:
    made = backend(kind, head)
    items = [latent_of(made, layer, size, start) for layer in (0, 1) for size in (0.0, 3.0) for start in (0, 2)]
    answers = made.answer_perturbed(items)
    for item, answer in zip(items, answers, strict=True):
        (asked,) = made.perturb([as_request(made, item)])
        loss = float(cross_entropy(answer.logits, 1)) if made.n_labels else answer.loss
        assert loss == pytest.approx(asked.answer.loss, abs=1e-5)
        assert answer.scale == pytest.approx(asked.answer.scale, rel=1e-5)
        assert (answer.said is None) == bool(made.n_labels)
        assert answer.executed > (answer.said.executed if answer.said else 0)


@cache
def speaker(kind: str) -> TorchBackend:
    """A language model of its own with endings, so that some answers end early."""
    model, tokenizer = model_of(kind, "generation")
    model = copy.deepcopy(model)
    model.generation_config.eos_token_id = list(range(0, tokenizer.vocabulary, 9))
    return TorchBackend(model, tokenizer, "generation")


@pytest.mark.parametrize("kind", ["gpt_neox", "llama", "qwen2", "gpt2", "bloom", "llama, dynamic rotary"])
def test_zeros_say_what_is_said_without(kind: str) -> None:
    made = speaker(kind)
    items = [
        replace(latent_of(made, layer, 0.0), prompt=PROMPT + more) for layer in (0, 1) for more in ("", " it", "!!")
    ]
    plain = made.generate([GenerateItem(item.prompt, 6) for item in items])
    for said, answer in zip(plain, made.answer_perturbed(items), strict=True):
        assert answer.said is not None
        assert (answer.said.text, answer.said.finished, answer.said.new_tokens) == (
            said.text,
            said.finished,
            said.new_tokens,
        )


@pytest.mark.parametrize("way", ["with a cache", "no cache"])
@pytest.mark.parametrize("kind", ["gpt_neox", "llama", "qwen2"])
def test_what_is_said_is_greedy_under_the_perturbation(kind: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By full forwards of embeddings that are perturbed by hand, token by token."""
    made = speaker(kind)
    if way == "no cache":
        monkeypatch.setattr(made.generator, "_batching", lambda _length: "no cache")
    model, embed = made.model, made.model.get_input_embeddings()
    plain = made.generate([GenerateItem(PROMPT, 6)])[0].text
    different = 0
    for seed in range(5):
        item = latent_of(made, 0, 20.0, seed=seed)
        ids = list(made.tokenizer.encode([PROMPT])[0])
        prompt = len(ids)
        while len(ids) - prompt < 6 and not (len(ids) > prompt and ids[-1] in made.generator.endings):
            with torch.no_grad():
                states = embed(torch.as_tensor([ids]))
                states[0, 2:5] += torch.as_tensor(item.latent.array, dtype=torch.float32)
                ids.append(int(model(inputs_embeds=states, use_cache=False).logits[0, -1].argmax()))
        (answer,) = made.answer_perturbed([item])
        assert answer.said is not None
        assert answer.said.new_tokens == len(ids) - prompt
        said = ids[prompt:-1] if ids[-1] in made.generator.endings else ids[prompt:]
        assert answer.said.text == made.tokenizer.decode([said])[0]
        different += answer.said.text != plain
    assert different  # it is felt


# -- what cannot be done ----------------------------------------------------------------------------------------------


def test_a_layer_that_is_not_there_and_a_width_that_does_not_fit() -> None:
    made = backend("llama", "classification")
    with pytest.raises(VictimError, match=r"layer 3: LlamaForSequenceClassification has layers 1 to 2, and 0 is"):
        made.perturb([item_of(made, layer=3)])
    with pytest.raises(VictimError, match="a perturbation of width 31, and the activations of layer 1 have width 32"):
        made.perturb([replace(item_of(made, layer=1), delta=np.zeros((4, 31)))])
    with pytest.raises(VictimError, match="layer 9"):
        made.answer_perturbed([replace(latent_of(made, 0, 1.0), latent=Latent.of(np.zeros((3, WIDTH)), 9))])
    with pytest.raises(VictimError, match="does not fit a row of"):
        made.answer_perturbed([replace(latent_of(made, 0, 1.0), start=40)])
    with (
        pytest.raises(VictimError, match="layer 7: Llama"),
        perturbed_layers(made.model, [LayerPerturbation(7, [0], [0], torch.zeros(1, 1, WIDTH))]),
    ):
        pass
    with pytest.raises(VictimError, match="row of 200 tokens does not fit"):
        made.perturb([replace(item_of(made), before=np.full(193, 30))])


def test_layers_that_cannot_be_told_are_no_reason_to_fail_until_they_are_asked_for() -> None:
    model, tokenizer = model_of("llama", "classification")
    model = copy.deepcopy(model)
    model.model.layers = torch.nn.Sequential(*model.model.layers)  # no list of layers
    made = TorchBackend(model, tokenizer, strategy="full")
    facts = made.describe()["perturbations"]
    assert isinstance(facts, dict)
    assert "0 lists of 2 layers where one was expected" in facts["reason"]
    with pytest.raises(VictimError, match="its activations cannot be perturbed; use another victim"):
        made.perturb([item_of(made)])


def test_a_model_that_does_not_run_its_layers_once_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = model_of("gpt_neox", "classification")
    model = copy.deepcopy(model)
    first, second = model.gpt_neox.layers
    monkeypatch.setattr(second, "forward", lambda *a, **k: first(*a, **k))  # the first runs again in place of it
    made = TorchBackend(model, tokenizer, strategy="full", check_agreement=False)
    with pytest.raises(VictimError, match="layer 1 does not return the activations of all tokens once"):
        made.perturb([item_of(made)])


def test_a_perturbation_that_is_felt_where_there_is_none_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _PerturbingHook._changed
    monkeypatch.setattr(_PerturbingHook, "_changed", lambda self, whole: right(self, whole) * 1.1)
    made = TorchBackend(*model_of("gpt_neox", "classification"))
    assert "answers with a perturbation of zeros differ from an eager" in made.perturbations.reason


def test_the_model_is_left_as_it_was() -> None:
    made = backend("qwen2", "classification")
    hooks = [len(module._forward_hooks) for module in made.model.modules()]
    made.perturb([item_of(made, layer=1)])
    with pytest.raises(VictimError, match=r"\(a smaller radius may help\) the model answered NaN"):
        made.perturb([replace(item_of(made, layer=1), delta=np.full((4, WIDTH), np.nan))])
    assert [len(module._forward_hooks) for module in made.model.modules()] == hooks


def test_a_routed_victim_is_perturbed_by_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    folder = write_folder(tmp_path / "model", "gpt_neox", "classification")
    routed = open_folder(folder, device="cpu", dtype="float32", backend="auto")
    assert isinstance(routed, DispatchBackend)
    assert isinstance(routed, Perturbable)
    assert "perturb" in routed.abilities
    item = moved(item_of(routed.torch), 1.0)
    (found,), (wanted,) = routed.perturb([item]), routed.torch.perturb([item])
    assert found.answer.loss == wanted.answer.loss
    asked = latent_of(routed.torch, 1, 1.0)
    np.testing.assert_array_equal(
        routed.answer_perturbed([asked])[0].logits, routed.torch.answer_perturbed([asked])[0].logits
    )


def test_half_precision_rounds_and_no_more() -> None:
    model, tokenizer = model_of("qwen2", "classification")
    half = TorchBackend(copy.deepcopy(model).to(torch.bfloat16), tokenizer)
    made = backend("qwen2", "classification")
    assert half.perturbations.difference == 0.0
    for layer in (0, 1):
        item = moved(item_of(made, layer=layer), 1.0)
        (found,), (wanted,) = half.perturb([item]), made.perturb([item])
        assert found.answer.loss == pytest.approx(wanted.answer.loss, abs=0.05)
        assert found.answer.scale == pytest.approx(wanted.answer.scale, rel=0.01)
