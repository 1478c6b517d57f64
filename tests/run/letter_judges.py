"""Two judges of texts that ask nothing, as a plugin file: random letters are a success about half of the time."""

from __future__ import annotations

from harness import Judge, hookimpl


class EarlyLetter(Judge):
    """The answer's first letter stands before f in the alphabet."""

    name = "early_letter"
    reads = "text"

    def success(self, example, answer):
        letters = [c for c in answer.text.lower() if c.isalpha()]
        return bool(letters) and letters[0] < "f"


class HasA(Judge):
    """The answer holds an a."""

    name = "has_a"
    reads = "text"

    def success(self, example, answer):
        return "a" in answer.text


@hookimpl
def harness_register_judges(register):
    register(EarlyLetter)
    register(HasA)
