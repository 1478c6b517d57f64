"""Verdicts: answers put to the judge, which may ask models of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.api.judge import Answer, Judge, Judging, Verdict
from harness.api.problem.problem import Problem
from harness.api.requests import Classify, Generate, Request
from harness.api.task import Example
from harness.engine.meter import StepMeter
from harness.engine.search.router import ModelRouter, PendingRequest
from harness.engine.search.validation import checked
from harness.errors import PluginError
from harness.flops import Flops
from harness.tokens.fake_tokenizer import FakeTokenizer

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class JudgeRunner:
    """A judge and the models it asks.

    Attributes:
        desk: its ``victim`` is the one judged, its ``auxiliary`` are the judge's own models.
        draws: how often a randomised victim is asked about each string.
    """

    judge: Judge
    desk: ModelRouter
    draws: int = 1

    def verdicts(self, cases: Sequence[tuple[Example, Answer]]) -> list[tuple[Verdict, Flops]]:
        """What the judge makes of each answer, and the compute of its models. A blocked answer is no success.

        Raises:
            PluginError: the judge raised, asked for what it may not, or returned no verdict.
        """
        found: dict[int, Verdict] = {i: Verdict(False) for i, (_, answer) in enumerate(cases) if answer.blocked}
        meters = [StepMeter() for _ in cases]
        open_cases = {
            i: self._begun(example, answer) for i, (example, answer) in enumerate(cases) if not answer.blocked
        }
        replies: dict[int, object] = dict.fromkeys(open_cases)
        while open_cases:
            asked: dict[int, PendingRequest] = {}
            for i, judging in list(open_cases.items()):
                request = self._next(judging, replies[i], cases[i][0])
                if isinstance(request, Verdict):
                    found[i] = request
                    del open_cases[i]
                else:
                    asked[i] = PendingRequest(_nowhere(cases[i][0]), request, (meters[i],))
            replies = dict(zip(asked, self.desk.answer(list(asked.values())), strict=True))
        return [(found[i], meter.attack + meter.defense) for i, meter in enumerate(meters)]

    def _begun(self, example: Example, answer: Answer) -> Judging:
        judging = self.judge.verdict(example, answer)
        if not hasattr(judging, "send"):
            raise PluginError(
                f"judge {self.judge.name}: verdict() returned {type(judging).__name__}; it must be a generator: "
                "yield requests, return a Verdict"
            )
        return judging

    def _next(self, judging: Judging, reply: object, example: Example) -> Request | Verdict:
        where = f"judge {self.judge.name}, example {example.id}"
        try:
            request = judging.send(reply)
        except StopIteration as stop:
            if not isinstance(stop.value, Verdict):
                raise PluginError(f"{where}: returned {type(stop.value).__name__}; it must return a Verdict") from None
            if stop.value.success and stop.value.unparseable:
                raise PluginError(f"{where}: a verdict that could not be read is no success") from None
            return stop.value
        except Exception as error:
            raise PluginError(f"{where}: raised {type(error).__name__}: {error}") from error
        if not isinstance(request, Generate | Classify) or not request.model:
            raise PluginError(
                f"{where}: a judge may yield Generate or Classify, with the name of one of its models, "
                f"not {type(request).__name__}"
            )
        self.desk.check(request)
        return checked(request, _nowhere(example))


def _nowhere(example: Example) -> Problem:
    """A stand-in: requests of whole prompts are about no place in an example."""
    return Problem(example, "", "", _NONE, _NONE, 0, _NONE, FakeTokenizer())
