"""A victim that is no torch model at all: logistic regression on token counts."""

import json
import shutil

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from harness import (
    Differentiated,
    Flops,
    GradientAnswer,
    HFTokenizer,
    Scored,
    Victim,
    VictimCard,
    VictimError,
    WithoutText,
    cross_entropy,
    hookimpl,
)

ENTRIES = 320


class CountsBackend(WithoutText):
    """Logits are sums of token weights."""

    def __init__(self, tokenizer, weights):
        self.tokenizer, self.weights = tokenizer, weights
        self.n_params = self.n_params_non_embedding = weights.size
        self.n_labels = weights.shape[1]
        self.context = 512

    def classify(self, rows):
        logits = np.asarray([self.weights[row].sum(axis=0) for row in rows]).reshape(len(rows), self.n_labels)
        return logits, [float(self.n_labels * len(row)) for row in rows]

    def score(self, items):
        answers = []
        for item in items:
            logits, spent = self.classify([np.concatenate([item.before, row, item.after]) for row in item.candidates])
            losses = np.asarray([cross_entropy(row, item.target) for row in logits])
            answers.append(Scored(logits, losses, sum(spent)))
        return answers

    def gradient(self, items):
        answers = []
        for item in items:
            (logits,), (spent,) = self.classify([np.concatenate([item.before, item.tokens, item.after])])
            chance = np.exp(logits - logits.max())
            chance = chance / chance.sum() - np.eye(self.n_labels)[item.target]
            slope = self.weights[item.allowed] @ chance
            best = np.argsort(slope, kind="stable")[: item.top]
            shape = (len(item.tokens), len(best))
            answer = GradientAnswer(
                cross_entropy(logits, item.target),
                np.broadcast_to(item.allowed[best], shape),
                np.broadcast_to(slope[best], shape),
            )
            answers.append(Differentiated(answer, 3 * spent))
        return answers

    def describe(self):
        return {"head": "counts"}


def descend(weights, counts, labels, steps, job):
    """Some steps of gradient descent, written to the job's folder; the compute spent."""
    for step in range(steps):
        logits = counts @ weights
        chance = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights -= 0.1 * counts.T @ (chance / chance.sum(axis=1, keepdims=True) - labels) / len(counts)
        job.progress("descent", step + 1, steps)
    np.save(job.folder / "weights.npy", weights)
    return Flops(6.0 * weights.size * counts.sum() * steps, 4.0 * counts.size * labels.shape[1] * steps)


class Counts(Victim):
    """Logistic regression on token counts, trained by gradient descent."""

    name = "counts"

    def card(self, data):
        return VictimCard("counts", ENTRIES * len(data.labels), None, "gradient", 512, 4.0)

    def estimate(self, data):
        return 1e6

    def prepare(self, job):
        if not job.data.labels:
            raise VictimError("counts answers with labels; use a task that has some")
        rust = tokenizers.Tokenizer(models.BPE())
        rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        rust.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        texts = [example.text for example in job.data.train]
        rust.train_from_iterator(
            texts, trainers.BpeTrainer(vocab_size=ENTRIES, initial_alphabet=alphabet, show_progress=False)
        )
        rust.save(str(job.folder / "tokenizer.json"))
        counts = np.zeros((len(texts), ENTRIES))
        for i, encoding in enumerate(rust.encode_batch(texts)):
            np.add.at(counts[i], encoding.ids, 1.0)
        labels = np.eye(len(job.data.labels))[[example.label for example in job.data.train]]
        weights = np.random.default_rng(job.seed).normal(scale=0.3, size=(ENTRIES, labels.shape[1]))
        (job.folder / "config.json").write_text(json.dumps({"entries": ENTRIES}))
        return descend(weights, counts, labels, 50, job)

    def retrain(self, job):
        shutil.copy(job.model / "tokenizer.json", job.folder)
        shutil.copy(job.model / "config.json", job.folder)
        counts = np.zeros((len(job.rows), ENTRIES))
        for i, row in enumerate(job.rows):
            np.add.at(counts[i], list(row.ids), 1.0)
        labels = np.eye(len(job.data.labels))[[row.label for row in job.rows]]
        return descend(np.load(job.model / "weights.npy"), counts, labels, 20, job)

    def open(self, folder, data):
        return CountsBackend(
            HFTokenizer.from_file(folder / "tokenizer.json", rows=ENTRIES), np.load(folder / "weights.npy")
        )


@hookimpl
def harness_register_victims(register):
    register(Counts)
