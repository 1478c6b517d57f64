"""Victims that answer in text: answers are judged, losses are of the target text, a judge may ask models of its own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.api.judge import Answer, Judge, Verdict
from harness.api.model.auxiliary import Auxiliary
from harness.api.model.backend import GenerateItem, ScoreItem
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.requests import Classify, Generate, Gradient, Score
from harness.api.runtime_defense import GuardDefense
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.engine.torch.backend import TorchBackend
from harness.errors import AccessError, DataError, PluginError
from harness.flops import Flops
from harness.run.cell.clean_check import check_clean, choose_examples, shortened
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.attacks.gcg import GCG
from plugins.attacks.random_search import RandomSearch
from tests.engine.hub_models import byte_bpe, random_model
from tests.engine.toy import ToyBackend, judge_of, searching

THREAT = Threat(tokens=4)
EMPTY = np.empty(0, dtype=np.int64)


class Vowels(Judge):
    """The answer holds many vowels."""

    name = "vowels"
    reads = "text"

    def success(self, example: Example, answer: Answer) -> bool:
        assert answer.text is not None
        return sum(c in "aeiou" for c in answer.text) > 2


class Asks(Judge):
    """Asks a model twice; what it says decides, and an odd number of letters is no verdict."""

    name = "asks"
    reads = "text"

    def models(self) -> dict[str, Auxiliary]:
        return {"judge": Auxiliary(sees="nothing")}

    def verdict(self, example: Example, answer: Answer) -> Any:
        (first,) = yield Generate((f"{example.text}: {answer.text}",), 5, model="judge")
        (second,) = yield Generate((first,), 3, model="judge")
        return Verdict(len(second) % 3 == 0, unparseable=len(second) % 3 == 1)


@cache
def model() -> TorchBackend:
    tokenizer = HFTokenizer(byte_bpe())
    made = random_model("gpt_neox", "label_tokens", tokenizer.vocabulary)
    made.generation_config.eos_token_id = list(range(0, tokenizer.vocabulary, 12))
    return TorchBackend(made, tokenizer, "generation")


def victim(*layers: Layer) -> DefendedVictim:
    return DefendedVictim(model(), layers, answer_tokens=8)


def examples(count: int = 4) -> list[Example]:
    things = ("a red kite", "an old bell", "one more map", "some warm tea")
    return [
        Example(f"v-{i}", (Chunk(f"Tell me of {thing}", Edit.PERTURBABLE), Chunk(":")), target=" Sure, here")
        for i, thing in enumerate(things[:count])
    ]


def problems(count: int = 4) -> list[Problem]:
    allowed = allowed_tokens(model().tokenizer)
    return [place(example, THREAT, model().tokenizer, allowed) for example in examples(count)]


@pytest.mark.parametrize(
    "attack", [GCG(GCG.Params(steps=2, candidates=6, topk=8)), RandomSearch(RandomSearch.Params(steps=2))]
)
def test_rows_hold_what_the_victim_says_to_the_string(attack: Any) -> None:
    result = searching(victim(), attack, judge=Vowels()).run(problems())
    by_id = {problem.example.id: problem for problem in problems()}
    for row in result.rows:
        problem = by_id[row.example]
        prompt = problem.prompt(row.attack_text)
        (said,) = model().generate([GenerateItem(prompt, 8)])
        assert row.answer == said.text
        assert row.success == (sum(c in "aeiou" for c in said.text) > 2)
        answered = bool(said.text.strip())
        assert row.answer_state == ("answered" if answered else "empty" if said.finished else "cut_off")
        assert (row.predicted, row.unparseable, row.score) == (None, False if answered else None, None)
        assert (row.draws, row.broken_draws) == ((1, row.success) if answered else (None, None))
        ids = np.asarray(model().tokenizer.encode([prompt]))
        target = tuple(model().tokenizer.encode([" Sure, here"])[0])
        (scored,) = model().score([ScoreItem(EMPTY, ids, EMPTY, target)])
        assert row.loss == pytest.approx(scored.losses[0], abs=1e-5)
        assert row.attack_loss == pytest.approx(row.loss, abs=1e-4)
        n = model().n_params
        assert n is not None
        assert row.judge_nominal == 2.0 * n * (said.prompt_tokens + said.new_tokens + ids.shape[1])


def test_the_target_is_what_the_gradient_lowers() -> None:
    (problem,) = problems(1)
    assert problem.target == tuple(model().tokenizer.encode([" Sure, here"])[0])
    assert problem.wanted == " Sure, here"


def test_a_judge_asks_models_of_its_own_and_pays_for_them() -> None:
    other = DefendedVictim(model())
    plain = searching(victim(), GCG(GCG.Params(steps=2, candidates=4)), judge=Vowels()).run(problems())
    search = searching(victim(), GCG(GCG.Params(steps=2, candidates=4)))
    judged = type(search)(
        search.models,
        search.attack,
        search.names,
        "gradient",
        JudgeRunner(Asks(), ModelRouter(victim(), {"judge": other})),
    ).run(problems())
    assert [row.attack_tokens for row in judged.rows] == [row.attack_tokens for row in plain.rows]
    assert {row.unparseable for row in judged.rows} == {True, False, None}
    for row, bare in zip(judged.rows, plain.rows, strict=True):
        if row.answer_state != "answered":
            assert (row.unparseable, row.success) == (None, False)
            assert row.judge_nominal == bare.judge_nominal
            continue
        assert not (row.success and row.unparseable)
        assert row.judge_nominal > bare.judge_nominal
        assert (row.queries, row.attack_nominal) == (bare.queries, bare.attack_nominal)


def test_a_judge_may_ask_no_one_else() -> None:
    with pytest.raises(PluginError, match="judge asks, example v-0"):
        _ = JudgeRunner(_Bad(Generate(("x",))), ModelRouter(victim())).verdicts(
            [(examples()[0], Answer(None, (), 0.0, "x"))]
        )
    with pytest.raises(PluginError, match=r"asked model 'other', but models\(\) names none"):
        _ = JudgeRunner(_Bad(Generate(("x",), model="other")), ModelRouter(victim())).verdicts(
            [(examples()[0], Answer(None, (), 0.0, "x"))]
        )


class _Bad(Judge):
    """Yields what it is told to."""

    name = "asks"

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request

    def verdict(self, example: Example, answer: Answer) -> Any:
        yield self.request
        return Verdict(True)


class Refuses(GuardDefense):
    """Refuses what speaks of bells."""

    name = "refuses"

    def blocks(self, texts: Any, fitted: dict[str, Any]) -> list[bool]:
        return ["bell" in text for text in texts]

    def cost(self, text: str) -> Flops:
        return Flops(7.0, 7.0)


def test_a_guard_stands_before_answers_and_losses() -> None:
    guarded = victim(Layer(Refuses(), {}))
    assert [reply.text is None for reply in guarded.ask([e.text for e in examples()])] == [False, True, False, False]
    found = searching(guarded, RandomSearch(RandomSearch.Params(steps=1, candidates=3)), judge=Vowels()).run(problems())
    rows = {row.example: row for row in found.rows}
    assert (rows["v-1"].answer, rows["v-1"].success, rows["v-1"].attack_loss) == (None, False, None)
    bare = searching(victim(), RandomSearch(RandomSearch.Params(steps=1, candidates=3)), judge=Vowels()).run(problems())
    for row in bare.rows:
        if row.example != "v-1":
            assert rows[row.example].attack_loss == pytest.approx(row.attack_loss, abs=1e-4)


@pytest.mark.parametrize("benign", [False, True])
def test_of_what_a_guard_blocks_the_harmful_is_right_and_attacked(benign: bool) -> None:
    guarded, asked = victim(Layer(Refuses(), {})), [replace(example, benign=benign) for example in examples()]
    clean = check_clean(judge_of(guarded, Vowels()), asked)
    chosen, rows = choose_examples(guarded, cell_like(), asked, clean)
    row = rows[1]
    assert (row["answer"], row["answer_state"], row["right"]) == (None, None, not benign)
    assert (row["attacked"], row["excluded"]) == (not benign, "blocked when clean" if benign else None)
    assert ("v-1" in {problem.example.id for problem in chosen}) is not benign


def test_only_what_has_not_yielded_unasked_is_attacked() -> None:
    seen = judge_of(victim(), Vowels())
    clean = check_clean(seen, examples())
    said = [reply.text or "" for reply in clean.replies]
    assert clean.correct == [bool(text) and not sum(c in "aeiou" for c in text) > 2 for text in said]
    assert clean.missing == said.count("") == 1
    chosen, rows = choose_examples(victim(), cell_like(), examples(), clean)
    assert [row["answer"] for row in rows] == said
    broken = "already broken when clean"
    assert [row["excluded"] for row in rows] == [
        None if ok else broken if text else "no answer when clean" for ok, text in zip(clean.correct, said, strict=True)
    ]
    assert [row["answer_state"] for row in rows] == ["answered" if text else "empty" for text in said]
    assert [row["right"] for row in rows] == [
        ok if text else None for ok, text in zip(clean.correct, said, strict=True)
    ]
    assert len(chosen) == sum(clean.correct)


def cell_like(too_long: str = "exclude", tokens: int = 4) -> Any:
    return SimpleNamespace(threat=Threat(tokens=tokens), examples=4, too_long=too_long)


def test_a_prompt_that_leaves_no_room_for_the_answer_is_named_or_cut_as_the_spec_says() -> None:
    long = Example("long", (Chunk("word " * 300, Edit.PERTURBABLE), Chunk(" Answer:")), target=" Sure")
    seen = judge_of(victim(), Vowels())
    clean = check_clean(seen, [long])
    assert clean.correct == [False]
    _, (row,) = choose_examples(victim(), cell_like(), [long], clean)
    assert "too long" in row["excluded"]
    assert row["right"] is None
    with pytest.raises(DataError, match=r"example long is too long: .* write too_long: exclude or truncate"):
        choose_examples(victim(), cell_like("error"), [long], clean)
    short, cut = shortened([long, *examples(2)], victim(), THREAT)
    assert cut == 1
    assert short[1:] == examples(2)
    assert short[0].text.endswith(" Answer:")
    assert long.text.startswith(short[0].chunks[0].text)
    problem = place(short[0], THREAT, model().tokenizer, EMPTY)
    length = len(problem.before) + THREAT.tokens + len(problem.after)
    assert model().context - 8 - 2 <= length <= model().context - 8
    assert victim().ask([short[0].text])[0].text is not None


def test_text_access_to_a_classifier_is_its_label() -> None:
    backend = ToyBackend()
    asked = DefendedVictim(backend, labels=(" HAM", " SPAM"))
    prompts = ("The red fox jumps.", "A cat.")
    logits, _ = backend.classify([np.asarray(ids) for ids in backend.tokenizer.encode(prompts)])
    said = [(" HAM", " SPAM")[int(at)] for at in logits.argmax(axis=1)]
    from harness.engine.meter import StepMeter
    from harness.engine.search.router import PendingRequest

    problem = Problem(examples()[0], "", "", EMPTY, EMPTY, 1, EMPTY, backend.tokenizer)
    meter = StepMeter()
    answers = ModelRouter(asked).answer(
        [PendingRequest(problem, Generate(prompts), (meter,)), PendingRequest(problem, Classify(prompts), (meter,))]
    )
    assert answers[0] == said
    np.testing.assert_allclose(answers[1], logits)
    assert meter.queries == 4
    with pytest.raises(AccessError, match="classify"):
        ModelRouter(victim()).checked(Classify(prompts), problem, "attack x")


def test_an_auxiliary_model_is_metered_and_is_no_query() -> None:
    small = random_model("gpt_neox", "label_tokens", model().tokenizer.vocabulary, seed=3)
    draft = DefendedVictim(TorchBackend(small, model().tokenizer, "generation"))
    (problem,) = problems(1)
    candidates = problem.random_tokens(np.random.default_rng(0), 5)
    from harness.engine.meter import StepMeter
    from harness.engine.search.router import PendingRequest

    meter = StepMeter()
    desk = ModelRouter(victim(), {"draft": draft})
    ours, theirs, slope = desk.answer(
        [
            PendingRequest(problem, request, (meter,))
            for request in (Score(candidates), Score(candidates, model="draft"), Gradient(candidates[0], 3, "draft"))
        ]
    )
    assert meter.queries == 5
    assert not np.allclose(ours, theirs)
    assert slope.loss == pytest.approx(theirs[0], abs=1e-4)
    tokens = len(problem.before) + 4 + len(problem.after)
    n, m = model().n_params, draft.backend.n_params
    assert n is not None
    assert m is not None
    assert meter.attack.nominal == 2.0 * n * 5 * tokens + 2.0 * m * 5 * tokens + 6.0 * m * tokens
