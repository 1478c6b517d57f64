"""Tasks, judges, defenses and victims that break a promise fail the check of that promise, with words."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import (
    Auxiliary,
    Chunk,
    Classify,
    DataError,
    Edit,
    Example,
    Flops,
    Generate,
    GuardDefense,
    Judge,
    Likelihood,
    PluginRef,
    Ruling,
    Task,
    TaskData,
    TransformDefense,
    Verdict,
    Victim,
    VictimCard,
    VoteDefense,
    named_seed,
)
from harness.registry.loader import load_plugins
from harness.testing import ToyBackend, checks_for, run_check, subject_of

REGISTRY = load_plugins().registry


def finding(cls, check):
    (wanted,) = (one for one in checks_for(cls.kind, cls) if one.name == check)
    return run_check(wanted, subject_of(cls, registry=REGISTRY))


def rows(split, words, labels=(0, 1)):
    chunks = [(Chunk(f"{word} {i}"), Chunk("", Edit.OVERWRITABLE)) for i, word in enumerate(words)]
    return [
        Example(f"{split}-{i}", chunk, labels[i % len(labels)], 1 - labels[i % len(labels)])
        for i, chunk in enumerate(chunks)
    ]


class GoodTask(Task):
    """Words."""

    name = "words"

    def load(self):
        return TaskData((" A", " B"), rows("train", ["red"] * 6), rows("validation", ["blue"] * 6))


class RandomTask(GoodTask):
    """Draws from the global generator."""

    def load(self):
        return TaskData((" A", " B"), rows("train", [str(random.random())] * 2), rows("validation", ["b"] * 2))


class SetOrder(GoodTask):
    """Takes the order of a set."""

    def load(self):
        words = list({f"word{i}" for i in range(50)})
        return TaskData((" A", " B"), rows("train", words[:25]), rows("validation", words[25:]))


class Leaks(GoodTask):
    """Has the same prompts in both splits."""

    def load(self):
        return TaskData((" A", " B"), rows("train", ["red"] * 6), rows("validation", ["red"] * 6))


class Twice(GoodTask):
    """Has a prompt twice."""

    def load(self):
        data = super().load()
        return TaskData(data.labels, data.train, [*data.validation, replace(data.validation[0], id="again")])


class NoSpace(GoodTask):
    """Labels without a space."""

    def load(self):
        return TaskData(("A", "B"), rows("train", ["red"] * 6), rows("validation", ["blue"] * 6))


class OneLabel(GoodTask):
    """A label that does not occur."""

    def load(self):
        return TaskData((" A", " B"), rows("train", ["red"] * 6), rows("validation", ["blue"] * 6, (0,)))


class Miscounted(GoodTask):
    """States that it has more examples than it has."""

    def validation_count(self):
        return 10**6


class Empty(GoodTask):
    """No rows."""

    def load(self):
        return TaskData((" A", " B"), [], [])


class GoodJudge(Judge):
    """The last word counts."""

    name = "words"
    reads = "text"

    def success(self, example, answer):
        return (answer.text or "").endswith("5")


class Fickle(GoodJudge):
    """Decides by chance."""

    def success(self, example, answer):
        return random.random() < 0.5


class Counts(GoodJudge):
    """Decides by how often it was asked."""

    seen = 0

    def success(self, example, answer):
        self.seen += 1
        return self.seen % 2 == 0


class Breaks(GoodJudge):
    """Takes the third word of an answer that has two."""

    def success(self, example, answer):
        return answer.text.split()[2] == "is"


class BeyondOne(GoodJudge):
    """Scores beyond 1."""

    def verdict(self, example, answer):
        yield from ()
        return Verdict(True, 7.0)


class LooksAtScores(GoodJudge):
    """Looks at scores, which records have not."""

    reads = "labels"

    def success(self, example, answer):
        return max(answer.scores, default=0.0) > 1.0


class Asks(GoodJudge):
    """Asks a model."""

    def models(self):
        return {"judge": Auxiliary(PluginRef(name="tiny"), sees="nothing")}

    def verdict(self, example, answer):
        (said,) = yield Generate((answer.text or "",), seed=named_seed(example.id), model="judge")
        if said not in ("yes", "no"):
            return Verdict(False, unparseable=True)
        return Verdict(said == "yes")


class TakesNonsense(Asks):
    """Takes nonsense for a no."""

    def verdict(self, example, answer):
        (said,) = yield Generate((answer.text or "",), model="judge")
        return Verdict(said == "yes")


class AsksOn(Asks):
    """Asks until it gets an answer."""

    def verdict(self, example, answer):
        for _ in range(200):
            (said,) = yield Generate((answer.text or "",), model="judge")
            if said in ("yes", "no"):
                return Verdict(said == "yes")
        return Verdict(False, unparseable=True)


class GoodGuard(GuardDefense):
    """Refuses what is long."""

    name = "words"

    def fit(self, job):
        return {"longest": max(len(example.text) for example in job.data.train)}

    def blocks(self, texts, fitted):
        return [len(text) > fitted["longest"] for text in texts]

    def cost(self, text):
        return Flops()


class Arrays(GoodGuard):
    """Is fitted to an array."""

    def fit(self, job):
        return {"longest": np.ones(3)}


class Drawn(GoodGuard):
    """Is fitted by chance."""

    def fit(self, job):
        return {"longest": random.randint(10**3, 10**9)}


class Short(GoodGuard):
    """Forgets the last prompt."""

    def blocks(self, texts, fitted):
        return [False for _ in texts[:-1]]


class Rank(GoodGuard):
    """Refuses the longest of those that come together."""

    def blocks(self, texts, fitted):
        return [len(texts) > 1 and text == max(texts, key=len) for text in texts]


class Free(GoodGuard):
    """Costs less than nothing."""

    def cost(self, text):
        return Flops(-1.0)


class Shut(GoodGuard):
    """Refuses everything."""

    def blocks(self, texts, fitted):
        return [True for _ in texts]


class TooLow(GoodGuard):
    """Asks a model, and puts its threshold below what that says of clean prompts."""

    def models(self):
        return {"lm": Auxiliary(None, sees="text")}

    def fit(self, job):
        losses = job.ask([Likelihood(example.text, model="lm") for example in job.data.train[:4]])
        return {"most": min(float(nll.mean()) for nll in losses) - 1.0}

    def ruling(self, case):
        nll = yield Likelihood(case.text, model="lm")
        return Ruling(float(nll.mean()) > case.fitted["most"])


class Fixed(TooLow):
    """Has a threshold for trained models, which the kit's are not."""

    def fit(self, job):
        return {"most": 0.1}


