"""A transform that tokenises the prompt again by BPE-dropout."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness import (
    Case,
    FitJob,
    HFTokenizer,
    Params,
    Rewritten,
    Tokenizer,
    TransformDefense,
    VictimError,
    hookimpl,
)
from plugins.defenses._dropout_bpe import DropoutBPE

PROMPTS_CHECKED = 50  # training prompts on which the BPE is compared with the victim's tokenizer


class Retokenization(TransformDefense):
    """Tokenise the prompt again, skipping each merge of the BPE at random."""

    name = "retokenization"
    paper = "Jain et al. 2023, arXiv:2309.00614; Provilkov et al. 2020, BPE-Dropout, arXiv:1910.13267"

    class Params(Params):
        """How many merges are skipped."""

        dropout: float = Field(
            0.4,
            ge=0,
            le=1,
            description="probability of skipping a merge; 0: the usual tokens, 1: single bytes or characters",
        )

    @property
    def randomised(self) -> bool:
        return 0 < self.params.dropout < 1

    @property
    def gives_tokens(self) -> bool:
        return True

    def fit(self, job: FitJob) -> dict[str, Any]:
        """Check that without dropout the tokens are the victim's own. Raises VictimError where they are not."""
        texts = [example.text for example in job.data.train[:PROMPTS_CHECKED]]
        bpe = _bpe(job.victim.tokenizer)
        for text, wanted in zip(texts, job.victim.tokenizer.encode(texts), strict=True):
            if bpe.encode(job.victim.tokenizer.spelled(text), 0.0, job.rng) != wanted:
                raise VictimError(
                    "retokenization: this victim's tokenizer splits text in a way that is not supported here"
                )
        return {"checked": len(texts)}

    def rewrite(self, case: Case) -> Any:
        yield from ()
        bpe = _bpe(case.tokenizer)
        ids = bpe.encode(case.tokenizer.spelled(case.text), self.params.dropout, case.rng)
        return Rewritten(case.text, tuple(ids))


def _bpe(tokenizer: Tokenizer) -> DropoutBPE:
    if not isinstance(tokenizer, HFTokenizer):
        raise VictimError("retokenization: needs a victim whose tokenizer is available here; this one's is not")
    return DropoutBPE.of(tokenizer.reader_json)


@hookimpl
def harness_register_defenses(register):
    register(Retokenization)
