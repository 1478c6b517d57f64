"""Adversarial training: rounds of attacking training examples and training on them."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from harness import (
    AttackRef,
    DataError,
    PluginRef,
    Problem,
    Resolve,
    RoundCost,
    RoundJob,
    State,
    Threat,
    dry_run_attack,
    hookimpl,
)
from plugins.defenses._training.adversarial_pool import PoolEntry, load_pool, sample_pool, save_pool, update_losses
from plugins.defenses._training.round_defense import RoundDefense, nominal_training
from plugins.defenses._training.step_schedule import StepSchedule, round_half_up
from plugins.defenses._training.training_rows import TrainingExample, TrainingRowBuilder

POOL = "pool.json"
LN2 = math.log(2)  # below this loss to the proxy label a two-label victim is wrong


class AdversarialTraining(RoundDefense):
    """Adversarial training: each round attacks training examples, then trains on a sample of all attacked so far mixed
    with clean ones.
    """

    name = "adversarial_training"
    paper = (
        "'Scaling Trends in Language Model Robustness', arXiv 2407.18213, with true ranks and the attack's strength "
        "given by absolute round"
    )

    class Params(RoundDefense.Params):
        attack: AttackRef = Field(PluginRef(name="gcg"), description="training attack; its steps are set by `strength`")
        threat: Threat | None = Field(
            None,
            description="threat model trained against, its limits left out; by default that of the evaluation. A "
            "training attack that perturbs activations needs one with access: latent",
        )
        strength: StepSchedule = Field(StepSchedule(), description="steps of the training attack by absolute round")
        attacked_per_round: PositiveInt = Field(
            200, description="training examples attacked and added to the pool in each round"
        )
        examples_per_round: PositiveInt = Field(1000, description="examples trained on in each round")
        adversarial_share: float = Field(
            0.8, gt=0, le=1, description="largest share of those examples that comes from the pool"
        )
        decay: NonNegativeFloat = Field(
            0.005, description="how fast an entry's probability of being drawn falls with its rank"
        )
        epochs: PositiveInt = Field(1, description="passes over a round's examples")

    identity_excludes: ClassVar = RoundDefense.identity_excludes | {"strength"}

    def attack(self) -> PluginRef:
        return self.params.attack

    def round_identity(self, params: dict[str, Any], round: int, threat: Threat) -> dict[str, Any]:
        # Of the strength, this round's steps alone change its weights.
        return super().round_identity(params, round, threat) | {"steps": self.params.strength.steps(round)}

    def estimate(self, n_params: int, tokens: float, round: int, threat: Threat, resolve: Resolve) -> float:
        steps, most = self.params.strength.steps(round), self.params.strength.end  # a step costs the same in all rounds
        per_step = dry_run_attack(resolve(self.params.attack, {"steps": most}), threat).nominal(n_params, tokens)
        trained = self.params.examples_per_round * self.params.epochs * tokens
        return self.params.attacked_per_round * steps * per_step + nominal_training(
            n_params, trained, frozen=self.params.lora is not None
        )

    def train_round(self, job: RoundJob) -> RoundCost:
        params = self.params
        victim = job.open(job.model)
        builder = TrainingRowBuilder(job.model, victim.tokenizer, victim.context, job.data, self.name)
        pool = load_pool(job.previous / POOL) if job.previous else []

        attack = job.resolve(params.attack, {"steps": params.strength.steps(job.round)})
        attacked = builder.sample(params.attacked_per_round, job.rng("attacked"), job.threat)
        if not attacked:
            raise DataError(
                f"adversarial_training: with {job.threat.tokens} attack tokens every training example is longer than "
                f"the victim's context of {victim.context} tokens; use shorter texts or a victim with a longer context"
            )
        search = job.search(victim, attack, attacked)
        pool += [_pool_entry(problem, state, job.round) for problem, state in search.ends()]

        count = min(round_half_up(params.adversarial_share * params.examples_per_round), len(pool))
        sampled = [pool[i] for i in sample_pool(pool, count, params.decay, job.rng("pool"))]
        clean = builder.sample(params.examples_per_round - count, job.rng("clean"))
        examples = [entry.training_example for entry in sampled]
        examples += [TrainingExample.clean(example) for example in clean]
        rows = [builder.row(example) for example in examples]
        training = self.train_weights(job, rows, "order", epochs=params.epochs)
        tokens = sum(len(row.ids) for row in rows[: len(sampled)])
        training += update_losses(sampled, tokens, builder, job.open(job.folder))
        save_pool(job.folder / POOL, pool)
        notes = {
            "attack_steps": attack.params.steps,
            "attacked": len(attacked),
            "pool": len(pool),
            "adversarial": len(sampled),
            "clean": len(clean),
        }
        return RoundCost(search.cost, training, notes | _attack_losses([state for _, state in search.ends()], job))


def _pool_entry(problem: Problem, state: State, round: int) -> PoolEntry:
    """The end of a search as an entry of the pool; with its perturbation only where its tokens survive tokenisation."""
    perturbed = state.latent is not None and problem.survives(state.array[None])[0]
    return PoolEntry(
        problem.prompt_of(state),
        problem.example.label,
        round,
        latent=state.latent if perturbed else None,
        latent_at=len(problem.before) if perturbed else 0,
        reply=problem.example.reply,
        conversation=problem.conversation,
    )


def _attack_losses(ends: list[State], job: RoundJob) -> dict[str, Any]:
    """The training attack's mean loss at the end; with two labels, also how many losses mean a wrong answer."""
    losses = [state.loss for state in ends if state.loss is not None and math.isfinite(state.loss)]
    notes: dict[str, Any] = {"attack_loss": sum(losses) / len(losses) if losses else None}
    return notes | ({"attack_loss_below_ln2": sum(loss < LN2 for loss in losses)} if len(job.data.labels) == 2 else {})


@hookimpl
def harness_register_defenses(register):
    register(AdversarialTraining)
