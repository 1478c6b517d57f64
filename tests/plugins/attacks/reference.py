"""Losses and gradients as one would write them down from the papers: plain transformers, whole texts, no cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification

from harness.problem import Problem


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
        """The whole text, tokenised anew."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def losses(self, problem: Problem, candidates: Any) -> np.ndarray:
        """Cross-entropy to the proxy label of each candidate, one forward per text."""
        found = []
        for tokens in candidates:
            with torch.no_grad():
                logits = self.model(input_ids=torch.tensor([self.ids(self.text(problem, tokens))]), use_cache=False)[0]
            found.append(float(cross_entropy(logits.double(), torch.tensor([problem.example.proxy_label]))))
        return np.asarray(found)

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
