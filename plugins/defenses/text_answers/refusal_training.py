"""Refusal training: fine-tuning on harmful prompts that are refused and benign ones that are answered."""

from __future__ import annotations

from pydantic import Field, PositiveInt, field_validator

from harness import Flops, Resolve, RoundCost, RoundJob, TaskData, Threat, hookimpl, rows_hash
from plugins.defenses._training.clean_rows import clean_rows
from plugins.defenses._training.refusal_examples import (
    REFUSAL,
    benign_examples,
    check_answers_in_text,
    refused_examples,
)
from plugins.defenses._training.round_defense import RoundDefense, nominal_training
from plugins.defenses._training.step_schedule import round_half_up


class RefusalTraining(RoundDefense):
    """Fine-tuning on clean prompts alone: harmful ones answered with a refusal, benign ones with their good reply.

    No attack is run, and nothing is perturbed: the baseline of the defenses that train.
    """

    name = "refusal_training"
    paper = (
        "safety tuning as in Bianchi et al. 2023, 'Safety-Tuned LLaMAs', arXiv 2309.07875: refusals mixed into "
        "instruction data"
    )

    class Params(RoundDefense.Params):
        rounds: PositiveInt = Field(1, description="how many rounds to train, at most; each leaves a checkpoint")
        refusal: str | None = Field(
            None,
            description="what every harmful training prompt is answered with; by default its own reply, and where it "
            f"has none {REFUSAL!r}",
        )
        harmful_share: float = Field(
            0.5, gt=0, le=1, description="share of the harmful prompts among the examples; 1: only refusals"
        )
        examples_per_round: PositiveInt = Field(1000, description="examples of a round, at most")
        epochs: PositiveInt = Field(1, description="passes over them")

        @field_validator("refusal")
        @classmethod
        def _not_blank(cls, value: str | None) -> str | None:
            if value is not None and not value.strip():
                raise ValueError("an empty refusal teaches nothing; write one, or leave `refusal` out")
            return value

    def check(self, data: TaskData) -> None:
        check_answers_in_text(data, self.name)
        if self.params.harmful_share < 1:
            benign_examples(data, self.name, "set harmful_share: 1")

    def estimate(self, n_params: int, tokens: float, round: int, threat: Threat, resolve: Resolve) -> float:
        seen = self.params.examples_per_round * self.params.epochs * tokens
        return nominal_training(n_params, seen, frozen=self.params.lora is not None)

    def train_round(self, job: RoundJob) -> RoundCost:
        params, count = self.params, self.params.examples_per_round
        victim = job.open(job.model)
        harmful = refused_examples(job.data, params.refusal)
        benign = [] if params.harmful_share == 1 else benign_examples(job.data, self.name, "set harmful_share: 1")
        refused = min(count, max(1, round_half_up(params.harmful_share * count)))
        rows, counts = [], {}
        for what, examples, wanted in (("harmful", harmful, refused), ("benign", benign, count - refused)):
            if not wanted:
                continue
            own = clean_rows(job, victim, what, examples, wanted, job.rng(what), self.name)
            rows += own
            counts[what] = len(own)
        spent = self.train_weights(job, rows, "order", epochs=params.epochs)
        return RoundCost(Flops(), spent, counts | {"rows_sha256": rows_hash(rows)})


@hookimpl
def harness_register_defenses(register):
    register(RefusalTraining)
