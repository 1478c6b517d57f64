"""What a victim promises."""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from harness.api.model.backend import GenerateItem, GradientItem, SampleItem, ScoreItem
from harness.api.problem.placement import allowed_tokens, place
from harness.api.task import Chunk, Edit, Example, TaskData, TaskKind
from harness.api.threat import Access
from harness.api.victim import PrepareJob, VictimCard
from harness.engine.losses import cross_entropy
from harness.errors import HarnessError
from harness.flops import Flops
from harness.hashing import canonical_json
from harness.isolation.process_state import global_seed
from harness.testing.plugin_under_test import Subject
from harness.testing.results import Check, NotApplicableError, UnmetError
from harness.testing.toys.backend import TEXT
from harness.testing.toys.examples import threat_of

CLOSE = 1e-4  # in full precision; 0.05 in half
KINDS: tuple[TaskKind, ...] = ("labels", "text")


@dataclass(frozen=True)
class Ready:
    """A victim made ready, and the folder that it lies in while this lives."""

    backend: Any
    folder: Path
    spent: Flops
    data: TaskData
    keeps: Any

    @property
    def close(self) -> float:
        """What counts as rounding."""
        return 0.05 if "16" in str(self.backend.describe().get("dtype", "")) else CLOSE

    def problems(self, count: int = 2) -> list[Any]:
        """Validation examples, ready to be attacked with four tokens."""
        tokenizer = self.backend.tokenizer
        allowed = allowed_tokens(tokenizer)
        found = self.data.validation[:count]
        return [place(one, threat_of("gradient", tokens=4), tokenizer, allowed, self.data.labels) for one in found]


def data_for(kind: TaskKind) -> TaskData:
    """Sentences about animals: is it red? Or, in text, what colour it is."""

    def rows(split: str, texts: list[str]) -> list[Example]:
        found = []
        for i, text in enumerate(texts):
            red = int(" red " in f" {text} ")
            own: dict[str, Any] = {"label": red, "proxy_label": 1 - red}
            if kind == "text":
                own = {"target": " Sure, it is", "reply": f" It is {text.split()[1]}."}
            chunks = (Chunk("Red? "), Chunk(text, Edit.PERTURBABLE), Chunk("\nAnswer:"))
            found.append(Example(f"{split}-{i:05d}", chunks, **own))
        return found

    labels = (" NO", " YES") if kind == "labels" else ()
    return TaskData(labels, rows("train", TEXT[::2]), rows("validation", TEXT[1::2]), answer_tokens=8)


def ready(subject: Subject, kind: TaskKind, seed: int = 0, again: int = 0) -> Ready:
    """The victim made ready for such answers, once for each ``again``. Raises what the victim raises."""
    key = ("ready", kind, seed, again)
    if key not in subject.kept:
        holder = tempfile.TemporaryDirectory(prefix="harness-check-")
        folder, scratch = Path(holder.name) / "model", Path(holder.name) / "scratch"
        folder.mkdir()
        scratch.mkdir()
        data, victim = data_for(kind), subject.fresh()
        spent = victim.prepare(PrepareJob(data, seed, folder, scratch, lambda *_: None))
        subject.kept[key] = Ready(victim.open(folder, data), folder, spent, data, holder)
    found: Ready = subject.kept[key]
    return found


def kinds_of(subject: Subject) -> list[TaskKind]:
    """How the victim can answer.

    Raises:
        HarnessError: in no way.
    """
    if "kinds" not in subject.kept:
        found: list[TaskKind] = []
        refusals: list[HarnessError] = []
        for kind in KINDS:
            try:
                ready(subject, kind)
            except HarnessError as error:
                refusals.append(error)
            else:
                found.append(kind)
        if not found:
            raise refusals[0]
        subject.kept["kinds"] = found
    kinds: list[TaskKind] = subject.kept["kinds"]
    return kinds


def each(subject: Subject) -> list[Ready]:
    """The victim, for each way in which it can answer."""
    return [ready(subject, kind) for kind in kinds_of(subject)]


def _prepares(subject: Subject) -> None:
    kinds_of(subject)


def _card(subject: Subject) -> None:
    for kind in kinds_of(subject):
        card = subject.fresh().card(data_for(kind))
        if not isinstance(card, VictimCard):
            raise UnmetError("card() gives a VictimCard", type(card).__name__, "return VictimCard(...)")
        wrong = []
        if card.access not in get_args(Access):
            wrong.append(f"access {card.access!r}")
        if card.n_params is not None and card.n_params < 1:
            wrong.append(f"n_params {card.n_params}")
        if card.context < 1 or not card.chars_per_token > 0:
            wrong.append(f"context {card.context}, chars_per_token {card.chars_per_token}")
        if wrong:
            raise UnmetError("a card that a plan can use", ", ".join(wrong), "see harness.VictimCard")
        canonical_json(asdict(card))


