"""Next tokens and answers in text, against plain forwards of the same model, one row and one token at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers as tf
from hypothesis import given, settings, strategies as st
from scipy import stats
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch.utils.flop_counter import FlopCounterMode

from harness.api.model.backend import Generated, GenerateItem, SampleItem
from harness.engine.sampling import draw
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.generation.decoding import choose_decoding
from harness.engine.torch.generation.nucleus import drawn_tokens
from harness.errors import AccessError, VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from tests.engine.hub_models import CORPUS, byte_bpe, random_model
from tests.engine.torch.test_flop_counter import CPU_KERNELS

COMMON: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 96,
}
GROUPED = {**COMMON, "num_key_value_heads": 2}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
CONFIGS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "gpt_neox": (tf.GPTNeoXConfig, COMMON),
    "llama": (tf.LlamaConfig, GROUPED),
    "qwen2": (tf.Qwen2Config, GROUPED),
    "gpt2": (tf.GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96}),
    "opt": (tf.OPTConfig, {**COMMON, "ffn_dim": 64, "word_embed_proj_dim": 32}),
    "mistral, window of 12": (tf.MistralConfig, {**GROUPED, "sliding_window": 12}),
    "gemma2, scores capped": (tf.Gemma2Config, {**GROUPED, "head_dim": 8, "attn_logit_softcapping": 1.0}),
    "bloom": (tf.BloomConfig, {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "mamba": (tf.MambaConfig, {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
}
PLAIN = ("gpt_neox", "llama", "qwen2", "gpt2")
PROMPTS = ("The quick brown fox", "a", "System password: apple User password: pear", "good great", " lazy dog.", "The")


@cache
def tokenizer() -> HFTokenizer:
    return HFTokenizer(byte_bpe())


def model_of(kind: str, **more: Any) -> Any:
    make, sizes = CONFIGS[kind]
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 0}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        config = make(vocab_size=tokenizer().vocabulary, **{**special, **sizes, **more})
        model = tf.AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(4)  # so that answers differ visibly between inputs
    return model.eval()


@cache
def backend(kind: str, strategy: str = "auto") -> TorchBackend:
    model = model_of(kind)
    # Some tokens end an answer, so that the rows of a batch end at different times; penalties are to be ignored.
    model.generation_config.eos_token_id = list(range(0, tokenizer().vocabulary, 16))
    model.generation_config.repetition_penalty = 9.0
    model.generation_config.do_sample = True
    model.generation_config.top_k = 1
    return TorchBackend(model, tokenizer(), "generation", strategy=strategy)  # type: ignore[arg-type]


@torch.no_grad()
def log_probs_of(made: TorchBackend, row: Sequence[int]) -> np.ndarray[Any, Any]:
    """Of the next token, by a full eager forward."""
    asked = made.model.config._attn_implementation
    made.model.set_attn_implementation("eager")
    logits = made.model(input_ids=torch.tensor([list(row)]), use_cache=False).logits[0, -1]
    made.model.set_attn_implementation(asked)
    found: np.ndarray[Any, Any] = logits.double().log_softmax(-1).numpy()
    return found


def greedily(made: TorchBackend, prompt: str, most: int) -> tuple[list[int], bool]:
    """New ids one by one, the ending one included, and whether there was one."""
    row = made.tokenizer.encode([prompt])[0]
    new: list[int] = []
    while len(new) < most and len(row) + len(new) < made.context:
        new.append(int(log_probs_of(made, [*row, *new]).argmax()))
        if new[-1] in made.generator.endings:
            return new, True
    return new, False


def text_of(tokens: int, start: int = 0) -> str:
    """A text of so many tokens."""
    text = "".join("^~"[(start + i) % 2] for i in range(tokens))
    assert len(tokenizer().encode([text])[0]) == tokens
    return text


def facts(answers: Sequence[Generated]) -> list[tuple[Any, ...]]:
    return [(a.text, a.finished, a.prompt_tokens, a.new_tokens, a.executed) for a in answers]


# -- answers in text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONFIGS)
def test_greedy_answers_are_those_of_single_rows_without_a_cache(kind: str) -> None:
    made = backend(kind)
    answers = made.generate([GenerateItem(prompt, 24) for prompt in PROMPTS])
    assert made.generator.decoding.batching == "padded"
    ends = []
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        new, ended = greedily(made, prompt, 24)
        text = made.tokenizer.decode([made.tokenizer.encode([prompt])[0] + (new[:-1] if ended else new)])[0]
        assert prompt + answer.text == text
        assert (answer.finished, answer.new_tokens) == (ended, len(new))
        assert answer.prompt_tokens == len(made.tokenizer.encode([prompt])[0])
        ends.append(len(new))
    assert len(set(ends)) > 1 or kind not in PLAIN  # else this says little about rows that end apart


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLAIN)
def test_what_is_drawn_depends_on_prompt_and_seed_alone(kind: str) -> None:
    made = backend(kind)
    rng = np.random.default_rng(1)
    items = [GenerateItem(p, int(rng.integers(4, 20)), t, s) for p in PROMPTS for t in (0.0, 0.7, 1.5) for s in (1, 2)]
    items = [replace(item, top_p=0.8) if at % 5 == 0 else item for at, item in enumerate(items)]
    alone = [made.generate([item])[0] for item in items]
    assert facts(made.generate(items)) == facts(alone)
    assert facts(made.generate(items[::-1])) == facts(alone[::-1])
    by_item = dict(zip([(i.prompt, i.temperature, i.seed) for i in items], [a.text for a in alone], strict=True))
    drawn = [(by_item[p, t, 1], by_item[p, t, 2]) for p in PROMPTS for t in (0.7, 1.5)]
    assert sum(one != other for one, other in drawn) > len(drawn) / 2


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1.0), st.floats(0.2, 3.0))
@settings(deadline=None)
def test_a_nucleus_is_drawn_from_by_its_probabilities(seed: int, top_p: float, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    logits, count = torch.as_tensor(rng.normal(size=(1, 12)) * 3), 2000
    logits[0, 3] = logits[0, 7]  # equally likely
    chances = torch.softmax(logits[0] / temperature, 0).numpy()
    order = np.argsort(-chances, kind="stable")
    kept = order[np.cumsum(chances[order]) - chances[order] < top_p]
    evenly = torch.as_tensor((np.arange(count) + 0.5) / count)[:, None]
    options = [torch.full((count, 1), value, dtype=torch.float64) for value in (temperature, top_p)]
    drawn = drawn_tokens(logits.expand(count, -1), options[0], options[1], evenly)[:, 0].numpy()
    expected = np.zeros(12)
    expected[kept] = chances[kept] / chances[kept].sum()
    np.testing.assert_allclose(np.bincount(drawn, minlength=12) / count, expected, atol=1.5 / count)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_by_their_probabilities_at_the_temperature(temperature: float) -> None:
    made, count = backend("llama"), 4000
    prompt = "The quick brown"
    answers = made.generate([GenerateItem(prompt, 1, temperature, seed) for seed in range(count)])
    row = made.tokenizer.encode([prompt])[0]
    scaled = log_probs_of(made, row) / temperature
    chances = np.exp(scaled - scaled.max())
    chances /= chances.sum()
    finished = sum(answer.finished for answer in answers)
    texts = [answer.text for answer in answers if not answer.finished]
    seen, expected = [finished], [count * chances[list(made.generator.endings)].sum()]
    for token in np.argsort(-chances):
        text = made.tokenizer.decode([[*row, int(token)]])[0][len(prompt) :]
        if token not in made.generator.endings and "\ufffd" not in text and count * chances[token] > 10:
            seen.append(texts.count(text))
            expected.append(count * chances[token])
    assert len(seen) > 3
    seen, expected = [*seen, count - sum(seen)], [*expected, count - sum(expected)]
    assert stats.chisquare(seen, expected).pvalue > 1e-3  # the seeds are fixed: this passes always or never


def test_a_prompt_ends_with_the_context_and_one_that_leaves_no_room_is_an_error() -> None:
    for kind in ("gpt2", "llama"):
        model = model_of(kind, **({"n_positions": 24} if kind == "gpt2" else {"max_position_embeddings": 24}))
        made = TorchBackend(model, tokenizer(), "generation")
        model.generation_config.eos_token_id = None
        model.config.eos_token_id = None
        lengths = (4, 20, 22, 23)
        prompts = [text_of(n) for n in lengths]
        answers = made.generate([GenerateItem(prompt, 12) for prompt in prompts])
        assert [a.new_tokens for a in answers] == [min(12, 24 - n) for n in lengths]
        assert not any(a.finished for a in answers)
        for prompt, answer in zip(prompts, answers, strict=True):
            assert answer.new_tokens == len(greedily(made, prompt, 12)[0])
        with pytest.raises(VictimError, match=r"prompt of 24 tokens leaves no room .* context of 24 tokens"):
            made.generate([GenerateItem(text_of(24), 1)])
        with pytest.raises(VictimError, match="without tokens"):
            made.generate([GenerateItem("", 1)])


def test_out_of_memory_halves_the_batch_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = backend("qwen2")
    items = [GenerateItem(prompt, 6, 1.0, seed) for seed, prompt in enumerate(PROMPTS)]
    wanted = facts(made.generate(items))
    real, sizes = made.model.generate, []

    def short_of_memory(ids: torch.Tensor, **options: Any) -> Any:
        sizes.append(len(ids))
        if len(ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(ids, **options)

    budget = made._chunkers["generate"].tokens
    monkeypatch.setattr(made.model, "generate", short_of_memory)
    assert facts(made.generate(items)) == wanted
    assert sizes[0] == len(items)
    assert max(sizes[-2:]) <= 2
    again = len(sizes)
    made.generate(items)
    assert max(sizes[again:]) <= 2  # not relearnt
    made._chunkers["generate"].tokens = budget


def test_a_model_that_pads_wrongly_is_batched_by_length_and_a_bad_cache_is_left_alone() -> None:
    class BlindToPadding(tf.LlamaForCausalLM):  # type: ignore[misc]
        def forward(self, input_ids: Any = None, attention_mask: Any = None, **options: Any) -> Any:
            return super().forward(input_ids=input_ids, **options)

    class ForgetfulCache(BlindToPadding):
        def forward(self, input_ids: Any = None, cache: Any = None, past_key_values: Any = None, **options: Any) -> Any:
            # transformers has renamed the argument on the way through version 5.
            held = {"past_key_values": past_key_values} if cache is None else {"cache": cache}
            late = any(one is not None and one.get_seq_length() > 0 for one in held.values())
            answer = super().forward(input_ids=input_ids, **held, **options)
            if late:
                answer.logits = answer.logits.roll(1, -1)
            return answer

    right = backend("llama")
    for kind, way in ((BlindToPadding, "equal lengths"), (ForgetfulCache, "no cache")):
        model = kind(right.model.config)
        model.load_state_dict(right.model.state_dict())
        model.generation_config.eos_token_id = right.model.generation_config.eos_token_id
        made = TorchBackend(model, tokenizer(), "generation")
        items = [GenerateItem(p, 10, t, 3) for p in PROMPTS for t in (0.0, 1.0)]
        found = made.generate(items)
        assert made.generator.decoding.batching == way
        assert "padded: differs" in made.generator.decoding.reason
        assert made.describe()["generation"] == made.generator.decoding.to_json()
        assert [a.text for a in found] == [a.text for a in right.generate(items)]


def test_rows_beyond_the_rotary_limit_are_computed_anew() -> None:
    model = model_of("llama", max_position_embeddings=16, rope_parameters=DYNAMIC)
    made = TorchBackend(model, tokenizer(), "generation")
    made.generator.context = 40  # beyond it the embedding changes with the length
    short, long = "The", "System password: apple User"
    answers = made.generate([GenerateItem(short, 8), GenerateItem(long, 20), GenerateItem(short, 20)])
    for prompt, answer in zip((short, long, short), answers, strict=True):
        made.context = 40
        row = made.tokenizer.encode([prompt])[0]
        text = made.tokenizer.decode([row + greedily(made, prompt, 8 if answer is answers[0] else 20)[0]])[0]
        assert prompt + answer.text == text


def test_text_keeps_the_space_that_a_decoder_drops_at_the_beginning() -> None:
    rust = tokenizers.Tokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    rust.decoder = decoders.Metaspace(prepend_scheme="first")
    rust.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, show_progress=False))
    spaced = HFTokenizer(rust)
    token = max((t for t in rust.get_vocab() if t.startswith("\u2581")), key=len)
    word, said = token[1:], rust.token_to_id(token)
    assert spaced.decode([[said]]) == [word]
    model = random_model("gpt_neox", "label_tokens", spaced.vocabulary)
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = None
    with torch.no_grad():  # says that word whatever it is asked
        model.get_output_embeddings().weight.zero_()
        model.get_output_embeddings().weight[said] = 1.0
        final = next(m for name, m in model.named_modules() if name.endswith("final_layer_norm"))
        final.weight.zero_()
        final.bias.fill_(1.0)
    (answer,) = TorchBackend(model, spaced, "generation").generate([GenerateItem("quick brown", 2)])
    assert answer.text == f" {word} {word}"


def test_no_number_is_an_error_and_no_prompts_are_no_answers() -> None:
    made = TorchBackend(model_of("gpt_neox"), tokenizer(), "generation")
    assert made.generate([]) == []
    assert made.sample([]) == []
    made.describe()
    assert made.generator.decoding.batching == "padded"
    items = [SampleItem(np.asarray([30, 31]), np.asarray([[32]]), np.arange(20, 60), 2, 0, top) for top in (None, 3)]
    with torch.no_grad():
        made.model.get_output_embeddings().weight.fill_(torch.nan)
    with pytest.raises(VictimError, match="NaN"):
        made.generate([GenerateItem("The", 3)])
    for item in items:
        with pytest.raises(VictimError, match="NaN"):
            made.sample([item])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", PLAIN)
def test_executed_flops_of_an_answer_agree_with_the_counter(kind: str, attention: str) -> None:
    model = model_of(kind)
    model.set_attn_implementation(attention)
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = None
    made = TorchBackend(model, tokenizer(), "generation")
    items = [GenerateItem(text_of(17, start), 14, 1.0, start) for start in range(3)]
    made.generate(items)
    made.describe()
    with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
        answers = made.generate(items)
    assert {a.new_tokens for a in answers} == {14}
    assert sum(a.executed for a in answers) == pytest.approx(counter.get_total_flops(), rel=0.02)
    whole = made.executed.forward(17 + 13, 14)
    assert answers[0].executed == pytest.approx(whole, rel=0.1)  # each token once, no more


# -- next tokens -------------------------------------------------------------------------------------------------------


def sample_items(seed: int, count: int = 4) -> list[SampleItem]:
    rng = np.random.default_rng(seed)
    usable = np.arange(2, tokenizer().vocabulary)
    allowed = np.sort(rng.choice(usable, size=150, replace=False))
    items = []
    for i in range(count):
        n, m = int(rng.integers(0, 7)), int(rng.integers(0, 6))
        before = rng.choice(usable, size=int(rng.integers(0 if m else 1, 20)))
        strings = np.repeat(rng.choice(usable, size=(1, m)), n, 0)
        for row in strings[1:]:
            at = int(rng.integers(0, m + 1))  # like beams: alike at the beginning
            row[at:] = rng.choice(usable, size=m - at)
        top = (None, 1, 12, 500)[int(rng.integers(4))]
        mine = allowed if rng.random() < 0.7 else usable[:90]
        items.append(SampleItem(before, strings, mine, int(rng.integers(1, 9)), seed + i, top))
    return items


def check_samples(made: TorchBackend, items: list[SampleItem]) -> None:
    for item, sampled in zip(items, made.sample(items), strict=True):
        width = min(item.k, len(item.allowed), item.top or len(item.allowed))
        assert sampled.answer.tokens.shape == sampled.answer.log_probs.shape == (len(item.strings), width)
        for i, string in enumerate(item.strings):
            truth = log_probs_of(made, [*item.before, *string])
            np.testing.assert_allclose(sampled.answer.log_probs[i], truth[sampled.answer.tokens[i]], atol=1e-4)
            wanted = draw(truth[None], item.allowed, item.k, item.seed, item.top, first=i)
            assert sampled.answer.tokens[i].tolist() == wanted.tokens[0].tolist()


@pytest.mark.parametrize("strategy", ["auto", "full"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_sampled_tokens_are_those_of_full_forwards(kind: str, strategy: str) -> None:
    made = backend(kind, strategy)
    for seed in range(3):
        check_samples(made, sample_items(seed))
    shared = made.next_tokens.shares_prefixes
    assert shared == (strategy == "auto" and kind not in ("gemma2, scores capped", "bloom", "mamba")), shared


@pytest.mark.slow
@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_sampled_tokens_are_right_for_any_shape(seed: int) -> None:
    check_samples(backend("llama"), sample_items(seed, 6))


def test_label_token_victims_sample_as_well() -> None:
    made = TorchBackend(model_of("qwen2"), tokenizer(), "label_tokens", (" POSITIVE", " NEGATIVE"))
    check_samples(made, sample_items(3))
    assert made.generate([GenerateItem("The", 3)])[0].new_tokens > 0


def test_equally_likely_tokens_at_the_edge_of_the_top_go_by_their_ids() -> None:
    made = TorchBackend(model_of("llama"), tokenizer(), "generation", strategy="full")
    with torch.no_grad():
        made.model.get_output_embeddings().weight.zero_()
    item = SampleItem(np.asarray([30, 31]), np.asarray([[32], [33]]), np.arange(40, 90), 4, 0, top=4)
    (sampled,) = made.sample([item])
    assert np.sort(sampled.answer.tokens).tolist() == [[40, 41, 42, 43]] * 2


def test_only_what_is_drawn_among_leaves_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    made = backend("gpt_neox")
    item = SampleItem(np.arange(30, 45), np.asarray([[50, 51], [52, 53], [54, 55]]), np.arange(20, 300), 5, 0, top=9)
    made.sample([item])
    moved: list[int] = []
    real = torch.Tensor.numpy

    def counted(self: torch.Tensor, **options: Any) -> Any:
        moved.append(self.numel())
        return real(self, **options)

    monkeypatch.setattr(torch.Tensor, "numpy", counted)
    made.sample([item])
    assert sum(moved) <= 3 * 2 * 9


@pytest.mark.parametrize("strategy", ["auto", "full"])
@pytest.mark.parametrize("kind", PLAIN)
def test_executed_flops_of_sampling_agree_with_the_counter(kind: str, strategy: str) -> None:
    made = TorchBackend(model_of(kind), tokenizer(), "generation", strategy=strategy)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    items = [
        SampleItem(rng.integers(20, 300, size=p), rng.integers(20, 300, size=(n, m)), np.arange(20, 300), 3, 0, 20)
        for p, n, m in ((30, 8, 5), (21, 4, 1), (25, 3, 0))
    ]
    made.sample(items)
    made.describe()
    made.begin([])
    with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
        first = made.sample(items)
    assert sum(s.executed for s in first) == pytest.approx(counter.get_total_flops(), rel=0.02)
    with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
        second = made.sample(items)
    assert sum(s.executed for s in second) == pytest.approx(counter.get_total_flops(), rel=0.02)
    if strategy == "auto":
        assert sum(s.executed for s in second) < 0.7 * sum(s.executed for s in first)  # what stands before is known


def test_rows_that_do_not_fit_and_foreign_ids_are_errors() -> None:
    made = backend("llama")
    fits = SampleItem(np.full(90, 30), np.full((1, 6), 31), np.arange(20, 60), 2, 0)
    assert made.sample([fits])[0].answer.tokens.shape == (1, 2)
    for before, strings, allowed, words in (
        (np.full(91, 30), np.full((1, 6), 31), np.arange(20, 60), "row of 97 tokens does not fit"),
        (np.full(0, 30), np.full((1, 0), 31), np.arange(20, 60), "row of 0 tokens does not fit"),
        (np.full(3, 10**6), np.full((1, 6), 31), np.arange(20, 60), "exceed the model's embedding"),
        (np.full(3, 30), np.full((1, 6), 31), np.asarray([20, 10**6]), "exceed the model's embedding"),
    ):
        with pytest.raises(VictimError, match=words):
            made.sample([SampleItem(before, strings, allowed, 2, 0)])


def test_a_classifier_refuses_in_words() -> None:
    made = TorchBackend(random_model("gpt_neox", "classification", tokenizer().vocabulary), tokenizer())
    assert made.abilities == {"activations", "score", "gradient", "perturb", "relaxed"}
    with pytest.raises(
        AccessError, match=r"answer sample requests \(it answers activations, gradient, perturb, relaxed, score\); use"
    ):
        made.sample([SampleItem(np.asarray([3]), np.asarray([[4]]), np.asarray([5]), 1, 0)])
    with pytest.raises(AccessError, match="does not answer generate requests"):
        made.generate([GenerateItem("a", 1)])


def test_the_models_own_settings_are_left_as_they_were() -> None:
    made = backend("gpt_neox")
    before = made.model.generation_config
    made.generate([GenerateItem("The", 2)])
    assert made.model.generation_config is before
    assert before.repetition_penalty == 9.0
    assert choose_decoding(made.model, made._ordinary_ids, 5).batching == "no cache", "too short to check more"
