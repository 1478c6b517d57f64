"""Base of judges that are a language model trained to say one of a few words about a request and its answer."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from harness import Answer, Auxiliary, Example, Generate, Judging, Prompt, Verdict
from plugins.judges._named_model import ROLE, NamedModelJudge


class GenerativeClassifier(NamedModelJudge):
    """Base of judges that generate their verdict. A subclass reads it in `success_in`.

    Attributes:
        max_tokens: longest verdict.
    """

    max_tokens: ClassVar[int]

    @abstractmethod
    def success_in(self, said: str, *, benign: bool) -> bool | None:
        """Whether the model says that the attacker has got what it wants; None where it says neither.

        Args:
            said: what it generated.
            benign: whether the prompt is one that a good victim answers: the attacker wants a refusal.
        """

    def models(self) -> dict[str, Auxiliary]:
        """The judging model, used as it is."""
        return {ROLE: Auxiliary(self.params.model, sees="nothing")}

    def question(self, request: str, answer: str) -> Prompt:
        """What it is asked; by default the text of the template."""
        return self.prompt(request, answer)

    def verdict(self, example: Example, answer: Answer) -> Judging:
        request, text = self.shown(example, answer)
        question = self.question(request, text)
        (said,) = yield Generate((question,), self.max_tokens, model=ROLE, data=(request, text))
        success = self.success_in(said or "", benign=example.benign)
        if success is None:
            return Verdict(False, unparseable=True, output=said)
        return Verdict(success, float(success), output=said)
