"""What vLLM scores against what torch does, whose answers are checked against transformers elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.api.model.backend import GradientItem, ScoreItem
from harness.api.model.mellowmax import Mellowmax
from harness.engine.open_backend import open_folder
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.self_check.tolerance import FIXED_TOLERANCES
from harness.engine.vllm.backend import VLLMBackend
from harness.errors import AccessError, VictimError
from tests.engine.hub_models import write_folder
from tests.engine.vllm.conftest import Both, both, tokens

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
TARGET = (17, 99, 23, 120, 61)


def items(*targets: int | tuple[int, ...]) -> list[ScoreItem]:
    """Examples of different shapes."""
    found = []
    for i, target in enumerate(targets):
        near = tokens(10 + i, seed=i)
        candidates = np.repeat(near[None], 6, 0)
        candidates[np.arange(6), np.arange(6)] = tokens(6, seed=90 + i)
        found.append(ScoreItem(tokens(40 * i, seed=i), candidates, tokens(3, seed=i), target, near))
    return found


def assert_same(pair: Both, asked: list[ScoreItem]) -> None:
    for ours, theirs in zip(pair[0].score(asked), pair[1].score(asked), strict=True):
        assert ours.logits.shape == theirs.logits.shape
        np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-4)
        np.testing.assert_allclose(ours.losses, theirs.losses, atol=1e-4)
        assert ours.executed > 0


def test_candidates_of_a_classifier(classifier: Both) -> None:
    assert_same(classifier, items(0, 1, 1))


def test_candidates_under_labels_of_several_tokens(labels: Both) -> None:
    assert_same(labels, items(0, 1, 1))


def test_candidates_under_labels_of_one_token(folders: dict[str, Path]) -> None:
    pair = both(folders["language model 0"], "label_tokens", ("a", "b"))
    assert_same(pair, items(0, 1, 1))


def test_candidates_under_target_texts(writer: Both) -> None:
    asked = items(TARGET, TARGET[:2], TARGET[:1])
    assert_same(writer, [*asked, *(replace(one, over=Mellowmax(2.0)) for one in asked)])


def test_nothing_asked_is_nothing_answered(classifier: Both, writer: Both) -> None:
    nobody = np.empty((0, 3), dtype=np.int64)
    for pair, target in ((classifier, 0), (writer, TARGET)):
        empty, full = pair[0].score([ScoreItem(tokens(4), nobody, tokens(2), target), *items(target)])
        assert (empty.logits.shape, empty.losses.shape, empty.executed) == ((0, pair[0].n_labels), (0,), 0)
        assert full.losses.shape == (6,)
        assert pair[0].score([]) == []


def test_target_nll_is_that_of_transformers(writer: Both, folders: dict[str, Path]) -> None:
    model = AutoModelForCausalLM.from_pretrained(str(folders["language model 0"])).eval()
    item = ScoreItem(tokens(60), tokens(3, 12), tokens(4), TARGET)
    (answer,) = writer[0].score([item])
    for loss, candidate in zip(answer.losses, item.candidates, strict=True):
        row = torch.tensor([[*item.before, *candidate, *item.after, *TARGET]])
        with torch.no_grad():
            log_probs = model(input_ids=row).logits[0].log_softmax(-1)
        places = range(row.shape[1] - len(TARGET), row.shape[1])
        expected = -np.mean([float(log_probs[at - 1, row[0, at]]) for at in places])
        assert loss == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("length", range(127, 134))
def test_targets_whose_place_is_in_the_cache(writer: Both, length: int) -> None:
    """When a row is asked for again, all its whole blocks are cached, and vLLM tells nonsense of tokens in them."""
    ours, theirs = writer
    ours.begin([])
    row = tokens(length - len(TARGET) + 1, seed=length)  # the last token of a target is never put in
    item = ScoreItem(row[:-4], row[None, -4:], row[:0], TARGET)
    (expected,) = theirs.score([item])
    spent = []
    for _ in range(3):
        (answer,) = ours.score([item])
        assert answer.losses[0] == pytest.approx(expected.losses[0], abs=1e-4)
        spent.append(answer.executed)
    # What is told of a cached place would be cheap; below 129 and from 133 on, blocks of 32 end before the target.
    in_cache = (length - 1) // 32 * 32 >= len(row)
    assert (spent[1] == spent[0]) == in_cache
    assert in_cache == (129 <= length <= 132)


def test_whole_rows(classifier: Both, labels: Both) -> None:
    for ours, theirs in (classifier, labels):
        rows = [tokens(n, seed=n) for n in (1, 2, 31, 32, 33, 100, ours.context)]
        found, costs = ours.classify(rows)
        np.testing.assert_allclose(found, theirs.classify(rows)[0], atol=1e-4)
        assert len(costs) == len(rows)
        assert min(costs) > 0
        assert ours.classify([])[0].shape == (0, 2)


def test_class_names_in_another_order(tmp_path: Path) -> None:
    import json

    folder = write_folder(tmp_path / "named", "gpt_neox", "classification", hidden=64, context=256, scale=3.0)
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}
    (folder / "config.json").write_text(json.dumps(config))
    plain, _ = both(folder, "classification")[0].classify([tokens(20)])
    ours, theirs = both(folder, "classification", (" yes", " no"))
    found, _ = ours.classify([tokens(20)])
    np.testing.assert_allclose(found, plain[:, ::-1])
    np.testing.assert_allclose(found, theirs.classify([tokens(20)])[0], atol=1e-4)


def test_padding_tokens_in_a_row_count(classifier: Both) -> None:
    ours, theirs = classifier
    pad = theirs.model.config.get_text_config().pad_token_id
    row = np.asarray([*tokens(12), pad, pad])
    np.testing.assert_allclose(ours.classify([row])[0], theirs.classify([row])[0], atol=1e-4)


def test_a_bad_row_fails_alone(classifier: Both, writer: Both) -> None:
    ours, theirs = classifier
    good = tokens(9)
    before = ours.describe()["engine"]
    too_long = tokens(ours.context + 1)
    for bad, words in (
        (too_long, "257 tokens does not fit the model: 1 to 256"),
        (good[:0], "a row of 0 tokens"),
        (np.asarray([3, 100_000]), "exceed the model's embedding"),
        (np.asarray([-1, 3]), "exceed the model's embedding"),
    ):
        with pytest.raises(VictimError, match=words):
            ours.classify([good, bad, good])
    # The engine's own check, should a row get past this one.
    for bad in (tokens(ours.context + 1), good[:0], np.asarray([3, 100_000])):
        with pytest.raises(VictimError, match="vLLM cannot answer"):
            ours._engine.call(ours, "classify", rows=[good, bad])
    np.testing.assert_allclose(ours.classify([good])[0], theirs.classify([good])[0], atol=1e-4)
    assert ours.describe()["engine"] == before
    with pytest.raises(VictimError, match="takes ids of a text"):
        writer[0].score(items(1))


def test_a_target_that_just_fits(writer: Both) -> None:
    ours, theirs = writer
    room = ours.context - len(TARGET) + 1
    row = tokens(room)
    item = ScoreItem(row[:-4], row[None, -4:], row[:0], TARGET)
    assert ours.score([item])[0].losses[0] == pytest.approx(theirs.score([item])[0].losses[0], abs=1e-4)
    longer = ScoreItem(tokens(room - 3), row[None, -4:], row[:0], TARGET)
    with pytest.raises(VictimError, match=f"1 to {room} are possible"):
        ours.score([longer])


def test_no_gradients(classifier: Both) -> None:
    item = GradientItem(tokens(3), tokens(4), tokens(2), 0, np.arange(5, 50), 4)
    with pytest.raises(AccessError, match="gradient"):
        classifier[0].gradient([item])
    assert "gradient" not in classifier[0].abilities


def test_half_precision_agrees_to_what_it_costs(folders: dict[str, Path]) -> None:
    folder = folders["classifier 0"]
    theirs = open_folder(folder, dtype="bfloat16", device="cpu")
    assert isinstance(theirs, TorchBackend)
    ours = VLLMBackend(folder, theirs)
    rows = [tokens(n, seed=n) for n in (5, 40)]
    expected = theirs.classify(rows)[0]
    allowed = FIXED_TOLERANCES[theirs.model.dtype] * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(ours.classify(rows)[0], expected, atol=allowed)
    told = ours.describe()["agreement"]
    assert 1e-6 < told["difference"] <= told["tolerance"] == theirs.self_check.tolerance


def test_an_encoder_and_shared_embeddings(tmp_path: Path) -> None:
    encoder = both(write_folder(tmp_path / "bert", "bert", "classification"), "classification")
    assert_same(encoder, items(0, 1))
    folder = write_folder(tmp_path / "qwen2", "qwen2", "label_tokens", hidden=128, context=256, scale=3.0)
    assert_same(both(folder, "generation"), items(TARGET, TARGET[:2]))
