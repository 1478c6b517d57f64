"""Likelihoods, activations and their gradients, against plain forwards and finite differences."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from harness.api.model.backend import ActivationItem, LikelihoodItem
from harness.engine.torch.backend import TorchBackend
from harness.errors import AccessError, VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from tests.engine.hub_models import byte_bpe, random_model

ROW = np.asarray([5, 90, 17, 33, 60, 21, 8])
ALLOWED = np.asarray([3, 17, 33, 60, 61, 62])


@cache
def model(head: str = "generation") -> TorchBackend:
    tokenizer = HFTokenizer(byte_bpe())
    labels = () if head == "generation" else (" A", " B")
    kind = "label_tokens" if head == "generation" else head
    return TorchBackend(random_model("gpt_neox", kind, tokenizer.vocabulary), tokenizer, head, labels)  # type: ignore[arg-type]


def log_probs(rows: torch.Tensor) -> torch.Tensor:
    return model().model(inputs_embeds=rows).logits.double().log_softmax(-1)


def test_likelihoods_are_those_of_a_plain_forward() -> None:
    rows = [ROW, ROW[:4], ROW[:1], ROW[::-1].copy()]
    found = model().likelihood([LikelihoodItem(row) for row in rows])
    for row, answer in zip(rows, found, strict=True):
        with torch.no_grad():
            plain = model().model(input_ids=torch.as_tensor(row)[None]).logits[0].double().log_softmax(-1)
        wanted = [-float(plain[i, t]) for i, t in enumerate(row[1:])]
        np.testing.assert_allclose(answer.nll, wanted, atol=1e-4)
    assert found[0].executed > found[1].executed > 0


def test_the_gradient_of_a_likelihood_is_that_of_what_is_read_and_of_what_is_predicted() -> None:
    """By automatic differentiation of a soft one-hot row, which neither path knows of."""
    weights = np.asarray([0.0, 0.5, 1.0, 0.25, 2.0, 0.1])
    (found,) = model().likelihood([LikelihoodItem(ROW, weights, (2, 5), ALLOWED)])
    table = model().model.get_input_embeddings().weight
    hot = torch.nn.functional.one_hot(torch.as_tensor(ROW), len(table)).float().requires_grad_(True)
    plain = model().model(inputs_embeds=(hot @ table)[None]).logits[0].log_softmax(-1)
    loss = -(torch.as_tensor(weights).float() * (hot[1:] * plain[:-1, : len(table)]).sum(-1)).sum()
    (slope,) = torch.autograd.grad(loss, [hot])
    assert found.gradient is not None
    np.testing.assert_allclose(found.gradient, slope[2:5][:, ALLOWED].numpy(), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_activations_are_those_that_the_model_tells(pool: str) -> None:
    for head in ("generation", "classification"):
        hidden = model(head).model.base_model(input_ids=torch.as_tensor(ROW)[None], output_hidden_states=True)
        layers = hidden.hidden_states
        for layer in (0, 1):
            (found,) = model(head).activations([ActivationItem(ROW, layer, pool)])  # type: ignore[arg-type]
            whole = layers[layer][0].detach()
            wanted = whole[-1] if pool == "last" else whole.mean(0)
            np.testing.assert_allclose(found.values, wanted.numpy(), atol=1e-4)


def test_the_gradient_of_activations_is_that_of_a_soft_row() -> None:
    backend = model()
    (plain,) = backend.activations([ActivationItem(ROW, 1, "mean")])
    direction = np.linspace(-1, 1, len(plain.values))
    (found,) = backend.activations([ActivationItem(ROW, 1, "mean", direction, (1, 3), ALLOWED)])
    table = backend.model.get_input_embeddings().weight
    hot = torch.nn.functional.one_hot(torch.as_tensor(ROW), len(table)).float().requires_grad_(True)
    out = backend.model.base_model(inputs_embeds=(hot @ table)[None], output_hidden_states=True).hidden_states[1]
    (slope,) = torch.autograd.grad((out[0].mean(0) * torch.as_tensor(direction).float()).sum(), [hot])
    assert found.gradient is not None
    np.testing.assert_allclose(found.gradient, slope[1:3][:, ALLOWED].numpy(), atol=2e-3, rtol=1e-3)


def test_what_is_not_there_is_an_error_in_words() -> None:
    with pytest.raises(VictimError, match="layer 99"):
        model().activations([ActivationItem(ROW, 99)])
    with pytest.raises(AccessError, match="causal language model"):
        model("classification").likelihood([LikelihoodItem(ROW)])


def test_all_layers_are_read_in_one_forward_as_each_is_alone() -> None:
    backend, rows, forwards = model(), [ROW, ROW[:4], ROW[::-1].copy()], []
    layers = backend.model.config.num_hidden_layers + 1
    _ = backend.self_check
    with backend.model.base_model.register_forward_hook(lambda *_: forwards.append(1)):
        found = backend.activations([ActivationItem(row, None) for row in rows])
    assert len(forwards) == 2, "rows of one length go together"
    for row, answer in zip(rows, found, strict=True):
        alone = [backend.activations([ActivationItem(row, layer)])[0] for layer in range(layers)]
        assert len(answer.by_layer) == layers
        for values, one in zip(answer.by_layer, alone, strict=True):
            np.testing.assert_allclose(values, one.values, atol=1e-5)
            assert answer.executed == one.executed
        assert alone[0].by_layer == ()
