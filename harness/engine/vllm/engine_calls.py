"""What the engine's process can be asked: plain data in, numpy arrays out. vLLM is imported at the first call.

Rows are checked before vLLM sees any: there, one bad row fails its whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[NDArray[np.int64]]
"""Ids of each row, special ones included."""
CachedTokens = NDArray[np.int64]
"""How many tokens of each row were taken from the prefix cache, [n]."""


class InvalidCallError(Exception):
    """A call that cannot be answered and has done no harm to the engine."""


class EngineCalls:
    """One engine and the calls that it answers."""

    def __init__(self) -> None:
        self._llm: Any = None
        self._longest = self._vocabulary = 0
        self._pooling = False

    def start(self, options: dict[str, Any]) -> dict[str, Any]:
        """Make the engine from arguments of `vllm.LLM`; facts about it, as plain data."""
        import vllm
        from vllm.platforms import current_platform

        self._pooling = options["runner"] == "pooling"
        widths: list[int] = []
        if current_platform.is_cpu():
            from harness.engine.vllm.head_padding import pad_narrow_heads

            widths = pad_narrow_heads()
        if not self._pooling:
            from harness.engine.vllm.seeded_sampling import SeededSampling

            options = options | {"logits_processors": [SeededSampling]}
        self._llm = vllm.LLM(**options)
        engine = self._llm.llm_engine
        self._longest = int(engine.model_config.max_model_len) - 1  # vLLM wants room for a token to come
        self._vocabulary = int(engine.model_config.get_vocab_size())
        cache = engine.vllm_config.cache_config
        return {
            "vllm": vllm.__version__,
            "platform": current_platform.device_name,
            "head_widths": list(widths),
            "longest": self._longest,
            "prefix_cache": bool(cache.enable_prefix_caching),
            "cache_bytes": int(cache.kv_cache_memory_bytes or 0),
        }

    def load(self, folder: str) -> None:
        """Take another checkpoint's weights and forget what was computed with the old ones: always together."""
        self.reload(folder)
        self.reset()

    def reload(self, folder: str) -> None:
        """Take another checkpoint's weights; the prefix cache still holds what was computed with the old ones."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})

    def reset(self) -> None:
        """Empty the prefix cache."""
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("the prefix cache could not be emptied: requests are still in progress")

    def warm(self, rows: Rows) -> None:
        """Compute rows for the prefix cache alone."""
        if self._pooling:
            self.classify(rows)
        else:
            self.next_token_log_probs(rows, [0])

    def classify(self, rows: Rows) -> tuple[NDArray[np.float64], CachedTokens]:
        """Logits [n, classes] without activation, in the model's own order of classes."""
        from vllm import PoolingParams

        answers = self._llm.classify(
            self._prompts(rows), pooling_params=PoolingParams(use_activation=False), use_tqdm=False
        )
        logits = np.asarray([answer.outputs.probs for answer in answers], dtype=np.float64)
        return logits, _cached_tokens(answers)

    def next_token_log_probs(self, rows: Rows, tokens: Sequence[int]) -> tuple[NDArray[np.float64], CachedTokens]:
        """Log-probabilities [n, tokens] of these ids as next token; at most 128 ids."""
        from vllm import SamplingParams

        ids = [int(i) for i in tokens]
        params = SamplingParams(temperature=0.0, max_tokens=1, ignore_eos=True, detokenize=False, logprob_token_ids=ids)
        answers = self._generate(rows, [params] * len(rows))
        values = np.empty((len(rows), len(ids)))
        for i, answer in enumerate(answers):
            by_id = answer.outputs[0].logprobs[0]
            values[i] = [by_id[token].logprob for token in ids]
        return values, _cached_tokens(answers)

    def top_next_tokens(self, rows: Rows, top: int) -> tuple[NDArray[np.int64], NDArray[np.float64], CachedTokens]:
        """The ``top`` most likely next tokens, ids and log-probabilities, [n, top] each, the most likely first; all of
        the vocabulary for -1.
        """
        from vllm import SamplingParams

        count = self._vocabulary if top < 0 or top >= self._vocabulary else top
        params = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            ignore_eos=True,
            detokenize=False,
            logprobs=-1 if count == self._vocabulary else count,
            flat_logprobs=True,
        )
        answers = self._generate(rows, [params] * len(rows))
        ids, values = np.empty((len(rows), count), dtype=np.int64), np.empty((len(rows), count))
        for i, answer in enumerate(answers):
            flat = answer.outputs[0].logprobs
            listed, at = np.unique(flat.token_ids, return_index=True)  # the token taken is listed twice
            log_probs = np.asarray(flat.logprobs)[at]
            best = np.lexsort((listed, -log_probs))[:count]
            ids[i], values[i] = listed[best], log_probs[best]
        return ids, values, _cached_tokens(answers)

    def target_log_probs(
        self, rows: Rows, targets: Sequence[Sequence[int]]
    ) -> tuple[list[NDArray[np.float64]], CachedTokens]:
        """Log-probability of each token of each row's target (at least one token) as continuation of the row: [t] of
        each row.
        """
        prompts = [
            np.concatenate([row, np.asarray(target[:-1], dtype=np.int64)])
            for row, target in zip(rows, targets, strict=True)
        ]
        answers = self._score(prompts, targets, read_cache=True)
        cached = _cached_tokens(answers)
        # What vLLM returns at cached positions is memory that nobody has written, and may look plausible.
        unread = [i for i, row in enumerate(rows) if len(targets[i]) > 1 and cached[i] >= len(row)]
        again = self._score([prompts[i] for i in unread], [targets[i] for i in unread], read_cache=False)
        for i, answer in zip(unread, again, strict=True):
            answers[i], cached[i] = answer, 0
        log_probs = []
        for row, target, answer in zip(rows, targets, answers, strict=True):
            values = [_log_prob(answer.prompt_logprobs, len(row) + j, token) for j, token in enumerate(target[:-1])]
            values.append(_log_prob(answer.outputs[0].logprobs, 0, target[-1]))
            log_probs.append(np.asarray(values, dtype=np.float64))
        return log_probs, cached

    def generate(
        self,
        rows: Rows,
        max_new_tokens: Sequence[int],
        draws: Sequence[tuple[int, float, float] | None],
        endings: list[int],
    ) -> tuple[list[list[int]], CachedTokens]:
        """New ids of each row, the one of ``endings`` that ended it included.

        Args:
            draws: seed, temperature and top_p of each row; None: greedy.
        """
        from vllm import SamplingParams

        from harness.engine.vllm.seeded_sampling import DRAW

        params = [
            SamplingParams(
                temperature=0.0,
                max_tokens=int(tokens),
                ignore_eos=True,  # ``endings`` alone count, whatever the model's own are
                stop_token_ids=endings,
                detokenize=False,
                extra_args=None if draw is None else {DRAW: draw},
            )
            for tokens, draw in zip(max_new_tokens, draws, strict=True)
        ]
        answers = self._generate(rows, params)
        return [list(answer.outputs[0].token_ids) for answer in answers], _cached_tokens(answers)

    def _score(self, prompts: Rows, targets: Sequence[Sequence[int]], read_cache: bool) -> list[Any]:
        """vLLM's answers with log-probabilities of all prompt tokens and of each target's last one."""
        from vllm import SamplingParams

        params = [
            SamplingParams(
                temperature=0.0,
                max_tokens=1,
                ignore_eos=True,
                detokenize=False,
                logprob_token_ids=[int(target[-1])],
                prompt_logprobs=0 if len(target) > 1 else None,
                flat_logprobs=True,
                skip_reading_prefix_cache=not read_cache,
            )
            for target in targets
        ]
        return self._generate(prompts, params)

    def _generate(self, rows: Rows, params: list[Any]) -> list[Any]:
        prompts = self._prompts(rows)
        answers: list[Any] = self._llm.generate(prompts, params, use_tqdm=False) if prompts else []
        return answers

    def _prompts(self, rows: Rows) -> list[Any]:
        for row in rows:
            if not 0 < len(row) <= self._longest:
                raise InvalidCallError(f"a row of {len(row)} tokens: 1 to {self._longest} are possible")
            if row.min() < 0 or row.max() >= self._vocabulary:
                raise InvalidCallError(f"token ids {row.min()} to {row.max()} exceed 0 to {self._vocabulary - 1}")
        return [{"prompt_token_ids": row.tolist()} for row in rows]


def _log_prob(flat: Any, position: int, token: int) -> float:
    """Log-probability of a token at a position, by its id: which others are listed next to it differs."""
    at = range(flat.start_indices[position], flat.end_indices[position])
    return next(float(flat.logprobs[k]) for k in at if flat.token_ids[k] == token)


def _cached_tokens(answers: list[Any]) -> CachedTokens:
    return np.asarray([answer.num_cached_tokens or 0 for answer in answers], dtype=np.int64)
