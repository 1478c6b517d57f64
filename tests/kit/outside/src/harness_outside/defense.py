"""A guard and a transform."""

from pydantic import Field

from harness import Flops, GuardDefense, TransformDefense, hookimpl


class LongestWord(GuardDefense):
    """Refuse prompts with a word longer than any seen in training."""

    name = "longest_word"

    class Params(GuardDefense.Params):
        slack: int = Field(2, ge=0)

    def fit(self, job):
        return {"longest": max(len(word) for example in job.data.train for word in example.text.split())}

    def blocks(self, texts, fitted):
        return [any(len(word) > fitted["longest"] + self.params.slack for word in text.split()) for text in texts]

    def cost(self, text):
        return Flops()


class LowerCase(TransformDefense):
    """Turn the prompt into lower case, all but its first letter."""

    name = "lower_case"
    offers = "straight_through"

    def apply(self, texts):
        return [text[:1] + text[1:].lower() for text in texts]

    def cost(self, text):
        return Flops(nominal=float(len(text)), executed=float(len(text)))


@hookimpl
def harness_register_defenses(register):
    register(LongestWord)
    register(LowerCase)
