"""Circuit breakers: harmful answers' hidden states are led away from what they were, benign ones' are kept."""

from __future__ import annotations

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from harness import (
    Backend,
    DataError,
    Example,
    Flops,
    Rerouting,
    ReroutingLoss,
    Resolve,
    RoundCost,
    RoundJob,
    TaskData,
    Threat,
    TrainRow,
    hookimpl,
    nominal_forward,
    rows_hash,
)
from plugins.defenses._training.clean_rows import clean_rows
from plugins.defenses._training.refusal_examples import (
    benign_examples,
    check_answers_in_text,
    complied_examples,
)
from plugins.defenses._training.round_defense import RoundDefense, nominal_training


class CircuitBreakers(RoundDefense):
    """Representation rerouting: on harmful prompts with the answer that an attacker wants, hidden states are turned
    away from those that the victim had; on benign ones with their good reply they are held where they were.

    No attack is run. What such a victim says to a harmful prompt need not be a refusal: it may be no language at all.
    """

    name = "circuit_breakers"
    paper = (
        "Zou et al. 2024, 'Improving Alignment and Robustness with Circuit Breakers', arXiv 2406.04313 "
        "(representation rerouting, algorithm 1)"
    )

    class Params(RoundDefense.Params):
        rounds: PositiveInt = Field(
            1,
            description="how many such trainings, each against the victim as the last one left it",
        )
        loss: ReroutingLoss = Field(ReroutingLoss(), description="which states are rerouted, and how much it counts")
        steps: PositiveInt = Field(150, description="updates of a round")
        batch_size: PositiveInt = Field(16, description="harmful prompts per update, and as many to retain")
        learning_rate: PositiveFloat = Field(
            1e-4, description="at the beginning of each round; falls linearly to 0; with lora 2e-4 by default"
        )
        retain_refusals: bool = Field(
            True, description="whether harmful prompts with the refusal that is their reply are retained as well"
        )

    def check(self, data: TaskData) -> None:
        check_answers_in_text(data, self.name)
        self._harmful(data)
        self._retained(data)

    def estimate(self, n_params: int, tokens: float, round: int, threat: Threat, resolve: Resolve) -> float:
        seen = 2 * self.params.steps * self.params.batch_size * tokens
        # Each row is run through the victim as it was, too.
        return nominal_training(n_params, seen, frozen=self.params.lora is not None) + seen * nominal_forward(
            n_params, 1
        )

    def train_round(self, job: RoundJob) -> RoundCost:
        count = self.params.steps * self.params.batch_size
        victim = job.open(job.model)
        harmful = self._rows(job, victim, "harmful", self._harmful(job.data), count)
        retained = self._rows(job, victim, "retained", self._retained(job.data), count)
        pairs = Rerouting(list(zip(harmful, retained, strict=True)), self.params.loss)
        spent = self.train_weights(job, pairs, "dropout")
        notes = {"harmful": len(set(harmful)), "retained": len(set(retained)), "rows_sha256": rows_hash(pairs.rows)}
        return RoundCost(Flops(), spent, notes)

    def _harmful(self, data: TaskData) -> list[Example]:
        """Harmful prompts with the answer that an attacker wants."""
        found = complied_examples(data)
        if not found:
            raise DataError(
                f"{self.name}: no harmful training prompt has a target, the answer that should be unlearnt; give the "
                "task targets (behaviors: target, target_column)"
            )
        return found

    def _retained(self, data: TaskData) -> list[Example]:
        """Benign prompts with their good reply, and harmful ones with a refusal."""
        benign = benign_examples(data, self.name, "use refusal_training with harmful_share: 1")
        refused = [one for one in data.train if not one.benign and one.reply] if self.params.retain_refusals else []
        return benign + refused

    def _rows(self, job: RoundJob, victim: Backend, what: str, examples: list[Example], count: int) -> list[TrainRow]:
        """``count`` rows: all examples in random order, again and again."""
        rng = job.rng(what)
        rows = clean_rows(job, victim, what, examples, count, rng, self.name)
        passes = -(-count // len(rows))
        order = np.concatenate([rng.permutation(len(rows)) for _ in range(passes)])[:count]
        return [rows[i] for i in order]


@hookimpl
def harness_register_defenses(register):
    register(CircuitBreakers)