def _estimate(subject: Subject) -> None:
    for one in each(subject):
        told = subject.fresh().estimate(one.data)
        if not (isinstance(told, int | float) and math.isfinite(told) and told >= 0):
            raise UnmetError("estimate() gives FLOPs, 0 or more", repr(told), "0 where nothing is trained")
        spent = one.spent.nominal
        if not isinstance(one.spent, Flops) or spent < 0 or one.spent.executed < 0:
            raise UnmetError("prepare() gives the Flops spent", repr(one.spent), "return Flops(nominal, executed)")
        if not math.isnan(spent) and (told > 0) != (spent > 0):
            raise UnmetError(
                "estimate() and prepare() agree on whether anything is spent",
                f"estimated {told:.3g}, spent {spent:.3g}",
                "count the same thing in both",
            )


def _opens(subject: Subject) -> None:
    for one in each(subject):
        backend, card = one.backend, subject.fresh().card(one.data)
        expected = {
            "n_labels": (len(one.data.labels), backend.n_labels),
            "n_params": (card.n_params, backend.n_params),
        }
        for name, (said, there) in expected.items():
            if said != there:
                raise UnmetError(
                    f"{name} {said}, as card and data say", repr(there), f"mend `card` or the backend's {name}"
                )
        if backend.context < min(card.context, 64):
            raise UnmetError(f"a context of {card.context}, as the card says", str(backend.context), "mend `card`")
        wanted = {"text": set(), "scores": {"score"}, "gradient": {"score", "gradient"}}.get(
            card.access, {"score", "gradient", "perturb"}
        )
        lacking = wanted - backend.abilities
        if lacking:
            raise UnmetError(
                f"a backend that answers what access {card.access!r} promises",
                f"it lacks {', '.join(sorted(lacking))}",
                "add it to `abilities`, or give the card less access",
            )
        canonical_json({k: v for k, v in backend.describe().items() if isinstance(v, str | int | None)})


def _differs(one: Any, other: Any) -> float:
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if a.shape != b.shape or not (np.isfinite(a) == np.isfinite(b)).all():
        return math.inf
    keep = np.isfinite(a)
    return float(np.abs(a[keep] - b[keep]).max(initial=0.0)) / max(1.0, float(np.abs(b[keep]).max(initial=0.0)))


def _close(one: Any, other: Any, ready: Ready, expected: str, mend: str) -> None:
    difference = _differs(one, other)
    if not difference <= ready.close:
        raise UnmetError(expected, f"they differ by {difference:.2g} (tolerance {ready.close:g})", mend)


def _items(one: Ready) -> list[tuple[Any, ScoreItem]]:
    rng = np.random.default_rng(0)
    found = []
    for problem in one.problems():
        rows = problem.random_tokens(rng, 5)
        found.append((problem, ScoreItem(problem.before, rows, problem.after, problem.target, rows[0])))
    return found


def _whole(item: ScoreItem) -> list[Any]:
    return [np.concatenate([item.before, row, item.after]) for row in item.candidates]


def _scored(subject: Subject) -> list[Ready]:
    found = [one for one in each(subject) if "score" in one.backend.abilities]
    if not found:
        raise NotApplicableError("it gives no scores")
    return found


def _agrees(subject: Subject) -> None:
    for one in _scored(subject):
        for _, item in _items(one):
            (scored,) = one.backend.score([item])
            if len(scored.losses) != len(item.candidates) or scored.executed <= 0:
                raise UnmetError("a loss per candidate, and the FLOPs it took", repr(scored), "see harness.Scored")
            if one.backend.n_labels:
                logits, _ = one.backend.classify(_whole(item))
                losses = cross_entropy(logits, cast("int", item.target))
                mend = "score and classify must read the same row: before + candidate + after, nothing padded"
                _close(scored.losses, losses, one, "losses of `score` that follow from the logits of `classify`", mend)


def _company(subject: Subject) -> None:
    for one in _scored(subject):
        items = [item for _, item in _items(one)]
        together = one.backend.score(items)
        mend = "pad nothing, or mask what is padded; keep nothing from one call to the next that changes an answer"
        for item, scored in zip(items, together, strict=True):
            (alone,) = one.backend.score([item])
            _close(scored.losses, alone.losses, one, "the same losses whatever else is asked in the same call", mend)
            rows = [ScoreItem(item.before, row[None], item.after, item.target) for row in item.candidates]
            singles = [one.backend.score([row])[0].losses[0] for row in rows]
            _close(scored.losses, singles, one, "the same losses one candidate at a time", mend)


