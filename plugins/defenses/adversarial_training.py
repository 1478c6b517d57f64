"""Adversarial training: attack training examples, train on them, again and again."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

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
    TrainConfig,
    dry_run_attack,
    hookimpl,
    nominal_backward,
    nominal_forward,
)
from plugins.defenses._training.adversarial_pool import PoolEntry, load_pool, note_losses, sample_pool, save_pool
from plugins.defenses._training.round_defense import InRounds
from plugins.defenses._training.step_schedule import Ramp, round_half_up
from plugins.defenses._training.training_rows import TrainingRow, TrainingRows

POOL = "pool.json"
LN2 = 0.6931471805599453  # below this loss to the proxy label a two-label victim is wrong


class AdversarialTraining(InRounds):
    """Rounds of attacking training examples and training on a sample of all attacked so far, mixed with clean ones."""

    name = "adversarial_training"
    paper = (
        "'Scaling Trends in Language Model Robustness', arXiv 2407.18213, with true ranks and the attack's strength "
        "given by absolute round"
    )

    class Params(InRounds.Params):
        attack: AttackRef = Field(PluginRef(name="gcg"), description="training attack; its steps are set by `strength`")
        threat: Threat | None = Field(
            None,
            description="threat model trained against, its limits left out; by default that of the evaluation. A "
            "training attack that perturbs activations needs one with access: latent",
        )
        strength: Ramp = Field(Ramp(), description="steps of the training attack by absolute round")
        attacked_per_round: PositiveInt = Field(
            200, description="training examples attacked and added to the pool in each round"
        )
        examples_per_round: PositiveInt = Field(1000, description="examples trained on in each round")
        adversarial_share: float = Field(0.8, gt=0, le=1, description="largest share of them that comes from the pool")
        decay: NonNegativeFloat = Field(0.005, description="how fast the probability of being drawn falls with rank")
        epochs: PositiveInt = Field(1, description="passes over them")
        optimizer: Literal["adafactor", "adamw"] = "adafactor"
        learning_rate: PositiveFloat = 1e-5
        batch_size: PositiveInt = 8

    def attack(self) -> PluginRef:
        return self.params.attack

    def round_identity(self, params: dict[str, Any], round: int, threat: Threat) -> dict[str, Any]:
        # This round's strength and the threat model that results are all that counts here.
        ignored = self.shared | {"strength"}
        return {
            "params": {k: v for k, v in params.items() if k not in ignored},
            "steps": self.params.strength.steps(round),
            "threat": threat.identity(),
        }

    def estimate(self, n_params: int, tokens: float, round: int, threat: Threat, resolve: Resolve) -> float:
        steps = self.params.strength.steps(round)
        per_step = dry_run_attack(resolve(self.params.attack, {"steps": steps}), threat).nominal(n_params, tokens)
        trained = self.params.examples_per_round * self.params.epochs * tokens
        return self.params.attacked_per_round * steps * per_step + trained * (
            nominal_forward(n_params, 1) + nominal_backward(n_params, 1)
        )

    def train_round(self, job: RoundJob) -> RoundCost:
        from harness import retrain

        params = self.params
        victim = job.open(job.model)
        school = TrainingRows(job.model, victim.tokenizer, victim.context, job.data, self.name)
        pool = load_pool(job.previous / POOL) if job.previous else []

        attack = job.resolve(params.attack, {"steps": params.strength.steps(job.round)})
        chosen = school.draw(params.attacked_per_round, job.rng("attacked"), job.threat)
        if not chosen:
            raise DataError(
                f"adversarial_training: with {job.threat.tokens} attack tokens every training example is longer than "
                f"the victim's context of {victim.context} tokens; use shorter texts or a victim with a longer context"
            )
        found = job.search(victim, attack, chosen)
        pool += [_entry(problem, state, job.round) for problem, state in found.ends()]

        wanted = min(round_half_up(params.adversarial_share * params.examples_per_round), len(pool))
        sampled = [pool[i] for i in sample_pool(pool, wanted, params.decay, job.rng("pool"))]
        clean = school.draw(params.examples_per_round - wanted, job.rng("clean"))
        lessons = [entry.lesson for entry in sampled]
        lessons += [TrainingRow(example.text, example.label, example.reply) for example in clean]
        rows = [school.row(lesson) for lesson in lessons]
        config = TrainConfig(
            epochs=params.epochs,
            optimizer=params.optimizer,
            learning_rate=params.learning_rate,
            batch_size=params.batch_size,
        )
        training = retrain(
            job.model,
            job.folder,
            rows,
            config,
            labels=job.data.labels,
            seed=int(job.rng("order").integers(2**31)),
            scratch=job.scratch,
            progress=job.progress,
        )
        tokens = sum(len(row.ids) for row in rows[: len(sampled)])
        training += note_losses(sampled, tokens, school, job.open(job.folder))
        save_pool(job.folder / POOL, pool)
        notes = {
            "attack_steps": attack.params.steps,
            "attacked": len(chosen),
            "pool": len(pool),
            "adversarial": len(sampled),
            "clean": len(clean),
        }
        return RoundCost(found.cost, training, notes | _strength([state for _, state in found.ends()], job))


def _entry(problem: Problem, state: State, round: int) -> PoolEntry:
    """What a search ended with, as an entry of the pool; a perturbation only where its tokens stand in the prompt."""
    stands = state.latent is not None and problem.survives(state.array[None])[0]
    return PoolEntry(
        problem.prompt_of(state),
        problem.example.label,
        round,
        latent=state.latent if stands else None,
        latent_at=len(problem.before) if stands else 0,
        reply=problem.example.reply,
    )


def _strength(ends: list[State], job: RoundJob) -> dict[str, Any]:
    """How far the training attack got: its mean loss at the end, and how many examples it broke where that tells."""
    losses = [state.loss for state in ends if state.loss is not None and math.isfinite(state.loss)]
    found: dict[str, Any] = {"attack_loss": sum(losses) / len(losses) if losses else None}
    return found | ({"attack_loss_below_ln2": sum(loss < LN2 for loss in losses)} if len(job.data.labels) == 2 else {})


@hookimpl
def harness_register_defenses(register):
    register(AdversarialTraining)