class GoodTransform(TransformDefense):
    """Small letters."""

    name = "words"

    def apply(self, texts):
        return [text.lower() for text in texts]

    def cost(self, text):
        return Flops()


class OffersAnything(GoodTransform):
    """Offers what only guards do."""

    offers = "surrogate"


class LabelsOnly(GoodGuard):
    """Knows the labels, and refuses tasks without."""

    def check(self, data):
        if not data.labels:
            raise DataError("words: needs labels")

    def fit(self, job):
        return super().fit(job) | {"labels": [len(job.data.labels[example.label]) for example in job.data.train]}


class NowhereGuard(GoodGuard):
    """Stands before no task."""

    def check(self, data):
        raise DataError("words: not this one")


class SeesTask(GuardDefense):
    """Asks another victim of the task whether it would answer."""

    name = "words"

    def models(self):
        return {"other": Auxiliary(None, sees="task")}

    def check(self, data):
        LabelsOnly.check(self, data)

    def fit(self, job):
        (logits,) = job.ask([Classify((job.data.train[0].text,), model="other")])
        assert logits.shape == (1, len(job.data.labels))
        return {}

    def ruling(self, case):
        logits = yield Classify((case.text,), model="other")
        return Ruling(bool(logits.shape[1] != 2))


class GoodVote(VoteDefense):
    """Copies without some words."""

    name = "words"

    def copies(self):
        return 3

    def copy(self, case):
        yield from ()
        words = case.text.split(" ")
        return " ".join(word for word in words if case.rng.random() < 0.8)


class SecretVote(GoodVote):
    """Draws, and does not say so."""

    randomised = False


class SecretTemperature(GoodVote):
    """Draws answers, and does not say so."""

    randomised = False
    temperature = 2.0

    def copy(self, case):
        yield from ()
        return case.text


class SecretTransform(GoodTransform):
    """Draws, and does not say so."""

    def rewrite(self, case):
        yield from ()
        return case.text + str(case.rng.integers(10**6))


class SecretLoss(GoodVote):
    """Says that losses do not vary, and they do."""

    loss_varies = False


class Uphill(ToyBackend):
    """Gradients with the wrong sign."""

    def gradient(self, items):
        found = super().gradient([replace(item, top=len(item.allowed)) for item in items])
        turned = [
            replace(one.answer, tokens=one.answer.tokens[:, ::-1][:, :top], values=-one.answer.values[:, ::-1][:, :top])
            for one, top in zip(found, (min(item.top, len(item.allowed)) for item in items), strict=True)
        ]
        return [replace(one, answer=answer) for one, answer in zip(found, turned, strict=True)]


