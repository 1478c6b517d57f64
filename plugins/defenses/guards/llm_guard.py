"""A guard that asks a language model whether a prompt, or an answer, is safe."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from harness import (
    Auxiliary,
    Case,
    Classify,
    DataError,
    Generate,
    GuardDefense,
    Message,
    Params,
    PluginRef,
    Prompt,
    Ruling,
    VictimRef,
    hookimpl,
)
from plugins._common.guard_models import (
    GUARD_MODELS,
    GuardModel,
    GuardName,
    first_line_verdict,
    wildguard_verdicts,
)
from plugins._common.prompt_template import check_template, fill_template
from plugins.defenses._guards.threshold import log_odds, refusal_penalty

ROLE = "guard"


class LlmGuard(GuardDefense):
    """Refuse prompts, or answers, that a language model calls unsafe: by its word, or by that word's probability.

    What it says may be neither of its two words, or nothing, where the text is too long for it. Such a text is refused
    or let through as `unreadable` says, and counted (``unread`` in records).
    """

    name = "llm_guard"
    paper = (
        "Inan et al. 2023, Llama Guard, arXiv:2312.06674; Zeng et al. 2024, ShieldGemma, arXiv:2407.21772; Han et al. "
        "2024, WildGuard, arXiv:2406.18495; Padhi et al. 2024, Granite Guardian, arXiv:2412.07724 (the questions' "
        "words are our own)"
    )
    may_not_read: ClassVar = True

    class Params(Params):
        """Which model, what it is asked and shown, and when it refuses."""

        guard: GuardName = Field("llama_guard_3", description="published guard whose question and words are used")
        model: VictimRef | None = Field(
            None, description="the guard's model; by default the published one: {huggingface: {...}}"
        )
        sees_task: bool = Field(
            False,
            description="whether the model is made ready with the task's own prompts and replies, as a victim of it "
            "is; otherwise it is used as it is",
        )
        template: str | None = Field(
            None,
            description="a question of your own, with {prompt} and {answer} as `reads` says; the model then answers "
            "with `unsafe` or `safe` first",
        )
        reads: Literal["prompt", "answer", "both"] = Field(
            "prompt",
            description="what is shown: the prompt; the answer alone, of a template of your own; both: the answer with "
            "its prompt (the latter two for tasks answered in text)",
        )
        unsafe: str | None = Field(None, min_length=1, description="its word for unsafe; by default the guard's own")
        safe: str | None = Field(None, min_length=1, description="its word for safe; by default the guard's own")
        threshold: float | None = Field(
            None,
            gt=0,
            lt=1,
            description="refuse where unsafe has more than this probability of the two words; by default the model's "
            "own word counts. A model of your own must be a language model (huggingface: head: causal_lm)",
        )
        least_mass: float = Field(
            0.05,
            ge=0,
            lt=1,
            description="with a threshold: probability that the two words must have together, else it is unreadable",
        )
        unreadable: Literal["refuse", "pass"] = Field(
            "refuse", description="what happens to a text about which the model says neither of its words"
        )
        max_tokens: PositiveInt | None = Field(None, description="longest verdict; by default the guard's own")
        penalty: NonNegativeFloat = Field(
            10.0,
            description="what is added to a refused candidate's loss, and with a threshold added again per nat of "
            "log-odds above it; 0: it has no loss",
        )

        @model_validator(mode="after")
        def _fit_together(self) -> Self:
            if self.template is not None:
                if self.model is None:
                    raise ValueError("a `template` of your own is for a `model` of your own; name it")
                check_template(self.template, {"both": ("prompt", "answer")}.get(self.reads, (self.reads,)))
            elif self.reads == "answer":
                raise ValueError(f"{self.guard} is shown an answer with its prompt; write reads: both, or a template")
            if self.sees_task and (self.model is None or self.threshold is not None):
                raise ValueError(
                    "`sees_task` is for a `model` of your own that learns to answer in the task's words, and has no "
                    "`threshold`"
                )
            in_one_text = self.reads == "prompt" or self.template is not None or self.guard == "shieldgemma"
            if self.threshold is not None and not in_one_text:
                raise ValueError(f"{self.guard} has no threshold for answers; leave `threshold` out")
            words = [word.strip().lower() for word in self.words]
            if words[0] == words[1] or not all(words):
                raise ValueError(f"`unsafe` and `safe` must be two different words, got {list(self.words)}")
            return self

        @property
        def published(self) -> GuardModel:
            """The published guard."""
            return GUARD_MODELS[self.guard]

        @property
        def words(self) -> tuple[str, str]:
            """Its words for unsafe and for safe."""
            return self.unsafe or self.published.unsafe, self.safe or self.published.safe

        @property
        def reference(self) -> PluginRef:
            """The model; of a published one, as a language model that tells the probabilities of its words."""
            if self.model is not None:
                return self.model
            model = self.published.model
            head = {"head": "causal_lm"} if self.threshold is not None else {}
            return PluginRef(name=model.name, params=model.params | head)

    @property
    def reads(self) -> Literal["prompt", "answer"]:
        return "prompt" if self.params.reads == "prompt" else "answer"

    def models(self) -> dict[str, Auxiliary]:
        """The guard's model, used as it is unless it is to see the task."""
        if self.params.sees_task:
            return {ROLE: Auxiliary(self.params.reference, sees="task")}
        labels = () if self.params.threshold is None else self.params.words
        return {ROLE: Auxiliary(self.params.reference, sees="nothing", labels=labels)}

    def ruling(self, case: Case) -> Any:
        p, answer = self.params, case.answer or ""
        if self.reads == "answer" and not answer.strip():  # nothing was said
            return Ruling(False)
        shown = () if p.reads == "answer" else (_request(case),)
        data = shown if p.reads == "prompt" else (*shown, answer)
        question = self._question(_request(case), answer)
        if p.threshold is None:
            (said,) = yield Generate((question,), p.max_tokens or p.published.max_tokens, model=ROLE, data=data)
            unsafe = self._verdict(said or "")
            return self._unreadable() if unsafe is None else Ruling(unsafe, refusal_penalty(p.penalty, 0.0))
        assert isinstance(question, str)
        (log_probs,) = yield Classify((question,), ROLE, data)
        chance = self._chance(np.asarray(log_probs, dtype=np.float64))
        if chance is None:
            return self._unreadable()
        excess = log_odds(chance) - log_odds(p.threshold)
        return Ruling(chance > p.threshold, refusal_penalty(p.penalty, excess), chance)

    def _unreadable(self) -> Ruling:
        p = self.params
        return Ruling(p.unreadable == "refuse", refusal_penalty(p.penalty, 0.0), unread=True)

    def _question(self, request: str, answer: str) -> Prompt:
        """What the model is asked: a text, or a conversation that its own chat template makes a question of."""
        p = self.params
        template = p.template if p.template is not None else p.published.templates.get(p.reads)
        if template is not None:
            return fill_template(template, prompt=request, answer=answer)
        return request if p.reads == "prompt" else (Message("user", request), Message("assistant", answer))

    def _verdict(self, said: str) -> bool | None:
        """Whether the model calls the text unsafe; None where it says neither."""
        p = self.params
        if p.template is None and p.guard == "wildguard":
            return wildguard_verdicts(said).get(f"harmful {'request' if p.reads == 'prompt' else 'response'}")
        return first_line_verdict(said, *p.words)

    def _chance(self, log_probs: Any) -> float | None:
        """Probability of unsafe among the two words; None where they have too little together, or there is no answer.

        Args:
            log_probs: of the words for unsafe and safe, [2]; NaN where the question is too long.
        """
        if log_probs.shape != (2,) or not np.isfinite(log_probs).any():
            return None
        chances = np.exp(log_probs)
        if chances.sum() > 1.001:
            raise DataError(
                f"{self.name}: its model is a classifier, whose classes are no words: write head: causal_lm, leave "
                "`threshold` out, or use classifier_guard"
            )
        return None if chances.sum() < max(self.params.least_mass, 1e-12) else float(chances[0] / chances.sum())


def _request(case: Case) -> str:
    """The prompt's text; of a conversation all messages, each with its role."""
    if case.conversation.plain:
        return case.text
    return "\n".join(f"{message.role}: {message.content}" for message in case.conversation.messages(case.text))


@hookimpl
def harness_register_defenses(register):
    register(LlmGuard)