def _eager(subject: Subject) -> None:
    tried = 0
    for one in each(subject):
        if type(one.backend).__name__ != "TorchBackend" or one.backend.head.name == "label_tokens":
            continue
        from harness.testing.toys.eager_losses import eager_losses

        for _, item in _items(one):
            (scored,) = one.backend.score([item])
            losses = eager_losses(one.folder, one.backend.head.name, _whole(item), item.target)
            mend = "set attn_implementation to eager, or load in float32"
            _close(scored.losses, losses, one, "losses of a plain eager forward of the folder's model", mend)
            tried += 1
    if not tried:
        raise NotApplicableError("it is no torch model that can be opened from its folder alone")


def _gradient(subject: Subject) -> None:
    found = [one for one in each(subject) if "gradient" in one.backend.abilities]
    if not found:
        raise NotApplicableError("it gives no gradients")
    for one in found:
        for problem, item in _items(one):
            asked = GradientItem(item.before, item.candidates[0], item.after, item.target, problem.allowed, 7)
            (got,) = one.backend.gradient([asked])
            (scored,) = one.backend.score([item])
            answer = got.answer
            if answer.tokens.shape != (4, 7) or answer.values.shape != (4, 7):
                raise UnmetError("tokens and values of shape [4, 7]", f"{answer.tokens.shape}", "see GradientAnswer")
            if not np.isin(answer.tokens, problem.allowed).all() or (np.diff(answer.values, axis=1) < -1e-9).any():
                raise UnmetError("allowed tokens, the most negative entries first", "others", "sort by value, then id")
            _close([answer.loss], scored.losses[:1], one, "the loss that `score` gives", "differentiate the same loss")


def _samples(subject: Subject) -> None:
    found = [one for one in each(subject) if "sample" in one.backend.abilities]
    if not found:
        raise NotApplicableError("it gives no next tokens")
    for one in found:
        problem, item = _items(one)[0]
        asked = SampleItem(item.before, item.candidates[:2, :2], problem.allowed, 6, 3)
        first, second = one.backend.sample([asked])[0].answer, one.backend.sample([asked])[0].answer
        rows = [set(row) for row in first.tokens.tolist()]
        if first.tokens.shape != (2, 6) or any(len(row) < 6 for row in rows):
            raise UnmetError("6 different tokens for each of 2 strings", repr(first.tokens), "see harness.SampleAnswer")
        if (first.tokens != second.tokens).any():
            raise UnmetError("the same draw from the same seed", "another", "draw from `seed` alone")
        if (np.exp(first.log_probs).sum(axis=1) > 1 + 1e-6).any():
            raise UnmetError("log-probabilities", "they add up to more than 1", "take log-softmax over the vocabulary")


def _generates(subject: Subject) -> None:
    found = [one for one in each(subject) if "generate" in one.backend.abilities]
    if not found:
        raise NotApplicableError("it does not answer in text")
    for one in found:
        items = [GenerateItem(example.text, 6) for example in one.data.validation[:3]]
        together = [said.text for said in one.backend.generate(items)]
        alone = [one.backend.generate([item])[0].text for item in items]
        if together != alone:
            raise UnmetError(
                "the same answer at temperature 0", f"{together} and {alone}", "take the most likely token"
            )


def _same_model(subject: Subject) -> None:
    for kind in kinds_of(subject):
        one = ready(subject, kind)
        with global_seed(1):
            other = ready(subject, kind, again=1)
        texts = [example.text for example in one.data.validation[:4]]
        if one.backend.tokenizer.encode(texts) != other.backend.tokenizer.encode(texts):
            raise UnmetError("the same tokenizer from the same seed", "another", "order what it is made from")
        mend = "draw everything from job.seed (harness.named_rng, named_seed), and shuffle by it"
        if "score" in one.backend.abilities:
            for (_, a), (_, b) in zip(_items(one), _items(other), strict=True):
                mine, its = one.backend.score([a])[0].losses, other.backend.score([b])[0].losses
                _close(mine, its, one, "the same model from the same seed", mend)


CHECKS = (
    Check("prepares", "it can be made ready for labels, for text, or for both", _prepares),
    Check("card", "its card has what a plan needs", _card),
    Check("estimate", "it says what making it ready costs, and what it did cost", _estimate),
    Check("opens", "the opened model is what the card says", _opens),
    Check("agrees", "score and classify agree", _agrees),
    Check("company", "an answer does not depend on what else is asked in the same call", _company),
    Check("eager", "its losses are those of an eager forward", _eager),
    Check("gradient", "its gradients have the right shape, tokens and loss", _gradient),
    Check("samples", "it draws different next tokens, by the seed", _samples),
    Check("generates", "at temperature 0 the answer in text is always the same", _generates),
    Check("same_model", "the same seed gives the same model", _same_model),
)