class GoodVictim(Victim):
    """A toy."""

    name = "words"
    backend: type = ToyBackend

    def card(self, data):
        return VictimCard("words", ToyBackend().n_params, None, "gradient", 64)

    def estimate(self, data):
        return 1.0

    def prepare(self, job):
        seed = named_seed(job.seed) % 1000
        (Path(job.folder) / "seed.json").write_text(json.dumps(seed))
        return Flops(1.0, 1.0)

    def open(self, folder, data):
        from harness import VictimError

        if not data.labels:
            raise VictimError("answers with labels")
        return self.backend(seed=json.loads((folder / "seed.json").read_text()))


class Padded(ToyBackend):
    """Scores depend on what else is asked."""

    def score(self, items):
        found = super().score(items)
        for one in found:
            one.losses[...] += 0.1 * len(items) * len(one.losses)
        return found


class Other(ToyBackend):
    """Scores are not those of classify."""

    def score(self, items):
        found = super().score(items)
        for one in found:
            one.losses[...] *= 1.1
        return found


class Steep(ToyBackend):
    """Gradients of another loss."""

    def classify(self, rows):
        logits, spent = super().classify(rows)
        return (logits * 2, spent) if len(rows) == 1 else (logits, spent)


class PaddedVictim(GoodVictim):
    """Padded."""

    backend = Padded


class OtherVictim(GoodVictim):
    """Other."""

    backend = Other


class SteepVictim(GoodVictim):
    """Steep."""

    backend = Steep


class UphillVictim(GoodVictim):
    """Uphill."""

    backend = Uphill


class Unseeded(GoodVictim):
    """Draws its weights by chance."""

    def prepare(self, job):
        (Path(job.folder) / "seed.json").write_text(json.dumps(random.SystemRandom().randint(0, 10**6)))
        return Flops(1.0, 1.0)


class WrongCard(GoodVictim):
    """Has another size than its card says."""

    def card(self, data):
        return VictimCard("words", 7, None, "gradient", 64)


class Latent(GoodVictim):
    """Promises more access than it gives."""

    def card(self, data):
        return VictimCard("words", ToyBackend().n_params, None, "latent", 64)


class Wordless(GoodVictim):
    """Says with a number what its training hardened it with."""

    def trained_against(self, data):
        return 0.3


class OtherFamily(GoodVictim):
    """States another family than its card."""

    def family(self):
        return "gpt-5"


class FreeVictim(GoodVictim):
    """Says that it costs nothing."""

    def estimate(self, data):
        return 0.0


BROKEN = [
    (RandomTask, "same_data"),
    (SetOrder, "same_elsewhere"),
    (Leaks, "disjoint"),
    (Twice, "distinct"),
    (NoSpace, "labels"),
    (OneLabel, "labels"),
    (Empty, "loads"),
    (Miscounted, "loads"),
    (Fickle, "deterministic"),
    (Counts, "deterministic"),
    (Breaks, "verdicts"),
    (BeyondOne, "verdicts"),
    (LooksAtScores, "recorded"),
    (TakesNonsense, "unparseable"),
    (AsksOn, "bounded"),
    (Arrays, "fits"),
    (Drawn, "fits"),
    (Short, "shapes"),
    (Rank, "independent"),
    (Free, "costs"),
    (Shut, "spares"),
    (TooLow, "spares"),
    (OffersAnything, "offers"),
    (SecretVote, "randomised"),
    (SecretTemperature, "randomised"),
    (SecretTransform, "randomised"),
    (SecretLoss, "loss_varies"),
    (PaddedVictim, "company"),
    (OtherVictim, "agrees"),
    (SteepVictim, "gradient"),
    (UphillVictim, "direction"),
    (Unseeded, "same_model"),
    (WrongCard, "opens"),
    (Wordless, "card"),
    (OtherFamily, "card"),
    (Latent, "opens"),
    (FreeVictim, "estimate"),
]


@pytest.mark.parametrize(
    "cls",
    [GoodTask, GoodJudge, Asks, GoodGuard, LabelsOnly, SeesTask, GoodTransform, GoodVote, GoodVictim],
    ids=lambda c: c.__name__,
)
def test_one_that_keeps_its_promises_passes(cls):
    subject = subject_of(cls, registry=REGISTRY)
    findings = [run_check(check, subject) for check in checks_for(cls.kind, cls)]
    assert [str(one) for one in findings if one.status == "failed"] == []


@pytest.mark.parametrize(("cls", "check"), BROKEN, ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_a_broken_promise_is_found_and_explained(cls, check):
    found = finding(cls, check)
    assert found.status == "failed", found
    assert all((found.expected, found.got, found.mend))


def test_a_defense_that_stands_before_none_of_the_tasks_is_not_checked():
    found = finding(NowhereGuard, "independent")
    assert found.status == "skipped"
    assert "not this one" in found.note


def test_a_threshold_for_trained_models_cannot_be_tried_on_random_ones():
    found = finding(Fixed, "spares")
    assert found.status == "skipped"
    assert "fit() asks no model" in str(found)
