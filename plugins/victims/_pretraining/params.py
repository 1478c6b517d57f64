"""The parameters of a pretraining."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from harness import Params, SpecPath, TaskRef, TextLoss
from plugins._common.curriculum import Growth
from plugins.victims._pretraining.word_lines import WordLines

Perturbation = Literal["random_tokens", "characters", "rewrite"]
Backbone = Literal["trained", "frozen"]

ROBUST = "perturbed text in its pretraining"


class Pretrain(Params):
    """Pretraining on text without labels; plain by default, robust with ``views`` or weights of ``loss``. What tells
    one from another stands first, since tables show no more.
    """

    views: NonNegativeInt = Field(0, description="perturbed views of each text")
    clean: bool = Field(True, description="whether the unchanged text is one more view")
    loss: TextLoss = Field(TextLoss(), description="what is added to the language-model loss")
    tokens: PositiveInt = Field(
        1_000_000,
        description="tokens that the model is trained on, all views counted, so that compute is 6·N·tokens; a further "
        "pass of the loss uses them up faster",
    )
    length: PositiveInt = Field(128, ge=8, description="longest row in tokens; longer texts are cut into several")
    masked: float = Field(0.15, gt=0, lt=1, description="share of an encoder's tokens that are masked, as in BERT")
    file: SpecPath | None = Field(None, description="text file in UTF-8, a text per line; empty lines are left out")
    tasks: tuple[TaskRef, ...] = Field((), description="tasks whose training prompts are read, without their labels")
    words: WordLines | None = Field(None, description="lines about made-up words: lines, min_letters, max_letters, …")
    perturbations: tuple[Perturbation, ...] = Field(
        ("random_tokens", "characters", "rewrite"),
        min_length=1,
        description="what a view is drawn from, with equal probability",
    )
    strength: Growth = Field(Growth(), description="strength of the views over the pretraining, 0 to 1")
    inserted: PositiveInt = Field(10, description="random tokens of a view at strength 1")
    characters: float = Field(0.2, gt=0, le=1, description="share of the characters that a view changes at strength 1")
    rewritten: float = Field(
        0.5, gt=0, le=1, description="share of the words whose case or white space a view changes at strength 1"
    )
    optimizer: Literal["adafactor", "adamw"] = Field("adamw", description="which optimiser")
    learning_rate: PositiveFloat | None = Field(
        None,
        description="peak learning rate, after 5% linear warm-up, then linear to 0; by default according to the size "
        "of a tiny victim, and 5e-5 of other models",
    )
    batch_size: PositiveInt = Field(64, description="texts per update, each in all its views")
    weight_decay: NonNegativeFloat = Field(0.01, description="decoupled weight decay")
    seed: NonNegativeInt | None = Field(
        None, description="one pretraining for all seeds of the run; by default each seed has its own"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.file is None and not self.tasks and self.words is None:
            raise ValueError("it needs text: give it a file, tasks, or words: {}")
        if self.views + self.clean < 1:
            raise ValueError("there is nothing to read: set clean: true, or views to 1 or more")
        if self.views + self.clean < 2 and self.loss.consistency + self.loss.contrastive > 0:
            raise ValueError(
                "with a single view there is nothing to agree with: raise views, or set loss.consistency and "
                "loss.contrastive to 0"
            )
        return self

    def made_of(self) -> dict[str, Any]:
        """All that can change what is learnt, as JSON data, but for what the artifact's key has anyway: the data of the
        tasks, and the seed.
        """
        return {name: value for name, value in self.identity().items() if name not in ("tasks", "seed")}

    @property
    def is_robust(self) -> bool:
        """Whether anything in it hardens the model."""
        return bool(self.views or self.loss.further_passes)
