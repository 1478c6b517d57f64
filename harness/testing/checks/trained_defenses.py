"""What defenses that train weights promise, checked on a real transformer of a few thousand parameters."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.attack import Attack
from harness.api.defense import RoundCost, RoundJob, TrainedDefense
from harness.api.refs import PluginRef
from harness.api.task import Example, TaskKind
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.on_examples import search_on_examples
from harness.errors import DataError, PluginError
from harness.flops import Flops
from harness.hashing import canonical_json
from harness.records.journal import Journal
from harness.rng import named_rng
from harness.testing.plugin_under_test import Subject
from harness.testing.results import Check, NotApplicableError, UnmetError
from harness.testing.toys.examples import toy_model, toy_threat
from harness.testing.toys.task_data import ANSWER_KINDS, auxiliary_labels, toy_task_data
from harness.tokens.hf_tokenizer import HFTokenizer

if TYPE_CHECKING:
    from harness.engine.torch.heads import HeadName

THREAT = toy_threat("gradient", tokens=4)
TOKENS, N_PARAMS = 20.0, 10_000


def _trained(subject: Subject) -> TrainedDefense:
    """A fresh instance. Raises NotApplicableError where it can stand before none of the toy tasks, by its own word."""
    defense: TrainedDefense = subject.fresh()
    _kind(defense)
    return defense


def _kind(defense: TrainedDefense) -> TaskKind:
    """How the toy task is answered that the defense can stand before: with labels, or else in text."""
    refusals = []
    for kind in ANSWER_KINDS:
        try:
            defense.check(toy_task_data(kind))
        except DataError as error:
            refusals.append(str(error))
        else:
            return kind
    raise NotApplicableError(f"the defense says of each of the kit's tasks: {'; '.join(refusals)}")


def resolver(subject: Subject) -> Any:
    """A `harness.Resolve` among the subject's plugins: makes the attack that a reference names."""

    def resolve(ref: PluginRef, changes: dict[str, Any]) -> Attack:
        plugin = subject.registry.resolve("attack", PluginRef(name=ref.name, params={**ref.params, **changes})).plugin
        if not isinstance(plugin, Attack):
            raise PluginError(f"{ref.name} is no attack")
        return plugin

    return resolve


def toy_models(attack: Attack, tokenizer: HFTokenizer, kind: TaskKind) -> dict[str, DefendedVictim]:
    """Toys in the places of the models that an attack asks besides the victim, for a task of that kind."""
    labels = {name: auxiliary_labels(declared, kind) for name, declared in attack.models().items()}
    return {name: DefendedVictim(toy_model(tokenizer, len(own), 1), labels=own) for name, own in labels.items()}


def _check_rounds(subject: Subject) -> None:
    defense = _trained(subject)
    rounds, evaluated = defense.rounds(), tuple(defense.evaluated())
    if rounds < 1:
        raise UnmetError("at least 1 round", str(rounds), "let a parameter say how many rounds there are")
    beyond = [number for number in evaluated if not 1 <= number <= rounds]
    if beyond or not evaluated or len(set(evaluated)) < len(evaluated):
        raise UnmetError(
            f"evaluated() names some of the rounds 1 to {rounds}, each once", str(evaluated), "at least the last"
        )


def _check_round_identity(subject: Subject) -> None:
    defense = _trained(subject)
    params = subject.chosen().identity()["params"]
    numbers = sorted({1, defense.rounds()})
    for number in numbers:
        one, other = (canonical_json(d.round_identity(params, number, THREAT)) for d in (defense, _trained(subject)))
        if one != other:
            raise UnmetError("the same identity of a round every time", f"{one} and {other}", "leave out what varies")


def _check_round_estimate(subject: Subject) -> None:
    defense = _trained(subject)
    for number in sorted({1, defense.rounds()}):
        estimate = defense.estimate(N_PARAMS, TOKENS, number, THREAT, resolver(subject))
        if not (math.isfinite(estimate) and estimate >= 0):
            raise UnmetError(f"the nominal FLOPs of round {number}", repr(estimate), "0 or more, and finite")


def _job(subject: Subject, defense: TrainedDefense, model: Path, work: Path) -> RoundJob:
    from harness.engine.open_backend import open_folder

    kind = _kind(defense)
    data = toy_task_data(kind)
    head: HeadName = "classification" if kind == "labels" else "generation"
    folder, scratch = work / "out", work / "scratch"
    folder.mkdir(parents=True)
    scratch.mkdir()
    threat = defense.against(THREAT)
    searches = 0

    def search(backend: Any, attack: Attack, examples: Sequence[Example]) -> Any:
        nonlocal searches
        searches += 1
        models = toy_models(attack, backend.tokenizer, kind)
        names = (0, "conformance", f"search-{searches}")
        with Journal(scratch / f"search-{searches}.jsonl") as journal:
            return search_on_examples(attack, examples, backend, data, threat, names, lambda _: models, journal)

    return RoundJob(
        round=1,
        model=model,
        previous=None,
        folder=folder,
        scratch=scratch,
        data=data,
        threat=threat,
        seed=0,
        rng=lambda purpose: named_rng(0, "conformance", purpose),
        open=lambda place: open_folder(place, head, data.labels),
        search=search,
        resolve=resolver(subject),
        progress=lambda *_: None,
    )


def _check_training(subject: Subject) -> None:
    from harness.engine.open_backend import open_folder
    from harness.testing.toys.random_transformer import write_transformer

    hashes = []
    with tempfile.TemporaryDirectory(prefix="harness-check-") as place_:
        work = Path(place_)
        data = toy_task_data(_kind(_trained(subject)))
        model = write_transformer(work / "model", len(data.labels))
        for turn in ("one", "other"):
            defense = _trained(subject)
            cost = defense.train_round(_job(subject, defense, model, work / turn))
            _expect_valid_cost(cost)
            head: HeadName = "classification" if data.labels else "generation"
            opened = open_folder(work / turn / "out", head, data.labels)
            if opened.n_labels != len(data.labels):
                raise UnmetError(
                    "a model with the labels of the one it began with", str(opened.n_labels), "keep the head"
                )
            weights = (work / turn / "out" / "model.safetensors").read_bytes()
            hashes.append(hashlib.sha256(weights).hexdigest())
    if hashes[0] != hashes[1]:
        raise UnmetError(
            "the same weights from the same seed",
            "others",
            "draw from job.rng alone, and let torch draw within torch.random.fork_rng",
        )


def _expect_valid_cost(cost: Any) -> None:
    if not isinstance(cost, RoundCost) or not all(isinstance(f, Flops) for f in (cost.search, cost.training)):
        raise UnmetError("train_round() gives a RoundCost", repr(cost), "return RoundCost(search, training, notes)")
    if not cost.search.nominal + cost.training.nominal > 0:
        raise UnmetError("a round that costs something", repr(cost), "add up what search and training spent")
    try:
        canonical_json(cost.notes)
    except ValueError as error:
        raise UnmetError("notes that are JSON data", str(error), "turn arrays into lists") from None


CHECKS = (
    Check("rounds", "it says how many rounds there are, and which are attacked", _check_rounds),
    Check("round_identity", "a round's identity is JSON data, the same every time", _check_round_identity),
    Check("round_estimate", "it says what a round will cost", _check_round_estimate),
    Check(
        "trains", "a round leaves a model and says what it cost; the same seed gives the same weights", _check_training
    ),
)
