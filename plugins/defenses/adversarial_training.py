"""Adversarial training: attack training examples, train on them, again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from harness import (
    AttackRef,
    DataError,
    Example,
    Params,
    PluginRef,
    Problem,
    Resolve,
    RoundCost,
    RoundJob,
    State,
    Threat,
    TrainConfig,
    TrainedDefense,
    TrainRow,
    hookimpl,
    nominal_backward,
    nominal_forward,
    place,
    rehearse,
    render,
)
from plugins.defenses._pool import PoolEntry, load_pool, note_losses, sample_pool, save_pool

POOL = "pool.json"
NO_TOKENS = np.empty(0, dtype=np.int64)
LN2 = 0.6931471805599453  # below this loss to the proxy label a two-label victim is wrong


class Ramp(Params):
    """Steps of the training attack: from ``start`` in round 1 to ``end`` in round ``rounds``, linear, and ``end`` after
    that.
    """

    start: PositiveInt = 8
    end: PositiveInt = 64
    rounds: PositiveInt = Field(
        60, description="the absolute round at which the end is reached, whatever the number of rounds trained"
    )

    def steps(self, round: int) -> int:
        share = 1.0 if self.rounds == 1 else min(1.0, (round - 1) / (self.rounds - 1))
        return round_half_up(self.start + share * (self.end - self.start))


def round_half_up(value: float) -> int:
    """Nearest integer, halves upwards (Python's own rounding goes to even)."""
    return int(value + 0.5)


class AdversarialTraining(TrainedDefense):
    """Rounds of attacking training examples and training on a sample of all attacked so far, mixed with clean ones."""

    name = "adversarial_training"
    paper = (
        "'Scaling Trends in Language Model Robustness', arXiv 2407.18213, with true ranks and the attack's strength "
        "given by absolute round"
    )

    class Params(TrainedDefense.Params):
        rounds: PositiveInt = Field(8, description="how many rounds to train")
        evaluate: Literal["all", "last"] | tuple[PositiveInt, ...] = Field(
            "all", description="rounds whose checkpoint is attacked, one cell each"
        )
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

        @model_validator(mode="after")
        def _known_rounds(self) -> AdversarialTraining.Params:
            if isinstance(self.evaluate, tuple) and (not self.evaluate or max(self.evaluate) > self.rounds):
                raise ValueError(f"evaluate: name rounds from 1 to {self.rounds}")
            return self

    def rounds(self) -> int:
        return self.params.rounds

    def attack(self) -> PluginRef:
        return self.params.attack

    def against(self, threat: Threat) -> Threat:
        return (self.params.threat or threat).unlimited()

    def evaluated(self) -> tuple[int, ...]:
        choice = self.params.evaluate
        if choice == "all":
            return tuple(range(1, self.params.rounds + 1))
        return (self.params.rounds,) if choice == "last" else tuple(sorted(set(choice)))

    def round_identity(self, params: dict[str, Any], round: int, threat: Threat) -> dict[str, Any]:
        # This round's strength and the threat model that results are all that counts here.
        ignored = {"rounds", "evaluate", "strength", "threat"}
        return {
            "params": {k: v for k, v in params.items() if k not in ignored},
            "steps": self.params.strength.steps(round),
            "threat": threat.identity(),
        }

    def estimate(self, n_params: int, tokens: float, round: int, threat: Threat, resolve: Resolve) -> float:
        steps = self.params.strength.steps(round)
        per_step = rehearse(resolve(self.params.attack, {"steps": steps}), threat).nominal(n_params, tokens)
        trained = self.params.examples_per_round * self.params.epochs * tokens
        return self.params.attacked_per_round * steps * per_step + trained * (
            nominal_forward(n_params, 1) + nominal_backward(n_params, 1)
        )

    def train_round(self, job: RoundJob) -> RoundCost:
        from harness import retrain

        params = self.params
        victim = job.open(job.model)
        pool = load_pool(job.previous / POOL) if job.previous else []

        attack = job.resolve(params.attack, {"steps": params.strength.steps(job.round)})

        def room(example: Example) -> bool:
            around = place(example, job.threat, victim.tokenizer, NO_TOKENS)
            return len(around.before) + job.threat.tokens + len(around.after) <= victim.context

        def fits(example: Example) -> bool:
            return len(render(example.text, victim.tokenizer)) <= victim.context

        chosen = _draw(job.data.train, params.attacked_per_round, job.rng("attacked"), room)
        if not chosen:
            raise DataError(
                f"adversarial_training: with {job.threat.tokens} attack tokens every training example is longer than "
                f"the victim's context of {victim.context} tokens; use shorter texts or a victim with a longer context"
            )
        found = job.search(victim, attack, chosen)
        pool += [_entry(problem, state, job.round) for problem, state in found.ends()]

        wanted = min(round_half_up(params.adversarial_share * params.examples_per_round), len(pool))
        sampled = sample_pool(pool, wanted, params.decay, job.rng("pool"))
        clean = _draw(job.data.train, params.examples_per_round - wanted, job.rng("clean"), fits)
        rows = [pool[i].row(victim.tokenizer) for i in sampled]
        rows += [TrainRow(render(example.text, victim.tokenizer), example.label) for example in clean]
        config = TrainConfig(
            epochs=params.epochs,
            optimizer=params.optimizer,
            learning_rate=params.learning_rate,
            batch_size=params.batch_size,
        )
        seed = int(job.rng("order").integers(2**31))
        training = retrain(
            job.model,
            job.folder,
            rows,
            config,
            labels=job.data.labels,
            seed=seed,
            scratch=job.scratch,
            progress=job.progress,
        )
        training += note_losses([pool[i] for i in sampled], rows[: len(sampled)], job.open(job.folder))
        save_pool(job.folder / POOL, pool)
        broken = sum(state.loss is not None and state.loss < LN2 for _, state in found.ends())
        notes = {
            "attack_steps": attack.params.steps,
            "attacked": len(chosen),
            "pool": len(pool),
            "adversarial": wanted,
            "clean": len(clean),
        }
        return RoundCost(found.cost, training, notes | {"attack_loss_below_ln2": broken})


def _entry(problem: Problem, state: State, round: int) -> PoolEntry:
    """What a search ended with, as an entry of the pool; a perturbation only where its tokens stand in the prompt."""
    stands = state.latent is not None and problem.survives(state.array[None])[0]
    return PoolEntry(
        problem.prompt_of(state),
        problem.example.label,
        round,
        latent=state.latent if stands else None,
        latent_at=len(problem.before) if stands else 0,
    )


def _draw(
    examples: Sequence[Example], count: int, rng: np.random.Generator, wanted: Callable[[Example], bool]
) -> list[Example]:
    """``count`` different examples of those ``wanted``, or all of them in random order when there are fewer."""
    order = (examples[int(i)] for i in rng.permutation(len(examples)))
    return list(islice(filter(wanted, order), count))


@hookimpl
def harness_register_defenses(register):
    register(AdversarialTraining)
