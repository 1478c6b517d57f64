"""Losses and gradients as one would write them down from the papers: plain transformers, whole texts, no cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification

from harness.api.problem.problem import Problem


class Reference:
    """The model in a folder, in float32 with eager attention."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.model: Any = AutoModelForSequenceClassification.from_pretrained(
            str(folder), dtype=torch.float32, attn_implementation="eager"
        ).eval()

    def text(self, problem: Problem, tokens: Any) -> str:
        """The whole prompt, the attack string put into it as text."""
        attack = self.tokenizer.decode([int(t) for t in tokens], skip_special_tokens=False)
        chunks = [chunk.text for chunk in problem.example.chunks]
        at = problem.example.region
        assert chunks[at] == ""  # so position does not matter
        return "".join([*chunks[:at], attack, *chunks[at + 1 :]])

    def ids(self, text: str) -> list[int]:
        """The whole text, tokenised again."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def losses(self, problem: Problem, candidates: Any) -> np.ndarray:
        """Cross-entropy to the proxy label of each candidate, one forward per text."""
        found = []
        for tokens in candidates:
            with torch.no_grad():
                logits = self.model(input_ids=torch.tensor([self.ids(self.text(problem, tokens))]), use_cache=False)[0]
            found.append(float(cross_entropy(logits.double(), torch.tensor([problem.example.proxy_label]))))
        return np.asarray(found)

    def losses_at_once(self, problem: Problem, candidates: Any) -> np.ndarray:
        """The same in one forward, of candidates whose texts have equally many tokens."""
        rows = torch.tensor([self.ids(self.text(problem, tokens)) for tokens in candidates])
        with torch.no_grad():
            logits = self.model(input_ids=rows, use_cache=False)[0].double()
        wanted = torch.full((len(rows),), problem.example.proxy_label)
        return cross_entropy(logits, wanted, reduction="none").numpy()

    def answer(self, problem: Problem, tokens: Any) -> int:
        """The label that the model says to the prompt with this string in it."""
        with torch.no_grad():
            logits = self.model(input_ids=torch.tensor([self.ids(self.text(problem, tokens))]), use_cache=False)[0]
        return int(logits.argmax())

    def one_hot_gradient(self, problem: Problem, tokens: Any) -> np.ndarray:
        """Autograd by an explicit one-hot matrix; shape [S, vocabulary of the embedding]."""
        ids = torch.tensor(self.ids(self.text(problem, tokens)))
        start = len(problem.before)
        table = self.model.get_input_embeddings().weight
        one_hot = torch.nn.functional.one_hot(ids[start : start + len(tokens)], len(table)).float().requires_grad_(True)
        embeds = torch.cat([table[ids[:start]], one_hot @ table, table[ids[start + len(tokens) :]]])
        logits = self.model(inputs_embeds=embeds[None], use_cache=False)[0]
        loss = cross_entropy(logits, torch.tensor([problem.example.proxy_label]))
        (gradient,) = torch.autograd.grad(loss, one_hot)
        return gradient.double().numpy()


def plain_gcg(
    reference: Reference, problem: Problem, steps: int, candidates: int, topk: int, rng: np.random.Generator
) -> list[bool]:
    """GCG as one would write it down from the paper (arXiv 2307.15043, algorithm 1), one example at a time. Whether the
    prompt is answered wrongly after each step.
    """

    def survives(tokens: np.ndarray) -> bool:
        return reference.ids(reference.text(problem, tokens)) == [*problem.before, *tokens, *problem.after]

    current = rng.choice(problem.allowed, size=problem.budget)
    while not survives(current):
        current = rng.choice(problem.allowed, size=problem.budget)
    broken = []
    for _ in range(steps):
        gradient = reference.one_hot_gradient(problem, current)[:, problem.allowed]
        best = problem.allowed[np.argsort(gradient, axis=1)[:, :topk]]
        drawn: list[np.ndarray] = []
        while len(drawn) < candidates:
            candidate = current.copy()
            position = rng.integers(problem.budget)
            candidate[position] = rng.choice(best[position])
            if survives(candidate):
                drawn.append(candidate)
        current = drawn[int(np.argmin(reference.losses_at_once(problem, drawn)))]
        broken.append(reference.answer(problem, current) != problem.example.label)
    return broken
